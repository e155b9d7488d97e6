/*
 * The programs that run beside QEMU for a VM: the keys tpm (swtpm), shares (virtiofsd, one each)
 * and helpers of its definition, and what QEMU is told of them.
 */
#ifndef HELPERS_H
#define HELPERS_H

#include <stdbool.h>
#include <stddef.h>

#include "vm/definition.h"

/* A directory of the state directory, with what swtpm keeps. */
#define TPM_STATE "tpm"

/* What swtpm has there, as patterns for fnmatch(3). */
#define TPM_FILES "tpm2-00.*", "TMP2-00.*", ".lock"

enum helper_kind { HELPER_TPM, HELPER_SHARE, HELPER_OTHER };

#define HELPER_NAME 64

struct helper {
	enum helper_kind kind;
	size_t index;		/* of its kind: in shares, in helpers */
	char name[HELPER_NAME]; /* for people: "tpm", "share data", "helper passt" */
	char chardev[40];	/* QEMU's, which gets its end of the connection; "": none */
};

struct helper_command {
	char **argv;	     /* NULL-terminated */
	char *share;	     /* the path of what is shared, or NULL */
	bool as_qemu;	     /* by the user whom QEMU becomes */
	bool forbid_writing; /* its program has no option for read-only: the kernel sees to it */
	bool confined;	     /* by Landlock, to itself and one directory: see rights */
	unsigned rights;     /* enum landlock_right: to what is shared, or the working directory */
};
void helper_command_free(struct helper_command *command);

/* How many a VM has, and the one at i. */
size_t helpers_count(const struct vm *vm);
struct helper helper_at(const struct vm *vm, size_t i);

/* Whether QEMU shares the guest's memory with one of them. */
bool helpers_share_memory(const struct vm *vm);

/*
 * Its command: socket is the number of the descriptor on which it serves QEMU (swtpm: connected,
 * virtiofsd: listening), key that of swtpm's passphrase, or -1. False: it cannot be started, and
 * *why is a malloc'd sentence: its program or the shared directory is not there, or not good.
 */
bool helper_command(const struct vm *vm, const struct helper *helper, int socket, int key,
		    struct helper_command *command, char **why);

/* Whether all of them could be started, as far as that can be known. False: *why, malloc'd. */
bool helpers_check(const struct vm *vm, char **why);

/* Makes the TPM's directory in the VM's state directory, if it has one. False: *why, malloc'd. */
bool helpers_make(const struct vm *vm, char **why);

#endif
