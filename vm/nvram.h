/*
 * The variables of a VM's UEFI firmware, in its state directory, and the record beside them of the
 * firmware that they were made with.
 */
#ifndef NVRAM_H
#define NVRAM_H

#include <stdbool.h>

#define NVRAM_RECORD "uefi-vars.json"

/* A firmware. */
struct firmware {
	char *code, *code_format;
	bool flash; /* else it is loaded by -bios */
	/* What a new VM's variables are copied from; NULL: it keeps none. */
	char *variables, *variables_format;
};

/* What there is. */
struct nvram {
	char *path; /* the variables; NULL: none were made yet */
	/*
	 * The firmware that the record names; NULL: there is no record (0.1.0 made none). Whoever
	 * can write to the state directory can write it: it chooses between the firmware of the
	 * host, and is never opened itself.
	 */
	char *code, *variables;
};

struct nvram nvram_look(const char *home);
void nvram_free(struct nvram *nvram);

/* Where the variables of a firmware that keeps any are. Malloc'd. */
char *nvram_path(const char *home, const struct firmware *firmware);

/* Whether what is there, if anything, has the size that the firmware's variables have. */
bool nvram_fits(const char *home, const struct firmware *firmware);

/*
 * Makes the variables, unless they are there, and their record. The caller holds vm.lock. False:
 * *why gets a malloc'd sentence.
 */
bool nvram_make(const char *home, const struct firmware *firmware, char **why);

#endif
