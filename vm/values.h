/* Readers for the values of a definition's keys: each checks one and stores it as its key says. */
#ifndef VALUES_H
#define VALUES_H

#include "vm/problem.h"

struct key;

typedef void read_fn(struct reader *r, const struct place *place, const struct key *key,
		     json_t *value, void *to);

/* One key of a definition, a disk or a nic. */
struct key {
	const char *name;
	read_fn *read;
	size_t offset; /* in struct vm, vm_disk, vm_nic */
	const char *expected;
	json_int_t min, max;
	const char *const *words;
};

read_fn read_text, read_string, read_bool, read_integer, read_percent, read_memory, read_word,
	read_time, read_path, read_firmware, read_uuid, read_mac, read_netdev_type, read_object,
	read_based_on, read_strings, read_accel, read_ladders, read_tags, read_hostname, read_user,
	read_ssh_keys, read_credentials;

/* Why word cannot be a tag; NULL: it can. */
const char *tag_wrong(const char *word);

/* A path of a definition, relative to the VM's state directory, made absolute. Malloc'd. */
char *vm_absolute(const struct vm *vm, const char *path);

#endif
