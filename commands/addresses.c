#include "commands/addresses.h"

#include <arpa/inet.h>
#include <stdbool.h>
#include <string.h>
#include <sys/param.h>

#include "commands/ask.h"
#include "lib/xalloc.h"

#define AT_ONCE 256 /* connections */

/* Addresses that others can reach: neither loopback nor link-local. The guest may send anything. */
static bool is_useful(json_t *value)
{
	const char *address = json_string_value(value);
	unsigned char bytes[sizeof(struct in6_addr)];

	if (!address || strlen(address) != json_string_length(value) ||
	    (inet_pton(AF_INET, address, bytes) != 1 && inet_pton(AF_INET6, address, bytes) != 1))
		return false;
	return strncmp(address, "127.", 4) != 0 && strcmp(address, "::1") != 0 &&
	       strncasecmp(address, "fe80:", 5) != 0;
}

static bool is_wanted(json_t *nic, address_of_fn is_of, void *arg)
{
	const char *mac = json_string_value(json_object_get(nic, "hardware-address"));

	return !is_of || (mac && is_of(arg, mac));
}

/* nics: what an agent returned; NULL: nothing. */
static json_t *useful_ones(json_t *nics, address_of_fn is_of, void *arg)
{
	json_t *list = xcheck(json_array()), *nic, *address;
	size_t i, j;

	json_array_foreach(nics, i, nic)
	{
		if (!is_wanted(nic, is_of, arg))
			continue;
		json_array_foreach(json_object_get(nic, "ip-addresses"), j, address)
		{
			json_t *ip = json_object_get(address, "ip-address");

			if (is_useful(ip))
				json_array_append(list, ip);
		}
	}
	return list;
}

void addresses_of_all(const struct store *store, char *const *names, size_t count, int timeout_ms,
		      json_t **lists)
{
	for (size_t first = 0; first < count; first += AT_ONCE)
		ask_agents(store, names + first, MIN(count - first, AT_ONCE),
			   "guest-network-get-interfaces", timeout_ms, lists + first);
	for (size_t i = 0; i < count; i++) {
		json_t *nics = lists[i];

		lists[i] = useful_ones(nics, NULL, NULL);
		json_decref(nics);
	}
}

json_t *addresses_of(const struct store *store, const char *name, int timeout_ms)
{
	char *names[] = {(char *)name};
	json_t *list;

	addresses_of_all(store, names, 1, timeout_ms, &list);
	return list;
}

json_t *addresses_on(const struct store *store, const char *name, int timeout_ms,
		     address_of_fn is_of, void *arg)
{
	char *names[] = {(char *)name};
	json_t *nics = NULL, *list;

	ask_agents(store, names, 1, "guest-network-get-interfaces", timeout_ms, &nics);
	list = useful_ones(nics, is_of, arg);
	json_decref(nics);
	return list;
}
