#include "commands/ports.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "commands/vmstate.h"
#include "lib/directory.h"
#include "lib/log.h"
#include "lib/xalloc.h"
#include "vm/forward.h"

/* ---- choosing ---- */

struct taken {
	bool port[UINT16_MAX + 1]; /* any number that a definition contains */
};

static void add_numbers(struct taken *taken, const char *text)
{
	while (*text) {
		unsigned long number = 0;
		char *end = (char *)text + 1;

		if (isdigit((unsigned char)*text))
			number = strtoul(text, &end, 10);
		if (number <= UINT16_MAX)
			taken->port[number] = true;
		text = end;
	}
}

/* All definitions, even broken ones: the files are not parsed. */
static void add_definitions(struct taken *taken, const struct store *store)
{
	int fd = openat(store->config_fd, ".", O_RDONLY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : xcheck(fdopendir(fd));
	struct dirent *entry;

	while ((entry = directory_next(dir))) {
		size_t len;
		char *file = entry->d_name[0] == '.'
				     ? NULL
				     : store_read(store->config_fd, entry->d_name, &len);

		if (file)
			add_numbers(taken, file);
		free(file);
	}
	if (dir)
		closedir(dir);
}

/* From a random one on: other users of the host choose, too. 0: none is free. */
static int free_port(struct taken *taken, const struct vm_forward *like)
{
	const unsigned count = FORWARD_LAST - FORWARD_FIRST + 1;
	struct vm_forward forward = *like;
	unsigned first = 0;

	if (getrandom(&first, sizeof(first), 0) < 0)
		first = 0;
	for (unsigned i = 0; i < count; i++) {
		forward.port = (int)(FORWARD_FIRST + (first % count + i) % count);
		if (taken->port[forward.port] || forward_try(&forward) != 0)
			continue;
		taken->port[forward.port] = true;
		return forward.port;
	}
	log_warnx("no port from %d to %d is free: none is forwarded to port %d of the guest",
		  FORWARD_FIRST, FORWARD_LAST, forward.guest_port);
	return 0;
}

static json_t *written(const struct vm_forward *f)
{
	bool plain = strcmp(f->host, FORWARD_HOST) == 0;
	char *text = xasprintf("%s%s%d+:%d%s", plain ? "" : f->host, plain ? "" : ":", f->port,
			       f->guest_port, f->udp ? "/udp" : "");
	json_t *value = xcheck(json_string(text));

	free(text);
	return value;
}

/* Whether some key of the definition forwards to it, in QEMU's words or in ours. */
static bool leads_to_ssh(json_t *definition, json_t *user)
{
	char *forwards = json_dumps(json_object_get(definition, "forwards"), JSON_ENCODE_ANY);
	char *hostfwd = json_dumps(json_object_get(user, "hostfwd"), JSON_ENCODE_ANY);
	bool leads = (forwards && (strstr(forwards, ":22\"") || strstr(forwards, ":22/tcp"))) ||
		     (hostfwd && strstr(hostfwd, ":22\""));

	free(forwards);
	free(hostfwd);
	return leads;
}

/* The first nic of a user network, or NULL. */
static json_t *user_nic(json_t *definition)
{
	json_t *nic;
	size_t i;

	json_array_foreach(json_object_get(definition, "nics"), i, nic)
	{
		const char *type = json_string_value(json_object_get(nic, "type"));

		if (type && strcmp(type, "user") == 0)
			return nic;
	}
	return NULL;
}

void ports_add_ssh(const struct store *store, json_t *definition)
{
	struct vm_forward forward = {.host = FORWARD_HOST, .guest_port = SSH_PORT};
	json_t *nic = user_nic(definition), *forwards;
	struct taken taken = {0};

	if (!nic || leads_to_ssh(definition, nic))
		return;
	add_definitions(&taken, store);
	forward.port = free_port(&taken, &forward);
	if (!forward.port)
		return;
	forwards = json_object_get(definition, "forwards");
	if (!forwards) {
		forwards = xcheck(json_array());
		json_object_set_new(definition, "forwards", forwards);
	}
	json_array_append_new(forwards, written(&forward));
}

void ports_renew(const struct store *store, json_t *definition)
{
	json_t *forwards = json_object_get(definition, "forwards"), *value;
	struct taken taken = {0};
	size_t i;

	if (json_array_size(forwards) > 0)
		add_definitions(&taken, store);
	json_array_foreach(forwards, i, value)
	{
		struct vm_forward forward;

		if (!forward_parse(json_string_value(value), &forward) || !forward.any)
			continue;
		forward.port = free_port(&taken, &forward);
		if (forward.port)
			json_array_set_new(forwards, i, written(&forward));
	}
}

/* ---- checking ---- */

/* A port that may be another one is nobody's fault. */
static bool check_pair(const struct vm *vm, size_t i, const struct vm *other)
{
	bool good = true;

	for (size_t j = 0; j < other->forward_count; j++) {
		if (other->forwards[j].any ||
		    !forwards_clash(&vm->forwards[i], &other->forwards[j]))
			continue;
		log_error("%s: forwards[%zu]: port %d of the host is forwards[%zu] of %s, too",
			  vm->file, i, vm->forwards[i].port, j, other->name);
		good = false;
	}
	return good;
}

static bool check_others(const struct store *store, const struct vm *vm)
{
	struct names names = store_names(store);
	bool good = true;

	for (size_t n = 0; n < names.count; n++) {
		struct vm_problems problems = {0};
		struct vm *other =
			strcmp(names.v[n], vm->name) == 0 ? NULL : vm_load(names.v[n], &problems);

		for (size_t i = 0; i < vm->forward_count && other; i++)
			if (!vm->forwards[i].any)
				good = check_pair(vm, i, other) && good;
		vm_problems_free(&problems);
		vm_free(other);
	}
	store_names_free(&names);
	return good;
}

static bool check_port(const struct vm *vm, size_t i)
{
	const struct vm_forward *f = &vm->forwards[i];
	int error = forward_try(f);

	if (error == 0 || (error == EADDRINUSE && f->any))
		return true;
	if (error == EADDRINUSE)
		log_error("%s: forwards[%zu]: %s port %d of %s is in use", vm->file, i,
			  f->udp ? "UDP" : "TCP", f->port, f->host);
	else if (error == EACCES)
		log_error("%s: forwards[%zu]: only root may have port %d; take one from 1024 on, "
			  "or see net.ipv4.ip_unprivileged_port_start",
			  vm->file, i, f->port);
	else
		log_error("%s: forwards[%zu]: port %d of %s cannot be had: %s", vm->file, i,
			  f->port, f->host, strerror(error));
	return false;
}

bool ports_check(const struct store *store, const struct vm *vm)
{
	struct vm_status status;
	bool good;

	if (vm->forward_count == 0 || !forwards_are_carried(vm))
		return true;
	good = check_others(store, vm);
	vm_status_read(store, vm->name, &status);
	for (size_t i = 0; i < vm->forward_count && !vm_state_is_up(status.state); i++)
		good = check_port(vm, i) && good;
	return good;
}
