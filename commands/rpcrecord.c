#include "commands/rpcrecord.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "lib/directory.h"
#include "lib/fd.h"
#include "lib/fnv.h"
#include "lib/log.h"
#include "lib/safefile.h"
#include "lib/xalloc.h"
#include "vm/paths.h"

#define DIRECTORY ".rpc"
#define LOCK	  "lock" /* a byte of it for each id */
#define PRUNED	  "pruned"
#define SUFFIX	  ".json"
#define KEPT_S	  (24 * 3600)
#define PRUNE_S	  3600
#define VERSION_1 1

static uint64_t hash(const char *text)
{
	return fnv64(FNV64_BEGIN, text, strlen(text));
}

/* ---- the directory ---- */

/* What is in it must not be lost with it. */
static bool make_dir(const struct store *store, const char *path)
{
	int fd;

	if (!paths_make(store->state) || (mkdir(path, 0700) < 0 && errno != EEXIST))
		return false;
	fd = open(store->state, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd >= 0)
		fsync(fd);
	fd_close(&fd);
	return true;
}

/* -1: *why is malloc'd. Links are not followed; others than us must not write there. */
static int open_dir(const struct store *store, bool make, char **why)
{
	char *path = store_path(store, DIRECTORY, "");
	struct stat st;
	int fd;

	*why = NULL;
	fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 && errno == ENOENT && make && make_dir(store, path))
		fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0)
		*why = xasprintf("cannot keep ids in %s: %s", path, strerror(errno));
	else if (!safefile_owner_is_good(&st, true) || (st.st_mode & (S_IWGRP | S_IWOTH)))
		*why = xasprintf("ids are not kept in %s: others may write there", path);
	if (*why)
		fd_close(&fd);
	free(path);
	return fd;
}

/* Letters and digits as they are, after a letter for the type. */
static char *file_of(json_t *id)
{
	char name[3 * RPC_ID_MAX + 32], *at = name;

	if (json_is_integer(id))
		return xasprintf("n%" JSON_INTEGER_FORMAT SUFFIX, json_integer_value(id));
	*at++ = 's';
	for (const char *p = json_string_value(id); *p; p++) {
		unsigned char c = (unsigned char)*p;
		static const char digits[] = "0123456789abcdef";

		if (c < 0x80 && (isalnum(c) || c == '-' || c == '_')) {
			*at++ = (char)c;
		} else {
			*at++ = '%';
			*at++ = digits[c >> 4];
			*at++ = digits[c & 15];
		}
	}
	return xasprintf("%.*s" SUFFIX, (int)(at - name), name);
}

/* Two ids with the same byte wait for each other in vain, and no more. */
static int lock_id(int dir, const char *file)
{
	off_t byte = (off_t)(hash(file) & (INT64_MAX >> 1));
	int fd = safefile_open(dir, LOCK, O_RDWR | O_CREAT), error;

	if (fd >= 0 && !fd_lock(fd, F_OFD_SETLK, F_WRLCK, byte, 1)) {
		error = errno;
		fd_close(&fd);
		errno = error;
	}
	return fd;
}

/* ---- one record ---- */

/* Without its id, which is in the file's name. */
static char *fingerprint(const struct rpc_request *request)
{
	json_t *copy = xcheck(json_copy(request->json));
	char *text, *sum;

	json_object_del(copy, "id");
	text = xcheck(json_dumps(copy, JSON_COMPACT | JSON_SORT_KEYS));
	sum = xasprintf("%016" PRIx64, hash(text));
	free(text);
	json_decref(copy);
	return sum;
}

static const char *text_in(const struct rpc_record *r, const char *key)
{
	return json_string_value(json_object_get(r->record, key));
}

static bool is_record(const struct rpc_record *r)
{
	json_t *answers = json_object_get(r->record, "answers"), *answer;
	size_t i;

	json_array_foreach(answers, i, answer)
	{
		if (!json_is_object(answer))
			return false;
	}
	return json_integer_value(json_object_get(r->record, "version")) == VERSION_1 &&
	       text_in(r, "request") && json_is_array(answers) &&
	       (!rpc_record_vm(r) || vm_name_is_valid(rpc_record_vm(r)));
}

/* Of a request like this one, or NULL: *known says what it is. */
static char *judge(struct rpc_record *r, const char *sum, enum rpc_known *known)
{
	int fd = safefile_open(r->dir, r->file, O_RDONLY), error = errno;

	if (fd < 0 && error != ENOENT)
		return xasprintf("cannot read what is known of this id: %s", strerror(error));
	if (fd < 0) {
		*known = RPC_NEW;
		return NULL;
	}
	r->record = safefile_read_json(fd);
	close(fd);
	if (!is_record(r))
		return xasprintf("cannot read what is known of this id in " DIRECTORY "/%s",
				 r->file);
	if (strcmp(text_in(r, "request"), sum) != 0)
		return xstrdup("this id is that of another request");
	*known = json_is_true(json_object_get(r->record, "done")) ? RPC_DONE : RPC_BEGUN;
	return NULL;
}

static json_t *new_record(const struct rpc_request *request, const char *sum)
{
	return xcheck(json_pack("{s:i, s:s, s:s, s:b, s:[]}", "version", VERSION_1, "command",
				request->command->name, "request", sum, "done", false, "answers"));
}

enum rpc_known rpc_record_open(struct rpc_record *r, const struct store *store,
			       const struct rpc_request *request, char **why)
{
	enum rpc_known known = RPC_REFUSED;
	char *sum;

	*r = (struct rpc_record){.dir = open_dir(store, true, why), .lock = -1};
	if (*why)
		return RPC_REFUSED;
	r->file = file_of(request->id);
	r->lock = lock_id(r->dir, r->file);
	if (r->lock < 0 && (errno == EAGAIN || errno == EACCES))
		return RPC_BUSY;
	if (r->lock < 0) {
		*why = xasprintf("cannot lock an id: %s", strerror(errno));
		return RPC_REFUSED;
	}
	sum = fingerprint(request);
	*why = judge(r, sum, &known);
	if (known == RPC_NEW)
		r->record = new_record(request, sum);
	free(sum);
	return *why ? RPC_REFUSED : known;
}

void rpc_record_close(struct rpc_record *r)
{
	fd_close(&r->lock);
	fd_close(&r->dir);
	free(r->file);
	json_decref(r->record);
	*r = RPC_NO_RECORD;
}

/* Durably. False, with errno. */
static bool write_record(struct rpc_record *r)
{
	char *new = xasprintf(".%s", r->file);
	char *text = xcheck(json_dumps(r->record, JSON_COMPACT));
	bool written = safefile_replace(r->dir, r->file, new, text);
	int error = errno;

	free(text);
	free(new);
	errno = error;
	return written;
}

bool rpc_record_begin(struct rpc_record *r, const char *vm, const char *uuid, char **why)
{
	if (vm)
		json_object_set_new(r->record, "vm-id", xcheck(json_string(vm)));
	if (uuid)
		json_object_set_new(r->record, "uuid", xcheck(json_string(uuid)));
	if (write_record(r))
		return true;
	*why = xasprintf("cannot keep the request's id: %s", strerror(errno));
	return false;
}

const char *rpc_record_vm(const struct rpc_record *r)
{
	return text_in(r, "vm-id");
}

const char *rpc_record_uuid(const struct rpc_record *r)
{
	return text_in(r, "uuid");
}

void rpc_record_add(struct rpc_record *r, json_t *answer)
{
	json_array_append(json_object_get(r->record, "answers"), answer);
}

void rpc_record_end(struct rpc_record *r)
{
	json_object_set_new(r->record, "done", json_true());
	if (!write_record(r))
		log_warn("cannot keep the answers to the request of " DIRECTORY "/%s", r->file);
}

json_t *rpc_record_answers(const struct rpc_record *r)
{
	return json_object_get(r->record, "answers");
}

/* ---- old ones ---- */

static bool is_older(int dir, const char *file, time_t seconds)
{
	struct stat st;

	return fstatat(dir, file, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	       st.st_mtime < time(NULL) - seconds;
}

/* Also what a killed one was writing. */
static void prune_one(int dir, const char *file)
{
	int lock = lock_id(dir, file[0] == '.' ? file + 1 : file);

	if (lock >= 0 && is_older(dir, file, KEPT_S))
		unlinkat(dir, file, 0);
	fd_close(&lock);
}

/* Whether it is time, and nobody else is at it; then nobody is for an hour. */
static bool is_due(int dir)
{
	struct stat st;
	int fd;

	if (fstatat(dir, PRUNED, &st, AT_SYMLINK_NOFOLLOW) == 0 && !is_older(dir, PRUNED, PRUNE_S))
		return false;
	fd = safefile_create(dir, PRUNED);
	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

void rpc_record_prune(const struct store *store)
{
	char *why;
	int dir = open_dir(store, false, &why);
	DIR *entries = dir >= 0 && is_due(dir) ? fdopendir(dir) : NULL;
	struct dirent *entry;

	while ((entry = directory_next(entries))) {
		size_t len = strlen(entry->d_name), tail = strlen(SUFFIX);

		if (len > tail && strcmp(entry->d_name + len - tail, SUFFIX) == 0 &&
		    is_older(dir, entry->d_name, KEPT_S))
			prune_one(dir, entry->d_name);
	}
	if (entries)
		closedir(entries);
	else
		fd_close(&dir);
	free(why);
}
