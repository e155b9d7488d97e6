#include "vm/trigger.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/array.h"
#include "lib/sigmask.h"
#include "lib/words.h"

enum signal_class {
	FATAL,	     /* ends a process by default unless blocked: may be a trigger */
	HARMLESS,    /* ignored by default, or stops: may be a trigger, and is handled only then */
	SYNCHRONOUS, /* the process's own fault: blocking it makes no sense */
	RESERVED,
};

static const struct {
	const char *name;
	int number;
	enum signal_class class;
} signals[] = {
	{"HUP", SIGHUP, FATAL},	       {"INT", SIGINT, FATAL},
	{"QUIT", SIGQUIT, FATAL},      {"TERM", SIGTERM, FATAL},
	{"USR1", SIGUSR1, FATAL},      {"USR2", SIGUSR2, FATAL},
	{"PWR", SIGPWR, FATAL},	       {"ALRM", SIGALRM, FATAL},
	{"VTALRM", SIGVTALRM, FATAL},  {"PROF", SIGPROF, FATAL},
	{"XCPU", SIGXCPU, FATAL},      {"XFSZ", SIGXFSZ, FATAL},
	{"IO", SIGIO, FATAL},	       {"POLL", SIGIO, FATAL},
	{"STKFLT", SIGSTKFLT, FATAL},  {"PIPE", SIGPIPE, RESERVED},
	{"CHLD", SIGCHLD, RESERVED},   {"CONT", SIGCONT, HARMLESS},
	{"TSTP", SIGTSTP, HARMLESS},   {"TTIN", SIGTTIN, HARMLESS},
	{"TTOU", SIGTTOU, RESERVED},   {"URG", SIGURG, HARMLESS},
	{"WINCH", SIGWINCH, HARMLESS}, {"KILL", SIGKILL, RESERVED},
	{"STOP", SIGSTOP, RESERVED},   {"SEGV", SIGSEGV, SYNCHRONOUS},
	{"BUS", SIGBUS, SYNCHRONOUS},  {"FPE", SIGFPE, SYNCHRONOUS},
	{"ILL", SIGILL, SYNCHRONOUS},  {"TRAP", SIGTRAP, SYNCHRONOUS},
	{"SYS", SIGSYS, SYNCHRONOUS},  {"ABRT", SIGABRT, SYNCHRONOUS},
};

#define SIGNAL_COUNT (ARRAY_SIZE(signals))

/* Candidates for a misspelt name: common signals, then QMP's events. */
static const char *const usual_signals[] = {"HUP",  "INT",  "QUIT", "TERM", "PWR",
					    "USR1", "USR2", "ALRM", NULL};

/* The events of QEMU 7.2 to 11.1, qapi/\*.json, and our own. */
static const char *const events[] = {
	"ACPI_DEVICE_OST",
	"BALLOON_CHANGE",
	"BLOCK_EXPORT_DELETED",
	"BLOCK_IMAGE_CORRUPTED",
	"BLOCK_IO_ERROR",
	"BLOCK_JOB_CANCELLED",
	"BLOCK_JOB_COMPLETED",
	"BLOCK_JOB_ERROR",
	"BLOCK_JOB_PENDING",
	"BLOCK_JOB_READY",
	"BLOCK_WRITE_THRESHOLD",
	"COLO_EXIT",
	"CPU_POLARIZATION_CHANGE",
	"DEVICE_DELETED",
	"DEVICE_TRAY_MOVED",
	"DEVICE_UNPLUG_GUEST_ERROR",
	"DUMP_COMPLETED",
	"FAILOVER_NEGOTIATED",
	"GUEST_CRASHLOADED",
	"GUEST_PANICKED",
	"GUEST_PVSHUTDOWN",
	TRIGGER_HELPER_DIED,
	"HV_BALLOON_STATUS_REPORT",
	"JOB_STATUS_CHANGE",
	"MEMORY_DEVICE_SIZE_CHANGE",
	"MEMORY_FAILURE",
	"MEM_UNPLUG_ERROR",
	"MIGRATION",
	"MIGRATION_PASS",
	"NETDEV_STREAM_CONNECTED",
	"NETDEV_STREAM_DISCONNECTED",
	"NETDEV_VHOST_USER_CONNECTED",
	"NETDEV_VHOST_USER_DISCONNECTED",
	"NIC_RX_FILTER_CHANGED",
	"POWERDOWN",
	"PR_MANAGER_STATUS_CHANGED",
	"QUORUM_FAILURE",
	"QUORUM_REPORT_BAD",
	"RDMA_GID_STATUS_CHANGED",
	"RESET",
	"RESUME",
	"RTC_CHANGE",
	"SCLP_CPI_INFO_AVAILABLE",
	"SHUTDOWN",
	"SPICE_CONNECTED",
	"SPICE_DISCONNECTED",
	"SPICE_INITIALIZED",
	"SPICE_MIGRATE_COMPLETED",
	"STOP",
	"SUSPEND",
	"SUSPEND_DISK",
	"UNPLUG_PRIMARY",
	TRIGGER_UNRESPONSIVE,
	"VFIO_MIGRATION",
	"VFU_CLIENT_HANGUP",
	"VNC_CONNECTED",
	"VNC_DISCONNECTED",
	"VNC_INITIALIZED",
	"VSERPORT_CHANGE",
	"WAKEUP",
	"WATCHDOG",
	NULL,
};

struct trigger_name trigger_of_signal(int signo)
{
	struct trigger_name name;

	for (size_t i = 0; i < SIGNAL_COUNT; i++) {
		if (signals[i].number == signo) {
			snprintf(name.s, sizeof(name.s), "%s", signals[i].name);
			return name;
		}
	}
	if (signo < DEADLINE_SIGNAL)
		snprintf(name.s, sizeof(name.s), "signal %d", signo);
	else
		snprintf(name.s, sizeof(name.s), "RTMIN+%d", signo - DEADLINE_SIGNAL);
	return name;
}

static int real_time_signal(const char *name)
{
	char *end;
	long offset;
	bool from_max = strncmp(name, "RTMAX", 5) == 0;

	if (!from_max && strncmp(name, "RTMIN", 5) != 0)
		return 0;
	if (name[5] == '\0')
		return from_max ? SIGMASK_LAST : DEADLINE_SIGNAL;
	if (name[5] != (from_max ? '-' : '+') || name[6] < '0' || name[6] > '9')
		return 0;
	offset = strtol(name + 6, &end, 10);
	if (*end || offset > SIGMASK_LAST - DEADLINE_SIGNAL)
		return 0;
	return (int)(from_max ? SIGMASK_LAST - offset : DEADLINE_SIGNAL + offset);
}

static int signal_number(const char *name)
{
	for (size_t i = 0; i < SIGNAL_COUNT; i++)
		if (strcmp(signals[i].name, name) == 0)
			return signals[i].number;
	return real_time_signal(name);
}

static const char *why_not(int signo)
{
	if (signo == DEADLINE_SIGNAL)
		return "; RTMIN brings a deadline and has no ladder";
	for (size_t i = 0; i < SIGNAL_COUNT; i++) {
		if (signals[i].number != signo)
			continue;
		if (signals[i].class == SYNCHRONOUS)
			return "; that signal means a fault of the process itself";
		if (signals[i].class == RESERVED)
			return "; that signal cannot be handed to a ladder";
	}
	return NULL;
}

int trigger_signal(const char *name)
{
	int signo = signal_number(name);

	return signo && !why_not(signo) ? signo : 0;
}

static bool is_event(const char *text)
{
	for (size_t i = 0; events[i]; i++)
		if (strcmp(events[i], text) == 0)
			return true;
	return false;
}

/* Unknown: a misspelling, or an event of a newer QEMU. */
static enum trigger_kind unknown(const char *text, const char **hint)
{
	static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_";
	bool prefixed = strncmp(text, "SIG", 3) == 0;
	const char *bare = prefixed ? text + 3 : text;
	const char *signal = word_nearest(bare, usual_signals);
	const char *event = word_nearest(text, events);
	bool is_signal = signal && (prefixed || !event ||
				    word_distance(bare, signal) <= word_distance(text, event));

	*hint = word_hint(is_signal ? bare : text, is_signal ? usual_signals : events);
	if (is_signal || prefixed || text[0] < 'A' || text[0] > 'Z' ||
	    text[strspn(text, letters)] != '\0' || strlen(text) >= sizeof(struct trigger_name))
		return TRIGGER_INVALID;
	return TRIGGER_UNKNOWN_EVENT;
}

enum trigger_kind trigger_parse(const char *text, struct trigger_name *name, const char **hint)
{
	int signo = signal_number(strncmp(text, "SIG", 3) == 0 ? text + 3 : text);

	*hint = "";
	snprintf(name->s, sizeof(name->s), "%s", text);
	if (is_event(text)) /* STOP is one; the signal cannot be caught */
		return TRIGGER_EVENT;
	if (!signo)
		return unknown(text, hint);
	*hint = why_not(signo);
	if (*hint)
		return TRIGGER_INVALID;
	*hint = "";
	*name = trigger_of_signal(signo);
	return TRIGGER_SIGNAL;
}

void trigger_fatal_signals(sigset_t *set)
{
	for (size_t i = 0; i < SIGNAL_COUNT; i++)
		if (signals[i].class == FATAL)
			sigmask_add(set, signals[i].number);
	for (int signo = SIGMASK_FIRST_REAL_TIME; signo <= SIGMASK_LAST; signo++)
		sigmask_add(set, signo);
}

const char *trigger_known(size_t i)
{
	size_t signal_names = ARRAY_SIZE(usual_signals) - 1;

	if (i < signal_names)
		return usual_signals[i];
	return i - signal_names < ARRAY_SIZE(events) ? events[i - signal_names] : NULL;
}
