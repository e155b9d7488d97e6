/* vmconf ssh, ip and ssh-config: from a name to the guest. */

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/param.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include "commands/call.h"
#include "commands/endpoint.h"
#include "commands/progress.h"
#include "commands/vmstate.h"
#include "lib/array.h"
#include "lib/log.h"
#include "lib/program.h"
#include "lib/safefile.h"
#include "lib/timespan.h"
#include "lib/xalloc.h"
#include "vm/forward.h"
#include "vm/vmfile.h"

#define AGAIN_MS  250  /* between two looks */
#define BANNER_MS 5000 /* for a server to say that it is one */
#define FIRST_MS  1000 /* the same at the first look, before it is shown that we wait */

struct visit {
	const struct store *store;
	const char *name;
	struct vm *vm;
	const char *user; /* or NULL: ssh decides */
	int64_t timeout;  /* ms; -1: not given */
	int banner;	  /* ms for a server to answer */
	bool answers;	  /* whether ssh must answer, and an address is not enough */
	struct endpoint list[ENDPOINTS_MAX];
	size_t count;
	struct endpoint *to;
};

/* ---- finding it ---- */

static bool find_answer(struct visit *v, int64_t until)
{
	v->to = NULL;
	for (size_t i = 0; i < v->count && !v->to; i++) {
		int64_t left = MAX(until - monotonic_ms(), AGAIN_MS);

		if (!v->answers || endpoint_answers(&v->list[i], (int)MIN(left, v->banner)))
			v->to = &v->list[i];
	}
	return v->to;
}

/* Whether waiting cannot help. */
static bool is_shut_in(const struct visit *v, const struct vm_status *status)
{
	size_t i = 0;

	while (i < v->vm->nic_count && strcmp(v->vm->nics[i].type, "user") == 0)
		i++;
	return v->count == 0 && v->vm->nic_count > 0 && i == v->vm->nic_count &&
	       status->state != VM_STARTING;
}

static void tell_shut_in(const struct visit *v)
{
	log_error("%s cannot be reached: it is in a user network, and no port leads to its port "
		  "%d; give it one with \"vmconf set %s 'forwards=[\"2222:%d\"]'\", which takes "
		  "effect at its next start",
		  v->name, SSH_PORT, v->name, SSH_PORT);
}

static void tell_nothing(const struct visit *v, int64_t timeout)
{
	struct timespan_text after = timespan_about(timeout);

	if (v->count > 0)
		log_error("%s: no ssh server answers on %s port %d after %s", v->name,
			  v->list[0].host, v->list[0].port, after.s);
	else
		log_error("%s has no known address after %s: no agent tells one%s, no port is "
			  "forwarded to its port %d, and no neighbour of this host has its MAC",
			  v->name, after.s, v->vm->agent ? "" : " (\"agent\": true)", SSH_PORT);
}

static void show(struct progress *progress, const struct visit *v, int64_t since)
{
	struct timespan_text took = timespan_about(monotonic_ms() - since);
	char *text;

	if (!progress_is_due(progress) || monotonic_ms() - since < FIRST_MS)
		return;
	text = v->count > 0 ? xasprintf("%s: waiting for ssh on %s port %d, %s", v->name,
					v->list[0].host, v->list[0].port, took.s)
			    : xasprintf("%s: waiting for its address, %s", v->name, took.s);
	progress_show(progress, text);
	free(text);
}

/* Returns 0 with to set, -1 to be called again, or an exit status, whose reason is logged. */
static int look(struct visit *v, int64_t until)
{
	struct vm_status status;

	vm_status_read(v->store, v->name, &status);
	if (!vm_state_is_here(status.state)) {
		tell_down(v->name, &status);
		return EXIT_FAILURE;
	}
	v->count = endpoints_find(v->store, v->vm, v->list);
	if (find_answer(v, until))
		return 0;
	if (!is_shut_in(v, &status))
		return -1;
	tell_shut_in(v);
	return EXIT_FAILURE;
}

static int find(struct visit *v)
{
	struct progress progress = {.on = isatty(STDERR_FILENO)};
	int64_t timeout = v->timeout >= 0 ? v->timeout : v->vm->boot_timeout;
	int64_t since = monotonic_ms(), until = timespan_add(since, timeout);
	int status;

	v->banner = FIRST_MS;
	while ((status = look(v, until)) < 0 && monotonic_ms() < until) {
		show(&progress, v, since);
		v->banner = BANNER_MS;
		poll(NULL, 0, (int)MIN(AGAIN_MS, MAX(until - monotonic_ms(), 0)));
	}
	progress_clear(&progress);
	if (status < 0)
		tell_nothing(v, timeout);
	return status < 0 ? EXIT_FAILURE : status;
}

/* ---- ssh ---- */

/* For ssh's options: in double quotes, and without % that would be expanded. */
static char *quoted(const char *path)
{
	char *text = xcalloc(2 * strlen(path) + 3, 1), *to = text;

	*to++ = '"';
	for (; *path; path++) {
		if (strchr("\"\\", *path))
			*to++ = '\\';
		else if (*path == '%')
			*to++ = '%';
		*to++ = *path;
	}
	*to = '"';
	return text;
}

/* What we set for ssh; a row of each: keyword, value. */
struct settings {
	const char *rows[9][2];
	char *known_hosts, port[16];
};

/* Host keys are known by the VM's name: its address and its port may be another VM's tomorrow. */
static void make_settings(struct settings *s, const struct visit *v)
{
	char *path = store_path(v->store, v->name, KNOWN_HOSTS);
	size_t n = 0;

	*s = (struct settings){.known_hosts = quoted(path)};
	snprintf(s->port, sizeof(s->port), "%d", v->to->port);
	s->rows[n][0] = "HostName", s->rows[n++][1] = v->to->host;
	s->rows[n][0] = "Port", s->rows[n++][1] = s->port;
	s->rows[n][0] = "HostKeyAlias", s->rows[n++][1] = v->name;
	s->rows[n][0] = "UserKnownHostsFile", s->rows[n++][1] = s->known_hosts;
	s->rows[n][0] = "GlobalKnownHostsFile", s->rows[n++][1] = "/dev/null";
	s->rows[n][0] = "StrictHostKeyChecking", s->rows[n++][1] = "accept-new";
	s->rows[n][0] = "HashKnownHosts", s->rows[n++][1] = "no";
	s->rows[n][0] = "CheckHostIP", s->rows[n++][1] = "no";
	if (v->user)
		s->rows[n][0] = "User", s->rows[n][1] = v->user;
	free(path);
}

/* Where others may write they could have ssh write to any file of ours. */
static bool home_is_ours(const struct visit *v)
{
	struct stat st;
	char *path = store_path(v->store, v->name, KNOWN_HOSTS);
	char *why = stat(v->vm->home, &st) == 0
			    ? vmfile_refuse_writers(&st, v->vm->home, "a directory")
			    : NULL;
	uid_t owner;

	if (!why && safefile_is_planted(path, true, &owner))
		why = xasprintf("%s is a symbolic link that uid %u has put there", path, owner);
	free(path);
	if (why)
		log_error("%s: the host keys of %s are not kept there: %s", v->vm->home, v->name,
			  why);
	free(why);
	return !why;
}

/* ssh's words before the command; count is how many. */
static char **ssh_words(const struct visit *v, size_t *count)
{
	char **words = xcalloc(2 * ARRAY_SIZE(((struct settings *)0)->rows) + 3, sizeof(words[0]));
	struct settings s;
	size_t n = 0;

	make_settings(&s, v);
	words[n++] = xstrdup("ssh");
	for (size_t i = 0; i < ARRAY_SIZE(s.rows) && s.rows[i][0]; i++) {
		words[n++] = xstrdup("-o");
		words[n++] = xasprintf("%s=%s", s.rows[i][0], s.rows[i][1]);
	}
	words[n++] = xstrdup("--");
	words[n++] = xstrdup(v->name);
	free(s.known_hosts);
	*count = n;
	return words;
}

/* Does not return if ssh is there. command: its words. */
static int become_ssh(const struct visit *v, char **command, int count)
{
	size_t own;
	char **words = ssh_words(v, &own);

	words = xreallocarray(words, own + (size_t)count + 1, sizeof(words[0]));
	for (int i = 0; i < count; i++)
		words[own + (size_t)i] = command[i];
	words[own + (size_t)count] = NULL;
	log_flush();
	signal(SIGPIPE, SIG_DFL);
	program_run(words);
	if (errno == ENOENT)
		log_error("ssh is not installed; Debian has it in openssh-client");
	else
		log_warn("cannot execute ssh");
	for (size_t i = 0; i < own; i++)
		free(words[i]);
	free(words);
	return EX_UNAVAILABLE;
}

static void print_config(const struct visit *v)
{
	struct settings s;

	make_settings(&s, v);
	printf("Host %s\n", v->name);
	for (size_t i = 0; i < ARRAY_SIZE(s.rows) && s.rows[i][0]; i++)
		printf("    %s %s\n", s.rows[i][0], s.rows[i][1]);
	free(s.known_hosts);
}

/* ---- the commands ---- */

/* Returns 0, or an exit status. */
static int open_visit(struct visit *v, struct call *call, const struct option *options, int most)
{
	int option, status;

	v->timeout = -1;
	while ((option = call_option(call, options)) != -1) {
		if (option == 'l')
			v->user = optarg;
		else
			v->timeout = call_time(call, "timeout", optarg);
	}
	call_operands(call, 1, most);
	status = call_known_operand(call);
	if (status != 0)
		return status;
	v->store = &call->store;
	v->name = call->argv[0];
	v->vm = load_or_tell(v->name);
	if (v->vm && !v->user)
		v->user = json_string_value(
			json_object_get(json_object_get(v->vm->all, "cloud-init"), "user"));
	return v->vm ? 0 : EX_CONFIG;
}

#define USER_OPTION                                                                                \
	{                                                                                          \
		"user", required_argument, NULL, 'l'                                               \
	}
#define TIMEOUT_OPTION                                                                             \
	{                                                                                          \
		"timeout", required_argument, NULL, 't'                                            \
	}

int cmd_ssh(struct call *call)
{
	static const struct option options[] = {USER_OPTION, TIMEOUT_OPTION, {NULL, 0, NULL, 0}};
	struct visit v = {.answers = true};
	int status;

	call->letters = "l:";
	status = open_visit(&v, call, options, -1);
	if (status == 0 && !home_is_ours(&v))
		status = EXIT_FAILURE;
	if (status == 0)
		status = find(&v);
	if (status == 0)
		status = become_ssh(&v, call->argv + 1, call->argc - 1);
	vm_free(v.vm);
	return status;
}

int cmd_ip(struct call *call)
{
	static const struct option options[] = {TIMEOUT_OPTION, {NULL, 0, NULL, 0}};
	struct visit v = {0};
	int status = open_visit(&v, call, options, 1);

	v.timeout = MAX(v.timeout, 0);
	if (status == 0)
		status = find(&v);
	if (status == 0 && v.to->port == SSH_PORT)
		puts(v.to->host);
	else if (status == 0)
		printf("%s:%d\n", v.to->host, v.to->port);
	vm_free(v.vm);
	return status;
}

/* Of a VM that is down, what its definition says. */
int cmd_ssh_config(struct call *call)
{
	static const struct option options[] = {USER_OPTION, TIMEOUT_OPTION, {NULL, 0, NULL, 0}};
	struct visit v = {0};
	struct vm_status now;
	int status;

	call->letters = "l:";
	status = open_visit(&v, call, options, 1);
	v.timeout = MAX(v.timeout, 0);
	if (status == 0 && !home_is_ours(&v))
		status = EXIT_FAILURE;
	if (status == 0) {
		vm_status_read(v.store, v.name, &now);
		v.count = vm_state_is_here(now.state) ? 0 : endpoints_defined(v.vm, v.list);
		v.to = v.list;
		status = v.count > 0 ? 0 : find(&v);
	}
	if (status == 0)
		print_config(&v);
	vm_free(v.vm);
	return status;
}
