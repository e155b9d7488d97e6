#include "commands/describe.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "commands/disk.h"
#include "commands/diskmoves.h"
#include "commands/vmstate.h"
#include "lib/array.h"
#include "lib/xalloc.h"

void describe_seconds(long long s, char *text, size_t size)
{
	if (s < 3600)
		snprintf(text, size, "%lldm%02llds", s / 60, s % 60);
	else if (s < 24 * 3600)
		snprintf(text, size, "%lldh%02lldm", s / 3600, s / 60 % 60);
	else
		snprintf(text, size, "%lldd%02lldh", s / 86400, s / 3600 % 24);
}

void describe_uptime(const struct vm_status *status, char *text, size_t size)
{
	if (!status->pid || !status->started)
		snprintf(text, size, "-");
	else
		describe_seconds(vm_status_uptime(status), text, size);
}

void describe_size(uint64_t bytes, char *text, size_t size)
{
	static const char *const units[] = {" bytes", "K", "M", "G", "T", "P"};
	size_t i = 0;

	while (bytes >= 1024 && bytes % 1024 == 0 && i < ARRAY_SIZE(units) - 1) {
		bytes /= 1024;
		i++;
	}
	snprintf(text, size, "%" PRIu64 "%s", bytes, units[i]);
}

void describe_memory(json_int_t mib, char *text, size_t size)
{
	if (mib == 0)
		snprintf(text, size, "-");
	else if (mib % 1024 == 0)
		snprintf(text, size, "%lldG", (long long)mib / 1024);
	else
		snprintf(text, size, "%lldM", (long long)mib);
}

json_t *describe_number(json_int_t number)
{
	return number ? json_integer(number) : json_null();
}

static json_t *text_or_null(const char *text)
{
	return *text ? json_string(text) : json_null();
}

json_t *describe_status(const char *name, const struct vm_status *status)
{
	bool up = vm_state_is_up(status->state);

	return xcheck(json_pack(
		"{s:s, s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:b, s:o, s:o, s:b}", "name", name,
		"state", vm_state_word(status->state), "pid", describe_number(status->pid),
		"supervisor", describe_number(status->supervisor), "uptime",
		up && status->pid && status->started ? json_integer(vm_status_uptime(status))
						     : json_null(),
		"last-status", status->end.known ? json_integer(status->end.status) : json_null(),
		"last-words", status->end.known ? json_string(status->end.words) : json_null(),
		"run-state", text_or_null(status->run_state), "reason",
		text_or_null(status->reason), "ready", up && status->ready, "listening",
		up && status->listening >= 0 ? json_boolean(status->listening) : json_null(),
		"rung", text_or_null(status->doing), "failing", status->failing));
}

void describe_boot(json_t *vm, int enabled, const json_int_t *order)
{
	json_object_set_new(vm, "enabled", enabled < 0 ? json_null() : json_boolean(enabled));
	json_object_set_new(vm, "order", order ? json_integer(*order) : json_null());
}

void describe_definition(json_t *vm, json_int_t cpus, bool changed)
{
	json_object_set_new(vm, "cpus", describe_number(cpus));
	json_object_set_new(vm, "changed", cpus ? json_boolean(changed) : json_null());
}

json_t *describe_moved(const char *name, bool moved)
{
	struct vm_problems problems = {0};
	struct vm *vm = moved ? vm_load(name, &problems) : NULL;
	json_t *list = vm ? diskmoves_json(vm) : xcheck(moved ? json_null() : json_array());

	vm_problems_free(&problems);
	vm_free(vm);
	return list;
}

void describe_tags(json_t *vm, const char *tags, bool protect)
{
	json_t *list = tags ? xcheck(json_array()) : json_null();
	const char *tag = tags ? tags : "";
	size_t len;

	for (; *(tag += strspn(tag, " ")); tag += len) {
		len = strcspn(tag, " ");
		json_array_append_new(list, json_stringn(tag, len));
	}
	json_object_set_new(vm, "tags", list);
	json_object_set_new(vm, "protect", tags ? json_boolean(protect) : json_null());
}

json_t *describe_disks(const struct vm *vm)
{
	json_t *disks = xcheck(vm ? json_array() : json_null());

	for (size_t i = 0; vm && i < vm->disk_count; i++) {
		const struct vm_disk *disk = &vm->disks[i];
		uint64_t size = disk->path ? disk_size(disk->path, disk->format) : 0;

		json_array_append_new(
			disks,
			xcheck(json_pack("{s:s*, s:s, s:o}", "file", disk->path, "format",
					 disk->format, "size", describe_number((json_int_t)size))));
	}
	return disks;
}

json_t *describe_nics(const struct vm *vm)
{
	json_t *nics = xcheck(vm ? json_array() : json_null());

	for (size_t i = 0; vm && i < vm->nic_count; i++) {
		char *mac = vm_mac(vm, i);

		json_array_append_new(nics, xcheck(json_pack("{s:s, s:s}", "type", vm->nics[i].type,
							     "mac", mac)));
		free(mac);
	}
	return nics;
}
