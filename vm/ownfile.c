#include "vm/ownfile.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "lib/below.h"
#include "lib/fd.h"
#include "lib/safefile.h"
#include "lib/xalloc.h"

static int open_below(const char *home, const char *name)
{
	int top = open(home, O_RDONLY | O_DIRECTORY | O_CLOEXEC), fd = -1, error;
	const char *last;
	int dir = top >= 0 ? below_parent(top, name, &last) : -1;

	if (dir >= 0)
		fd = safefile_open(dir, last, O_RDONLY);
	error = errno;
	fd_close(&dir);
	fd_close(&top);
	errno = error;
	return fd;
}

static int open_file(const struct vm *vm, const char *path)
{
	size_t len = strlen(vm->home);
	bool own = strncmp(path, vm->home, len) == 0 && path[len] == '/';

	return own ? open_below(vm->home, path + len + 1)
		   : open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
}

char *ownfile_read(const struct vm *vm, const char *path, size_t *len, char **why)
{
	int fd = open_file(vm, path);
	char *data = fd >= 0 ? safefile_read(fd, len) : NULL;

	if (!data)
		*why = xasprintf("cannot read %s: %s", path,
				 errno == EFBIG	   ? "it has more than 1 MiB"
				 : errno == EINVAL ? "it is not a file"
						   : strerror(errno));
	fd_close(&fd);
	return data;
}
