#include "supervise/vmlock.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/log.h"
#include "lib/safefile.h"
#include "lib/timespan.h"
#include "lib/xalloc.h"
#include "vm/lockfile.h"
#include "vm/paths.h"
#include "vm/vm.h"

#define CLAIM_MS      2000 /* for one that is ending to let go, and for QEMU to sign */
#define CLAIM_LOOK_MS 10

int vmlock_dir(const struct rundir *dir)
{
	return dir->home >= 0 ? dir->home : dir->fd;
}

const char *vmlock_path(const struct rundir *dir)
{
	return dir->home >= 0 ? dir->home_path : dir->path;
}

bool vmlock_lives(const struct rundir *dir)
{
	return lock_is_held(dir->supervision, HOLDER_BYTE);
}

bool vmlock_is_blank(const struct rundir *dir)
{
	char text[HOLDER_LINE + 1];

	lock_read(dir->supervision, HOLDER_BYTE, text);
	return dir->supervision >= 0 && text[0] == '\0';
}

static bool is_of_definition(int fd)
{
	char text[HOLDER_LINE + 1];
	struct holder holder;

	lock_read(fd, HOLDER_BYTE, text);
	return !holder_parse(&holder, text) || !holder.command;
}

bool vmlock_runs(const char *name)
{
	char *home = vm_name_is_valid(name) ? vm_home(name) : NULL;
	char *path = xasprintf("%s/vm.lock", home ? home : "");
	int fd = home ? safefile_open(AT_FDCWD, path, O_RDONLY) : -1;
	bool runs = fd >= 0 && lock_is_held(fd, HOLDER_BYTE) && is_of_definition(fd);

	fd_close(&fd);
	free(path);
	free(home);
	return runs;
}

/* ---- the lock of the directory ---- */

/* The pid in it, as text: of its holder or the last one. */
static void read_pid(const struct rundir *dir, char text[HOLDER_LINE + 1])
{
	int fd = safefile_open(dir->fd, "lock", O_RDONLY);

	text[0] = '\0';
	if (fd < 0)
		return;
	lock_read(fd, HOLDER_BYTE, text);
	text[strcspn(text, " \n")] = '\0';
	close(fd);
}

/* A supervisor being killed holds it a moment longer, as may a child that it just forked. */
static void wait_directory(struct rundir *dir)
{
	int64_t until = monotonic_ms() + CLAIM_MS;

	for (;;) {
		dir->lock = lock_take(dir->fd, "lock", HOLDER_BYTE);
		if (dir->lock >= 0 || errno != EAGAIN || monotonic_ms() >= until)
			return;
		poll(NULL, 0, CLAIM_LOOK_MS);
	}
}

int vmlock_take_directory(struct rundir *dir, const char *name)
{
	char text[HOLDER_LINE + 1], pid[32];

	wait_directory(dir);
	if (dir->lock < 0 && errno == EAGAIN) {
		read_pid(dir, text);
		log_error("VM %s already has a supervisor, pid %s; stop that one first%s", name,
			  text[0] ? text : "unknown",
			  dir->defined ? "" : ", or name this VM otherwise with --name");
		return EX_TEMPFAIL;
	}
	if (dir->lock < 0 && errno == ENOENT)
		return VMLOCK_REMOVED;
	if (dir->lock < 0) {
		log_warn("cannot lock %s/lock", dir->path);
		return EX_OSERR;
	}
	snprintf(pid, sizeof(pid), "%d\n", getpid());
	if (ftruncate(dir->lock, 0) < 0 || pwrite(dir->lock, pid, strlen(pid), 0) < 0)
		log_warn("cannot write our pid to %s/lock", dir->path);
	return 0;
}

/* ---- vm.lock ---- */

/* A command line and a definition with the same name share the state directory. */
static bool is_anothers(const struct rundir *dir)
{
	return dir->home >= 0 && dir->holder.pid > 0 && dir->holder.command == dir->defined;
}

void vmlock_find_running(struct rundir *dir)
{
	int process = lock_holder(dir->supervision, HOLDER_BYTE, &dir->holder);

	if (dir->running < 0 && !is_anothers(dir))
		dir->running = process;
	else
		fd_close(&process);
}

/* A vm.lock that has a record was not removed by a supervisor. */
static void tell_unseen_end(const struct rundir *dir)
{
	char text[HOLDER_LINE + 1];
	struct holder last;

	lock_read(dir->supervision, HOLDER_BYTE, text);
	if (text[0] == '\0')
		return;
	log_notice("nobody saw the last end of this VM: %s",
		   holder_parse(&last, text) && holder_is_of_this_boot(&last)
			   ? "QEMU ended while it had no supervisor"
			   : "the host went down with it");
}

bool vmlock_sign(const struct rundir *dir)
{
	struct holder us = holder_of(0);
	bool signed_ = lock_write(dir->supervision, SUPERVISOR_BYTE, &us);

	if (!signed_)
		log_warn("cannot write our pid to %s/vm.lock", vmlock_path(dir));
	return signed_;
}

/*
 * Without its record a QEMU could not be taken over if its supervisor dies, so space for that is
 * reserved before QEMU starts, even on a full disk.
 */
static bool prepare(struct rundir *dir)
{
	tell_unseen_end(dir);
	if (!lock_reserve(dir->supervision) || !vmlock_sign(dir))
		return false;
	dir->vm_lock = lock_for_qemu(vmlock_dir(dir), "vm.lock", dir->supervision);
	return dir->vm_lock >= 0;
}

/*
 * Takes our byte of vm.lock, and QEMU's or finds the QEMU that holds it. False and errno: EAGAIN if
 * somebody else has one of them.
 */
static bool try_vm_lock(struct rundir *dir)
{
	struct flock qemu;

	if (dir->supervision < 0)
		dir->supervision = lock_take(vmlock_dir(dir), "vm.lock", SUPERVISOR_BYTE);
	if (dir->supervision < 0 || !lock_look(dir->supervision, HOLDER_BYTE, &qemu))
		return false;
	if (qemu.l_type == F_UNLCK)
		return prepare(dir);
	vmlock_find_running(dir);
	if (dir->running >= 0) {
		vmlock_sign(dir); /* go on if that fails: QEMU needs a supervisor */
		return true;
	}
	errno = EAGAIN;
	return false;
}

/* The lock that keeps us from taking our byte. */
static struct flock blocker(const struct rundir *dir)
{
	int fd = safefile_open(vmlock_dir(dir), "vm.lock", O_RDONLY);
	struct flock lock;

	if (fd < 0 || !lock_look(fd, SUPERVISOR_BYTE, &lock))
		lock.l_type = F_UNLCK;
	fd_close(&fd);
	return lock;
}

/* There is a supervisor, or a vmconf: then the VM can be started when that is done. */
static int tell_blocked(const struct rundir *dir, const char *name, const struct flock *lock,
			const char *pid)
{
	if (lock_is_whole(lock)) {
		log_error("VM %s is being changed: a vmconf holds %s/vm.lock; start it again when "
			  "that is done",
			  name, vmlock_path(dir));
		return EX_OSERR;
	}
	log_error("VM %s still runs under a supervisor with another runtime directory than %s; "
		  "QEMU's pid is %s",
		  name, dir->path, pid);
	return EX_TEMPFAIL;
}

/* The file is shared, and the process that its record names is not of this host. */
static bool tell_elsewhere(const struct rundir *dir, const char *name, const char *text)
{
	struct holder holder;

	if (!holder_parse(&holder, text) || holder_is_of_this_boot(&holder))
		return false;
	log_error("VM %s runs on another host, which holds %s/vm.lock; stop it there first", name,
		  vmlock_path(dir));
	return true;
}

static int tell_held(const struct rundir *dir, const char *name)
{
	struct flock lock = blocker(dir);
	char text[HOLDER_LINE + 1] = "";
	int fd = safefile_open(vmlock_dir(dir), "vm.lock", O_RDONLY);

	if (fd >= 0) {
		lock_read(fd, HOLDER_BYTE, text);
		close(fd);
	}
	if (!lock_is_whole(&lock) && tell_elsewhere(dir, name, text))
		return EX_TEMPFAIL;
	text[strcspn(text, " \n")] = '\0';
	if (text[0] == '\0')
		snprintf(text, sizeof(text), "unknown");
	if (dir->supervision < 0 && lock.l_type != F_UNLCK)
		return tell_blocked(dir, name, &lock, text);
	if (is_anothers(dir))
		log_error("VM %s: another QEMU of that name, pid %s, was started %s; end that one "
			  "first%s",
			  name, text, dir->defined ? "by a command line" : "from a definition",
			  dir->defined ? "" : ", or name this VM otherwise with --name");
	else
		log_error("VM %s: %s/vm.lock is held, but not by pid %s that is named in it, so "
			  "QEMU cannot be taken over; find its process (fuser) and end it",
			  name, vmlock_path(dir), text);
	return EX_TEMPFAIL;
}

/*
 * When a supervisor dies, copies of its descriptors may stay open longer than its lock; and a QEMU
 * that it just forked signs a moment later.
 */
int vmlock_take(struct rundir *dir, const char *name)
{
	int64_t until = monotonic_ms() + CLAIM_MS;

	while (!try_vm_lock(dir)) {
		if (errno != EAGAIN) {
			log_warn("cannot lock %s/vm.lock", vmlock_path(dir));
			return EX_OSERR;
		}
		if (monotonic_ms() >= until)
			return tell_held(dir, name);
		poll(NULL, 0, CLAIM_LOOK_MS);
	}
	return 0;
}

void vmlock_claim(const struct rundir *dir, pid_t pid)
{
	struct holder holder = holder_of(pid);

	holder.command = !dir->defined;
	if (!lock_write(dir->supervision, HOLDER_BYTE, &holder))
		return; /* space is reserved (lock_reserve()); else the lock alone counts */
}
