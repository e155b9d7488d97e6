#include "rundir.h"

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

#include "log.h"
#include "paths.h"
#include "safefile.h"
#include "timespan.h"
#include "xalloc.h"

#define BACKLOG	      16
#define LOCK_TEXT     256
#define CLAIM_MS      2000 /* for a QEMU that is just being started to name itself in vm.lock */
#define CLAIM_LOOK_MS 10

static const char *const socket_names[] = {[SOCKET_CONTROL] = "control",
					   [SOCKET_QMP] = "qmp",
					   [SOCKET_CONSOLE] = "console",
					   [SOCKET_AGENT] = "agent"};
_Static_assert(sizeof(socket_names) / sizeof(socket_names[0]) == SOCKET_COUNT,
	       "a name for each socket");

/* Besides the sockets. The locks are the last ones to go. */
static const char *const files[] = {"state.json", "state.json.new", "lock"};

/* ---- the directory ---- */

/* A directory that somebody else owns is one in which he can exchange our files. */
static bool owner_is_good(const struct stat *st, bool root_is_good)
{
	return st->st_uid == geteuid() || (root_is_good && st->st_uid == 0);
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
	dir->made = mkdir(dir->path, 0700) == 0;
	if (!dir->made && errno != EEXIST) {
		log_warn("cannot make the runtime directory %s", dir->path);
		return false;
	}
	dir->fd = open(dir->path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (dir->fd < 0 || fstat(dir->fd, &st) < 0) {
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

/* Disks and vm.lock are in it; it stays. */
static bool open_home(struct rundir *dir, const char *name)
{
	char *base = paths_state_dir();

	dir->home_path = xasprintf("%s/%s", base ? base : "", name);
	if (base && paths_make(base)) {
		dir->home_made = mkdir(dir->home_path, 0700) == 0;
		if (dir->home_made || errno == EEXIST)
			dir->home = open(dir->home_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	}
	if (dir->home < 0)
		log_warn("cannot use the state directory %s", dir->home_path);
	free(base);
	return dir->home >= 0;
}

/* ---- locks ---- */

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static int vm_lock_dir(const struct rundir *dir)
{
	return dir->home >= 0 ? dir->home : dir->fd;
}

static const char *vm_lock_path(const struct rundir *dir)
{
	return dir->home >= 0 ? dir->home_path : dir->path;
}

/*
 * The bytes of a lock file. vm.lock has one that QEMU holds as long as it lives, and one that its
 * supervisor holds, whatever runtime directory that has.
 */
enum { HOLDER_BYTE, SUPERVISOR_BYTE };

static struct flock lock_of(off_t byte)
{
	return (struct flock){.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1};
}

/*
 * Opens and locks a file of the directory. Who removes such a file holds its lock; so after the
 * lock was taken, the file must still be there under its name. text gets what is in it: of its
 * holder, or of the last one.
 */
static int take_lock(int dirfd, const char *name, off_t byte, char text[LOCK_TEXT])
{
	struct flock lock = lock_of(byte);

	for (;;) {
		int fd = safefile_open(dirfd, name, O_RDWR | O_CREAT);
		struct stat ours, named;
		bool locked;
		ssize_t len;
		int error;

		text[0] = '\0';
		if (fd < 0)
			return -1;
		locked = fcntl(fd, F_OFD_SETLK, &lock) == 0;
		error = errno;
		len = pread(fd, text, LOCK_TEXT - 1, 0);
		text[len > 0 ? len : 0] = '\0';
		if (!locked) {
			close(fd);
			errno = error;
			return -1;
		}
		if (fstat(fd, &ours) == 0 && fstatat(dirfd, name, &named, 0) == 0 &&
		    ours.st_ino == named.st_ino && ours.st_dev == named.st_dev)
			return fd;
		close(fd);
	}
}

/* Whether a QEMU holds vm.lock, or may. Our own copy is closed. */
static bool vm_lives(const struct rundir *dir)
{
	struct flock lock = lock_of(HOLDER_BYTE);

	return fcntl(dir->supervision, F_OFD_GETLK, &lock) < 0 || lock.l_type != F_UNLCK;
}

bool rundir_vm_runs(const char *name)
{
	struct flock lock = lock_of(HOLDER_BYTE);
	char *home = vm_name_is_valid(name) ? vm_home(name) : NULL;
	char *path = xasprintf("%s/vm.lock", home ? home : "");
	int fd = home ? safefile_open(AT_FDCWD, path, O_RDONLY) : -1;
	bool runs = fd >= 0 && fcntl(fd, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;

	close_fd(&fd);
	free(path);
	free(home);
	return runs;
}

static bool is_gone(const char *pid)
{
	return atoi(pid) > 0 && kill(atoi(pid), 0) < 0 && errno == ESRCH;
}

/* What a supervisor that was killed had just forked may hold a copy for a moment. */
static void wait_own_lock(struct rundir *dir, char text[LOCK_TEXT])
{
	int64_t until = monotonic_ms() + CLAIM_MS;
	int error;

	for (;;) {
		dir->lock = take_lock(dir->fd, "lock", HOLDER_BYTE, text);
		error = errno;
		if (dir->lock >= 0 || error != EAGAIN || !is_gone(text) || monotonic_ms() >= until)
			break;
		poll(NULL, 0, CLAIM_LOOK_MS);
	}
	errno = error;
}

static int take_own_lock(struct rundir *dir, const char *name)
{
	char text[LOCK_TEXT], pid[32];

	wait_own_lock(dir, text);
	text[strcspn(text, "\n")] = '\0';
	if (dir->lock < 0 && errno == EAGAIN) {
		log_error("VM %s already has a supervisor, pid %s; stop that one first%s", name,
			  text[0] ? text : "unknown",
			  dir->home < 0 ? ", or name this VM otherwise with --name" : "");
		return EX_TEMPFAIL;
	}
	if (dir->lock < 0) {
		log_warn("cannot lock %s/lock", dir->path);
		return EX_OSERR;
	}
	snprintf(pid, sizeof(pid), "%d\n", getpid());
	if (ftruncate(dir->lock, 0) < 0 || pwrite(dir->lock, pid, strlen(pid), 0) < 0)
		log_warn("cannot write our pid to %s/lock", dir->path);
	return 0;
}

/* Whether vm.lock is held by the process that its text names. */
static bool find_running(struct rundir *dir, const char *text)
{
	if (!holder_parse(&dir->holder, text))
		return false;
	dir->running = holder_pidfd(&dir->holder);
	if (!vm_lives(dir))
		close_fd(&dir->running);
	return dir->running >= 0;
}

/* A vm.lock with a name in it was not removed by a supervisor. */
static void tell_unseen_end(const char *text)
{
	struct holder last;
	char boot[BOOT_ID];

	if (text[0] == '\0')
		return;
	boot_id(boot);
	log_notice("nobody saw the last end of this VM: %s",
		   holder_parse(&last, text) && strcmp(last.boot, boot) == 0
			   ? "QEMU ended while it had no supervisor"
			   : "the host went down with it");
}

/*
 * Without a name in vm.lock a QEMU that loses its supervisor could never be taken over: the room
 * for it is there before QEMU is, however full the disk.
 */
static bool reserve_claim(int fd)
{
	return fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, HOLDER_LINE) == 0 || errno == EOPNOTSUPP;
}

/*
 * Takes our part of vm.lock, and QEMU's or finds the QEMU that holds that. False and errno, EAGAIN:
 * somebody else has one of them. text gets what is in the file.
 */
static bool try_vm_lock(struct rundir *dir, char text[LOCK_TEXT])
{
	if (dir->supervision < 0)
		dir->supervision = take_lock(vm_lock_dir(dir), "vm.lock", SUPERVISOR_BYTE, text);
	if (dir->supervision < 0)
		return false;
	dir->vm_lock = take_lock(vm_lock_dir(dir), "vm.lock", HOLDER_BYTE, text);
	if (dir->vm_lock >= 0) {
		tell_unseen_end(text);
		return reserve_claim(dir->vm_lock);
	}
	if (errno != EAGAIN)
		return false;
	if (find_running(dir, text))
		return true;
	errno = EAGAIN;
	return false;
}

/* Whose lock keeps us from taking our part: a vmconf holds all of the file, length 0. */
static struct flock blocker(const struct rundir *dir)
{
	struct flock lock = lock_of(SUPERVISOR_BYTE);
	int fd = safefile_open(vm_lock_dir(dir), "vm.lock", O_RDWR);

	if (fd < 0 || fcntl(fd, F_OFD_GETLK, &lock) < 0)
		lock.l_type = F_UNLCK;
	close_fd(&fd);
	return lock;
}

/* What a vmconf works on can be started when that is done: that is no VM that has a supervisor. */
static int tell_held(const struct rundir *dir, const char *name, char text[LOCK_TEXT])
{
	struct flock lock = blocker(dir);
	bool other = dir->supervision < 0 && lock.l_type != F_UNLCK;
	bool vmconf = other && lock.l_len == 0;

	text[strcspn(text, " \n")] = '\0';
	if (text[0] == '\0')
		snprintf(text, LOCK_TEXT, "unknown");
	if (vmconf)
		log_error("VM %s is being changed: a vmconf holds %s/vm.lock; start it again when "
			  "that is done",
			  name, vm_lock_path(dir));
	else if (other)
		log_error("VM %s still runs under a supervisor with another runtime directory "
			  "than %s; QEMU's pid is %s",
			  name, dir->path, text);
	else
		log_error("VM %s: %s/vm.lock is held, but not by pid %s that is named in it, so "
			  "QEMU cannot be taken over; find its process (fuser) and end it",
			  name, vm_lock_path(dir), text);
	return vmconf ? EX_OSERR : EX_TEMPFAIL;
}

/*
 * While a supervisor dies, its copies may be closed later than its own lock; and a QEMU that it has
 * just forked names itself a moment later.
 */
static int take_vm_lock(struct rundir *dir, const char *name)
{
	int64_t until = monotonic_ms() + CLAIM_MS;
	char text[LOCK_TEXT];

	while (!try_vm_lock(dir, text)) {
		if (errno != EAGAIN) {
			log_warn("cannot lock %s/vm.lock", vm_lock_path(dir));
			return EX_OSERR;
		}
		if (monotonic_ms() >= until)
			return tell_held(dir, name, text);
		poll(NULL, 0, CLAIM_LOOK_MS);
	}
	return 0;
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

static bool make_sockets(struct rundir *dir, const struct options *options)
{
	const bool wanted[] = {[SOCKET_CONTROL] = true,
			       [SOCKET_QMP] = true,
			       [SOCKET_CONSOLE] = options->console,
			       [SOCKET_AGENT] = options->agent};

	unlinkat(dir->fd, "state.json", 0); /* of one that was killed, as these */
	for (size_t i = 0; i < SOCKET_COUNT; i++) {
		unlinkat(dir->fd, socket_names[i], 0);
		if (!wanted[i])
			continue;
		dir->sockets[i] = listen_on(dir, socket_names[i]);
		if (dir->sockets[i] < 0)
			return false;
	}
	return true;
}

int rundir_connect(const struct rundir *dir, enum rundir_socket which)
{
	struct sockaddr_un sa;
	int fd;

	if (!socket_address(dir, socket_names[which], &sa))
		return -1;
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
	bool served = peer.fd >= 0 ? poll(&peer, 1, CLAIM_MS) == 0 : errno == EAGAIN;

	close_fd(&peer.fd);
	return served;
}

/*
 * A definition and a command line with the same name have one runtime directory, but each its own
 * vm.lock, so that this one is free while the QEMU of the other lives: its sockets are not ours.
 */
static bool is_anothers(const struct rundir *dir, const char *name)
{
	static const enum rundir_socket asked[] = {SOCKET_CONTROL, SOCKET_QMP};

	for (size_t i = 0; i < sizeof(asked) / sizeof(asked[0]); i++) {
		if (!is_served(dir, asked[i]))
			continue;
		log_error("VM %s: another QEMU of that name listens on %s/%s; end that one first%s",
			  name, dir->path, socket_names[asked[i]],
			  dir->home < 0 ? ", or name this VM otherwise with --name" : "");
		return true;
	}
	return false;
}

static void write_claim(int fd, pid_t pid)
{
	struct holder holder = holder_of(pid);
	char line[HOLDER_LINE];
	int len = holder_format(&holder, line);

	if (pwrite(fd, line, (size_t)len, 0) != len || ftruncate(fd, len) < 0)
		return; /* there is room for it: reserve_claim(); else the lock itself is what
			   counts */
}

void rundir_claim(const struct rundir *dir)
{
	write_claim(dir->vm_lock, 0);
}

void rundir_claim_for(const struct rundir *dir, pid_t pid)
{
	int fd = safefile_open(vm_lock_dir(dir), "vm.lock", O_RDWR);

	if (fd < 0)
		return;
	write_claim(fd, pid);
	close(fd);
}

void rundir_handed_over(struct rundir *dir)
{
	for (size_t i = 0; i < SOCKET_COUNT; i++)
		close_fd(&dir->sockets[i]);
	close_fd(&dir->vm_lock);
}

static bool leads_to(const char *path, int fd)
{
	struct stat ours, named;

	return fstat(fd, &ours) == 0 && stat(path, &named) == 0 && ours.st_ino == named.st_ino &&
	       ours.st_dev == named.st_dev;
}

bool rundir_is_there(const struct rundir *dir)
{
	return leads_to(dir->path, dir->fd);
}

static bool write_file(int dirfd, const char *name, const char *text)
{
	int fd = openat(dirfd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	size_t len = strlen(text);
	bool written = fd >= 0 && write(fd, text, len) == (ssize_t)len;
	int error = written || fd < 0 ? errno : ENOSPC;

	if (fd >= 0)
		close(fd);
	errno = error;
	return written;
}

void rundir_write_state(struct rundir *dir, json_t *state)
{
	char *text = xcheck(json_dumps(state, JSON_INDENT(2)));
	bool written = write_file(dir->fd, "state.json.new", text) &&
		       renameat(dir->fd, "state.json.new", dir->fd, "state.json") == 0;

	if (!written && !dir->full_told)
		log_warn("cannot write %s/state.json; the VM goes on", dir->path);
	dir->full_told = !written;
	free(text);
}

json_t *rundir_read_state(const struct rundir *dir)
{
	int fd = openat(dir->fd, "state.json", O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	json_t *state = fd >= 0 ? json_loadfd(fd, 0, NULL) : NULL;

	if (fd >= 0)
		close(fd);
	return state;
}

static void rundir_close(struct rundir *dir)
{
	rundir_handed_over(dir);
	close_fd(&dir->running);
	close_fd(&dir->supervision);
	close_fd(&dir->lock);
	close_fd(&dir->fd);
	close_fd(&dir->home);
	free(dir->path);
	free(dir->home_path);
	dir->path = dir->home_path = NULL;
}

void rundir_remove(struct rundir *dir)
{
	rundir_handed_over(dir);
	if (vm_lives(dir)) {
		log_warnx("a process that was started with QEMU still holds %s/vm.lock: it stays, "
			  "so that no second QEMU is started",
			  vm_lock_path(dir));
		rundir_close(dir);
		return;
	}
	for (size_t i = 0; i < SOCKET_COUNT; i++)
		unlinkat(dir->fd, socket_names[i], 0);
	unlinkat(vm_lock_dir(dir), "vm.lock", 0);
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
		unlinkat(dir->fd, files[i], 0);
	rmdir(dir->path);
	rundir_close(dir);
}

void rundir_remove_left(const char *path)
{
	struct rundir dir = RUNDIR_NONE;
	char text[LOCK_TEXT];
	struct stat st;

	dir.path = xstrdup(path);
	dir.fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (dir.fd >= 0 && fstat(dir.fd, &st) == 0 && owner_is_good(&st, false))
		dir.lock = take_lock(dir.fd, "lock", HOLDER_BYTE, text);
	if (dir.lock >= 0)
		dir.supervision = take_lock(dir.fd, "vm.lock", SUPERVISOR_BYTE, text);
	if (dir.supervision >= 0 && !vm_lives(&dir))
		rundir_remove(&dir);
	else
		rundir_close(&dir);
}

/* One with a name in it tells that nobody saw the VM's end. */
static bool is_empty(int fd)
{
	struct stat st;

	return fd >= 0 && fstat(fd, &st) == 0 && st.st_size == 0;
}

/* Removes only what is nobody else's: locks that we hold, and an empty directory that we made. */
static void abandon(struct rundir *dir, int status)
{
	rundir_handed_over(dir);
	if (is_empty(dir->supervision) && !vm_lives(dir))
		unlinkat(vm_lock_dir(dir), "vm.lock", 0);
	if (status == EX_OSERR && dir->lock >= 0)
		unlinkat(dir->fd, "lock", 0);
	if (status == EX_OSERR && dir->made)
		rmdir(dir->path);
	rundir_close(dir);
}

/* ---- all of it ---- */

/* Its two directories. */
static int open_dirs(struct rundir *dir, const struct options *options)
{
	char *base = paths_runtime_dir();
	bool opened;

	*dir = RUNDIR_NONE;
	if (!base) {
		log_error("neither XDG_RUNTIME_DIR nor QEMU_SUPERVISE_RUNTIME_DIR is set: no place "
			  "for the sockets of this VM");
		return EX_OSERR;
	}
	dir->path = xasprintf("%s/%s", base, options->name);
	opened = open_dir(dir, base) && (!options->defined || open_home(dir, options->name));
	free(base);
	return opened ? 0 : EX_OSERR;
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

	if (status == 0 && (!are_private(dir) || !make_sockets(dir, options)))
		status = EX_OSERR;
	return status;
}

/* A state directory that a VM has no more, or has not had yet, is not left behind. */
static void unmake(struct rundir *dir)
{
	char *home = dir->home_made ? xstrdup(dir->home_path) : NULL;

	rundir_remove(dir);
	if (home)
		rmdir(home);
	free(home);
}

int rundir_open(struct rundir *dir, const struct options *options)
{
	int status = open_dirs(dir, options);

	if (status == 0)
		status = take_own_lock(dir, options->name);
	if (status == 0)
		status = take_vm_lock(dir, options->name);
	if (status == 0 && dir->running < 0 && is_anothers(dir, options->name))
		status = EX_TEMPFAIL;
	if (status != 0) {
		abandon(dir, status);
		return status;
	}
	if (dir->running < 0)
		status = make_all(dir, options);
	if (status != 0)
		unmake(dir);
	return status;
}

int rundir_open_again(struct rundir *dir, const struct options *options, int lock, int supervision,
		      int running)
{
	int status = open_dirs(dir, options);
	char text[LOCK_TEXT] = "";
	int fd = status == 0 ? safefile_open(vm_lock_dir(dir), "vm.lock", O_RDONLY) : -1;

	dir->lock = lock;
	dir->supervision = supervision;
	if (fd >= 0) {
		ssize_t len = pread(fd, text, LOCK_TEXT - 1, 0);

		text[len > 0 ? len : 0] = '\0';
		close(fd);
	}
	dir->running = running; /* the same process still, even where it has ended meanwhile */
	if (status == 0 && running < 0)
		find_running(dir, text);
	else if (status == 0)
		holder_parse(&dir->holder, text);
	else
		rundir_close(dir);
	return status;
}
