#include "commands/diskmoves.h"

#include "lib/log.h"
#include "lib/xalloc.h"
#include "vm/moved.h"

#define LOOK_MS 5000
#define LOOKS	10

json_t *diskmoves_json(const struct vm *vm)
{
	json_t *record = moved_read(vm->home, NULL), *list = xcheck(json_array());
	struct moved_disk disk;
	size_t next = 0;

	while (moved_find(vm, record, &next, &disk))
		json_array_append_new(list,
				      xcheck(json_pack("{s:s, s:s, s:s}", "disk", disk.key, "file",
						       disk.file, "format", disk.format)));
	json_decref(record);
	return list;
}

json_t *diskmoves_before(struct ask *ask, const char *home)
{
	json_t *answer = NULL, *disks = NULL;

	if (ask_qmp(ask, "query-block", NULL, LOOK_MS, &answer) == QMP_OK)
		disks = moved_look(answer, home);
	json_decref(answer);
	return disks;
}

static void tell(const char *name, json_t *before, json_t *moved)
{
	const char *id;
	json_t *disk;

	json_object_foreach(moved, id, disk)
	{
		json_t *file = json_object_get(disk, "file");

		if (!json_equal(json_object_get(json_object_get(before, id), "file"), file))
			log_notice("%s: what the guest writes to %s goes to %s now: before its "
				   "next start its definition must name that (\"vmconf check "
				   "%s\")",
				   name, id, json_string_value(file), name);
	}
}

/* Records what has moved between two looks. */
static void keep(const char *name, const char *home, json_t *before, json_t *now)
{
	bool known;
	json_t *record = moved_read(home, &known), *origins = xcheck(json_object()), *moved;

	moved_add_origins(origins, record, NULL, before);
	moved = moved_since(origins, now, record);
	if (known && !json_equal(record, moved))
		moved_write(home, MOVED_BY_VMCONF, moved);
	tell(name, before, moved);
	json_decref(origins);
	json_decref(record);
	json_decref(moved);
}

/* A supervisor sees the same, maybe later and more: what we write must not be older than that. */
void diskmoves_after(struct ask *ask, const char *name, const char *home, json_t *before)
{
	for (int i = 0; i < LOOKS && before; i++) {
		json_t *now = diskmoves_before(ask, home);

		if (now && !json_equal(now, before))
			keep(name, home, before, now);
		else
			i = LOOKS;
		json_decref(before);
		before = now;
	}
	json_decref(before);
}
