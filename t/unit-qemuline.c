/* What is read from a command line of QEMU's. */
#include "unit.h"

#include <stdio.h>
#include <string.h>

#include "supervise/qemuline.h"

/* At spaces; it stays in *copy. */
static char **words_of(char copy[256], const char *text)
{
	static char *words[16];
	size_t count = 0;
	char *save;

	snprintf(copy, 256, "%s", text);
	for (char *word = strtok_r(copy, " ", &save); word; word = strtok_r(NULL, " ", &save))
		words[count++] = word;
	words[count] = NULL;
	return words;
}

/* What QEMU does when its guest reboots or shuts down: the last option decides, as in QEMU. */
static void actions(void **state)
{
	static const struct {
		const char *line, *reboot, *shutdown;
	} rows[] = {
		{"qemu-system-x86_64", "reset", "poweroff"},
		{"qemu-system-x86_64 -no-reboot", "shutdown", "poweroff"},
		{"qemu-system-x86_64 --no-reboot -no-shutdown", "shutdown", "pause"},
		{"qemu-system-x86_64 -action reboot=shutdown", "shutdown", "poweroff"},
		{"qemu-system-x86_64 -action panic=none,shutdown=pause", "reset", "pause"},
		{"qemu-system-x86_64 -no-reboot -action reboot=reset", "reset", "poweroff"},
		{"qemu-system-x86_64 -no-shutdown -action shutdown=poweroff,reboot=shutdown",
		 "shutdown", "poweroff"},
		{"qemu-system-x86_64 -action reboot=reset -no-reboot", "shutdown", "poweroff"},
		{"qemu-system-x86_64 -no-reboot -action reboot=other", "shutdown", "poweroff"},
		{"qemu-system-x86_64 -action", "reset", "poweroff"},
		{"nice -no-reboot /usr/bin/qemu-kvm -no-shutdown", "reset", "pause"},
		{"kvm -no-reboot", "shutdown", "poweroff"},
		{"wrapper -no-reboot", "shutdown", "poweroff"},
	};
	char copy[256];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct qemu_actions is = qemuline_actions(words_of(copy, rows[i].line));

		if (strcmp(is.reboot, rows[i].reboot) != 0 ||
		    strcmp(is.shutdown, rows[i].shutdown) != 0)
			fail_msg("%s: %s, %s", rows[i].line, is.reboot, is.shutdown);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(actions)};

	return RUN(tests);
}
