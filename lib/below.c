#include "lib/below.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

bool below_is_name(const char *name)
{
	for (const char *part = name;; part++) {
		size_t len = strcspn(part, "/");

		if (len == 0 || len > NAME_MAX || (len == 1 && part[0] == '.') ||
		    (len == 2 && part[0] == '.' && part[1] == '.'))
			return false;
		part += len;
		if (*part == '\0')
			return true;
	}
}

/* Part by part: without "..", the same as RESOLVE_BENEATH and RESOLVE_NO_SYMLINKS of openat2(2). */
int below_parent(int dirfd, const char *name, const char **last)
{
	int flags = O_PATH | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW;
	int fd = openat(dirfd, ".", flags), next, error;
	const char *slash;
	char part[NAME_MAX + 1];

	for (; fd >= 0 && (slash = strchr(name, '/')); name = slash + 1) {
		memcpy(part, name, (size_t)(slash - name));
		part[slash - name] = '\0';
		next = openat(fd, part, flags);
		error = errno;
		close(fd);
		errno = error;
		fd = next;
	}
	*last = name;
	return fd;
}
