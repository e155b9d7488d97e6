/* The sockets of a runtime directory: made as the options ask, told to QEMU, removed at the end. */
#include "unit.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/un.h>
#include <sysexits.h>
#include <unistd.h>

#include "supervise/child.h"
#include "lib/log.h"
#include "supervise/claim.h"

#define NAME "web"

struct place {
	char base[80];
	struct options options;
	struct rundir dir;
};

static int begin_test(void **state)
{
	struct place *p = calloc(1, sizeof(*p));
	const char *tmp = getenv("TMPDIR");

	snprintf(p->base, sizeof(p->base), "%s/qs-unit-XXXXXX", tmp ? tmp : "/tmp");
	assert_non_null(mkdtemp(p->base));
	setenv("QEMU_SUPERVISE_RUNTIME_DIR", p->base, 1);
	setenv("QEMU_SUPERVISE_STATE_DIR", "/dev/null/none", 1); /* vm.lock is in the other one */
	p->options.name = NAME;
	p->dir = RUNDIR_NONE;
	*state = p;
	return 0;
}

static int end_test(void **state)
{
	struct place *p = *state;

	assert_int_equal(rmdir(p->base), 0); /* nothing is left in it */
	free(p);
	return 0;
}

static bool is_there(const struct place *p, const char *name)
{
	char path[128];
	struct stat st;

	snprintf(path, sizeof(path), "%s/" NAME "/%s", p->base, name);
	return lstat(path, &st) == 0;
}

static const char *readconfig(const struct place *p)
{
	static char text[4096];
	int fd = child_readconfig(&p->dir, NULL);
	ssize_t len;

	assert_true(fd >= 0);
	len = pread(fd, text, sizeof(text) - 1, 0);
	text[len > 0 ? len : 0] = '\0';
	close(fd);
	return text;
}

static bool connects(const struct place *p, enum rundir_socket which)
{
	int fd = runfiles_connect(p->dir.path, which);

	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

static void two_by_default(void **state)
{
	struct place *p = *state;

	assert_int_equal(claim_vm(&p->dir, &p->options), 0);
	assert_true(is_there(p, "control") && is_there(p, "qmp"));
	assert_false(is_there(p, "console") || is_there(p, "agent"));
	assert_true(connects(p, SOCKET_CONTROL) && connects(p, SOCKET_QMP));
	assert_false(connects(p, SOCKET_AGENT));
	assert_null(strstr(readconfig(p), "qemu-supervise-agent"));
	assert_null(strstr(readconfig(p), "qemu-supervise-console"));
	claim_end(&p->dir);
}

static void as_the_options_ask(void **state)
{
	struct place *p = *state;
	char words[128];

	p->options.console = p->options.agent = true;
	assert_int_equal(claim_vm(&p->dir, &p->options), 0);
	for (enum rundir_socket i = 0; i < SOCKET_COUNT; i++) {
		assert_true(is_there(p, runfiles_socket(i)) && connects(p, i));
		assert_int_equal(fcntl(p->dir.sockets[i], F_GETFD), FD_CLOEXEC);
		snprintf(words, sizeof(words),
			 "[chardev \"qemu-supervise-%s\"]\n  backend = \"socket\"\n"
			 "  fd = \"%d\"\n  server = \"on\"\n  wait = \"off\"\n",
			 runfiles_socket(i), p->dir.sockets[i]);
		assert_non_null(strstr(readconfig(p), words));
		snprintf(words, sizeof(words), "[mon \"qemu-supervise-%s\"]", runfiles_socket(i));
		assert_int_equal(strstr(readconfig(p), words) != NULL,
				 i == SOCKET_CONTROL || i == SOCKET_QMP);
	}
	rundir_handed_over(&p->dir);
	assert_false(connects(p, SOCKET_AGENT)); /* nobody listens: QEMU would */
	claim_end(&p->dir);
}

/* As a supervisor that is killed. */
static void forget(struct place *p)
{
	close(p->dir.fd);
	free(p->dir.path);
	free(p->dir.home_path);
	p->dir = RUNDIR_NONE;
}

/* The last run had them, and was killed; this one has none: nobody may wait for them in vain. */
static void left_over(void **state)
{
	struct place *p = *state;

	p->options.console = p->options.agent = true;
	assert_int_equal(claim_vm(&p->dir, &p->options), 0);
	rundir_handed_over(&p->dir);
	close(p->dir.supervision);
	close(p->dir.lock);
	forget(p);
	p->options.console = p->options.agent = false;
	assert_int_equal(claim_vm(&p->dir, &p->options), 0);
	assert_false(is_there(p, "console") || is_there(p, "agent"));
	claim_end(&p->dir);
}

/* A command line leaves nothing in the state directory, where its vm.lock was. */
static void with_a_state_directory(void **state)
{
	struct place *p = *state;
	char states[128], lock[160];

	snprintf(states, sizeof(states), "%s/state", p->base);
	snprintf(lock, sizeof(lock), "%s/" NAME "/vm.lock", states);
	setenv("QEMU_SUPERVISE_STATE_DIR", states, 1);
	assert_int_equal(claim_vm(&p->dir, &p->options), 0);
	assert_int_equal(access(lock, F_OK), 0);
	assert_false(is_there(p, "vm.lock"));
	claim_end(&p->dir);
	assert_int_equal(access(states, F_OK), -1);
}

/* Of a VM that is deleted: nothing of one that runs, and all of one that was killed. */
static void of_no_vm(void **state)
{
	struct place *p = *state;
	char path[128];

	snprintf(path, sizeof(path), "%s/" NAME, p->base);
	runfiles_remove_left(path); /* it is not there */
	assert_int_equal(claim_vm(&p->dir, &p->options), 0);
	runfiles_remove_left(path);
	assert_true(is_there(p, "control") && is_there(p, "lock") && is_there(p, "vm.lock"));
	close(p->dir.lock); /* QEMU holds its lock still, and our part is held */
	p->dir.lock = -1;
	runfiles_remove_left(path);
	assert_true(is_there(p, "control") && is_there(p, "vm.lock"));
	close(p->dir.supervision);
	p->dir.supervision = -1;
	runfiles_remove_left(path);
	assert_true(is_there(p, "control") && is_there(p, "vm.lock"));
	rundir_handed_over(&p->dir); /* and QEMU is gone */
	runfiles_remove_left(path);
	assert_int_equal(access(path, F_OK), -1);
	forget(p);
}

/* Of a whole second: qemu-user for s390x has lost the rest in fstat(2), not in stat(2). */
static void write_definition(const char *path)
{
	static const struct timespec times[] = {{.tv_sec = 1}, {.tv_sec = 1}};
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	assert_int_equal(write(fd, "{}", 2), 2);
	assert_int_equal(futimens(fd, times), 0);
	close(fd);
}

/* The definition is read before its VM is locked: a vmconf may have had its turn in between. */
static void definition_of_before(void **state)
{
	struct place *p = *state;
	struct vm_problems problems = {0};
	char name[] = "defined", file[128], other[128], states[128], home[128];

	snprintf(file, sizeof(file), "%s/defined.json", p->base);
	snprintf(other, sizeof(other), "%s/other.json", p->base);
	snprintf(states, sizeof(states), "%s/state", p->base);
	snprintf(home, sizeof(home), "%s/state/defined", p->base);
	setenv("QEMU_SUPERVISE_CONFIG_DIR", p->base, 1);
	setenv("QEMU_SUPERVISE_STATE_DIR", states, 1);
	write_definition(file);
	p->options.name = name;
	p->options.defined = true;
	p->options.vm = vm_load(name, &problems);
	assert_non_null(p->options.vm);

	assert_int_equal(rename(file, other), 0);
	assert_int_equal(claim_vm(&p->dir, &p->options), EX_CONFIG);
	assert_int_equal(access(home, F_OK), -1); /* vmconf would take it for a VM's */
	write_definition(file);
	assert_int_equal(claim_vm(&p->dir, &p->options), EX_OSERR);
	assert_int_equal(access(home, F_OK), -1);
	assert_int_equal(rename(other, file), 0);
	assert_int_equal(claim_vm(&p->dir, &p->options), 0);
	claim_end(&p->dir);

	vm_free(p->options.vm);
	assert_int_equal(rmdir(home), 0);
	assert_int_equal(rmdir(states), 0);
	assert_int_equal(unlink(file), 0);
}

/* "agent" and "console" do not fit where "control" does not; what was made is taken back. */
static void path_too_long(void **state)
{
	struct place *p = *state;
	char base[128], made[160];

	p->options.console = true;
	/* sun_path has 108 bytes: BASE/web/qmp fits, BASE/web/control does not. */
	snprintf(base, sizeof(base), "%s/%0*d", p->base, (int)(98 - strlen(p->base)), 0);
	setenv("QEMU_SUPERVISE_RUNTIME_DIR", base, 1);
	assert_int_equal(claim_vm(&p->dir, &p->options), EX_OSERR);
	snprintf(made, sizeof(made), "%s/" NAME, base);
	assert_int_equal(access(made, F_OK), -1);
	assert_int_equal(rmdir(base), 0);
}

/* One whose vm.lock is elsewhere: its sockets stay as they are. */
static void of_another_qemu(void **state)
{
	static const enum rundir_socket asked[] = {SOCKET_CONTROL, SOCKET_QMP};
	struct place *p = *state;
	char path[128];
	struct sockaddr_un sa;

	snprintf(path, sizeof(path), "%s/" NAME, p->base);
	for (size_t i = 0; i < ARRAY_SIZE(asked); i++) {
		int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), waiting;

		assert_int_equal(mkdir(path, 0700), 0);
		assert_true(runfiles_address(path, runfiles_socket(asked[i]), &sa));
		assert_int_equal(bind(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
		assert_int_equal(listen(fd, 0), 0);
		waiting = runfiles_connect(path, asked[i]); /* nobody else may: known at once */
		assert_true(waiting >= 0);
		assert_int_equal(claim_vm(&p->dir, &p->options), EX_TEMPFAIL);
		assert_true(is_there(p, runfiles_socket(asked[i])));
		close(waiting);
		close(fd);
		assert_int_equal(claim_vm(&p->dir, &p->options), 0); /* it has gone */
		claim_end(&p->dir);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(two_by_default, begin_test, end_test),
		cmocka_unit_test_setup_teardown(as_the_options_ask, begin_test, end_test),
		cmocka_unit_test_setup_teardown(left_over, begin_test, end_test),
		cmocka_unit_test_setup_teardown(with_a_state_directory, begin_test, end_test),
		cmocka_unit_test_setup_teardown(of_no_vm, begin_test, end_test),
		cmocka_unit_test_setup_teardown(definition_of_before, begin_test, end_test),
		cmocka_unit_test_setup_teardown(path_too_long, begin_test, end_test),
		cmocka_unit_test_setup_teardown(of_another_qemu, begin_test, end_test),
	};

	log_open("unit-rundir", 0);
	return RUN(tests);
}
