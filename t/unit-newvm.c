/* A new VM, all of it or nothing, and the locks of the directories it is made in. */
#include "unit.h"
#include "calls.h"

#include <signal.h>
#include <sys/random.h>
#include <sysexits.h>
#include <time.h>

#include "commands/journal.h"
#include "commands/newvm.h"
#include "commands/storelock.h"

/* ---- random numbers that are not ---- */

static const unsigned char *bytes; /* the next ones; NULL: real ones */

ssize_t getrandom(void *buffer, size_t len, unsigned flags)
{
	assert_int_equal(flags, 0);
	if (is_to_fail("getrandom"))
		return fault.error ? -1 : 0;
	if (!bytes)
		return real()(SYS_getrandom, buffer, len, flags);
	memcpy(buffer, bytes, len);
	bytes += len;
	return (ssize_t)len;
}

/* ---- the store ---- */

static struct store store;

static void open_store(void)
{
	store_open(&store);
	assert_true(store_lock(&store));
	move_up(&store.config_fd);
	move_up(&store.state_fd);
	move_up(&store.lock);
	move_up(&store.state_lock);
	called_since();
}

static int begin_store(void **state)
{
	begin_test(state);
	bytes = NULL;
	setenv("QEMU_SUPERVISE_CONFIG_DIR", in_base("config"), 1);
	setenv("QEMU_SUPERVISE_STATE_DIR", in_base("state"), 1);
	setenv("QEMU_SUPERVISE_RUNTIME_DIR", in_base("run"), 1);
	open_store();
	return 0;
}

static int end_store(void **state)
{
	store_unlock(&store);
	store_close(&store);
	return end_test(state);
}

#define OF_STORE(name) cmocka_unit_test_setup_teardown(name, begin_store, end_store)

/* ---- unique values ---- */

static void a_uuid(void **state)
{
	static const unsigned char ones[16] = {1,    2,	 3,  4,	 5,  6,	 0xff, 8,
					       0xff, 10, 11, 12, 13, 14, 15,   16};
	static const unsigned char zeros[16];
	char *uuid;

	(void)state;
	bytes = ones;
	uuid = new_uuid();
	assert_string_equal(uuid, "01020304-0506-4f08-bf0a-0b0c0d0e0f10");
	free(uuid);
	bytes = zeros;
	uuid = new_uuid();
	assert_string_equal(uuid, "00000000-0000-4000-8000-000000000000");
	free(uuid);
}

/* One that a definition has, broken or not, is not given again. */
static void a_mac(void **state)
{
	static const unsigned char six[] = {0xaa, 0xbb, 0xcc, 1, 2, 3};
	char *mac;

	(void)state;
	bytes = six;
	mac = new_mac(&store);
	assert_string_equal(mac, "52:54:00:aa:bb:cc");
	free(mac);
	put("config/.hidden", "52:54:00:AA:BB:CC");
	bytes = six;
	mac = new_mac(&store);
	assert_string_equal(mac, "52:54:00:aa:bb:cc");
	free(mac);
	put("config/other.json", "{ broken, \"mac\": \"52:54:00:AA:BB:CC\"");
	put("config/zero.json", "");
	bytes = six;
	mac = new_mac(&store);
	assert_string_equal(mac, "52:54:00:01:02:03");
	free(mac);
}

static void a_name(void **state)
{
	static const unsigned char two[] = {0, 1, 2, 25, 26, 255, 6, 7, 9, 9, 9, 9, 9, 9, 9, 9};
	char *name;

	(void)state;
	bytes = two;
	name = new_name(&store);
	assert_string_equal(name, "abczavgh");
	free(name);
	put("config/abczavgh.json", "");
	bytes = two;
	name = new_name(&store);
	assert_string_equal(name, "jjjjjjjj");
	free(name);
}

static void make_uuid(void *arg)
{
	(void)arg;
	free(new_uuid());
}

static void find_mac(void *arg)
{
	(void)arg;
	free(new_mac(&store));
}

static void without_random_numbers(void **state)
{
	(void)state;
	fails("getrandom", 0, 0);
	assert_int_equal(status_of(make_uuid, NULL), EX_OSERR);
	assert_non_null(strstr(said(), "no random numbers"));
	fails("readdir", 0, EIO);
	assert_int_equal(status_of(find_mac, NULL), EX_OSERR);
	assert_non_null(strstr(said(), "cannot read the directory of definitions "));
}

static void macs_of_a_definition(void **state)
{
	static const unsigned char many[] = {1, 1, 1, 2, 2, 2, 3, 3, 3};
	json_t *definition = json_pack("{s:[{s:s}, {s:s}, {s:s}]}", "nics", "type", "user", "mac",
				       "old", "type", "tap"),
	       *nics = json_object_get(definition, "nics");

	(void)state;
	bytes = many;
	new_macs(&store, definition, false);
	assert_string_equal(json_string_value(json_object_get(json_array_get(nics, 0), "mac")),
			    "52:54:00:01:01:01");
	assert_string_equal(json_string_value(json_object_get(json_array_get(nics, 1), "mac")),
			    "old");
	assert_string_equal(json_string_value(json_object_get(json_array_get(nics, 2), "mac")),
			    "52:54:00:02:02:02");
	bytes = many;
	new_macs(&store, definition, true);
	assert_string_equal(json_string_value(json_object_get(json_array_get(nics, 1), "mac")),
			    "52:54:00:02:02:02");
	json_decref(definition);
}

/* ---- all or nothing ---- */

/* With a disk, and a file in directories of its own. */
static bool begin_vm(struct newvm *vm)
{
	return newvm_open(vm, &store, "web") && newvm_add(vm, "root.qcow2", true) &&
	       newvm_add(vm, "a/b/kernel", false) && newvm_begin(vm);
}

static json_t *list_of(json_t *json, const char *key)
{
	return json_object_get(json, key);
}

static void assert_list(json_t *json, const char *key, const char *expected)
{
	char text[1024] = "";
	json_t *value, *word;
	size_t i, k;

	json_array_foreach(list_of(json, key), i, value)
	{
		if (json_is_string(value))
			snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s;",
				 json_string_value(value));
		json_array_foreach(value, k, word)
			snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s%s",
				 json_string_value(word), k ? ";" : " ");
	}
	assert_string_equal(text, expected);
}

static void one_that_is_made(void **state)
{
	json_t *definition = json_pack("{s:i}", "cpus", 2), *json;
	struct newvm vm;

	(void)state;
	put("state/.web.made.json", "left by another");
	assert_true(begin_vm(&vm));
	assert_false(is_there("state/.web.made.json"));
	json = json_load_file(in_base("state/.journal.json"), 0, NULL);
	assert_list(json, "back",
		    "remove web/root.qcow2;remove web/a/b/kernel;remove .web.made.json;"
		    "rmdir web/a/b;rmdir web/a;rmdir web;rmdir web;rmdir web;");
	assert_null(json_object_get(json, "forward"));
	json_decref(json);
	assert_int_equal(mode_of("state/web"), 0700);
	assert_true(is_there("state/web/a/b"));
	put("state/web/root.qcow2", "disk");
	put("state/web/a/b/kernel", "kernel");
	assert_true(newvm_prepare(&vm, definition));
	called_since();
	assert_true(newvm_sync(&vm));
	assert_string_equal(called_since(),
			    "fsync root.qcow2\nfsync web\nfsync state\n"
			    "fsync kernel\nfsync b\nfsync a\nfsync web\nfsync state\n");
	assert_true(newvm_commit(&vm));
	newvm_close(&vm);
	assert_string_equal(got("config/web.json"), "{\n  \"cpus\": 2\n}\n");
	json = json_load_file(in_base("state/.web.made.json"), 0, NULL);
	assert_list(json, "files", "root.qcow2;a/b/kernel;");
	assert_list(json, "disks", "root.qcow2;");
	json_decref(json);
	assert_true(is_there("state/web/root.qcow2"));
	assert_false(is_there("state/.journal.json"));
	assert_string_equal(said(), "");
	json_decref(definition);
}

static void one_that_is_taken_back(void **state)
{
	json_t *definition = json_object();
	struct newvm vm;

	(void)state;
	assert_true(begin_vm(&vm));
	put("state/web/root.qcow2", "disk");
	assert_true(newvm_prepare(&vm, definition));
	newvm_close(&vm);
	assert_false(is_there("state/web"));
	assert_false(is_there("state/.journal.json"));
	assert_false(is_there("config/.new"));
	assert_null(vm.home);
	json_decref(definition);
}

/* Somebody has written one by hand meanwhile. */
static void a_name_that_was_taken(void **state)
{
	json_t *definition = json_object();
	struct newvm vm;

	(void)state;
	assert_true(begin_vm(&vm));
	assert_true(newvm_prepare(&vm, definition));
	put("config/web.json", "theirs");
	assert_false(newvm_commit(&vm));
	assert_string_equal(got("config/web.json"), "theirs");
	newvm_close(&vm);
	json_decref(definition);
}

/* What was there before stays there. */
static void in_a_directory_of_the_user(void **state)
{
	struct newvm vm;

	(void)state;
	assert_int_equal(mkdir(in_base("state/web"), 0755), 0);
	put("state/web/notes", "");
	assert_true(begin_vm(&vm));
	newvm_close(&vm);
	assert_true(is_there("state/web/notes"));
	assert_false(is_there("state/web/a"));
}

static void what_is_refused(void **state)
{
	struct newvm vm;

	(void)state;
	put("config/web.json", "{}");
	assert_false(newvm_open(&vm, &store, "web"));
	assert_non_null(strstr(said(), "a VM web already exists"));
	newvm_close(&vm);
	unlink(in_base("config/web.json"));
	assert_int_equal(mkdir(in_base("state/web"), 0755), 0);
	put("state/web/root.qcow2", "old");
	assert_true(newvm_open(&vm, &store, "web"));
	assert_false(newvm_add(&vm, "root.qcow2", true));
	assert_non_null(
		strstr(said(), "/state/web/root.qcow2 already exists, but there is no VM web"));
	assert_int_equal(json_array_size(vm.files), 0);
	assert_int_equal(json_array_size(vm.disks), 0);
	newvm_close(&vm);
	assert_string_equal(got("state/web/root.qcow2"), "old");
	assert_int_equal(chmod(in_base("state/web"), 0777), 0);
	assert_false(newvm_open(&vm, &store, "web"));
	assert_non_null(strstr(said(), "/state/web: found a directory with mode 0777"));
	newvm_close(&vm);
}

static void a_directory_that_cannot_be_made(void **state)
{
	struct newvm vm;

	(void)state;
	put("state/web", "a file");
	assert_false(begin_vm(&vm));
	assert_non_null(strstr(said(), "cannot make the directory "));
	newvm_close(&vm);
	assert_string_equal(got("state/web"), "a file");
	unlink(in_base("state/web"));
	fails("write", 0, ENOSPC);
	assert_false(begin_vm(&vm)); /* without a journal nothing is made */
	assert_false(is_there("state/web"));
	newvm_close(&vm);
}

static void what_cannot_be_synced(void **state)
{
	struct newvm vm;

	(void)state;
	assert_true(begin_vm(&vm));
	put("state/web/root.qcow2", "");
	put("state/web/a/b/kernel", "");
	fails("fsync", 1, EINVAL); /* a network file system's directory */
	assert_true(newvm_sync(&vm));
	for (int i = 0; i < 8; i++) {
		fails("fsync", i, EIO);
		assert_false(newvm_sync(&vm));
	}
	assert_non_null(strstr(said(), "cannot bring "));
	unlink(in_base("state/web/a/b/kernel"));
	called_since();
	assert_false(newvm_sync(&vm));
	assert_string_equal(called_since(), "fsync root.qcow2\nfsync web\nfsync state\n");
	fails("write", 0, ENOSPC);
	assert_false(newvm_commit(&vm)); /* without its list there is no VM */
	assert_false(is_there("config/web.json"));
	newvm_close(&vm);
}

/* Others may work meanwhile, and are kept from the new VM and from what it is made of. */
static void a_long_one(void **state)
{
	struct store other;
	struct newvm vm;

	(void)state;
	assert_true(begin_vm(&vm));
	assert_true(newvm_let_others(&vm, "base"));
	assert_int_equal(store.lock, -1);
	assert_int_equal(store.state_lock, -1);
	store_open(&other);
	assert_true(store_lock(&other));
	put("config/.new", "another's");
	assert_false(journal_is_free(&other, "web"));
	assert_false(journal_is_free(&other, "base"));
	store_unlock(&other);
	store_close(&other);
	assert_true(newvm_resume(&vm));
	assert_true(store.lock >= 0 && store.state_lock >= 0);
	newvm_close(&vm);
	assert_false(is_there("state/web"));
}

/* Without the lock, what was prepared is another's. */
static void one_that_is_left_to_others(void **state)
{
	struct newvm vm;

	(void)state;
	assert_true(begin_vm(&vm));
	assert_true(newvm_let_others(&vm, "base"));
	put("config/.new", "another's");
	newvm_close(&vm);
	assert_string_equal(got("config/.new"), "another's");
	assert_true(is_there("state/.journal.web.json"));
	assert_true(store_lock(&store));
	assert_false(is_there("state/.journal.web.json"));
	assert_true(begin_vm(&vm));
	fails("fsync", 0, EIO);
	assert_false(newvm_let_others(&vm, "base"));
	assert_true(store.state_lock >= 0);
	newvm_close(&vm);
}

/* ---- locks ---- */

static bool is_locked(const char *file)
{
	int fd = open(in_base(file), O_RDWR | O_CLOEXEC);
	struct flock lock = {.l_type = F_WRLCK};
	bool locked = fcntl(fd, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK &&
		      lock.l_start == 0 && lock.l_len == 0; /* all of it */

	close(fd);
	return locked;
}

static bool is_blocked(int signal)
{
	sigset_t set;

	sigprocmask(SIG_BLOCK, NULL, &set);
	return sigismember(&set, signal);
}

static void both_directories_are_locked(void **state)
{
	static const int signals[] = {SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGPIPE};

	(void)state;
	assert_true(is_locked("config/.lock"));
	assert_true(is_locked("state/.lock"));
	assert_int_equal(mode_of("config/.lock"), 0600);
	for (size_t i = 0; i < ARRAY_SIZE(signals); i++)
		assert_true(is_blocked(signals[i]));
	store_unlock(&store);
	assert_false(is_locked("config/.lock"));
	assert_false(is_locked("state/.lock"));
	for (size_t i = 0; i < ARRAY_SIZE(signals); i++)
		assert_false(is_blocked(signals[i]));
	put("config/.new", "");
	put("state/.state.new", "");
	assert_true(store_lock(&store));
	assert_false(is_there("config/.new"));
	assert_false(is_there("state/.state.new"));
	store_let_others(&store);
	assert_true(is_blocked(SIGTERM));
	assert_true(store_lock(&store));
	store_unlock(&store);
	assert_false(is_blocked(SIGTERM)); /* as before the first time */
	store_unlock(&store);
}

static void for_a_child(void **state)
{
	(void)state;
	store_keep_lock(&store);
	assert_int_equal(fcntl(store.lock, F_GETFD), 0);
	assert_int_equal(fcntl(store.state_lock, F_GETFD), 0);
	assert_false(is_blocked(SIGTERM));
}

static void directories_that_are_not_ours(void **state)
{
	static const char *const dirs[] = {"config", "state"};

	(void)state;
	store_unlock(&store);
	for (size_t i = 0; i < ARRAY_SIZE(dirs); i++) {
		assert_int_equal(chmod(in_base(dirs[i]), 0777), 0);
		assert_false(store_lock(&store));
		assert_non_null(strstr(said(), "found a directory with mode 0777"));
		assert_int_equal(chmod(in_base(dirs[i]), 0755), 0);
	}
	fails("fstat", 0, EIO);
	assert_false(store_lock(&store));
	assert_non_null(strstr(said(), "cannot look at it: Input/output error"));
	assert_int_equal(store.lock, -1);
	assert_int_equal(store.state_lock, -1);
}

static void one_that_cannot_be_made(void **state)
{
	(void)state;
	store_unlock(&store);
	store_close(&store);
	put("file", "");
	setenv("QEMU_SUPERVISE_CONFIG_DIR", in_base("file/config"), 1);
	assert_int_equal(unlink(in_base("file")), 0);
	store_open(&store);
	put("file", "");
	assert_false(store_lock(&store));
	assert_non_null(strstr(said(), "cannot make the directory of definitions "));
}

static void a_lock_that_cannot_be_taken(void **state)
{
	static const char *const dirs[] = {"config", "state"};

	(void)state;
	store_unlock(&store);
	for (size_t i = 0; i < ARRAY_SIZE(dirs); i++) {
		char file[32];

		snprintf(file, sizeof(file), "%s/.lock", dirs[i]);
		unlink(in_base(file));
		assert_int_equal(symlink("elsewhere", in_base(file)), 0);
		assert_false(store_lock(&store));
		assert_non_null(strstr(said(), "cannot lock "));
		assert_int_equal(store.lock, -1);
		assert_int_equal(store.state_lock, -1);
		unlink(in_base(file));
	}
	assert_false(is_there("config/elsewhere"));
	put("state/.journal.json", "not one");
	assert_false(store_lock(&store)); /* what another one left is in the way */
	assert_int_equal(store.lock, -1);
	assert_int_equal(store.state_lock, -1);
	assert_false(is_blocked(SIGTERM));
}

/* Both are the same: two locks of one file would wait for each other. */
static void one_directory_for_both(void **state)
{
	(void)state;
	store_unlock(&store);
	store_close(&store);
	setenv("QEMU_SUPERVISE_CONFIG_DIR", in_base("state"), 1);
	store_open(&store);
	assert_true(store_lock(&store));
	assert_int_equal(store.lock, -1);
	assert_true(store.state_lock >= 0);
}

#define TOLD "another vmconf makes a change (it holds "

/* A child that holds the lock until the parent has told that it waits. */
static pid_t hold(const char *file)
{
	struct timespec pause = {.tv_nsec = 10 * 1000 * 1000};
	char text[4096] = "", c;
	int ready[2];
	pid_t pid;

	assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
	pid = fork();
	if (pid == 0) {
		struct flock lock = {.l_type = F_WRLCK};
		int fd = open(in_base(file), O_RDWR);

		fcntl(fd, F_OFD_SETLK, &lock);
		real()(SYS_write, ready[1], "x", 1);
		for (int i = 0; i < 6000 && !strstr(text, TOLD); i++) {
			nanosleep(&pause, NULL);
			text[pread(STDERR_FILENO, text, sizeof(text) - 1, 0)] = '\0';
		}
		_exit(0);
	}
	assert_int_equal(real()(SYS_read, ready[0], &c, 1), 1);
	close(ready[0]);
	close(ready[1]);
	return pid;
}

static void another_one_is_waited_for(void **state)
{
	pid_t pid;

	(void)state;
	store_unlock(&store);
	pid = hold("state/.lock");
	assert_true(store_lock(&store));
	assert_non_null(strstr(said(), TOLD));
	assert_true(is_locked("state/.lock"));
	assert_int_equal(waitpid(pid, NULL, 0), pid);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		OF_STORE(a_uuid),
		OF_STORE(a_mac),
		OF_STORE(a_name),
		OF_STORE(without_random_numbers),
		OF_STORE(macs_of_a_definition),
		OF_STORE(one_that_is_made),
		OF_STORE(one_that_is_taken_back),
		OF_STORE(a_name_that_was_taken),
		OF_STORE(in_a_directory_of_the_user),
		OF_STORE(what_is_refused),
		OF_STORE(a_directory_that_cannot_be_made),
		OF_STORE(what_cannot_be_synced),
		OF_STORE(a_long_one),
		OF_STORE(one_that_is_left_to_others),
		OF_STORE(both_directories_are_locked),
		OF_STORE(for_a_child),
		OF_STORE(directories_that_are_not_ours),
		OF_STORE(one_that_cannot_be_made),
		OF_STORE(a_lock_that_cannot_be_taken),
		OF_STORE(one_directory_for_both),
		OF_STORE(another_one_is_waited_for),
	};

	return RUN(tests);
}
