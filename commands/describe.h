/* A VM's status as "list" and "status" print it. */
#ifndef DESCRIBE_H
#define DESCRIBE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "commands/vmstate.h"
#include "vm/vm.h"

/* Seconds as "3h07m". */
void describe_seconds(long long s, char *text, size_t size);

/* "3h07m", and MiB as "512M" or "2G"; "-": not known. */
void describe_uptime(const struct vm_status *status, char *text, size_t size);
void describe_memory(json_int_t mib, char *text, size_t size);

/* Bytes in the largest unit of which they are a whole number: "20G", "512 bytes". */
void describe_size(uint64_t bytes, char *text, size_t size);

/* A new object. */
json_t *describe_status(const char *name, const struct vm_status *status);

/* Adds "enabled" (< 0: not known) and "order" (NULL: not in the definition). */
void describe_boot(json_t *vm, int enabled, const json_int_t *order);

/* Adds "cpus" (0: not known), and "changed", whether that waits for the next start. */
void describe_definition(json_t *vm, json_int_t cpus, bool changed);

/* Adds "tags", words between spaces (NULL: not known), and "protect". */
void describe_tags(json_t *vm, const char *tags, bool protect);

/* A new array of moved disks; null if the definition cannot be read. moved false: none has. */
json_t *describe_moved(const char *name, bool moved);

/*
 * New arrays of what the definition has: disks with the sizes that a guest sees, as far as their
 * images show them, and nics with their MACs. Null if vm is, whose definition cannot be read.
 */
json_t *describe_disks(const struct vm *vm);
json_t *describe_nics(const struct vm *vm);

/* A new reference; null for 0. */
json_t *describe_number(json_int_t number);

#endif
