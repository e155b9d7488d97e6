/*
 * For unit tests of vmconf's commands: directories of the test's own, a command that runs in them,
 * and what it printed. Include it after calls.h, in one file of a program.
 */
#ifndef COMMAND_H
#define COMMAND_H

#include <stdarg.h>

#include "commands/call.h"
#include "commands/journal.h"
#include "commands/storelock.h"
#include "lib/log.h"
#include "vm/lockfile.h"

/* ---- directories ---- */

/* An init adapter that writes down what it is asked, in "init.said", and ends with "init.status".
 */
static inline void make_adapter(void)
{
	char script[2 * PATH_MAX];

	snprintf(script, sizeof(script),
		 "#!/bin/sh\necho \"$*\" >>%s/init.said\nread -r s 2>/dev/null <%s/init.status\n"
		 "[ \"$1\" != is-enabled ] || exit \"${s:-0}\"\n",
		 base, base);
	put("init", script);
	assert_int_equal(chmod(in_base("init"), 0755), 0);
	setenv("QEMU_SUPERVISE_INIT", in_base("init"), 1);
}

/* config/, state/ with images/, and run/. */
static inline void make_store(void)
{
	static const char *const dirs[] = {"config", "state", "state/images", "run"};

	for (size_t i = 0; i < ARRAY_SIZE(dirs); i++)
		assert_int_equal(mkdir(in_base(dirs[i]), 0700), 0);
	setenv("QEMU_SUPERVISE_CONFIG_DIR", in_base("config"), 1);
	setenv("QEMU_SUPERVISE_STATE_DIR", in_base("state"), 1);
	setenv("QEMU_SUPERVISE_RUNTIME_DIR", in_base("run"), 1);
	make_adapter();
}

static inline void make_file(const char *name, off_t size)
{
	put(name, "");
	assert_int_equal(truncate(in_base(name), size), 0);
}

/* -1: it is not there. */
static inline off_t size_of(const char *name)
{
	struct stat st;

	return stat(in_base(name), &st) == 0 ? st.st_size : -1;
}

/* ---- a VM ---- */

/* A definition in which %s, as often as it comes, is the state directory of "web". */
static inline void put_vm(const char *name, const char *text)
{
	char whole[8192] = "", file[64];
	const char *at;

	while ((at = strstr(text, "%s"))) {
		size_t len = strlen(whole);

		snprintf(whole + len, sizeof(whole) - len, "%.*s%s", (int)(at - text), text,
			 in_base("state/web"));
		text = at + 2;
	}
	snprintf(whole + strlen(whole), sizeof(whole) - strlen(whole), "%s", text);
	snprintf(file, sizeof(file), "config/%s.json", name);
	put(file, whole);
}

/* ---- a VM that runs ---- */

/* Its state directory exists. Returns the lock that QEMU would hold, which close() releases. */
static inline int hold_as_qemu(const char *home)
{
	struct holder us = holder_of(0);
	int dir = open(in_base(home), O_RDONLY | O_CLOEXEC), lock;

	lock = lock_take(dir, "vm.lock", HOLDER_BYTE);
	assert_true(lock_write(lock, HOLDER_BYTE, &us));
	close(dir);
	return lock;
}

/* ---- another vmconf ---- */

/* It makes a VM, and maybe copies another one, until other_is_done(). */
static inline void other_makes(struct store *other, const char *name, const char *source)
{
	store_open(other);
	assert_true(store_lock(other));
	assert_true(journal_begin(other, name, NULL, json_array(), NULL));
	assert_true(journal_put_aside(other, name, source));
	store_unlock(other);
	move_up(&other->config_fd);
	move_up(&other->state_fd);
}

static inline void other_is_done(struct store *other)
{
	assert_true(store_lock(other));
	assert_true(journal_end(other));
	store_unlock(other);
	store_close(other);
}

/* Whether it could make a change now. */
static inline bool store_is_free(void)
{
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	int fd = open(in_base("state/.lock"), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	bool is_free = fcntl(fd, F_OFD_SETLK, &lock) == 0;

	close(fd);
	return is_free;
}

/* ---- running a command ---- */

typedef int command_fn(struct call *call);

static inline int call_it(command_fn *fn, char **argv, int argc)
{
	const struct command command = {.name = argv[0], .run = fn, .operands = "", .help = ""};
	struct call call = {.command = &command, .argc = argc, .argv = argv};
	int status;

	optind = 0;
	store_open(&call.store);
	status = fn(&call);
	store_close(&call.store);
	return status;
}

/* The words end with NULL. What it prints is in "out" afterwards. */
static inline int run_command(command_fn *fn, ...)
{
	char *argv[16] = {NULL};
	int out = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 60), argc = 0, status;
	int file = open(in_base("out"), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	va_list words;

	va_start(words, fn);
	while ((argv[argc] = va_arg(words, char *)))
		argc++;
	va_end(words);
	fflush(stdout);
	dup2(file, STDOUT_FILENO);
	close(file);
	status = call_it(fn, argv, argc);
	fflush(stdout);
	dup2(out, STDOUT_FILENO);
	close(out);
	return status;
}

/* The same in a child: of a command that may exit. */
#define RUN_APART(...)                                                                             \
	__extension__({                                                                            \
		pid_t apart = fork();                                                              \
		int ended = 0;                                                                     \
		if (apart == 0)                                                                    \
			_exit(run_command(__VA_ARGS__));                                           \
		assert_int_equal(waitpid(apart, &ended, 0), apart);                                \
		assert_true(WIFEXITED(ended));                                                     \
		WEXITSTATUS(ended);                                                                \
	})

/* A line that comes again is only counted, if it was one of the last few. */
static inline void forget_lines(void)
{
	static int serial;

	for (int i = 0; i < 20; i++)
		log_error("line %d", serial++);
	said();
}

/* What was logged has these words. */
static inline void has_said(const char *words)
{
	const char *text = said();

	if (!strstr(text, words))
		fail_msg("\"%s\" is not in \"%s\"", words, text);
	forget_lines();
}

/* The text at these keys and indices, up to NULL; NULL: there is none. */
static inline const char *text_at(json_t *value, ...)
{
	const char *key;
	va_list keys;

	va_start(keys, value);
	while ((key = va_arg(keys, const char *)))
		value = key[0] >= '0' && key[0] <= '9' ? json_array_get(value, (size_t)atoi(key))
						       : json_object_get(value, key);
	va_end(keys);
	return json_string_value(value);
}

#endif
