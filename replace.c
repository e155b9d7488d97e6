#include "replace.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static bool write_all(int fd, const char *text)
{
	size_t len = strlen(text);

	while (len > 0) {
		ssize_t written = write(fd, text, len);

		if (written < 0 && errno == EINTR)
			continue;
		if (written < 0)
			return false;
		text += written;
		len -= (size_t)written;
	}
	return true;
}

bool replace_file(int dirfd, const char *name, const char *new, const char *text)
{
	bool replaced;
	int fd, error;

	unlinkat(dirfd, new, 0); /* of one that was killed */
	fd = openat(dirfd, new, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	replaced = fd >= 0 && write_all(fd, text) && fsync(fd) == 0 &&
		   renameat(dirfd, new, dirfd, name) == 0;
	error = errno;
	if (replaced)
		fsync(dirfd);
	else if (fd >= 0)
		unlinkat(dirfd, new, 0);
	if (fd >= 0)
		close(fd);
	errno = error;
	return replaced;
}
