/* What a VM is doing: what cannot be read, or is damaged, is never taken for a VM that is down. */
#include "unit.h"
#include "calls.h"
#include "command.h"

#include "commands/vmstate.h"
#include "lib/fd.h"
#include "vm/outcome.h"

static struct store store;
static struct vm_status now;

/* ---- more calls ---- */

static int looks_left;	   /* at locks, before ... */
static void (*then)(void); /* this is done */

int fcntl(int fd, int cmd, ...)
{
	static int (*fn)(int, int, ...);
	void (*run)(void) = then;
	va_list arguments;
	void *argument;

	REAL_OF(fn, "fcntl");
	va_start(arguments, cmd);
	argument = va_arg(arguments, void *);
	va_end(arguments);
	if (cmd == F_OFD_GETLK && is_to_fail("look"))
		return -1;
	if (cmd == F_OFD_GETLK && run && looks_left-- == 0) {
		then = NULL;
		run();
	}
	return fn(fd, cmd, argument);
}

ssize_t pread(int fd, void *bytes, size_t len, off_t offset)
{
	static ssize_t (*fn)(int, void *, size_t, off_t);

	REAL_OF(fn, "pread");
	return is_to_fail("pread") ? -1 : fn(fd, bytes, len, offset);
}

static void then_after(int looks, void (*run)(void))
{
	looks_left = looks;
	then = run;
}

/* ---- a VM ---- */

static int locks[4], lock_count;

static int begin_vm(void **state)
{
	begin_test(state);
	make_store();
	assert_int_equal(mkdir(in_base("state/web"), 0700), 0);
	assert_int_equal(mkdir(in_base("run/web"), 0700), 0);
	store_open(&store);
	move_up(&store.config_fd);
	move_up(&store.state_fd);
	return 0;
}

static void release(void)
{
	while (lock_count > 0)
		close(locks[--lock_count]);
}

static int end_vm(void **state)
{
	release();
	store_close(&store);
	return end_test(state);
}

#define OF_VM(name) cmocka_unit_test_setup_teardown(name, begin_vm, end_vm)

static int hold(const char *home, const char *file, enum lock_byte byte)
{
	int dir = open(in_base(home), O_RDONLY | O_CLOEXEC), lock = lock_take(dir, file, byte);

	assert_true(lock >= 0);
	close(dir);
	move_up(&lock);
	return locks[lock_count++] = lock;
}

/* As QEMU, or as its supervisor. */
static void hold_byte(enum lock_byte byte, struct holder holder)
{
	assert_true(lock_write(hold("state/web", "vm.lock", byte), byte, &holder));
}

static void hold_both(void)
{
	hold_byte(SUPERVISOR_BYTE, holder_of(0));
	hold_byte(HOLDER_BYTE, holder_of(0));
}

static void hold_runtime(void)
{
	char text[16];

	snprintf(text, sizeof(text), "%d\n", getpid());
	assert_true(write(hold("run/web", "lock", HOLDER_BYTE), text, strlen(text)) > 0);
}

/* What a supervisor says, after its pid. */
static void put_state(const char *rest)
{
	char text[512];

	snprintf(text, sizeof(text), "{\"supervisor\": %d%s}", getpid(), rest);
	put("run/web/state.json", text);
}

static void is_now(enum vm_state state, const char *reason)
{
	vm_status_read(&store, "web", &now);
	assert_string_equal(vm_state_word(now.state), vm_state_word(state));
	if (reason ? !strstr(now.reason, reason) : now.reason[0])
		fail_msg("\"%s\" is not \"%s\"", now.reason, reason ? reason : "");
}

/* ---- locks ---- */

static void who_holds_what(void **state)
{
	(void)state;
	is_now(VM_STOPPED, NULL);
	hold("state/web", "vm.lock", WHOLE_FILE);
	is_now(VM_STOPPED, NULL);
	assert_true(now.changing);
	release();
	hold("state/web", "vm.lock", HOLDER_BYTE);
	is_now(VM_STARTING, NULL);
	release();
	hold("state/web", "vm.lock", SUPERVISOR_BYTE);
	is_now(VM_STARTING, NULL);
	assert_false(now.changing);
	release();
	hold_byte(HOLDER_BYTE, holder_of(0));
	is_now(VM_UNMANAGED, NULL);
	assert_int_equal(now.pid, getpid());
	hold_runtime();
	is_now(VM_STARTING, NULL);
	assert_int_equal(now.supervisor, getpid());
}

/* Its QEMU may run. */
static void a_lock_that_cannot_be_read(void **state)
{
	static const char *const names[] = {"fstat", "look", "pread"};

	(void)state;
	hold_byte(HOLDER_BYTE, holder_of(0));
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		fails(names[i], 0, EIO);
		is_now(VM_UNKNOWN, "cannot read its files in");
		assert_non_null(strstr(now.reason, "/state: Input/output error"));
	}
	for (size_t i = 1; i < ARRAY_SIZE(names); i++) {
		fails(names[i], 1, EACCES);
		is_now(VM_UNKNOWN, "we may not read its files in");
	}
	put("run/web/lock", "");
	fails("fstat", 1, EIO);
	is_now(VM_UNKNOWN, "/run: Input/output error");
	assert_false(vm_state_is_up(now.state));
	is_now(VM_UNMANAGED, NULL);
}

/* One lock is enough: the other one matters only to who holds it. */
static void one_lock_that_cannot_be_read(void **state)
{
	(void)state;
	put("run/web/lock", "");
	put("state/web/vm.lock", "");
	fails("fstat", 1, EIO);
	is_now(VM_STOPPED, NULL);
	hold_runtime();
	fails("fstat", 0, EIO);
	is_now(VM_STARTING, NULL);
	fails("pread", 2, EIO); /* that it is held is known, and not by whom */
	is_now(VM_UNKNOWN, "/run: Input/output error");
}

/* That is no VM of a definition. */
static void one_of_a_command_line(void **state)
{
	struct holder us = holder_of(0);

	(void)state;
	us.command = true;
	hold_byte(HOLDER_BYTE, us);
	is_now(VM_STOPPED, NULL);
}

static struct holder of_another_host(void)
{
	struct holder other = {.pid = 4194305, .start = 1};

	snprintf(other.boot, sizeof(other.boot), "00000000-0000-4000-8000-000000000000");
	return other;
}

static void another_host(void **state)
{
	struct holder gone = holder_of(0);

	(void)state;
	hold_byte(SUPERVISOR_BYTE, of_another_host());
	is_now(VM_ELSEWHERE, "another host runs it");
	hold_byte(HOLDER_BYTE, of_another_host());
	is_now(VM_ELSEWHERE, "another host runs it");
	assert_true(vm_state_is_up(now.state));
	assert_false(vm_state_is_here(now.state));
	release();
	gone.pid = of_another_host().pid; /* of this host, whoever holds it now */
	hold_byte(HOLDER_BYTE, gone);
	is_now(VM_UNMANAGED, NULL);
}

static void another_runtime_directory(void **state)
{
	(void)state;
	hold_both();
	is_now(VM_RUNNING, "its runtime directory in ");
	assert_int_equal(now.pid, getpid());
	assert_int_equal(now.supervisor, getpid());
	close(locks[--lock_count]); /* QEMU's: a record of it is left */
	is_now(VM_STARTING, "its runtime directory in ");
	assert_int_equal(now.pid, 0);
}

/* ---- what changes while we look ---- */

static void another_supervises(void)
{
	struct holder other = of_another_host();

	assert_true(lock_write(locks[0], SUPERVISOR_BYTE, &other));
}

static void another_is_qemu(void)
{
	struct holder other = of_another_host();

	assert_true(lock_write(locks[0], HOLDER_BYTE, &other));
}

static void qemu_ends(void)
{
	close(locks[--lock_count]);
}

static void its_supervisor_ends(void)
{
	close(locks[0]);
	locks[0] = locks[--lock_count];
}

/* Without "lock" when that was looked at, and with it a moment later: a supervisor begins. */
static void what_is_not_steady(void **state)
{
	static void (*const changes[])(void) = {hold_runtime, another_supervises, another_is_qemu,
						qemu_ends, its_supervisor_ends};

	(void)state;
	put("run/web/lock", "");
	for (size_t i = 0; i < ARRAY_SIZE(changes); i++) {
		hold_both();
		then_after(changes[i] == hold_runtime ? 4 : 2, changes[i]);
		is_now(VM_STARTING, NULL);
		assert_null(then);
		release();
		then_after(0, NULL);
	}
}

static void it_ends_while_we_look(void **state)
{
	(void)state;
	put("run/web/lock", "");
	hold_both();
	then_after(2, release);
	is_now(VM_CRASHED, "nobody saw its end");
	assert_true(now.unseen);
}

/* ---- what its supervisor says ---- */

static void phases(void **state)
{
	static const struct {
		const char *json;
		enum vm_state state;
		const char *reason;
	} rows[] = {
		{"", VM_STARTING, NULL},
		{", \"phase\": \"waits\"", VM_STARTING, NULL},
		{", \"phase\": 1", VM_STARTING, NULL},
		{", \"phase\": \"stopping\"", VM_STOPPING, NULL},
		{", \"phase\": \"running\"", VM_RUNNING, NULL},
		{", \"phase\": \"running\", \"run-state\": \"running\"", VM_RUNNING, NULL},
		{", \"phase\": \"running\", \"run-state\": \"prelaunch\"", VM_RUNNING, "prelaunch"},
		{", \"phase\": \"running\", \"run-state\": \"of-2040\"", VM_RUNNING, "of-2040"},
		{", \"phase\": \"running\", \"run-state\": \"paused\"", VM_PAUSED, NULL},
		{", \"phase\": \"running\", \"run-state\": \"save-vm\"", VM_PAUSED, "save-vm"},
		{", \"phase\": \"running\", \"run-state\": \"io-error\", "
		 "\"why\": \"disk\\u001b\"",
		 VM_PAUSED, "io-error: disk"},
		{", \"phase\": \"stopping\", \"run-state\": \"save-vm\"", VM_STOPPING, NULL},
		{", \"phase\": \"stopping\", \"run-state\": \"io-error\"", VM_STOPPING, "io-error"},
	};

	(void)state;
	hold_runtime();
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		put_state(rows[i].json);
		is_now(rows[i].state, rows[i].reason);
		assert_null(strchr(now.reason, '\033'));
	}
}

/* It is up all the same. */
static void a_damaged_state(void **state)
{
	static const char *const texts[] = {"", "{", "[]", "{\"supervisor\": 1, \"pid\": 7}",
					    "{\"supervisor\": \"1\", \"pid\": 7}"};

	(void)state;
	hold_runtime();
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		put("run/web/state.json", texts[i]);
		is_now(VM_STARTING, NULL);
		assert_int_equal(now.supervisor, getpid());
		assert_int_equal(now.pid, 0);
	}
	fails("read", 0, EIO);
	is_now(VM_STARTING, "or more: cannot read its state.json in ");
	assert_non_null(strstr(now.reason, ": Input/output error"));
	fails("fstat", 1, EACCES);
	is_now(VM_STARTING, ": Permission denied");
}

static void damaged_numbers(void **state)
{
	(void)state;
	hold_runtime();
	put_state(", \"phase\": \"running\", \"pid\": 4294967297, \"started\": "
		  "-1, \"memory\": -1, \"ready\": 1, \"listening\": 1, \"ladder\": {\"until\": -1, "
		  "\"rung-until\": -1}");
	is_now(VM_RUNNING, NULL);
	assert_int_equal(now.pid, 0);
	assert_int_equal(now.started, 0);
	assert_int_equal(now.memory, 0);
	assert_int_equal(now.until, 0);
	assert_int_equal(now.rung_until, 0);
	assert_int_equal(now.listening, -1);
	assert_false(now.ready);
	put_state(", \"phase\": \"running\", \"pid\": -7, \"started\": 5, "
		  "\"memory\": 512, \"ready\": true, \"listening\": false");
	is_now(VM_RUNNING, NULL);
	assert_int_equal(now.pid, 0);
	assert_int_equal(vm_status_uptime(&now), 0);
	now.pid = 7;
	assert_true(vm_status_uptime(&now) > 1000000000);
	now.started = time(NULL) + 1000; /* the clock was set back */
	assert_int_equal(vm_status_uptime(&now), 0);
	assert_int_equal(now.memory, 512);
	assert_int_equal(now.listening, 0);
	assert_true(now.ready);
}

/* ---- ends ---- */

static void put_end(int status)
{
	char line[256];

	snprintf(line, sizeof(line),
		 "{\"version\": 1, \"event\": \"end\", \"time\": \"t%d\", \"ended\": 7, "
		 "\"status\": %d, \"words\": \"so\"}\n",
		 status, status);
	put("state/web/history.jsonl", line);
}

static void ends(void **state)
{
	static const struct {
		int status;
		enum vm_state state;
	} rows[] = {{0, VM_STOPPED},	       {EXIT_NOT_SHUT_DOWN, VM_CUT_OFF},
		    {EXIT_KILLED, VM_CUT_OFF}, {EXIT_RESET_WHILE_STOPPING, VM_CUT_OFF},
		    {EXIT_HALTED, VM_CUT_OFF}, {EXIT_PANICKED, VM_CRASHED},
		    {EXIT_DIED, VM_CRASHED},   {78, VM_STOPPED}};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct vm_end before = now.end;

		put_end(rows[i].status);
		is_now(rows[i].state, rows[i].status ? "so" : NULL);
		assert_true(now.end.known);
		assert_int_equal(now.end.status, rows[i].status);
		assert_true(vm_end_is_new(&before, &now.end));
		assert_false(vm_end_is_new(&now.end, &now.end));
	}
	put("state/web/history.jsonl", "{\"event\": \"end\"");
	is_now(VM_STOPPED, NULL);
	assert_false(now.end.known);
}

/* Then no end is known, which is not to be taken for none. */
static void an_end_that_cannot_be_read(void **state)
{
	static const char *const names[] = {"fstat", "pread"};

	(void)state;
	put_end(EXIT_KILLED);
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		fails(names[i], 0, EIO);
		is_now(VM_STOPPED, "how it ended is not known: cannot read history");
		assert_int_equal(now.end.error, EIO);
		assert_false(now.end.known);
	}
	assert_int_equal(unlink(in_base("state/web/history.jsonl")), 0);
	assert_int_equal(rmdir(in_base("state/web")), 0);
	put("state/web", "");
	is_now(VM_STOPPED, NULL);
	assert_int_equal(now.end.error, 0);
}

/* ---- the process ---- */

/* Whoever kills it must not kill another one. */
static void only_its_process(void **state)
{
	int process;

	(void)state;
	now.pid = getpid();
	assert_int_equal(vm_status_pidfd(&store, "web", &now), -1);
	hold_byte(HOLDER_BYTE, holder_of(0));
	process = vm_status_pidfd(&store, "web", &now);
	assert_true(process >= 0);
	close(process);
	now.pid = 1;
	assert_int_equal(vm_status_pidfd(&store, "web", &now), -1);
	now.pid = getpid();
	release();
	assert_int_equal(vm_status_pidfd(&store, "web", &now), -1);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		OF_VM(who_holds_what),
		OF_VM(a_lock_that_cannot_be_read),
		OF_VM(one_lock_that_cannot_be_read),
		OF_VM(one_of_a_command_line),
		OF_VM(another_host),
		OF_VM(another_runtime_directory),
		OF_VM(what_is_not_steady),
		OF_VM(it_ends_while_we_look),
		OF_VM(phases),
		OF_VM(a_damaged_state),
		OF_VM(damaged_numbers),
		OF_VM(ends),
		OF_VM(an_end_that_cannot_be_read),
		OF_VM(only_its_process),
	};

	return RUN(tests);
}
