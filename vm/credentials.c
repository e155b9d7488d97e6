#include "vm/credentials.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/array.h"
#include "lib/base64.h"
#include "lib/directory.h"
#include "lib/fd.h"
#include "lib/safefile.h"
#include "lib/xalloc.h"
#include "vm/ownfile.h"
#include "vm/values.h"

#define SSH_KEYS "ssh.authorized_keys.root"

/* The tables of SMBIOS have 64 KiB together, and QEMU has some of its own there. */
#define TOGETHER_MAX 60000

bool credentials_fit(const struct vm *vm)
{
	static const char *const arches[] = {"x86_64", "i386", "aarch64", "arm", "loongarch64"};

	for (size_t i = 0; vm->arch && i < ARRAY_SIZE(arches); i++)
		if (strcmp(arches[i], vm->arch) == 0)
			return fnmatch("microvm*", vm->machine, 0) != 0;
	return false;
}

char *credentials_path(const struct vm *vm, const char *name)
{
	return xasprintf("%s/" CREDENTIAL_FILE "%s", vm->home, name);
}

/* Lines of authorized_keys, malloc'd; NULL: there are none. */
static char *join_keys(const char **keys)
{
	char *lines = NULL;

	for (; keys && *keys; keys++) {
		char *longer = xasprintf("%s%s\n", lines ? lines : "", *keys);

		free(lines);
		lines = longer;
	}
	return lines;
}

json_t *credentials_of(const struct vm *vm)
{
	json_t *all = xcheck(vm->credentials ? json_copy(vm->credentials) : json_object());
	char *keys = credentials_fit(vm) ? join_keys(vm->cloud.ssh_keys) : NULL;

	if (keys && !json_object_get(all, SSH_KEYS))
		json_object_set_new(all, SSH_KEYS, xcheck(json_string(keys)));
	free(keys);
	return all;
}

/* What QEMU reads, malloc'd; NULL: *why. */
static char *text_of(const struct vm *vm, const char *name, json_t *value, char **why)
{
	const char *given = json_string_value(json_object_get(value, "file"));
	char *path = given ? vm_absolute(vm, given) : NULL, *unread = NULL;
	size_t len = json_string_length(value);
	char *data =
		given ? ownfile_read(vm, path, &len, &unread) : xstrdup(json_string_value(value));
	char *encoded = data ? base64(data, len) : NULL, *text = NULL;

	if (encoded)
		text = xasprintf("io.systemd.credential.binary:%s=%s", name, encoded);
	else
		*why = xasprintf("credentials.%s: %s", name, unread);
	free(encoded);
	free(data);
	free(unread);
	free(path);
	return text;
}

/* Not synced: it is made again at each start. */
static bool write_one(const struct vm *vm, int home, const char *name, const char *text, char **why)
{
	char *file = xasprintf(CREDENTIAL_FILE "%s", name);
	int fd = safefile_create(home, file);
	bool written = fd >= 0 && safefile_write(fd, text, strlen(text));

	if (!written)
		*why = xasprintf("cannot write %s/%s: %s", vm->home, file, strerror(errno));
	fd_close(&fd);
	free(file);
	return written;
}

/* home -1: writes nothing. */
static bool make_all(const struct vm *vm, int home, char **why)
{
	json_t *all = credentials_of(vm), *value;
	const char *name;
	size_t together = 0;
	bool good = true;

	json_object_foreach(all, name, value)
	{
		char *text = good ? text_of(vm, name, value, why) : NULL;

		good = good && text;
		together += text ? strlen(text) : 0;
		if (good && together > TOGETHER_MAX) {
			*why = xasprintf("credentials: together they are too large: expected %d "
					 "bytes in base64 at most",
					 TOGETHER_MAX);
			good = false;
		}
		if (good && home >= 0)
			good = write_one(vm, home, name, text, why);
		free(text);
	}
	json_decref(all);
	return good;
}

/* What is left of a definition that had others. False: errno says why. */
static bool remove_all(int home)
{
	int fd = openat(home, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
	struct dirent *entry;
	int error = errno;

	while (dir && (entry = directory_next(dir)))
		if (strncmp(entry->d_name, CREDENTIAL_FILE, strlen(CREDENTIAL_FILE)) == 0)
			unlinkat(home, entry->d_name, 0);
	if (dir)
		closedir(dir);
	else
		fd_close(&fd);
	errno = error;
	return dir;
}

bool credentials_check(const struct vm *vm, char **why)
{
	return make_all(vm, -1, why);
}

bool credentials_make(const struct vm *vm, char **why)
{
	int home = open(vm->home, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	bool made = home >= 0 && remove_all(home);

	if (!made)
		*why = xasprintf("cannot read %s: %s", vm->home, strerror(errno));
	made = made && make_all(vm, home, why);
	fd_close(&home);
	return made;
}
