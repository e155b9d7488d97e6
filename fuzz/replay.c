/* Runs a fuzz target on each file that is named, without a fuzzer: a finding ends it by a signal.
 */
#include <err.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "lib/xalloc.h"

#define SIZE_MAX_READ (2 * 1024 * 1024)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void replay(const char *path)
{
	uint8_t *data = xcalloc(SIZE_MAX_READ, 1), *exact;
	FILE *file = fopen(path, "re");
	size_t size;

	if (!file)
		err(1, "%s", path);
	size = fread(data, 1, SIZE_MAX_READ, file);
	fclose(file);
	/* Of its own size, so that a sanitizer sees a read behind the end. */
	exact = xcalloc(size, 1);
	for (size_t i = 0; i < size; i++)
		exact[i] = data[i];
	free(data);
	LLVMFuzzerTestOneInput(exact, size);
	free(exact);
}

int main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++)
		replay(argv[i]);
	printf("%d files\n", argc - 1);
	return argc > 1 ? 0 : 1;
}
