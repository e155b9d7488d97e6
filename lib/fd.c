#include "lib/fd.h"

#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/xalloc.h"

void fd_close(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

bool stat_is_same(const struct stat *a, const struct stat *b)
{
	return a->st_ino == b->st_ino && a->st_dev == b->st_dev;
}

bool fd_is_named(int dirfd, const char *name, int fd)
{
	struct stat ours, named;

	return fstat(fd, &ours) == 0 && fstatat(dirfd, name, &named, 0) == 0 &&
	       stat_is_same(&ours, &named);
}

bool fd_lock(int fd, int how, short type, off_t start, off_t len)
{
	struct flock lock = {.l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = len};

	return fcntl(fd, how, &lock) == 0 && (how != F_OFD_GETLK || lock.l_type == F_UNLCK);
}

char *path_absolute(const char *path)
{
	char cwd[PATH_MAX];

	return path[0] == '/' || !getcwd(cwd, sizeof(cwd)) ? xstrdup(path)
							   : xasprintf("%s/%s", cwd, path);
}
