#include "adapter.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "log.h"
#include "xalloc.h"

/* A file in the directory of this program, if it is there; else as it was installed. */
static char *beside_us(const char *file, const char *installed)
{
	char path[PATH_MAX];
	ssize_t len = readlink("/proc/self/exe", path, sizeof(path) - 1);
	char *found = NULL, *slash;

	path[len > 0 ? len : 0] = '\0';
	slash = strrchr(path, '/');
	if (slash)
		found = xasprintf("%.*s/%s", (int)(slash - path), path, file);
	if (found && access(found, X_OK) == 0)
		return found;
	free(found);
	return xstrdup(installed);
}

char *adapter_path(void)
{
	const char *chosen = getenv("QEMU_SUPERVISE_INIT");

	if (chosen && *chosen)
		return xstrdup(chosen);
	return beside_us("init/none", LIBEXECDIR "/qemu-supervise/init/none");
}

static void set_environment(const struct store *store)
{
	char *supervise = beside_us("qemu-supervise", "qemu-supervise");

	setenv("QEMU_SUPERVISE", supervise, 0);
	setenv("QEMU_SUPERVISE_CONFIG_DIR", store->config, 1);
	setenv("QEMU_SUPERVISE_STATE_DIR", store->state, 1);
	if (store->runtime)
		setenv("QEMU_SUPERVISE_RUNTIME_DIR", store->runtime, 1);
	free(supervise);
}

pid_t adapter_start(const struct store *store, const char *verb, const char *name, const char *more)
{
	char *path = adapter_path();
	pid_t pid = fork();

	if (pid == 0) {
		int null = open("/dev/null", O_RDONLY | O_CLOEXEC);

		set_environment(store);
		if (null >= 0)
			dup2(null, STDIN_FILENO);
		execlp(path, path, verb, name, more, (char *)NULL);
		log_warn("cannot execute the init adapter %s", path);
		_exit(errno == ENOENT ? 127 : 126);
	}
	if (pid < 0)
		log_warn("cannot start the init adapter %s", path);
	free(path);
	return pid;
}
