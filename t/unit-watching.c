/* What is watched of VMs where there is no runtime directory, and of processes that have ended. */
#include "unit.h"
#include "calls.h"

#include <signal.h>
#include <sys/wait.h>

#include "commands/watching.h"
#include "lib/timespan.h"

static char config[PATH_MAX], state[PATH_MAX], runtime[PATH_MAX];

/* As store_open() has them of a user who has no XDG_RUNTIME_DIR, unless it is given. */
static struct store make_store(bool with_runtime)
{
	snprintf(config, sizeof(config), "%s", in_base("config"));
	snprintf(state, sizeof(state), "%s", in_base("state"));
	snprintf(runtime, sizeof(runtime), "%s", in_base("run"));
	assert_int_equal(mkdir(config, 0700), 0);
	assert_int_equal(mkdir(state, 0700), 0);
	assert_int_equal(mkdir(in_base("state/web"), 0700), 0);
	if (with_runtime) {
		assert_int_equal(mkdir(runtime, 0700), 0);
		assert_int_equal(mkdir(in_base("run/web"), 0700), 0);
	}
	return (struct store){.config = config,
			      .state = state,
			      .runtime = with_runtime ? runtime : NULL,
			      .config_fd = -1,
			      .state_fd = -1};
}

/* Whether it is told that something changed, of which there is something to read at once. */
static bool changes(struct watching *w, struct watched *vm)
{
	watching_wait(w, 0);
	return watched_take_change(vm);
}

static void without_a_runtime_directory(void **unused)
{
	struct store store = make_store(false);
	struct watching *w = watching_new(&store);
	struct watched *vm = watching_add(w, "web");

	(void)unused;
	assert_true(watched_take_change(vm)); /* nothing is known of it yet */
	assert_true(watching_names_changed(w));
	assert_null(watching_trouble(w));
	assert_false(changes(w, vm));
	put("state/web/vm.lock", "");
	assert_true(changes(w, vm));
	put("state/web/root.raw", "");
	assert_false(changes(w, vm));
	put("config/new.json", "{}");
	watching_wait(w, 0);
	assert_true(watching_names_changed(w));
	watching_free(w);
}

/* A directory that is removed and made again is watched again. */
static void a_directory_comes_again(void **unused)
{
	struct store store = make_store(true);
	struct watching *w = watching_new(&store);
	struct watched *vm = watching_add(w, "web");

	(void)unused;
	assert_true(watched_take_change(vm));
	for (int i = 0; i < 3; i++) {
		assert_int_equal(rmdir(in_base("run/web")), 0);
		assert_true(changes(w, vm));
		assert_int_equal(mkdir(in_base("run/web"), 0700), 0);
		assert_true(changes(w, vm));
		assert_false(changes(w, vm));
		put("run/web/state.json", "");
		assert_true(changes(w, vm));
		assert_int_equal(unlink(in_base("run/web/state.json")), 0);
		assert_true(changes(w, vm));
	}
	watching_free(w);
}

static void a_process_that_has_ended(void **unused)
{
	struct store store = make_store(true);
	struct watching *w = watching_new(&store);
	struct watched *vm = watching_add(w, "web");
	pid_t pid = fork();

	(void)unused;
	if (pid == 0)
		for (;;)
			pause();
	watched_take_change(vm);
	assert_false(watching_process(w, vm, WATCHED_QEMU, 0));
	assert_true(watching_process(w, vm, WATCHED_QEMU, pid));
	assert_false(watching_process(w, vm, WATCHED_QEMU, pid)); /* it is watched already */
	assert_false(changes(w, vm));
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	assert_true(changes(w, vm));
	assert_false(changes(w, vm));
	assert_true(watching_process(w, vm, WATCHED_SUPERVISOR, pid)); /* it came too late */
	assert_true(watched_take_change(vm));
	assert_null(watching_trouble(w));
	watching_free(w);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(without_a_runtime_directory),
		TEST(a_directory_comes_again),
		TEST(a_process_that_has_ended),
	};

	return RUN(tests);
}
