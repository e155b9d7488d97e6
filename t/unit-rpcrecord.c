/* What is kept of requests with an id: whatever fails, none is done twice, and none is forgotten.
 */
#include "unit.h"
#include "calls.h"
#include "command.h"

#include <time.h>

#include "commands/rpcrecord.h"

static struct store store;
static struct rpc_record record;
static char *why;

static int begin_ids(void **state)
{
	begin_test(state);
	make_store();
	store_open(&store);
	move_up(&store.config_fd);
	move_up(&store.state_fd);
	called_since();
	return 0;
}

static int end_ids(void **state)
{
	store_close(&store);
	return end_test(state);
}

#define OF_IDS(name) cmocka_unit_test_setup_teardown(name, begin_ids, end_ids)

static enum rpc_known open_id_of(struct rpc_record *r, const char *id, const char *vm)
{
	struct rpc_request request;
	enum rpc_known known;
	char text[256];

	snprintf(text, sizeof(text),
		 "{\"command\": \"stop-vm\", \"id\": %s, \"options\": {\"vm-id\": \"%s\"}}", id,
		 vm);
	assert_null(rpc_request_parse(&request, text, strlen(text)));
	known = rpc_record_open(r, &store, &request, &why);
	rpc_request_free(&request);
	return known;
}

static enum rpc_known open_id(const char *id)
{
	return open_id_of(&record, id, "web");
}

/* It is refused, with these words. */
static void is_refused(const char *words)
{
	assert_int_equal(open_id("\"a\""), RPC_REFUSED);
	assert_non_null(why);
	if (!strstr(why, words))
		fail_msg("\"%s\" is not in \"%s\"", words, why);
	free(why);
	rpc_record_close(&record);
}

static void is_known_as(const char *id, enum rpc_known known)
{
	assert_int_equal(open_id(id), known);
	assert_null(why);
	rpc_record_close(&record);
}

static void begin_and_end(void)
{
	assert_int_equal(open_id("\"a\""), RPC_NEW);
	assert_true(rpc_record_begin(&record, "web", "u", &why));
	rpc_record_end(&record);
	rpc_record_close(&record);
}

/* ---- one after the other ---- */

static void a_request_is_known_again(void **state)
{
	json_t *answer = json_pack("{s:s}", "state", "stopped");

	(void)state;
	assert_int_equal(open_id("\"a b\""), RPC_NEW);
	assert_false(is_there("state/.rpc/sa%20b.json"));
	called_since();
	assert_true(rpc_record_begin(&record, "web", "u", &why));
	assert_string_equal(called_since(), "unlinkat .sa%20b.json\nfsync .sa%20b.json\n"
					    "renameat sa%20b.json\nfsync .rpc\n");
	rpc_record_close(&record);
	assert_int_equal(open_id("\"a b\""), RPC_BEGUN);
	assert_string_equal(rpc_record_vm(&record), "web");
	assert_string_equal(rpc_record_uuid(&record), "u");
	rpc_record_add(&record, answer);
	rpc_record_end(&record);
	rpc_record_close(&record);
	json_decref(answer);
	assert_int_equal(open_id("\"a b\""), RPC_DONE);
	assert_string_equal(text_at(rpc_record_answers(&record), "0", "state", NULL), "stopped");
	rpc_record_close(&record);
	is_known_as("7", RPC_NEW);
	assert_string_equal(said(), "");
}

/* The directory is there before what is in it. */
static void the_directory_is_synced(void **state)
{
	(void)state;
	is_known_as("\"a\"", RPC_NEW);
	assert_string_equal(called_since(), "fsync state\n");
	is_known_as("\"a\"", RPC_NEW);
	assert_string_equal(called_since(), "");
}

static void only_one_works_on_an_id(void **state)
{
	struct rpc_record other;

	(void)state;
	assert_int_equal(open_id("\"a\""), RPC_NEW);
	assert_int_equal(open_id_of(&other, "\"a\"", "web"), RPC_BUSY);
	rpc_record_close(&other);
	assert_int_equal(open_id_of(&other, "\"b\"", "web"), RPC_NEW);
	rpc_record_close(&other);
	rpc_record_close(&record);
	is_known_as("\"a\"", RPC_NEW);
}

static void an_id_is_of_one_request(void **state)
{
	(void)state;
	begin_and_end();
	assert_int_equal(open_id_of(&record, "\"a\"", "db"), RPC_REFUSED);
	assert_string_equal(why, "this id is that of another request");
	free(why);
	rpc_record_close(&record);
	is_known_as("\"a\"", RPC_DONE);
}

/* ---- what fails ---- */

/* It is not begun, and there is no half of a record. */
static void a_record_that_cannot_be_written(void **state)
{
	static const char *const names[] = {"write", "fsync", "renameat", "unlinkat"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		assert_int_equal(open_id("\"a\""), RPC_NEW);
		fails(names[i], 0, ENOSPC);
		assert_false(rpc_record_begin(&record, "web", NULL, &why));
		assert_string_equal(why, "cannot keep the request's id: No space left on device");
		free(why);
		rpc_record_close(&record);
		is_known_as("\"a\"", RPC_NEW);
		assert_false(is_there("state/.rpc/.sa.json"));
	}
}

/* It stays one that was begun. */
static void an_end_that_cannot_be_written(void **state)
{
	static const char *const names[] = {"write", "fsync", "renameat", "unlinkat"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		assert_int_equal(open_id("\"a\""), i == 0 ? RPC_NEW : RPC_BEGUN);
		assert_true(rpc_record_begin(&record, "web", NULL, &why));
		fails(names[i], 0, EIO);
		rpc_record_end(&record);
		has_said("cannot keep the answers to the request of .rpc/sa.json: Input/output");
		rpc_record_close(&record);
		is_known_as("\"a\"", RPC_BEGUN);
	}
}

/* Were it taken for none, the request would be done again. */
static void a_record_that_cannot_be_read(void **state)
{
	(void)state;
	begin_and_end();
	fails("read", 0, EIO);
	is_refused("cannot read what is known of this id in .rpc/sa.json");
	fails("fstat", 2, EIO); /* after those of the directory and of the lock */
	is_refused("cannot read what is known of this id: Input/output error");
	fails("fstat", 3, EIO);
	is_refused("cannot read what is known of this id in .rpc/sa.json");
	is_known_as("\"a\"", RPC_DONE);
}

/* The same for one that is damaged. */
static void a_damaged_record(void **state)
{
	static const char *const texts[] = {
		"",
		"{",
		"[]",
		"{\"version\": 1, \"request\": \"x\"}",
		"{\"version\": 1, \"request\": \"x\", \"answers\": {}}",
		"{\"version\": 1, \"request\": \"x\", \"answers\": [{}, 1]}",
		"{\"version\": 1, \"request\": 1, \"answers\": []}",
		"{\"version\": 2, \"request\": \"x\", \"answers\": []}",
		"{\"version\": 1, \"request\": \"x\", \"answers\": [], \"vm-id\": \"../x\"}"};

	(void)state;
	begin_and_end();
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		put("state/.rpc/sa.json", texts[i]);
		is_refused("cannot read what is known of this id in .rpc/sa.json");
		assert_string_equal(got("state/.rpc/sa.json"), texts[i]);
	}
	put("state/.rpc/sa.json", "{\"version\": 1, \"request\": \"x\", \"answers\": [{}]}");
	is_refused("this id is that of another request");
}

/* What is no file is not taken for a record, or for none. */
static void what_is_no_record(void **state)
{
	(void)state;
	is_known_as("\"a\"", RPC_NEW);
	assert_int_equal(symlink("nowhere", in_base("state/.rpc/sa.json")), 0);
	is_refused("cannot read what is known of this id: Too many levels");
	assert_int_equal(unlink(in_base("state/.rpc/sa.json")), 0);
	assert_int_equal(mkfifo(in_base("state/.rpc/sa.json"), 0600), 0);
	is_refused("cannot read what is known of this id: Invalid argument");
}

static void a_lock_that_cannot_be_had(void **state)
{
	(void)state;
	is_known_as("\"a\"", RPC_NEW);
	fails("fstat", 1, EIO); /* after that of the directory */
	is_refused("cannot lock an id: Input/output error");
	assert_int_equal(unlink(in_base("state/.rpc/lock")), 0);
	assert_int_equal(symlink("elsewhere", in_base("state/.rpc/lock")), 0);
	is_refused("cannot lock an id: Too many levels");
	assert_false(is_there("state/.rpc/elsewhere"));
}

/* ---- the directory ---- */

static void a_directory_of_others(void **state)
{
	static const mode_t modes[] = {0770, 0707, 01777};

	(void)state;
	assert_int_equal(mkdir(in_base("state/.rpc"), 0700), 0);
	for (size_t i = 0; i < ARRAY_SIZE(modes); i++) {
		assert_int_equal(chmod(in_base("state/.rpc"), modes[i]), 0);
		is_refused("others may write there");
	}
	assert_int_equal(chmod(in_base("state/.rpc"), 0755), 0);
	if (geteuid() == 0) {
		assert_int_equal(chown(in_base("state/.rpc"), 1, 1), 0);
		is_refused("others may write there");
		assert_int_equal(chown(in_base("state/.rpc"), 0, 0), 0);
		euid_is = 1; /* root's directory is nobody's whom we would not trust */
	}
	is_known_as("\"a\"", RPC_NEW);
}

static void a_directory_that_is_none(void **state)
{
	(void)state;
	put("state/.rpc", "");
	is_refused("cannot keep ids in");
	assert_int_equal(unlink(in_base("state/.rpc")), 0);
	assert_int_equal(symlink("images", in_base("state/.rpc")), 0);
	is_refused("cannot keep ids in");
	assert_false(is_there("state/images/lock"));
	assert_int_equal(unlink(in_base("state/.rpc")), 0);
	is_known_as("\"a\"", RPC_NEW);
	fails("fstat", 0, EIO);
	is_refused(": Input/output error");
}

static void a_directory_that_cannot_be_made(void **state)
{
	(void)state;
	assert_int_equal(rename(in_base("state"), in_base("away")), 0);
	assert_int_equal(symlink("nowhere/state", in_base("state")), 0);
	is_refused("/state/.rpc: No such file or directory");
	assert_false(is_there("away/.rpc"));
}

/* ---- old ones ---- */

static void make_old(const char *name, time_t seconds)
{
	struct timespec times[2];

	clock_gettime(CLOCK_REALTIME, &times[0]);
	times[0].tv_sec -= seconds;
	times[1] = times[0];
	assert_int_equal(utimensat(AT_FDCWD, in_base(name), times, AT_SYMLINK_NOFOLLOW), 0);
}

/* Two that are older than a day, of which the first one's request may still be at work. */
static void put_old(void)
{
	put("state/.rpc/sold.json", "");
	put("state/.rpc/.sleft.json", "");
	put("state/.rpc/sold.txt", "");
	make_old("state/.rpc/sold.json", 25 * 3600);
	make_old("state/.rpc/.sleft.json", 25 * 3600);
	make_old("state/.rpc/sold.txt", 25 * 3600);
}

static void old_ones_are_removed(void **state)
{
	(void)state;
	rpc_record_prune(&store);
	assert_false(is_there("state/.rpc")); /* nobody has asked for one */
	begin_and_end();
	put_old();
	rpc_record_prune(&store);
	assert_false(is_there("state/.rpc/sold.json"));
	assert_false(is_there("state/.rpc/.sleft.json"));
	assert_true(is_there("state/.rpc/sold.txt"));
	assert_true(is_there("state/.rpc/sa.json"));
	put_old();
	rpc_record_prune(&store); /* not for an hour */
	assert_true(is_there("state/.rpc/sold.json"));
	make_old("state/.rpc/pruned", 3700);
	rpc_record_prune(&store);
	assert_false(is_there("state/.rpc/sold.json"));
	assert_string_equal(said(), "");
}

static void what_somebody_works_on_stays(void **state)
{
	struct rpc_record left;

	(void)state;
	assert_int_equal(open_id("\"old\""), RPC_NEW);
	assert_int_equal(open_id_of(&left, "\"left\"", "web"), RPC_NEW);
	put_old();
	rpc_record_prune(&store);
	assert_true(is_there("state/.rpc/sold.json"));
	assert_true(is_there("state/.rpc/.sleft.json"));
	rpc_record_close(&left);
	make_old("state/.rpc/pruned", 3700);
	rpc_record_prune(&store);
	assert_true(is_there("state/.rpc/sold.json"));
	assert_false(is_there("state/.rpc/.sleft.json"));
	rpc_record_close(&record);
}

/* Neither a time that is not known, nor another directory, nor a failing call removes any. */
static void nothing_else_is_removed(void **state)
{
	(void)state;
	is_known_as("\"a\"", RPC_NEW);
	put("state/.rpc/sold.json", "");
	make_old("state/.rpc/sold.json", 25 * 3600);
	fails("unlinkat", 0, EACCES); /* of "pruned": whether it is our turn is not known */
	rpc_record_prune(&store);
	assert_true(is_there("state/.rpc/sold.json"));
	for (int skip = 1; skip <= 2; skip++) { /* the first one is of "pruned" */
		fails("fstatat", skip, EIO);
		rpc_record_prune(&store);
		assert_true(is_there("state/.rpc/sold.json"));
		assert_int_equal(unlink(in_base("state/.rpc/pruned")), 0);
	}
	assert_int_equal(chmod(in_base("state/.rpc"), 0777), 0);
	rpc_record_prune(&store);
	assert_true(is_there("state/.rpc/sold.json"));
	assert_int_equal(chmod(in_base("state/.rpc"), 0700), 0);
	rpc_record_prune(&store);
	assert_false(is_there("state/.rpc/sold.json"));
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		OF_IDS(a_request_is_known_again),
		OF_IDS(the_directory_is_synced),
		OF_IDS(only_one_works_on_an_id),
		OF_IDS(an_id_is_of_one_request),
		OF_IDS(a_record_that_cannot_be_written),
		OF_IDS(an_end_that_cannot_be_written),
		OF_IDS(a_record_that_cannot_be_read),
		OF_IDS(a_damaged_record),
		OF_IDS(what_is_no_record),
		OF_IDS(a_lock_that_cannot_be_had),
		OF_IDS(a_directory_of_others),
		OF_IDS(a_directory_that_is_none),
		OF_IDS(a_directory_that_cannot_be_made),
		OF_IDS(old_ones_are_removed),
		OF_IDS(what_somebody_works_on_stays),
		OF_IDS(nothing_else_is_removed),
	};

	return RUN(tests);
}
