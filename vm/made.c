#include "vm/made.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/xalloc.h"
#include "vm/ownuid.h"

char *made_file(const char *name)
{
	return xasprintf(".%s.made.json", name);
}

static json_t *read_list(int dirfd, const char *dir, const char *file, char **why)
{
	struct stat st;
	char *reason;
	json_t *made = store_read_ours(dirfd, dir, file, &st, &reason);

	*why = reason ? xasprintf("%s/%s: %s", dir, file, reason) : NULL;
	free(reason);
	return made;
}

json_t *made_read(const struct store *store, const char *name, char **why)
{
	char *file = made_file(name), *home = store_path(store, name, ""), *reason;
	json_t *made = read_list(store->state_fd, store->state, file, &reason);
	int fd = made || reason ? -1 : open(home, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd >= 0) {
		made = read_list(fd, home, MADE_BEFORE, &reason);
		close(fd);
	}
	if (why)
		*why = reason;
	else
		free(reason);
	free(home);
	free(file);
	return made;
}

bool made_write(const struct store *store, const char *name, json_t *files, json_t *disks)
{
	json_t *made =
		xcheck(json_pack("{s:i, s:O, s:O}", "version", 1, "files", files, "disks", disks));
	char *file = made_file(name);
	bool written = store_write_json(store->state_fd, file, made);

	free(file);
	json_decref(made);
	return written;
}

void made_forget(const struct store *store, const char *name)
{
	char *file = made_file(name);

	unlinkat(store->state_fd, file, 0);
	ownuid_release(store->state_fd, name);
	free(file);
}
