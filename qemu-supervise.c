/* qemu-supervise: runs one VM for an init system. main(), signals, the start and the end. */

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/param.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "lib/array.h"
#include "lib/fd.h"
#include "lib/log.h"
#include "lib/notify.h"
#include "lib/timespan.h"
#include "lib/xalloc.h"
#include "qmp.h"
#include "supervise/become.h"
#include "supervise/cgroup.h"
#include "supervise/child.h"
#include "supervise/claim.h"
#include "supervise/confinement.h"
#include "supervise/guard.h"
#include "supervise/handover.h"
#include "supervise/lastwords.h"
#include "supervise/options.h"
#include "supervise/reexec.h"
#include "supervise/run.h"
#include "supervise/signals.h"
#include "supervise/supervisor.h"
#include "supervise/vmlock.h"
#include "vm/ladder.h"
#include "vm/lastend.h"
#include "vm/moved.h"
#include "vm/outcome.h"
#include "vm/reach.h"

#define HINT_MS	      10000 /* without an answer, after which a wrapper is suspected */
#define LOOP_TRIES    10    /* for an event loop that fails */
#define LOOP_AGAIN_MS 100
#define BATCH	      64

/* ---- signals ---- */

static void take_deadline(struct supervisor *s, const struct signalfd_siginfo *info)
{
	const char *from = signals_sender(info);

	if (info->ssi_code != SI_QUEUE || info->ssi_int < 0)
		log_notice("RTMIN from %s: ignored, it brings no number of seconds (/bin/kill -q "
			   "20 -s RTMIN, sigqueue(3))",
			   from);
	else
		climber_deadline(&s->climber, (int64_t)info->ssi_int * 1000, from);
}

static bool see_signal(struct supervisor *s, const struct signalfd_siginfo *info,
		       struct trigger_seen *seen)
{
	int signo = (int)info->ssi_signo;
	struct trigger_name name =
		trigger_of_signal(signo == SIGHUP && s->hup_is_term ? SIGTERM : signo);

	*seen = (struct trigger_seen){.row = policy_find(&s->options.policy, name.s)};
	snprintf(seen->from, sizeof(seen->from), "%s", signals_sender(info));
	if (signo == SIGHUP && s->hup_is_term)
		log_notice("HUP from %s: we have a terminal, so it counts as TERM", seen->from);
	if (!seen->row)
		log_notice("%s from %s: no ladder for it, dropped", name.s, seen->from);
	return seen->row != NULL;
}

/* The VM has ended, and only a program of a run: rung is awaited. */
static void hurry(struct supervisor *s, const struct trigger_seen *seen, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (!ladder_ends_vm(&seen[i].row->ladder))
			continue;
		log_notice("%s from %s: the VM has ended; its programs are killed",
			   seen[i].row->trigger.s, seen[i].from);
		run_end(s->runner, true);
		helpers_end(s->helpers, true);
	}
}

static void on_signal(evutil_socket_t fd, short what, void *arg)
{
	struct supervisor *s = arg;
	struct signalfd_siginfo infos[BATCH];
	struct trigger_seen seen[BATCH];
	ssize_t len = read(fd, infos, sizeof(infos));
	size_t count = 0, total = len > 0 ? (size_t)len / sizeof(infos[0]) : 0;
	bool child = false;

	(void)what;
	for (size_t i = 0; i < total; i++) {
		if (infos[i].ssi_signo == SIGCHLD)
			child = true;
		else if ((int)infos[i].ssi_signo != DEADLINE_SIGNAL)
			count += see_signal(s, &infos[i], &seen[count]);
	}
	if (s->process.ended)
		hurry(s, seen, count);
	else
		climber_triggers(&s->climber, seen, count);
	for (size_t i = 0; i < total && !s->process.ended; i++)
		if ((int)infos[i].ssi_signo == DEADLINE_SIGNAL)
			take_deadline(s, &infos[i]);
	if (child)
		process_reap(s);
	if (!s->process.ended && !rundir_is_there(&s->dir))
		report_changed(s); /* which makes it again */
}

/* ---- the start ---- */

static void on_climb_timer(evutil_socket_t fd, short what, void *arg)
{
	struct supervisor *s = arg;

	(void)fd, (void)what;
	climber_tick(&s->climber);
}

/* ---- the terminal ---- */

static void save_terminal(struct supervisor *s)
{
	int tty = open("/dev/tty", O_RDONLY | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);

	if (tty >= 0)
		close(tty);
	/* Shells and the kernel send HUP to jobs of a terminal: neither means "reset". */
	s->hup_is_term = tty >= 0 && !policy_find(&s->options.policy, "HUP")->chosen;
	s->terminal.saved = tcgetattr(STDIN_FILENO, &s->terminal.modes) == 0;
}

/* However QEMU ended. In the background it is somebody else's terminal. */
static void restore_terminal(const struct terminal *terminal)
{
	if (terminal->saved && tcgetpgrp(STDIN_FILENO) == getpgrp())
		tcsetattr(STDIN_FILENO, TCSANOW, &terminal->modes);
}

/* ---- main ---- */

static char **with_readconfig(char **command, int fd)
{
	size_t count = 0;
	char **argv;

	while (command[count])
		count++;
	argv = xcalloc(count + 3, sizeof(argv[0]));
	memcpy(argv, command, count * sizeof(argv[0]));
	argv[count] = xstrdup("-readconfig");
	argv[count + 1] = xasprintf("/dev/fd/%d", fd);
	return argv;
}

static void free_readconfig(char **argv)
{
	size_t count = 0;

	while (argv[count])
		count++;
	free(argv[count - 2]);
	free(argv[count - 1]);
	free(argv);
}

/* If 0, 1 or 2 were closed, a socket of ours could get that number, and QEMU's output. */
static void open_standard_descriptors(void)
{
	int fd;

	do
		fd = open("/dev/null", O_RDWR);
	while (fd >= 0 && fd <= STDERR_FILENO);
	fd_close(&fd);
}

static const event_callback_fn timer_callbacks[] = {
	[TIMER_CLIMB] = on_climb_timer,
	[TIMER_BEAT] = report_on_beat,
	[TIMER_PULSE] = report_on_pulse,
	[TIMER_WATCHDOG] = silence_on_watchdog,
	[TIMER_DRAIN] = ending_on_drain,
	[TIMER_KILL] = actions_on_kill_timer,
	[TIMER_UNANSWERED] = silence_on_unanswered,
	[TIMER_HINT] = silence_on_hint,
	[TIMER_BACK] = setaction_on_timer,
	[TIMER_CPUS] = halted_on_timer,
	[TIMER_RECONNECT] = link_on_reconnect,
	[TIMER_REEXEC] = upgrade_on_timer,
	[TIMER_STATE] = report_on_state_timer,
};
_Static_assert(ARRAY_SIZE(timer_callbacks) == TIMER_COUNT, "a callback for each timer");

/* Otherwise libevent would exit with status 1 and a message without our name. */
static void on_libevent_log(int severity, const char *message)
{
	if (severity == EVENT_LOG_ERR)
		log_error("%s", message);
	else if (severity == EVENT_LOG_WARN)
		log_debug("%s", message);
}

static void on_libevent_fatal(int error)
{
	(void)error;
	exit(EX_OSERR);
}

/* Everything that can fail does so before QEMU is started. */
static void prepare(struct supervisor *s)
{
	int signal_fd = signals_open(&s->signals, &s->options.policy);

	event_set_log_callback(on_libevent_log);
	event_set_fatal_callback(on_libevent_fatal);
	s->base = event_base_new();
	if (signal_fd < 0 || !s->base || event_base_priority_init(s->base, 2) < 0)
		fatal(EX_OSERR, "cannot wait for signals");
	s->signal_event = xcheck(event_new(s->base, signal_fd, EV_READ | EV_PERSIST, on_signal, s));
	s->changed_event = xcheck(event_new(s->base, -1, 0, report_on_changed, s));
	for (size_t i = 0; i < TIMER_COUNT; i++)
		s->timers[i] = xcheck(evtimer_new(s->base, timer_callbacks[i], s));
	event_priority_set(s->timers[TIMER_BEAT], 0);
	climber_init(&s->climber, &s->options.policy, &actions_ops, s);
	s->guest = guest_new(s->base, s->options.press_interval, s->options.boot_timeout,
			     &events_guest, s);
	if (s->options.agent)
		s->agentport = agentport_new(s->base, &s->dir, &events_agentport, s);
	s->diskwatch = diskwatch_new(s->base, &s->dir, s->options.vm, report_changed, s);
	s->helpers = helpers_new(s->base, &s->dir, &beside_callbacks, s);
	s->runner = runner_new(s->base, &s->signals.inherited, actions_on_program_done, s);
	s->set.actions = s->options.actions;
	s->set.pauses = setaction_pauses(&s->options.actions);
	if (event_add(s->signal_event, NULL) < 0)
		fatal(EX_OSERR, "cannot wait for signals");
}

/* Makes what a definition needs before QEMU is started. */
static int make_ready(struct options *options)
{
	bool made;
	char *why;

	if (!options->vm)
		return 0;
	options_settle(options);
	made = vm_prepare(options->vm, &why);
	if (!made) {
		log_error("%s", why);
		free(why);
	}
	return made ? 0 : EX_OSERR;
}

/* What QEMU is told, and what tells whether it was executed: to report[1]. */
static bool prepare_link(struct supervisor *s, int report[2])
{
	int sock = runfiles_connect(s->dir.path, SOCKET_CONTROL);

	s->process.readconfig = child_readconfig(&s->dir, s->helpers);
	if (sock >= 0)
		s->link.qmp = qmp_new(s->base, sock, 0, &link_callbacks, s);
	if (!s->link.qmp || s->process.readconfig < 0 || pipe2(report, O_CLOEXEC | O_NONBLOCK) < 0)
		return false;
	s->process.exec_pipe = report[0];
	s->process.exec_event =
		xcheck(event_new(s->base, report[0], EV_READ, process_on_exec_pipe, s));
	event_add(s->process.exec_event, NULL);
	return true;
}

/* Everything that needs resources is done before the fork. */
static int start_qemu(struct supervisor *s, const sigset_t *mask)
{
	struct child_limits limits = {.confine = confinement_of(&s->options, &s->dir)};
	int report[2], error, readconfig;
	char **argv;

	if (!prepare_link(s, report)) {
		log_warn("cannot prepare the connection to QEMU");
		return EX_OSERR;
	}
	if (!s->options.vm || !s->options.vm->becomes)
		limits.account = s->account;
	readconfig = s->process.readconfig;
	argv = with_readconfig(s->options.command, readconfig);
	s->process.started = time(NULL);
	s->process.memory = s->options.vm ? s->options.vm->memory : 0;
	s->process.began = s->process.since = monotonic_ms();
	confinement_tell(&limits.confine);
	s->process.pid =
		child_spawn(argv, mask, &s->dir, s->helpers, readconfig, report[1], &limits);
	error = errno;
	close(report[1]);
	close(readconfig);
	free_readconfig(argv);
	rundir_handed_over(&s->dir);
	helpers_handed_over(s->helpers);
	errno = error;
	if (s->process.pid < 0)
		log_warn("cannot start a process for QEMU");
	return s->process.pid < 0 ? EX_OSERR : 0;
}

/* Where QEMU and what runs beside it will be held to their limits. */
static int make_cgroup(struct supervisor *s)
{
	char *why = NULL;

	if (s->options.vm)
		s->cgroup =
			cgroup_make(s->options.name, &s->options.vm->limits, &s->dir.procs, &why);
	if (!why)
		return 0;
	snprintf(s->words, sizeof(s->words), "%s", why);
	log_error("QEMU is not started: %s (status %d)", why, EX_CONFIG);
	free(why);
	return EX_CONFIG;
}

/* What runs beside QEMU comes first, and goes again without it. */
static int start(struct supervisor *s)
{
	sigset_t mask = signals_qemu_mask(&s->signals);
	int status = make_cgroup(s);

	if (status != 0)
		return status;
	record_console(s);
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	if (s->options.defined)
		s->lastwords =
			lastwords_new(s->base, s->dir.fd, LASTWORDS_OF_QEMU, &s->dir.qemu_stderr);
	status = beside_start(s, &mask);
	if (status != 0)
		return status;
	status = start_qemu(s, &mask);
	if (status != 0)
		helpers_stop(s->helpers);
	return status;
}

/* ---- all of it ---- */

static int begin(struct supervisor *s)
{
	int status;

	if (s->options.defined)
		climber_set_flush(&s->climber, lastend_flush(s->dir.home));
	if (s->reexec.done) {
		takeover_go_on(s);
		return 0;
	}
	if (s->dir.running >= 0) {
		takeover_adopt(s);
		return 0;
	}
	if (s->options.placeholder) {
		log_error("it has ended meanwhile, and is not started: see above");
		return EX_CONFIG;
	}
	if (s->options.only_adopt) {
		snprintf(s->words, sizeof(s->words), "nobody saw its end");
		log_notice(
			"there is no QEMU to take over, and none is to be started: the VM is being "
			"stopped");
		return EXIT_DIED;
	}
	if (s->options.vm && moved_refuses(s->options.vm)) {
		snprintf(s->words, sizeof(s->words), "the guest last wrote to another disk");
		return EX_CONFIG;
	}
	status = guard_start(&s->options, s->words, sizeof(s->words));
	if (status == 0)
		status = make_ready(&s->options);
	if (status == 0)
		status = become_settle(&s->options, &s->dir, &s->account, s->words,
				       sizeof(s->words));
	return status == 0 ? start(s) : status;
}

/* A failure must not leave the VM without its supervisor. */
static void dispatch(struct supervisor *s)
{
	for (int i = 0; i < LOOP_TRIES && event_base_dispatch(s->base) < 0; i++) {
		log_warn("cannot wait for events, trying again");
		poll(NULL, 0, LOOP_AGAIN_MS);
	}
}

/* QEMU keeps the arguments that we added; a script may have dropped them. */
static bool is_wrapper(const char *command)
{
	const char *slash = strrchr(command, '/');

	return strncmp(slash ? slash + 1 : command, "qemu-", strlen("qemu-")) != 0;
}

static void supervise(struct supervisor *s)
{
	notify_status(s->process.adopted ? "Taking over" : "Starting");
	if (s->options.boot_timeout != FOREVER && !(s->link.seen && s->ready))
		timespan_arm(s->timers[TIMER_UNANSWERED], s->options.boot_timeout);
	if (!s->process.adopted && !s->link.seen && is_wrapper(s->options.command[0]))
		timespan_arm(s->timers[TIMER_HINT], HINT_MS);
	report_pulse(s);
	if (notify_watchdog_period() > 0)
		timespan_arm(s->timers[TIMER_WATCHDOG], notify_watchdog_period() / 2);
	report_changed(s);
	dispatch(s);
}

static void release(struct supervisor *s)
{
	struct event *events[] = {s->signal_event, s->changed_event, s->process.exec_event,
				  s->process.gone_event};

	qmp_free(s->link.qmp);
	guest_free(s->guest);
	agentport_free(s->agentport);
	diskwatch_free(s->diskwatch);
	lastwords_free(s->lastwords);
	helpers_free(s->helpers);
	lastwords_free(s->helpers_words);
	runner_free(s->runner);
	climber_free(&s->climber);
	jobs_free(&s->jobs);
	for (size_t i = 0; i < ARRAY_SIZE(events); i++)
		if (events[i])
			event_free(events[i]);
	for (size_t i = 0; i < TIMER_COUNT; i++)
		event_free(s->timers[i]);
	event_base_free(s->base);
	options_free(&s->options);
	free(s->cgroup);
	free(s->path);
}

/* Claims the runtime directory, and finds what already runs there. */
static int open_directory(struct supervisor *s)
{
	struct rundir before = RUNDIR_NONE;

	if (!s->reexec.done)
		return claim_vm(&s->dir, &s->options);
	before.lock = s->reexec.lock;
	before.supervision = s->reexec.supervision;
	before.running = s->reexec.running;
	memcpy(before.names, s->reexec.names, sizeof(before.names));
	return claim_vm_again(&s->dir, &s->options, &before);
}

static bool is_still_defined(const struct options *options)
{
	return !options->placeholder && vm_file_look(options->vm) != VM_FILE_GONE;
}

int main(int argc, char **argv)
{
	struct supervisor s = {.dir = RUNDIR_NONE, .process.exec_pipe = -1, .argv = argv};
	int status;

	signals_block(&s.signals);
	s.reexec = reexec_take();
	if (s.reexec.done)
		s.signals.inherited = s.reexec.mask;
	open_standard_descriptors();
	xalloc_be_frugal();
	log_open("qemu-supervise", LEVEL_INFO);
	options_parse(&s.options, argc, argv);
	log_open("qemu-supervise", s.options.level);
	log_vm(s.options.name);
	if (s.options.signal >= 0) {
		status = reach_and_signal(s.options.name, s.options.signal);
		options_free(&s.options);
		log_flush();
		return status;
	}
	if (s.options.print) {
		options_print(&s.options);
		options_free(&s.options);
		return 0;
	}
	log_never_wait();
	s.path = reexec_path();
	if (!notify_open(s.reexec.done ? s.reexec.notify : s.options.notify_fd))
		fatal(EX_USAGE, "--notify-fd %d", s.options.notify_fd);
	save_terminal(&s);
	prepare(&s);
	status = open_directory(&s);
	if (status == 0) {
		status = begin(&s);
		if (status == 0) {
			supervise(&s);
			restore_terminal(&s.terminal);
			status = ending_tell(&s);
		}
		record_end(&s, status);
		cgroup_remove(s.cgroup);
		claim_end(&s.dir);
	} else if (s.options.defined) {
		lastend_write_failed(s.options.name, status, is_still_defined(&s.options));
	}
	release(&s);
	log_flush();
	return status;
}
