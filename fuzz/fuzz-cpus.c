/* Any text as that on a guest's CPUs: with one more CPU that runs, the guest has not halted. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "lib/xalloc.h"
#include "supervise/cpus.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = strndup((const char *)data, size);
	char *more = xasprintf("%s\nCPU#9\nRIP=0 RFL=00000246 SMM=0 HLT=1\n", text);
	enum cpus cpus = cpus_read(text), all = cpus_read(more);

	if (cpus == CPUS_NOT_KNOWN && strstr(text, "CPU#") && all != CPUS_NOT_KNOWN)
		abort();
	if (all == CPUS_HALTED || all == CPUS_MASKED)
		abort();
	free(text);
	free(more);
	return 0;
}
