#include "commands/disk.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/array.h"
#include "commands/storelock.h"
#include "lib/fd.h"
#include "lib/log.h"
#include "lib/printable.h"
#include "lib/program.h"
#include "lib/xalloc.h"
#include "vm/image.h"
#include "vm/users.h"

/* By extension, and by the start of the file. */
static const struct image_format {
	const char *name, *extension;
	off_t offset;
	const char *magic; /* NULL: any contents */
	size_t len;
} formats[] = {
	{"qcow2", ".qcow2", 0, "QFI\xfb", 4},
	{"raw", ".raw", 0, NULL, 0},
	{"raw", ".img", 0, NULL, 0},
	{"vmdk", ".vmdk", 0, "KDMV", 4},
	{"vmdk", ".vmdk", 0, "# Disk DescriptorFile", 21},
	{"vdi", ".vdi", 64, "\x7f\x10\xda\xbe", 4},
	{"vhdx", ".vhdx", 0, "vhdxfile", 8},
	{"vpc", ".vhd", 0, "conectix", 8},
	{"qed", ".qed", 0, "QED", 4},
	{"luks", ".luks", 0, "LUKS\xba\xbe", 6},
};

#define FORMAT_COUNT (ARRAY_SIZE(formats))

/* ---- base images ---- */

static const char *format_of_name(const char *path)
{
	for (size_t i = 0; i < FORMAT_COUNT; i++) {
		size_t len = strlen(path), extension = strlen(formats[i].extension);

		if (len > extension && strcmp(path + len - extension, formats[i].extension) == 0)
			return formats[i].name;
	}
	return NULL;
}

/* The format of the file's magic number; NULL: not known. *error: errno if it cannot be read. */
static const char *format_of_content(const char *path, int *error)
{
	struct stat st;
	int fd = image_open(path, &st);
	const char *found = NULL;
	char mark[32];

	*error = fd < 0 ? errno : 0;
	for (size_t i = 0; i < FORMAT_COUNT && fd >= 0 && !found; i++)
		if (formats[i].magic &&
		    pread(fd, mark, formats[i].len, formats[i].offset) == (ssize_t)formats[i].len &&
		    memcmp(mark, formats[i].magic, formats[i].len) == 0)
			found = formats[i].name;
	fd_close(&fd);
	return found;
}

static bool has_mark(const char *format)
{
	for (size_t i = 0; i < FORMAT_COUNT; i++)
		if (strcmp(formats[i].name, format) == 0 && formats[i].magic)
			return true;
	return false;
}

/* A name in images/, with or without an extension; malloc'd, or NULL. */
static char *find_in_images(const struct store *store, const char *image)
{
	static const char *const extensions[] = {"", ".qcow2", ".raw", ".img"};

	for (size_t i = 0; i < ARRAY_SIZE(extensions); i++) {
		char *path = xasprintf("%s/images/%s%s", store->state, image, extensions[i]);

		if (access(path, F_OK) == 0)
			return path;
		free(path);
	}
	return NULL;
}

static bool ends_in(const char *path, const char *end)
{
	size_t len = strlen(path), end_len = strlen(end);

	return len > end_len && strcmp(path + len - end_len, end) == 0;
}

/* Whether nobody but root may write to a file or directory of this type. */
static bool is_roots(const char *path, mode_t type)
{
	struct stat st;

	return stat(path, &st) == 0 && (st.st_mode & S_IFMT) == type && st.st_uid == 0 &&
	       !(st.st_mode & (S_IWGRP | S_IWOTH));
}

/* Whether a VM writes to it: as a raw disk, it may begin with anything that its guest likes. */
static bool is_written(const struct store *store, const char *path)
{
	struct users users = users_read(store, NULL);
	bool written = false;

	for (size_t i = 0; i < users.count; i++) {
		const struct files *files = &users.v[i].files;

		for (size_t j = 0; j < files->count; j++)
			written = written || (strcmp(files->v[j].path, path) == 0 &&
					      files->v[j].part != FILE_BASE);
	}
	users_free(&users);
	return written;
}

/* Cloud images are often qcow2 in a file called .img. No guest has written to what root put there.
 */
static bool may_be_qcow2(const struct store *store, const char *path)
{
	char *below = xasprintf("%s/images", store->state), *images = realpath(below, NULL);
	size_t len = images ? strlen(images) : 0;
	bool there = images && strncmp(path, images, len) == 0 && path[len] == '/' &&
		     !strchr(path + len + 1, '/');
	bool may = there && ends_in(path, ".img") && is_roots(images, S_IFDIR) &&
		   is_roots(path, S_IFREG) && !is_written(store, path);

	free(images);
	free(below);
	return may;
}

static bool check_format(const struct store *store, const char *path, const char *given,
			 struct disk_base *base)
{
	int error;
	const char *found = format_of_content(path, &error);

	base->format = given ? given : format_of_name(path);
	if (!given && found && strcmp(found, "qcow2") == 0 && may_be_qcow2(store, path))
		base->format = found;
	if (error) {
		errno = error;
		log_warn("cannot read the base image %s", path);
	} else if (!base->format) {
		log_error("base image %s: its name does not tell its format; say it with "
			  "--image-format",
			  path);
	} else if (found && strcmp(found, base->format) != 0) {
		log_error("base image %s is %s, not %s as %s; say what it is with --image-format",
			  path, found, base->format, given ? "you say" : "its name says");
	} else if (!found && has_mark(base->format)) {
		log_error("base image %s is not %s, as %s; say what it is with --image-format",
			  path, base->format, given ? "you say" : "its name says");
	} else {
		return true;
	}
	return false;
}

bool disk_find_base(const struct store *store, const char *image, const char *format,
		    struct disk_base *base)
{
	char *path = strchr(image, '/') ? NULL : find_in_images(store, image);
	struct stat st;
	bool good;

	base->path = realpath(path ? path : image, NULL);
	free(path);
	if (!base->path && !strchr(image, '/'))
		log_error("there is no base image %s: not in %s/images (with .qcow2, .raw, .img or "
			  "without), and no such file here",
			  image, store->state);
	else if (!base->path)
		log_warn("cannot find the base image %s", image);
	if (!base->path)
		return false;
	good = stat(base->path, &st) == 0 && (S_ISREG(st.st_mode) || S_ISBLK(st.st_mode));
	if (!good)
		log_error("base image %s is neither a file nor a block device", base->path);
	good = good && check_format(store, base->path, format, base);
	if (!good) {
		free(base->path);
		base->path = NULL;
	}
	return good;
}

/* ---- qemu-img ---- */

/* The child keeps the lock, and does not outlive us for long. */
_Noreturn static void child(const struct store *store, const char *const *argv, pid_t parent)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent) /* it was gone before that was set */
		_exit(127);
	store_keep_lock(store);
	umask(077);
	if (!printable_stderr()) {
		log_warn("cannot start %s", argv[0]);
		_exit(127);
	}
	program_run((char *const *)argv);
	if (errno == ENOENT)
		log_error("%s is not installed (Debian: apt install qemu-utils)", argv[0]);
	else if (errno != EPERM)
		log_warn("cannot execute %s", argv[0]);
	_exit(127);
}

pid_t disk_run(const struct store *store, const char *const *argv)
{
	pid_t parent = getpid(), pid = fork();

	if (pid == 0)
		child(store, argv, parent);
	if (pid < 0)
		log_warn("cannot start %s", argv[0]);
	return pid;
}

pid_t disk_create(const struct store *store, const char *path, const char *format, const char *size,
		  const struct disk_base *base)
{
	const char *const overlay[] = {"qemu-img",
				       "create",
				       "-q",
				       "-f",
				       format,
				       "-b",
				       base ? base->path : "",
				       "-F",
				       base ? base->format : "",
				       path,
				       size,
				       NULL};
	const char *const empty[] = {"qemu-img", "create", "-q", "-f", format, path, size, NULL};

	return disk_run(store, base ? overlay : empty);
}

pid_t disk_copy(const struct store *store, const char *from, const char *to, const char *format)
{
	const char *const argv[] = {"qemu-img", "convert", "-q", "-f", format,
				    "-O",	format,	   from, to,   NULL};

	return disk_run(store, argv);
}

bool disk_wait(pid_t pid, const char *program)
{
	int status = 0;

	if (pid < 0)
		return false;
	while (waitpid(pid, &status, 0) < 0) {
		if (errno != EINTR) {
			log_warn("cannot tell what became of %s", program);
			return false;
		}
	}
	if (WIFSIGNALED(status))
		log_error("%s was killed by signal %d (%s)", program, WTERMSIG(status),
			  strsignal(WTERMSIG(status)));
	else if (WEXITSTATUS(status) != 0 && WEXITSTATUS(status) != 127)
		log_error("%s failed with status %d", program, WEXITSTATUS(status));
	return status == 0;
}

/* ---- sizes ---- */

uint64_t disk_size(const char *path, const char *format)
{
	struct stat st;
	int fd = image_open(path, &st);
	off_t end = 0;
	uint64_t size = 0;

	if (fd >= 0 && strcmp(format, "raw") == 0 && (end = lseek(fd, 0, SEEK_END)) > 0)
		size = (uint64_t)end;
	else if (fd >= 0 && strcmp(format, "qcow2") == 0)
		size = image_qcow2_size(fd);
	fd_close(&fd);
	return size;
}

bool disk_base_fits(const struct disk_base *base, const char *size, uint64_t bytes)
{
	double needed = (double)disk_size(base->path, base->format);
	bool fits = (double)bytes >= needed;

	if (!fits)
		log_error(
			"a disk of %s is smaller than the base image %s, which has %.0f bytes; the "
			"guest would miss its end",
			size, base->path, needed);
	return fits;
}
