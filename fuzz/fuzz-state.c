/*
 * Any bytes as the files by which vmconf knows what a VM does. The lowest bits of the first one
 * tell whether vm.lock and lock are held, and the next one whether it is a vmconf that holds
 * vm.lock; then come, with a NUL between them, vm.lock, lock, state.json, 0.1.0's record of the
 * last end and the history. A file of no bytes is not there.
 */
#include <err.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "commands/vmstate.h"
#include "vm/history.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const files[] = {"vm.lock", "lock", "state.json", LAST_END, HISTORY};

/* The runtime and the state directory in one, with the VM "vm" in it, for as long as we are. */
static char base[PATH_MAX];

static void path_of(char *path, const char *file)
{
	snprintf(path, PATH_MAX, "%.200s/vm/%s", base, file);
}

static void remove_base(void)
{
	char path[PATH_MAX];

	for (size_t i = 0; i < COUNT(files); i++) {
		path_of(path, files[i]);
		unlink(path);
	}
	path_of(path, "");
	rmdir(path);
	rmdir(base);
}

static void make_base(void)
{
	const char *tmp = getenv("TMPDIR");
	char path[PATH_MAX];

	snprintf(base, sizeof(base), "%s/fuzz-state-XXXXXX", tmp ? tmp : "/tmp");
	if (!mkdtemp(base))
		err(1, "%s", base);
	path_of(path, "");
	if (mkdir(path, 0700) < 0)
		err(1, "%s", path);
	atexit(remove_base);
}

/* Returns its descriptor, whose lock is held if held, or -1: it is not there. A vmconf holds it
 * whole. */
static int make_file(const char *file, const uint8_t *data, size_t size, bool held, bool whole)
{
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_len = whole ? 0 : 1};
	char path[PATH_MAX];
	int fd;

	path_of(path, file);
	unlink(path);
	if (size == 0 && !held)
		return -1;
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0 || write(fd, data, size) < 0 || (held && fcntl(fd, F_OFD_SETLK, &lock) < 0))
		err(1, "%s", path);
	return fd;
}

static void check_line(const char *text, size_t size)
{
	if (!memchr(text, '\0', size))
		abort();
	for (; *text; text++)
		if ((unsigned char)*text < ' ')
			abort();
}

static void check(const struct store *store, bool held, bool supervised)
{
	struct vm_status status;
	int pidfd;

	vm_status_read(store, "vm", &status);
	if (vm_state_is_up(status.state) != (held || supervised) || !vm_state_word(status.state))
		abort();
	if (status.pid < 0 || status.supervisor < 0 || status.started < 0 || status.memory < 0)
		abort();
	check_line(status.doing, sizeof(status.doing));
	check_line(status.reason, sizeof(status.reason));
	check_line(status.end.words, sizeof(status.end.words));
	pidfd = vm_status_pidfd(store, "vm", &status);
	if (pidfd >= 0)
		close(pidfd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct store store = {.config = base, .state = base, .runtime = base};
	const uint8_t *end = data + size, *at = data + 1;
	int fds[COUNT(files)];

	if (size == 0)
		return 0;
	if (!base[0])
		make_base();
	for (size_t i = 0; i < COUNT(files); i++) {
		const uint8_t *nul = memchr(at, '\0', (size_t)(end - at));
		const uint8_t *behind = nul && i + 1 < COUNT(files) ? nul : end;

		fds[i] = make_file(files[i], at, (size_t)(behind - at), data[0] >> i & 1 && i < 2,
				   data[0] & 4 && i == 0);
		at = behind < end ? behind + 1 : end;
	}
	/* One of a command line is another VM. */
	if (!memmem(data, size, " command", strlen(" command")))
		check(&store, (data[0] & 5) == 1, data[0] & 2);
	for (size_t i = 0; i < COUNT(files); i++)
		if (fds[i] >= 0)
			close(fds[i]);
	return 0;
}
