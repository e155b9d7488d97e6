/* Definitions: what stands in struct vm, for what is there and for what is not. */
#include "unit.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "vm/vm.h"

static struct vm *good(const char *text)
{
	struct vm_problems problems = {0};
	struct vm *vm = vm_from_text("web", text, strlen(text), &problems);

	if (!vm)
		fail_msg("%s", problems.lines[0]);
	assert_int_equal(problems.count, 0);
	return vm;
}

static int begin_tests(void **state)
{
	(void)state;
	setenv("QEMU_SUPERVISE_CONFIG_DIR", "/config", 1);
	setenv("QEMU_SUPERVISE_STATE_DIR", "/state", 1);
	return 0;
}

/* ---- defaults ---- */

#define SAME_STRING(member) assert_string_equal(a->member, b->member)
#define SAME_NUMBER(member) assert_int_equal(a->member, b->member)

static void same(const struct vm *a, const struct vm *b)
{
	SAME_STRING(description);
	SAME_STRING(emulator);
	SAME_STRING(arch);
	SAME_STRING(machine);
	SAME_STRING(accel[0]);
	SAME_STRING(cpu);
	SAME_NUMBER(cpus);
	SAME_NUMBER(memory);
	SAME_STRING(firmware);
	SAME_NUMBER(disk_count);
	SAME_NUMBER(nic_count);
	SAME_NUMBER(console);
	SAME_NUMBER(agent);
	SAME_STRING(display);
	SAME_NUMBER(sandbox);
	assert_ptr_equal(a->args[0], b->args[0]);
	SAME_NUMBER(ready);
	SAME_NUMBER(press_interval);
	SAME_NUMBER(boot_timeout);
	SAME_NUMBER(order);
}

/* What the schema calls a default is what a key that is left out means. */
static void defaults_are_the_schemas(void **state)
{
	struct vm *plain = good("{}");
	json_t *schema = json_load_file("vm.schema.json", 0, NULL), *key;
	unsigned count = 0;
	const char *name;

	(void)state;
	assert_non_null(schema);
	json_object_foreach(json_object_get(schema, "properties"), name, key)
	{
		struct vm_problems problems = {0};
		json_t *json, *value = json_object_get(key, "default");
		struct vm *vm;

		if (!value)
			continue;
		json = json_pack("{s:O}", name, value);
		vm = vm_from_json("web", json, &problems);
		assert_non_null(vm);
		same(plain, vm);
		vm_free(vm);
		json_decref(json);
		count++;
	}
	assert_true(count > 10);
	json_decref(schema);
	vm_free(plain);
}

static void what_is_not_there(void **state)
{
	struct vm *vm = good("{}");

	(void)state;
	assert_string_equal(vm->name, "web");
	assert_string_equal(vm->file, "/config/web.json");
	assert_string_equal(vm->home, "/state/web");
	assert_null(vm->uuid);
	assert_null(vm->kernel);
	assert_null(vm->initrd);
	assert_null(vm->append);
	assert_null(vm->cdrom.path);
	assert_null(vm->run_as);
	assert_null(vm->on);
	assert_null(vm->firmware_path);
	assert_int_equal(json_object_size(vm->json), 0);
	vm_free(vm);
}

/* ---- values ---- */

static void every_key(void **state)
{
	struct vm *vm = good("{\"description\": \"d\", \"emulator\": \"qemu-system-aarch64\","
			     "\"machine\": \"virt,gic-version=3\", \"accel\": [\"a\", \"b\"],"
			     "\"cpu\": \"c\", \"cpus\": 3, \"memory\": \"3G\","
			     "\"firmware\": \"f/w\", \"kernel\": \"k\", \"initrd\": \"/i\","
			     "\"append\": \"a\", \"cdrom\": \"c.iso\", \"console\": \"stdio\","
			     "\"agent\": true, \"display\": \"gtk\", \"sandbox\": false,"
			     "\"run-as\": \"u\", \"args\": [\"x\", \"y\"], \"on\": {\"HUP\": "
			     "\"status\"}, \"ready\": \"agent\", \"press-interval\": \"forever\","
			     "\"boot-timeout\": \"1m30s\", \"order\": -7}");

	(void)state;
	assert_string_equal(vm->description, "d");
	assert_string_equal(vm->arch, "aarch64");
	assert_string_equal(vm->machine, "virt,gic-version=3");
	assert_string_equal(vm->devices->disk, "virtio-blk-pci");
	assert_string_equal(vm->accel[1], "b");
	assert_null(vm->accel[2]);
	assert_string_equal(vm->cpu, "c");
	assert_int_equal(vm->cpus, 3);
	assert_int_equal(vm->memory, 3072);
	assert_string_equal(vm->firmware_path, "/state/web/f/w");
	assert_string_equal(vm->kernel, "/state/web/k");
	assert_string_equal(vm->initrd, "/i");
	assert_string_equal(vm->append, "a");
	assert_string_equal(vm->cdrom.path, "/state/web/c.iso");
	assert_int_equal(vm->console, CONSOLE_STDIO);
	assert_true(vm->agent);
	assert_string_equal(vm->display, "gtk");
	assert_false(vm->sandbox);
	assert_string_equal(vm->run_as, "u");
	assert_string_equal(vm->args[1], "y");
	assert_null(vm->args[2]);
	assert_string_equal(json_string_value(json_object_get(vm->on, "HUP")), "status");
	assert_int_equal(vm->ready, READY_AGENT);
	assert_int_equal(vm->press_interval, 0); /* never again */
	assert_int_equal(vm->boot_timeout, 90000);
	assert_int_equal(vm->order, -7);
	vm_free(vm);
}

static void disks_and_nics(void **state)
{
	struct vm *vm = good("{\"emulator\": \"qemu-system-x86_64\","
			     "\"disks\": [{\"path\": \"a\", \"format\": \"raw\", \"discard\": "
			     "\"unmap\"}, {\"format\": \"null-co\", \"device\": \"nvme\"}],"
			     "\"nics\": [{\"type\": \"bridge\", \"br\": \"br0\", \"mac\": "
			     "\"52:54:00:00:00:01\"}]}");

	(void)state;
	assert_int_equal(vm->disk_count, 2);
	assert_string_equal(vm->disks[0].path, "/state/web/a");
	assert_string_equal(vm->disks[0].given, "a");
	assert_string_equal(vm->disks[0].format, "raw");
	assert_string_equal(vm->disks[0].device, "virtio-blk-pci");
	assert_int_equal(json_object_size(vm->disks[0].passed_on), 1);
	assert_null(vm->disks[1].path);
	assert_string_equal(vm->disks[1].device, "nvme");
	assert_int_equal(vm->nic_count, 1);
	assert_string_equal(vm->nics[0].type, "bridge");
	assert_string_equal(vm->nics[0].mac, "52:54:00:00:00:01");
	assert_int_equal(json_object_size(vm->nics[0].passed_on), 1);
	vm_free(vm);
}

/* The value stays the caller's, and what is done with it later changes no VM. */
static void a_value_is_copied(void **state)
{
	struct vm_problems problems = {0};
	json_t *json = json_pack("{s:s, s:[{s:s}]}", "cpu", "host", "nics", "type", "user");
	struct vm *vm = vm_from_json("web", json, &problems);

	(void)state;
	json_object_clear(json);
	json_decref(json);
	assert_string_equal(vm->cpu, "host");
	assert_string_equal(vm->nics[0].type, "user");
	vm_free(vm);
}

/* ---- problems ---- */

static void names(void **state)
{
	static const char *const bad[] = {"", ".", "..", "../web", "a/b", "-x", "a b", "\xc3\xa4"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct vm_problems problems = {0};

		assert_null(vm_from_text(bad[i], "{}", 2, &problems));
		assert_int_equal(problems.count, 1);
		assert_non_null(strstr(problems.lines[0], "cannot be the name of a VM"));
		vm_problems_free(&problems);
	}
}

static void problems_add_up(void **state)
{
	static const char text[] = "{\"cpus\": 0, \"x\": \"\\u001b\"}";
	struct vm_problems problems = {0};

	(void)state;
	assert_null(vm_from_text("a", text, strlen(text), &problems));
	assert_null(vm_from_text("b", "[]", 2, &problems));
	assert_int_equal(problems.count, 3);
	assert_string_equal(problems.lines[2], "/config/b.json: found a list, expected an object");
	vm_problems_free(&problems);
	assert_int_equal(problems.count, 0);
}

static void no_home(void **state)
{
	struct vm_problems problems = {0};

	setenv("QEMU_SUPERVISE_STATE_DIR", "/st\xff", 1);
	assert_null(vm_from_text("web", "{}", 2, &problems));
	assert_non_null(strstr(problems.lines[0], "not UTF-8"));
	vm_problems_free(&problems);
	begin_tests(state);
}

/* QEMU's parser of options would take what follows one comma for the next option. */
static void comma_in_a_path(void **state)
{
	struct vm *vm;
	char **argv, *why, **word;

	setenv("QEMU_SUPERVISE_STATE_DIR", "/a,b,,c", 1);
	vm = good("{\"emulator\": \"qemu-system-x86_64\", \"credentials\": {\"k\": \"x\"}}");
	word = argv = vm_command(vm, &why);
	assert_non_null(argv);
	while (*word && strcmp(*word, "-smbios") != 0)
		word++;
	assert_non_null(*word);
	assert_string_equal(word[1], "type=11,path=/a,,b,,,,c/web/.credential.k");
	vm_command_free(argv);
	vm_free(vm);
	begin_tests(state);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(defaults_are_the_schemas),
		cmocka_unit_test(what_is_not_there),
		cmocka_unit_test(every_key),
		cmocka_unit_test(disks_and_nics),
		cmocka_unit_test(a_value_is_copied),
		cmocka_unit_test(names),
		cmocka_unit_test(problems_add_up),
		cmocka_unit_test(no_home),
		cmocka_unit_test(comma_in_a_path),
	};

	return (cmocka_set_message_output(CM_OUTPUT_TAP),
		cmocka_run_group_tests(tests, begin_tests, NULL));
}
