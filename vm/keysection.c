#include "vm/keysection.h"

#include <stdlib.h>
#include <string.h>

#include "lib/array.h"
#include "lib/xalloc.h"

/* The sections in their order there, each with its keys between spaces; t/schema.t compares. */
static const struct {
	const char *title, *keys;
} sections[] = {
	{"KEYS", ""},
	{"The machine",
	 " description uuid emulator machine accel cpu cpus memory firmware kernel initrd append "},
	{"Disks", " disks cdrom "},
	{"Network", " nics forwards "},
	{"The guest's first boot", " cloud-init credentials "},
	{"Beside QEMU", " tpm shares helpers "},
	{"Channels", " console console-log agent display "},
	{"Security", " sandbox run-as args confine limits "},
	{"Supervision",
	 " pvpanic watchdog on ready press-interval boot-timeout order tags protect "},
};

unsigned keysection_bit(const char *key)
{
	char *word = xasprintf(" %s ", key ? key : "?");
	size_t i = ARRAY_SIZE(sections) - 1;

	while (i > 0 && !strstr(sections[i].keys, word))
		i--;
	free(word);
	return 1u << i;
}

char *keysection_text(const struct vm_problems *problems)
{
	char *text = NULL, *longer;

	for (size_t i = 0; i < ARRAY_SIZE(sections); i++) {
		if (!(problems->sections & 1u << i))
			continue;
		longer = xasprintf("%s%s", text ? text : "see ", text ? ", " : "");
		free(text);
		text = xasprintf("%s%s", longer, sections[i].title);
		free(longer);
	}
	if (!text)
		return NULL;
	longer = xasprintf("%s in vmconf(5)", text);
	free(text);
	return longer;
}
