/* Any text as a definition: it is refused with reasons, or makes a command line. */
#include <stdint.h>
#include <stdlib.h>

#include "vm/vm.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_lines(const struct vm_problems *problems)
{
	for (size_t i = 0; i < problems->count; i++)
		for (const char *p = problems->lines[i]; *p; p++)
			if ((unsigned char)*p < ' ' || *p == 0x7f)
				abort();
}

static void check_command(const struct vm *vm)
{
	char *why = NULL, **argv = vm_command(vm, &why);

	if (!argv != !!why)
		abort();
	vm_command_free(argv);
	free(why);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct vm_problems problems = {0};
	struct vm *vm = vm_from_text("fuzz", (const char *)data, size, &problems);

	if (!vm != !!problems.count)
		abort();
	if (vm)
		check_command(vm);
	check_lines(&problems);
	vm_free(vm);
	vm_problems_free(&problems);
	return 0;
}
