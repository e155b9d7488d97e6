#include "supervise/claim.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sysexits.h>
#include <unistd.h>

#include "lib/array.h"
#include "lib/fd.h"
#include "lib/log.h"
#include "lib/safefile.h"
#include "lib/statefile.h"
#include "lib/xalloc.h"
#include "supervise/vmlock.h"
#include "vm/paths.h"
#include "vm/runfiles.h"

#define BACKLOG	 16
#define SERVE_MS 2000 /* for a dying QEMU to hang up */
#define TRIES	 100  /* to open a directory that others may remove meanwhile */

/* ---- the directories ---- */

/* Tries again, as a supervisor that is ending may remove it. False: the reason is logged. */
static bool make_and_open(struct rundir *dir)
{
	for (int i = 0; i < TRIES && dir->fd < 0; i++) {
		dir->made = mkdir(dir->path, 0700) == 0;
		if (!dir->made && errno != EEXIST) {
			log_warn("cannot make the runtime directory %s", dir->path);
			return false;
		}
		dir->fd = open(dir->path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (dir->fd < 0 && errno != ENOENT)
			break;
	}
	if (dir->fd < 0)
		log_warn("cannot open the runtime directory %s", dir->path);
	return dir->fd >= 0;
}

static bool open_dir(struct rundir *dir, const char *base)
{
	struct stat st;

	if (stat(base, &st) < 0 && errno == ENOENT && !paths_make(base)) {
		log_warn("cannot make the runtime directory %s", base);
		return false;
	}
	if (stat(base, &st) == 0 && !safefile_owner_is_good(&st, true)) {
		log_warnx("runtime directory %s belongs to uid %u, neither us (%u) nor root", base,
			  st.st_uid, geteuid());
		return false;
	}
	if (!make_and_open(dir))
		return false;
	if (fstat(dir->fd, &st) < 0) {
		log_warn("cannot open the runtime directory %s", dir->path);
		return false;
	}
	if (!safefile_owner_is_good(&st, false)) {
		log_warnx("runtime directory %s belongs to uid %u, not to us (%u)", dir->path,
			  st.st_uid, geteuid());
		return false;
	}
	if ((st.st_mode & 0777) != 0700 && fchmod(dir->fd, 0700) < 0) {
		log_warn("cannot set the mode of %s to 0700", dir->path);
		return false;
	}
	return true;
}

/* Holds the disks and vm.lock. A definition's stays at the end. */
static bool open_home(struct rundir *dir, const char *name)
{
	char *base = paths_state_dir();

	dir->home_path = xasprintf("%s/%s", base ? base : "", name);
	dir->base_made = base && access(base, F_OK) < 0;
	if (base && paths_make(base)) {
		dir->home_made = mkdir(dir->home_path, 0700) == 0;
		if (dir->home_made || errno == EEXIST)
			dir->home = open(dir->home_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	}
	if (dir->home < 0 && dir->defined)
		log_warn("cannot use the state directory %s", dir->home_path);
	else if (dir->home < 0)
		log_debug("no state directory: vm.lock is in %s", dir->path);
	free(base);
	return dir->home >= 0 || !dir->defined;
}

/* A vm.lock in the runtime directory is from an earlier version, or had no other place. */
static bool find_home(struct rundir *dir, const char *name)
{
	if (!dir->defined && faccessat(dir->fd, "vm.lock", F_OK, AT_SYMLINK_NOFOLLOW) == 0)
		return true;
	return open_home(dir, name);
}

/* A command line's state directory exists for vm.lock alone. */
static void leave_home(const struct rundir *dir)
{
	char *base = dir->defined || dir->home < 0 ? NULL : paths_state_dir();

	if (base)
		rmdir(dir->home_path);
	if (base && dir->base_made)
		rmdir(base);
	free(base);
}

/* ---- sockets ---- */

static int listen_on(const struct rundir *dir, const char *name)
{
	struct sockaddr_un sa;
	int fd;

	if (!runfiles_address(dir->path, name, &sa)) {
		log_warnx("runtime directory %s: the path of its socket \"%s\" would be over %zu "
			  "bytes; choose a shorter one with QEMU_SUPERVISE_RUNTIME_DIR",
			  dir->path, name, sizeof(sa.sun_path) - 1);
		return -1;
	}
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || bind(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0 || listen(fd, BACKLOG) < 0) {
		log_warn("cannot make the socket %s/%s", dir->path, name);
		fd_close(&fd);
		return -1;
	}
	return fd;
}

/* Opens the sockets as files. A link is not QEMU's: it led through a supervisor that is gone. */
static void open_names(struct rundir *dir)
{
	struct stat st;

	for (size_t i = 0; i < SOCKET_COUNT; i++) {
		dir->names[i] =
			openat(dir->fd, runfiles_socket(i), O_PATH | O_NOFOLLOW | O_CLOEXEC);
		if (dir->names[i] >= 0 &&
		    (fstat(dir->names[i], &st) < 0 || !S_ISSOCK(st.st_mode))) {
			unlinkat(dir->fd, runfiles_socket(i), 0);
			fd_close(&dir->names[i]);
		}
	}
}

static bool make_sockets(struct rundir *dir, const struct options *options)
{
	const bool wanted[] = {[SOCKET_CONTROL] = true,
			       [SOCKET_QMP] = true,
			       [SOCKET_CONSOLE] = options->console,
			       [SOCKET_AGENT] = options->agent};

	for (size_t i = 0; i < SOCKET_COUNT; i++) {
		unlinkat(dir->fd, runfiles_socket(i), 0); /* left by one that was killed */
		if (!wanted[i])
			continue;
		dir->sockets[i] = listen_on(dir, runfiles_socket(i));
		if (dir->sockets[i] < 0)
			return false;
	}
	open_names(dir);
	return true;
}

/* Whether somebody keeps listening there; a dying QEMU hangs up. */
static bool is_served(const struct rundir *dir, enum rundir_socket which)
{
	struct pollfd peer = {.fd = runfiles_connect(dir->path, which)};
	bool served = peer.fd >= 0 ? poll(&peer, 1, SERVE_MS) == 0 : errno == EAGAIN;

	fd_close(&peer.fd);
	return served;
}

/*
 * A QEMU with its vm.lock elsewhere, in another state directory, may use the same runtime
 * directory: its sockets are not ours.
 */
static bool is_anothers(const struct rundir *dir, const char *name)
{
	static const enum rundir_socket asked[] = {SOCKET_CONTROL, SOCKET_QMP};

	for (size_t i = 0; i < ARRAY_SIZE(asked); i++) {
		if (!is_served(dir, asked[i]))
			continue;
		log_error("VM %s: another QEMU of that name listens on %s/%s; end that one first%s",
			  name, dir->path, runfiles_socket(asked[i]),
			  dir->defined ? "" : ", or name this VM otherwise with --name");
		return true;
	}
	return false;
}

/* ---- the end ---- */

void claim_end(struct rundir *dir)
{
	rundir_handed_over(dir);
	if (vmlock_lives(dir)) {
		log_warnx("a process that was started with QEMU still holds %s/vm.lock: it stays, "
			  "so that no second QEMU is started",
			  vmlock_path(dir));
		rundir_close(dir);
		return;
	}
	unlinkat(vmlock_dir(dir), "vm.lock", 0);
	leave_home(dir);
	runfiles_remove(dir->fd);
	rmdir(dir->path);
	rundir_close(dir);
}

/* Removes only what is ours: files whose locks we hold, and an empty directory that we made. */
static void abandon(struct rundir *dir, int status)
{
	rundir_handed_over(dir);
	if (vmlock_is_blank(dir) && !vmlock_lives(dir))
		unlinkat(vmlock_dir(dir), "vm.lock", 0);
	leave_home(dir);
	if (status == EX_OSERR && dir->lock >= 0)
		unlinkat(dir->fd, "lock", 0);
	if (status == EX_OSERR && dir->made)
		rmdir(dir->path);
	rundir_close(dir);
}

/* ---- all of it ---- */

static int open_directory(struct rundir *dir, const struct options *options)
{
	char *base = paths_runtime_dir();
	bool opened;

	*dir = RUNDIR_NONE;
	if (!base) {
		log_error("neither XDG_RUNTIME_DIR nor QEMU_SUPERVISE_RUNTIME_DIR is set: no place "
			  "for the sockets of this VM");
		return EX_OSERR;
	}
	dir->defined = options->defined;
	dir->path = xasprintf("%s/%s", base, options->name);
	opened = open_dir(dir, base);
	free(base);
	return opened ? 0 : EX_OSERR;
}

/* Opens and locks it: from then on nobody else removes it. */
static int open_locked(struct rundir *dir, const struct options *options)
{
	int status = VMLOCK_REMOVED;

	for (int i = 0; i < TRIES && status == VMLOCK_REMOVED; i++) {
		if (i > 0)
			rundir_close(dir);
		status = open_directory(dir, options);
		if (status == 0)
			status = vmlock_take_directory(dir, options->name);
	}
	if (status != VMLOCK_REMOVED)
		return status;
	log_error("the runtime directory %s is removed again and again", dir->path);
	return EX_OSERR;
}

/* Anybody else who may write there could replace disks, or lead root to other files by links. */
static bool is_private(const char *what, const char *path)
{
	struct stat st;
	char *writers = path && stat(path, &st) == 0 ? safefile_writers(&st) : NULL;
	bool private = !writers;

	if (writers)
		log_error("%s directory %s %s", what, path, writers);
	free(writers);
	return private;
}

/* Checks also the parent directories, in which this VM's could be replaced. */
static bool are_private(const struct rundir *dir)
{
	char *runtime = paths_runtime_dir(), *state = dir->home < 0 ? NULL : paths_state_dir();
	bool private = is_private("runtime", runtime) && is_private("state", state) &&
		       is_private("state", dir->home_path);

	free(runtime);
	free(state);
	return private;
}

/* A vmconf may have renamed or changed the VM before we got its lock. */
static int check_definition(const struct rundir *dir, const struct options *options)
{
	bool home_is_there = dir->home < 0 || fd_is_named(AT_FDCWD, dir->home_path, dir->home);
	bool has_file = options->vm && !options->placeholder;
	enum vm_file_now now = has_file ? vm_file_look(options->vm) : VM_FILE_SAME;

	if (now == VM_FILE_SAME && home_is_there)
		return 0;
	log_error("VM %s was %s while it was being started", options->name,
		  now == VM_FILE_CHANGED ? "changed" : "renamed or deleted");
	return now == VM_FILE_GONE ? EX_CONFIG : EX_OSERR;
}

/* Call it with the locks held and no QEMU running. */
static int make_all(struct rundir *dir, const struct options *options)
{
	int status = check_definition(dir, options);

	if (status != 0)
		return status;
	if (!are_private(dir))
		return EX_OSERR;
	if (!statefile_make(dir->fd)) {
		log_warn("cannot reserve room for %s/state.json", dir->path);
		return EX_OSERR;
	}
	return make_sockets(dir, options) ? 0 : EX_OSERR;
}

/* QEMU runs and listens on the existing sockets. */
static void take_over(struct rundir *dir)
{
	statefile_reserve(dir->fd);
	open_names(dir);
}

/* Leaves no state directory behind for a VM that was deleted or has not had one yet. */
static void unmake(struct rundir *dir)
{
	char *home = dir->home_made && dir->defined ? xstrdup(dir->home_path) : NULL;

	claim_end(dir);
	if (home)
		rmdir(home);
	free(home);
}

int claim_vm(struct rundir *dir, const struct options *options)
{
	int status = open_locked(dir, options);

	if (status == 0 && !find_home(dir, options->name))
		status = EX_OSERR;
	if (status == 0)
		status = vmlock_take(dir, options->name);
	if (status == 0 && dir->running < 0 && is_anothers(dir, options->name))
		status = EX_TEMPFAIL;
	if (status != 0) {
		abandon(dir, status);
		return status;
	}
	if (dir->running < 0)
		status = make_all(dir, options);
	else
		take_over(dir);
	if (status != 0)
		unmake(dir);
	return status;
}

int claim_vm_again(struct rundir *dir, const struct options *options, const struct rundir *before)
{
	int status = open_directory(dir, options);

	dir->lock = before->lock;
	dir->supervision = before->supervision;
	dir->running = before->running; /* the same process, even if it has ended meanwhile */
	if (status == 0 && !find_home(dir, options->name))
		status = EX_OSERR;
	if (status != 0) {
		rundir_close(dir);
		return status;
	}
	vmlock_sign(dir);
	vmlock_find_running(dir);
	if (before->names[SOCKET_CONTROL] < 0)
		open_names(dir); /* the one before was a version without them */
	else
		memcpy(dir->names, before->names, sizeof(dir->names));
	return 0;
}
