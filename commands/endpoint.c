#include "commands/endpoint.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "commands/addresses.h"
#include "commands/ask.h"
#include "commands/neighbours.h"
#include "commands/usernet.h"
#include "lib/timespan.h"
#include "vm/forward.h"

#define ASK_MS 1000

static size_t add(struct endpoint *list, size_t count, const char *host, int port)
{
	for (size_t i = 0; i < count; i++)
		if (strcmp(list[i].host, host) == 0 && list[i].port == port)
			return count;
	if (count == ENDPOINTS_MAX)
		return count;
	snprintf(list[count].host, sizeof(list[count].host), "%s", host);
	list[count].port = port;
	return count + 1;
}

/* IPv4 first: IPv6 addresses may be of networks that this host has no part in. */
static size_t add_addresses(struct endpoint *list, size_t count, json_t *addresses)
{
	json_t *address;
	size_t i;

	for (int six = 0; six <= 1; six++)
		json_array_foreach(addresses, i, address)
		{
			const char *text = json_string_value(address);

			if ((strchr(text, ':') != NULL) == six)
				count = add(list, count, text, SSH_PORT);
		}
	return count;
}

/* ---- forwarded ports ---- */

static const char *reached_as(const char *host)
{
	return strcmp(host, "0.0.0.0") == 0 || strcmp(host, "*") == 0 ? FORWARD_HOST : host;
}

size_t endpoints_defined(const struct vm *vm, struct endpoint *list)
{
	size_t count = 0;

	for (size_t i = 0; i < vm->forward_count && forwards_are_carried(vm); i++) {
		const struct vm_forward *f = &vm->forwards[i];

		if (!f->udp && f->guest_port == SSH_PORT)
			count = add(list, count, reached_as(f->host), f->port);
	}
	return count;
}

struct found {
	struct endpoint *list;
	size_t count;
};

static void add_forward(void *arg, const struct usernet_forward *f)
{
	struct found *found = arg;

	if (!f->udp && f->guest_port == SSH_PORT)
		found->count = add(found->list, found->count, reached_as(f->host), f->port);
}

/* QEMU knows the ports that were chosen at its start. -1: it was not asked. */
static int add_forwards(const struct store *store, const struct vm *vm, struct endpoint *list,
			size_t count)
{
	const char *why;
	struct found found = {.list = list, .count = count};
	struct ask *ask = ask_open(store, vm->name, ASK_MS, &why);
	bool told = ask && usernet_ask(ask, ASK_MS, add_forward, &found);

	ask_close(ask);
	return told ? (int)found.count : -1;
}

/* ---- networks that the host is in ---- */

static bool is_user(const struct vm_nic *nic)
{
	return strcmp(nic->type, "user") == 0;
}

/* Those of "args" are not known. */
static bool has_other_nics(const struct vm *vm)
{
	for (size_t i = 0; i < vm->nic_count; i++)
		if (!is_user(&vm->nics[i]))
			return true;
	return vm->nic_count == 0;
}

static bool has_mac(void *arg, const char *mac)
{
	const struct vm *vm = arg;
	bool has = vm->nic_count == 0;

	for (size_t i = 0; i < vm->nic_count && !has; i++) {
		char *own = vm_mac(vm, i);

		has = !is_user(&vm->nics[i]) && strcasecmp(own, mac) == 0;
		free(own);
	}
	return has;
}

static size_t add_told(const struct store *store, const struct vm *vm, struct endpoint *list)
{
	json_t *addresses = addresses_on(store, vm->name, ASK_MS, has_mac, (void *)vm);
	size_t count = add_addresses(list, 0, addresses);

	json_decref(addresses);
	return count;
}

static size_t add_neighbours(const struct vm *vm, struct endpoint *list, size_t count)
{
	json_t *addresses = json_array();

	for (size_t i = 0; i < vm->nic_count; i++) {
		char *mac = vm_mac(vm, i);

		if (!is_user(&vm->nics[i]))
			neighbours_add(addresses, mac);
		free(mac);
	}
	count = add_addresses(list, count, addresses);
	json_decref(addresses);
	return count;
}

size_t endpoints_find(const struct store *store, const struct vm *vm, struct endpoint *list)
{
	bool others = has_other_nics(vm);
	size_t count = vm->agent && others ? add_told(store, vm, list) : 0;
	int with = count < ENDPOINTS_MAX ? add_forwards(store, vm, list, count) : -1;

	if (with >= 0)
		count = (size_t)with;
	else if (count == 0)
		count = endpoints_defined(vm, list);
	return others ? add_neighbours(vm, list, count) : count;
}

/* ---- whether it answers ---- */

static int connected(const struct endpoint *e, int64_t until)
{
	struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)e->port)};
	struct sockaddr_in four = {.sin_family = AF_INET, .sin_port = htons((uint16_t)e->port)};
	bool is_six = inet_pton(AF_INET6, e->host, &six.sin6_addr) == 1;
	int fd = socket(is_six ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct pollfd waits = {.fd = fd, .events = POLLOUT};
	int64_t left = until - monotonic_ms();

	inet_pton(AF_INET, e->host, &four.sin_addr);
	if (fd >= 0 &&
	    (is_six ? connect(fd, (struct sockaddr *)&six, sizeof(six))
		    : connect(fd, (struct sockaddr *)&four, sizeof(four))) < 0 &&
	    (errno != EINPROGRESS || left <= 0 || poll(&waits, 1, (int)left) != 1)) {
		close(fd);
		return -1;
	}
	return fd;
}

/* A server may say other lines first (RFC 4253, 4.2). */
bool endpoint_answers(const struct endpoint *endpoint, int ms)
{
	int64_t until = monotonic_ms() + ms, left;
	int fd = connected(endpoint, until);
	char text[4096];
	size_t len = 0;
	bool answers = false;

	while (fd >= 0 && !answers && len < sizeof(text) - 1 &&
	       (left = until - monotonic_ms()) > 0) {
		struct pollfd waits = {.fd = fd, .events = POLLIN};
		ssize_t got = poll(&waits, 1, (int)left) == 1
				      ? recv(fd, text + len, sizeof(text) - 1 - len, 0)
				      : 0;

		if (got <= 0)
			break;
		len += (size_t)got;
		text[len] = '\0';
		answers = strncmp(text, "SSH-", 4) == 0 || strstr(text, "\nSSH-");
	}
	if (fd >= 0)
		close(fd);
	return answers;
}
