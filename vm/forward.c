#include "vm/forward.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/log.h"
#include "lib/xalloc.h"

#define PORT_MAX 65535

/* ---- as text ---- */

/* Takes a port off the start of *text. 0: there is none. */
static int take_port(const char **text)
{
	size_t digits = strspn(*text, "0123456789");
	long port = digits > 0 && digits <= 5 && **text != '0' ? strtol(*text, NULL, 10) : 0;

	*text += digits;
	return port <= PORT_MAX ? (int)port : 0;
}

static bool take_protocol(const char *text, struct vm_forward *forward)
{
	forward->udp = strcmp(text, "/udp") == 0;
	return forward->udp || !*text || strcmp(text, "/tcp") == 0;
}

/* HOST: at the start of *text, if there is one. */
static bool take_host(const char **text, struct vm_forward *forward)
{
	size_t len = strcspn(*text, ":");
	struct in_addr address;

	snprintf(forward->host, sizeof(forward->host), FORWARD_HOST);
	if (!memchr(*text, '.', len))
		return true;
	if (len >= sizeof(forward->host))
		return false;
	snprintf(forward->host, sizeof(forward->host), "%.*s", (int)len, *text);
	*text += len;
	return *(*text)++ == ':' && inet_pton(AF_INET, forward->host, &address) == 1;
}

bool forward_parse(const char *text, struct vm_forward *forward)
{
	*forward = (struct vm_forward){0};
	if (!take_host(&text, forward))
		return false;
	forward->port = take_port(&text);
	forward->any = *text == '+';
	text += forward->any;
	if (!forward->port || *text++ != ':')
		return false;
	forward->guest_port = take_port(&text);
	return forward->guest_port && take_protocol(text, forward);
}

/* ---- in the definition ---- */

static void read_forward(struct reader *r, const struct place *place, json_t *value,
			 struct vm_forward *forward)
{
	const char *text = json_string_value(value);

	if (!text || strlen(text) != json_string_length(value) || !forward_parse(text, forward))
		problem_wrong(r, place, value, FORWARD_IS, "");
}

void read_forwards(struct reader *r, const struct place *place, const struct key *key,
		   json_t *value, void *to)
{
	struct vm *vm = to;

	if (!json_is_array(value)) {
		problem_wrong(r, place, value, key->expected, "");
		return;
	}
	vm->forward_count = json_array_size(value);
	vm->forwards = xcalloc(vm->forward_count + 1, sizeof(vm->forwards[0]));
	for (size_t i = 0; i < vm->forward_count; i++) {
		struct place here = {.in = place, .index = i};

		read_forward(r, &here, json_array_get(value, i), &vm->forwards[i]);
	}
}

bool forwards_clash(const struct vm_forward *a, const struct vm_forward *b)
{
	static const char all[] = "0.0.0.0";

	return a->port == b->port && a->udp == b->udp &&
	       (strcmp(a->host, b->host) == 0 || strcmp(a->host, all) == 0 ||
		strcmp(b->host, all) == 0);
}

/* Those that were not read are 0, and were reported. */
static void check_twice(struct reader *r, const struct place *forwards, size_t i)
{
	const struct vm_forward *forward = &r->vm->forwards[i];
	const struct place here = {.in = forwards, .index = i};

	for (size_t j = 0; j < i && forward->port; j++)
		if (forwards_clash(forward, &r->vm->forwards[j]))
			problem_add(r, &here,
				    xasprintf("the port %d of the host is that of forwards[%zu], "
					      "too",
					      forward->port, j));
}

/* One that may be any was chosen by vmconf, and rests while the VM is in other networks. */
static bool has_fixed(const struct vm *vm)
{
	for (size_t i = 0; i < vm->forward_count; i++)
		if (!vm->forwards[i].any)
			return true;
	return false;
}

void forwards_check(struct reader *r, const struct place *file)
{
	const struct place forwards = {.in = file, .key = "forwards"};

	if (has_fixed(r->vm) && !forwards_are_carried(r->vm))
		problem_add(r, &forwards,
			    xstrdup("found without a nic of \"type\": \"user\", expected one in "
				    "\"nics\": it carries them"));
	for (size_t i = 1; i < r->vm->forward_count; i++)
		check_twice(r, &forwards, i);
}

size_t forwards_nic(const struct vm *vm)
{
	size_t i = 0;

	while (i < vm->nic_count && (!vm->nics[i].type || strcmp(vm->nics[i].type, "user") != 0))
		i++;
	return i;
}

bool forwards_are_carried(const struct vm *vm)
{
	return forwards_nic(vm) < vm->nic_count;
}

void forwards_add(const struct vm *vm, json_t *netdev)
{
	json_t *list = json_object_get(netdev, "hostfwd");

	list = list ? xcheck(json_copy(list)) : xcheck(json_array()); /* not the definition's */
	for (size_t i = 0; i < vm->forward_count; i++) {
		const struct vm_forward *f = &vm->forwards[i];
		char *text = xasprintf("%s:%s:%d-:%d", f->udp ? "udp" : "tcp", f->host, f->port,
				       f->guest_port);

		json_array_append_new(list, xcheck(json_pack("{s:s}", "str", text)));
		free(text);
	}
	json_object_set_new(netdev, "hostfwd", list);
}

/* ---- on this host ---- */

/* As QEMU binds it: TCP ports of connections that have just ended count as free. */
int forward_try(const struct vm_forward *forward)
{
	struct sockaddr_in address = {.sin_family = AF_INET,
				      .sin_port = htons((uint16_t)forward->port)};
	int type = forward->udp ? SOCK_DGRAM : SOCK_STREAM, error = 0;
	int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return 0; /* not known; QEMU will tell */
	inet_pton(AF_INET, forward->host, &address.sin_addr);
	if (!forward->udp)
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int));
	if (bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 ||
	    (!forward->udp && listen(fd, 1) < 0))
		error = errno;
	close(fd);
	return error;
}

/* Whether it takes a port that another one of the VM has. */
static bool is_own(const struct vm *vm, const struct vm_forward *forward)
{
	for (size_t i = 0; i < vm->forward_count; i++)
		if (&vm->forwards[i] != forward && forwards_clash(&vm->forwards[i], forward))
			return true;
	return false;
}

bool forwards_settle(struct vm *vm, forward_tell_fn tell)
{
	bool changed = false;

	for (size_t i = 0; i < vm->forward_count && forwards_are_carried(vm); i++) {
		struct vm_forward *f = &vm->forwards[i];
		int wanted = f->port;

		if (!f->any || forward_try(f) != EADDRINUSE)
			continue;
		while (f->port < PORT_MAX && (is_own(vm, f) || forward_try(f) == EADDRINUSE))
			f->port++;
		changed = true;
		tell(vm, wanted, f);
	}
	return changed;
}

void forward_tell(const struct vm *vm, int taken, const struct vm_forward *now)
{
	log_notice("%s: port %d of %s is in use; this time %d leads to port %d of the guest",
		   vm->name, taken, now->host, now->port, now->guest_port);
}
