/* Where a guest's ssh server can be reached from this host. */
#ifndef ENDPOINT_H
#define ENDPOINT_H

#include <netinet/in.h>
#include <stddef.h>

#include "vm/store.h"
#include "vm/vm.h"

#define ENDPOINTS_MAX 16

/* The guest's host keys, in the VM's state directory. */
#define KNOWN_HOSTS	"known_hosts"
#define KNOWN_HOSTS_OLD "known_hosts.old" /* ssh-keygen -R leaves it */

struct endpoint {
	char host[INET6_ADDRSTRLEN];
	int port;
};

/*
 * Those of a VM that is up, the best first: of its agent, of ports that are forwarded to ssh, of
 * the host's neighbours. Takes at most a second each. Returns how many, at most ENDPOINTS_MAX. An
 * address in a user network is none: nobody can reach it.
 */
size_t endpoints_find(const struct store *store, const struct vm *vm, struct endpoint *list);

/* What the definition alone tells: forwarded ports. */
size_t endpoints_defined(const struct vm *vm, struct endpoint *list);

/* Whether something answers there as ssh servers do, within ms. */
bool endpoint_answers(const struct endpoint *endpoint, int ms);

#endif
