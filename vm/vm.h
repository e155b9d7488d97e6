/* Reading a VM's definition, one JSON file for each VM. The tables in keys.c list its keys. */
#ifndef VM_H
#define VM_H

#include "vm/definition.h"
#include "vm/ladder.h"
#include "vm/paths.h"
#include "vm/vmfile.h"

/*
 * Reads and checks the definition of the VM name in the config directory; vm_free(). NULL: it is
 * refused, and problems says why.
 */
struct vm *vm_load(const char *name, struct vm_problems *problems);

/* The same in a directory opened with vmfile_open(), for reading many of them. */
struct vm *vm_load_in(const struct vmfile_dir *dir, const char *name, struct vm_problems *problems);

/* The same for text that is not in a file (yet). */
struct vm *vm_from_text(const char *name, const char *text, size_t len,
			struct vm_problems *problems);

/* The same for a JSON value, which is copied. */
struct vm *vm_from_json(const char *name, json_t *json, struct vm_problems *problems);

/* For a running VM whose definition is refused: an empty one, without defaults. */
struct vm *vm_stand_in(const char *name);

/* defaults_read() in the config directory; and whether what is in it is good, or else problems. */
json_t *vm_read_defaults(struct vm_problems *problems);
bool vm_check_defaults(struct vm_problems *problems);

/* Whether the file of a loaded definition has changed since. */
enum vm_file_now { VM_FILE_SAME, VM_FILE_CHANGED, VM_FILE_GONE };
enum vm_file_now vm_file_look(const struct vm *vm);

void vm_free(struct vm *vm); /* NULL is fine */

/* Puts the definition's ladders into policy. A trigger that only QEMU can judge is logged. */
void vm_take_ladders(const struct vm *vm, struct policy *policy);

/* The VM's UUID, and a nic's MAC: as defined, else derived from host and name. Malloc'd. */
char *vm_uuid(const struct vm *vm);
char *vm_mac(const struct vm *vm, size_t nic);

/*
 * QEMU's argument vector, NULL-terminated; vm_command_free(). Makes no files. NULL if there is no
 * firmware for the VM: *why is a malloc'd sentence.
 */
char **vm_command(const struct vm *vm, char **why);
void vm_command_free(char **argv);

/*
 * Makes what QEMU needs in the state directory, which must exist: variables for UEFI firmware,
 * unless it has them, and what cloud-init and systemd in
 * the guest read. The caller holds vm.lock. False: *why is a malloc'd sentence.
 */
bool vm_prepare(const struct vm *vm, char **why);

#endif
