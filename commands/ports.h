/* Ports of the host that lead into guests: choosing them, and whether they can be had. */
#ifndef PORTS_H
#define PORTS_H

#include <jansson.h>
#include <stdbool.h>

#include "vm/store.h"
#include "vm/vm.h"

/* Adds a forward to port 22 of a guest on a user network, of a port that is free. */
void ports_add_ssh(const struct store *store, json_t *definition);

/* Chooses other ports for those forwards that may be any. */
void ports_renew(const struct store *store, json_t *definition);

/*
 * Logs which of a VM's forwards another definition has, too, and, unless the VM runs, which ports
 * cannot be had now. False: there is one.
 */
bool ports_check(const struct store *store, const struct vm *vm);

#endif
