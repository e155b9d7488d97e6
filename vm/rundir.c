#include "vm/rundir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sysexits.h>
#include <unistd.h>

#include "vm/lockfile.h"
#include "lib/log.h"
#include "vm/paths.h"
#include "lib/safefile.h"
#include "lib/statefile.h"
#include "vm/vmlock.h"
#include "lib/xalloc.h"

#define BACKLOG	 16
#define SERVE_MS 2000 /* for one that is just dying to hang up */
#define TRIES	 100  /* of a directory that others remove while we open it */

static const char *const socket_names[] = {[SOCKET_CONTROL] = "control",
					   [SOCKET_QMP] = "qmp",
					   [SOCKET_CONSOLE] = "console",
					   [SOCKET_AGENT] = "agent"};
_Static_assert(sizeof(socket_names) / sizeof(socket_names[0]) == SOCKET_COUNT,
	       "a name for each socket");

/* Besides the sockets. The locks are the last ones to go. */
static const char *const files[] = {STATE_FILE, STATE_NEW, STATE_SPARE, "stderr", "lock"};

/* ---- the directory ---- */

/* A directory that somebody else owns is one in which he can exchange our files. */
static bool owner_is_good(const struct stat *st, bool root_is_good)
{
	return st->st_uid == geteuid() || (root_is_good && st->st_uid == 0);
}

/* Who ended just now removes it after that. False: a line says why. */
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
	if (stat(base, &st) == 0 && !owner_is_good(&st, true)) {
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
	if (!owner_is_good(&st, false)) {
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

/* Disks and vm.lock are in it. That of a definition stays. */
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

/* A vm.lock in the runtime directory is of an earlier version, or had no other place. */
static bool find_home(struct rundir *dir, const char *name)
{
	if (!dir->defined && faccessat(dir->fd, "vm.lock", F_OK, AT_SYMLINK_NOFOLLOW) == 0)
		return true;
	return open_home(dir, name);
}

/* That of a command line is there for vm.lock alone. */
static void leave_home(const struct rundir *dir)
{
	char *base = dir->defined || dir->home < 0 ? NULL : paths_state_dir();

	if (base)
		rmdir(dir->home_path);
	if (base && dir->base_made)
		rmdir(base);
	free(base);
}

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static bool leads_to(const char *path, int fd)
{
	struct stat ours, named;

	return fstat(fd, &ours) == 0 && stat(path, &named) == 0 && ours.st_ino == named.st_ino &&
	       ours.st_dev == named.st_dev;
}

/* ---- sockets ---- */

static bool socket_address(const struct rundir *dir, const char *name, struct sockaddr_un *sa)
{
	int len;

	*sa = (struct sockaddr_un){.sun_family = AF_UNIX};
	len = snprintf(sa->sun_path, sizeof(sa->sun_path), "%s/%s", dir->path, name);
	if (len >= 0 && (size_t)len < sizeof(sa->sun_path))
		return true;
	errno = ENAMETOOLONG;
	return false;
}

const char *rundir_socket_name(enum rundir_socket socket)
{
	return socket_names[socket];
}

bool rundir_fits(const char *path)
{
	const struct rundir dir = {.path = (char *)path};
	struct sockaddr_un sa;
	bool fits = true;

	for (size_t i = 0; i < SOCKET_COUNT; i++)
		fits = fits && socket_address(&dir, socket_names[i], &sa);
	return fits;
}

static int listen_on(const struct rundir *dir, const char *name)
{
	struct sockaddr_un sa;
	int fd;

	if (!socket_address(dir, name, &sa)) {
		log_warnx("runtime directory %s: the path of its socket \"%s\" would be over %zu "
			  "bytes; choose a shorter one with QEMU_SUPERVISE_RUNTIME_DIR",
			  dir->path, name, sizeof(sa.sun_path) - 1);
		return -1;
	}
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || bind(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0 || listen(fd, BACKLOG) < 0) {
		log_warn("cannot make the socket %s/%s", dir->path, name);
		if (fd >= 0)
			close(fd);
		return -1;
	}
	return fd;
}

/* What the sockets are as files. A link is not one of QEMU's: it led through who is gone by now. */
static void open_names(struct rundir *dir)
{
	struct stat st;

	for (size_t i = 0; i < SOCKET_COUNT; i++) {
		dir->names[i] = openat(dir->fd, socket_names[i], O_PATH | O_NOFOLLOW | O_CLOEXEC);
		if (dir->names[i] >= 0 &&
		    (fstat(dir->names[i], &st) < 0 || !S_ISSOCK(st.st_mode))) {
			unlinkat(dir->fd, socket_names[i], 0);
			close_fd(&dir->names[i]);
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
		unlinkat(dir->fd, socket_names[i], 0); /* of one that was killed */
		if (!wanted[i])
			continue;
		dir->sockets[i] = listen_on(dir, socket_names[i]);
		if (dir->sockets[i] < 0)
			return false;
	}
	open_names(dir);
	return true;
}

/* A link to a descriptor of a supervisor that is gone: by now it may be another process's. */
static bool leads_astray(const struct rundir *dir, const char *path)
{
	char target[64];
	ssize_t len = readlink(path, target, sizeof(target) - 1);
	struct holder holder = {0};
	int lock, process, pid = 0;
	bool process_is_gone;
	char *file;

	if (len < 0)
		return false;
	target[len] = '\0';
	sscanf(target, "/proc/%9d/fd/", &pid);
	file = xasprintf("%s/lock", dir->path);
	lock = safefile_open(AT_FDCWD, file, O_RDONLY);
	process = lock >= 0 ? lock_holder(lock, HOLDER_BYTE, &holder) : -1;
	free(file);
	process_is_gone = process < 0;
	close_fd(&lock);
	close_fd(&process);
	return process_is_gone || holder.pid != pid;
}

int rundir_connect(const struct rundir *dir, enum rundir_socket which)
{
	struct sockaddr_un sa;
	int fd;

	if (!socket_address(dir, socket_names[which], &sa))
		return -1;
	if (leads_astray(dir, sa.sun_path)) {
		errno = ECONNREFUSED;
		return -1;
	}
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd >= 0 && connect(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0) {
		int error = errno;

		close(fd);
		errno = error;
		return -1;
	}
	return fd;
}

/* Whether somebody goes on listening there; one that is just dying hangs up. */
static bool is_served(const struct rundir *dir, enum rundir_socket which)
{
	struct pollfd peer = {.fd = rundir_connect(dir, which)};
	bool served = peer.fd >= 0 ? poll(&peer, 1, SERVE_MS) == 0 : errno == EAGAIN;

	close_fd(&peer.fd);
	return served;
}

/*
 * A QEMU whose vm.lock is in another place, as where the state directory is another one, may have
 * the same runtime directory: its sockets are not ours.
 */
static bool is_anothers(const struct rundir *dir, const char *name)
{
	static const enum rundir_socket asked[] = {SOCKET_CONTROL, SOCKET_QMP};

	for (size_t i = 0; i < sizeof(asked) / sizeof(asked[0]); i++) {
		if (!is_served(dir, asked[i]))
			continue;
		log_error("VM %s: another QEMU of that name listens on %s/%s; end that one first%s",
			  name, dir->path, socket_names[asked[i]],
			  dir->defined ? "" : ", or name this VM otherwise with --name");
		return true;
	}
	return false;
}

void rundir_handed_over(struct rundir *dir)
{
	for (size_t i = 0; i < SOCKET_COUNT; i++)
		close_fd(&dir->sockets[i]);
	close_fd(&dir->vm_lock);
	close_fd(&dir->qemu_stderr);
}

/* ---- what somebody has removed ---- */

/* Through a link, too. */
static bool is_named(int dirfd, const char *name, int fd)
{
	struct stat ours, named;

	return fstat(fd, &ours) == 0 && fstatat(dirfd, name, &named, 0) == 0 &&
	       ours.st_ino == named.st_ino && ours.st_dev == named.st_dev;
}

bool rundir_is_there(const struct rundir *dir)
{
	bool there = leads_to(dir->path, dir->fd) && is_named(dir->fd, "lock", dir->lock) &&
		     faccessat(dir->fd, STATE_FILE, F_OK, 0) == 0;

	for (size_t i = 0; i < SOCKET_COUNT && there; i++)
		there = dir->names[i] < 0 || is_named(dir->fd, socket_names[i], dir->names[i]);
	return there;
}

/* Says nothing: it may not work for as long as its user is logged out. False and errno. */
static bool make_again(struct rundir *dir)
{
	char *base = xasprintf("%.*s", (int)(strrchr(dir->path, '/') - dir->path), dir->path);
	int fd = -1;
	struct stat st;

	if (paths_make(base) && stat(base, &st) == 0 && owner_is_good(&st, true) &&
	    (mkdir(dir->path, 0700) == 0 || errno == EEXIST))
		fd = open(dir->path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	free(base);
	if (fd < 0)
		return false;
	if (fstat(fd, &st) < 0 || !owner_is_good(&st, false) || fchmod(fd, 0700) < 0) {
		close(fd);
		errno = EPERM;
		return false;
	}
	close(dir->fd);
	dir->fd = fd;
	return true;
}

static bool lock_again(struct rundir *dir)
{
	int lock = lock_take(dir->fd, "lock", HOLDER_BYTE);

	if (lock < 0)
		return false;
	if (ftruncate(lock, 0) < 0 || dprintf(lock, "%d\n", getpid()) < 0) {
		close(lock);
		return false;
	}
	close(dir->lock);
	dir->lock = lock;
	return true;
}

/* A socket that has lost its last name gets no other one. */
static bool link_again(struct rundir *dir, size_t i)
{
	char target[64];

	snprintf(target, sizeof(target), "/proc/%d/fd/%d", getpid(), dir->names[i]);
	unlinkat(dir->fd, socket_names[i], 0);
	return symlinkat(target, dir->fd, socket_names[i]) == 0;
}

static bool restore(struct rundir *dir)
{
	if (!leads_to(dir->path, dir->fd) && !make_again(dir))
		return false;
	if (!is_named(dir->fd, "lock", dir->lock) && !lock_again(dir))
		return false;
	for (size_t i = 0; i < SOCKET_COUNT; i++)
		if (dir->names[i] >= 0 && !is_named(dir->fd, socket_names[i], dir->names[i]) &&
		    !link_again(dir, i))
			return false;
	statefile_reserve(dir->fd);
	log_notice("%s was removed, or files in it: it is made anew", dir->path);
	return true;
}

bool rundir_write_state(struct rundir *dir, json_t *state)
{
	bool there = rundir_is_there(dir) || restore(dir);
	bool written = there && statefile_write(dir->fd, state);

	if (!written && !dir->full_told)
		log_warn("cannot write %s/state.json; the VM goes on", dir->path);
	else if (written && dir->full_told)
		log_notice("%s/state.json is written again", dir->path);
	dir->full_told = !written;
	return written;
}

json_t *rundir_read_state(const struct rundir *dir)
{
	return statefile_read(dir->fd);
}

/* ---- the end ---- */

static void rundir_close(struct rundir *dir)
{
	rundir_handed_over(dir);
	close_fd(&dir->running);
	close_fd(&dir->supervision);
	close_fd(&dir->lock);
	close_fd(&dir->fd);
	close_fd(&dir->home);
	for (size_t i = 0; i < SOCKET_COUNT; i++)
		close_fd(&dir->names[i]);
	free(dir->path);
	free(dir->home_path);
	dir->path = dir->home_path = NULL;
}

void rundir_remove(struct rundir *dir)
{
	rundir_handed_over(dir);
	if (vmlock_lives(dir)) {
		log_warnx("a process that was started with QEMU still holds %s/vm.lock: it stays, "
			  "so that no second QEMU is started",
			  vmlock_path(dir));
		rundir_close(dir);
		return;
	}
	for (size_t i = 0; i < SOCKET_COUNT; i++)
		unlinkat(dir->fd, socket_names[i], 0);
	unlinkat(vmlock_dir(dir), "vm.lock", 0);
	leave_home(dir);
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
		unlinkat(dir->fd, files[i], 0);
	rmdir(dir->path);
	rundir_close(dir);
}

void rundir_remove_left(const char *path)
{
	struct rundir dir = RUNDIR_NONE;
	struct stat st;

	dir.path = xstrdup(path);
	dir.fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (dir.fd >= 0 && fstat(dir.fd, &st) == 0 && owner_is_good(&st, false))
		dir.lock = lock_take(dir.fd, "lock", HOLDER_BYTE);
	if (dir.lock >= 0)
		dir.supervision = lock_take(dir.fd, "vm.lock", SUPERVISOR_BYTE);
	if (dir.supervision >= 0 && !vmlock_lives(&dir))
		rundir_remove(&dir);
	else
		rundir_close(&dir);
}

/* Removes only what is nobody else's: locks that we hold, and an empty directory that we made. */
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

/* With its lock: from then on nobody else removes it. */
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

/* Whoever else may write there may exchange disks, and lead root to other files by links. */
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

/* With those of all VMs, in which this one's could be exchanged. */
static bool are_private(const struct rundir *dir)
{
	char *runtime = paths_runtime_dir(), *state = dir->home < 0 ? NULL : paths_state_dir();
	bool private = is_private("runtime", runtime) && is_private("state", state) &&
		       is_private("state", dir->home_path);

	free(runtime);
	free(state);
	return private;
}

/* A vmconf may have renamed the VM, or changed it, before we had its lock. */
static int check_definition(const struct rundir *dir, const struct options *options)
{
	bool home_is_there = dir->home < 0 || leads_to(dir->home_path, dir->home);
	bool has_file = options->vm && !options->stands_in;
	enum vm_file_now now = has_file ? vm_file_look(options->vm) : VM_FILE_SAME;

	if (now == VM_FILE_SAME && home_is_there)
		return 0;
	log_error("VM %s was %s while it was being started", options->name,
		  now == VM_FILE_CHANGED ? "changed" : "renamed or deleted");
	return now == VM_FILE_GONE ? EX_CONFIG : EX_OSERR;
}

/* Under its locks, and where there is no QEMU yet. */
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

/* QEMU runs, and listens on what is there. */
static void take_over(struct rundir *dir)
{
	statefile_reserve(dir->fd);
	open_names(dir);
}

/* A state directory that a VM has no more, or has not had yet, is not left behind. */
static void unmake(struct rundir *dir)
{
	char *home = dir->home_made && dir->defined ? xstrdup(dir->home_path) : NULL;

	rundir_remove(dir);
	if (home)
		rmdir(home);
	free(home);
}

int rundir_open(struct rundir *dir, const struct options *options)
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

int rundir_open_again(struct rundir *dir, const struct options *options,
		      const struct rundir *before)
{
	int status = open_directory(dir, options);

	dir->lock = before->lock;
	dir->supervision = before->supervision;
	dir->running = before->running; /* the same process, even where it has ended meanwhile */
	if (status == 0 && !find_home(dir, options->name))
		status = EX_OSERR;
	if (status != 0) {
		rundir_close(dir);
		return status;
	}
	vmlock_sign(dir);
	vmlock_find_running(dir);
	if (before->names[SOCKET_CONTROL] < 0)
		open_names(dir); /* the one before was of a version that had none */
	else
		memcpy(dir->names, before->names, sizeof(dir->names));
	return 0;
}
