/*
 * The variables of a VM's UEFI firmware, in its state directory, and the record of the firmware
 * that they were made with.
 */
#ifndef NVRAM_H
#define NVRAM_H

#include <stdbool.h>

#define NVRAM_RECORD	 "uefi-vars.json"
#define NVRAM_RECORD_NEW NVRAM_RECORD ".new" /* while it is written */
#define NVRAM_NEW	 ".new"		     /* the end of the name of variables being copied */

/* A firmware; firmware_free(). */
struct firmware {
	char *code, *code_format;
	bool flash; /* else loaded with -bios */
	/* The template of a new VM's variables; NULL: it keeps none. */
	char *variables, *variables_format;
};

/* What a VM has; nvram_free(). */
struct nvram {
	char *path; /* the variables; NULL: none yet */
	/*
	 * The firmware in the record; NULL: no record (0.1.0 wrote none). Whoever can write to the
	 * state directory can change it, so it only selects among the host's firmware.
	 */
	char *code, *variables;
	int error; /* an errno: there may be a record, and it cannot be read; else 0 */
};

struct nvram nvram_look(const char *home);
void nvram_free(struct nvram *nvram);

/* The path of the variables for a firmware that keeps any. Malloc'd. */
char *nvram_path(const char *home, const struct firmware *firmware);

/* Whether existing variables, if any, have the size that the firmware needs. */
bool nvram_fits(const char *home, const struct firmware *firmware);

/*
 * Makes the variables, unless they exist, and their record. The caller holds vm.lock. False: *why
 * is a malloc'd sentence.
 */
bool nvram_make(const char *home, const struct firmware *firmware, char **why);

/* The same with what a VM that is managed by something else has had so far: the file from. */
bool nvram_copy(const char *home, const struct firmware *firmware, const char *from, char **why);

#endif
