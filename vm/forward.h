/* "forwards" of a definition: ports of the host that lead to ports of the guest's user network. */
#ifndef FORWARD_H
#define FORWARD_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "vm/definition.h"
#include "vm/values.h"

/* HOST unless it is given. */
#define FORWARD_HOST "127.0.0.1"
#define FORWARD_IS                                                                                 \
	"[HOST:]PORT:PORT[/tcp|/udp], such as \"8080:80\" or \"127.0.0.1:5353:53/udp\": the port " \
	"of the host, then that of the guest"

#define SSH_PORT 22

/* Where free ports for ssh are looked for: below those that the kernel gives to clients. */
#define FORWARD_FIRST 20000
#define FORWARD_LAST  32767

struct vm_forward {
	char host[16]; /* an IPv4 address; 0.0.0.0: all of the host's */
	int port;
	int guest_port;
	bool udp;
	bool any; /* written with a +: port, or the next one that is free when the VM starts */
};

/* Reads FORWARD_IS. False: it is none. */
bool forward_parse(const char *text, struct vm_forward *forward);

read_fn read_forwards;

/* Reports forwards that nothing carries, and those of one port. */
void forwards_check(struct reader *r, const struct place *file);

/* The first nic of a user network, which has the forwards; nic_count: there is none. */
size_t forwards_nic(const struct vm *vm);

bool forwards_are_carried(const struct vm *vm);

/* Adds them to the hostfwd list of that nic's -netdev. */
void forwards_add(const struct vm *vm, json_t *netdev);

/* Whether both want a port of the same protocol and address. */
bool forwards_clash(const struct vm_forward *a, const struct vm_forward *b);

/* 0 if the port could be had now, else errno: EADDRINUSE, EACCES, EADDRNOTAVAIL. */
int forward_try(const struct vm_forward *forward);

/* Called for a port that is taken: the one that the VM gets instead. */
typedef void (*forward_tell_fn)(const struct vm *vm, int taken, const struct vm_forward *now);

/* Has those that may be any take a port that is free now. Returns whether one is another now. */
bool forwards_settle(struct vm *vm, forward_tell_fn tell);

/* Logs that. */
void forward_tell(const struct vm *vm, int taken, const struct vm_forward *now);

#endif
