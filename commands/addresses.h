/* The addresses of guests, as their agents tell them. */
#ifndef ADDRESSES_H
#define ADDRESSES_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "vm/store.h"

/* A new list of strings, empty without an answer within timeout_ms. */
json_t *addresses_of(const struct store *store, const char *name, int timeout_ms);

/* The same, only of those interfaces whose MAC is_of() wants. */
typedef bool (*address_of_fn)(void *arg, const char *mac);
json_t *addresses_on(const struct store *store, const char *name, int timeout_ms,
		     address_of_fn is_of, void *arg);

/* The same of several VMs at once: lists[i] is that of names[i]. */
void addresses_of_all(const struct store *store, char *const *names, size_t count, int timeout_ms,
		      json_t **lists);

#endif
