/* Reading a VM's definition, one JSON file for each VM. The tables in keys.c say what is in it. */
#ifndef VM_H
#define VM_H

#include "vm/definition.h"
#include "vm/ladder.h"
#include "vm/paths.h"
#include "vm/vmfile.h"

/*
 * Reads and checks the definition of the VM name in the config directory. NULL: it is refused, and
 * problems tells why. The caller's, vm_free().
 */
struct vm *vm_load(const char *name, struct vm_problems *problems);

/* The same in a config directory that was opened by vmfile_open(): for many of them. */
struct vm *vm_load_in(const struct vmfile_dir *dir, const char *name, struct vm_problems *problems);

/* The same of a text that is not (yet) a file. */
struct vm *vm_from_text(const char *name, const char *text, size_t len,
			struct vm_problems *problems);

/* The same of a value, which is copied. */
struct vm *vm_from_json(const char *name, json_t *json, struct vm_problems *problems);

/* Whether the file of one that was loaded is what it was then. */
enum vm_file_now { VM_FILE_SAME, VM_FILE_CHANGED, VM_FILE_GONE };
enum vm_file_now vm_file_look(const struct vm *vm);

void vm_free(struct vm *vm); /* NULL is fine */

/* Puts the definition's ladders into policy. A trigger that only QEMU can judge is logged. */
void vm_take_ladders(const struct vm *vm, struct policy *policy);

/* The UUID and the MAC of a nic: those of the definition, else made of host and name. Malloc'd. */
char *vm_uuid(const struct vm *vm);
char *vm_mac(const struct vm *vm, size_t nic);

/*
 * QEMU's argument vector, NULL-terminated; vm_command_free(). It makes no file. NULL where there is
 * no firmware for the VM: *why gets a malloc'd sentence.
 */
char **vm_command(const struct vm *vm, char **why);
void vm_command_free(char **argv);

/*
 * Makes what QEMU needs in the state directory, which must be there: the variables of UEFI
 * firmware, unless it has them. The caller holds vm.lock. False: *why gets a malloc'd sentence.
 */
bool vm_prepare(const struct vm *vm, char **why);

#endif
