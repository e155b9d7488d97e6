/* qemu-supervise: runs one VM for an init system. main(), signals, the start and the end. */

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
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
#include "lib/log.h"
#include "lib/timespan.h"
#include "lib/xalloc.h"
#include "qmp.h"
#include "supervise/child.h"
#include "supervise/claim.h"
#include "supervise/guard.h"
#include "supervise/handover.h"
#include "supervise/lastwords.h"
#include "supervise/notify.h"
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
#define DRAIN_MS      1000  /* for QEMU's last words, after its end */
#define REEXEC_MS     10    /* between tries while QEMU is to answer, or in the middle of a line */
#define REEXEC_TRIES  100   /* then without its answers, or without that connection */
#define LOOP_TRIES    10    /* of an event loop that fails */
#define LOOP_AGAIN_MS 100
#define BATCH	      64
#define LAST_WORDS_MS 2000 /* before its end: what QEMU said then may tell why */
#define TICKS_MAX     2	   /* of systemd's watchdog, for an answer of QEMU's: its period */

/* ---- systemd's watchdog ---- */

static void on_watched(void *arg, enum qmp_result result, json_t *value)
{
	struct supervisor *s = arg;
	char text[RUNSTATE_TEXT];

	s->watchdog_asked = false;
	if (result == QMP_LOST)
		return;
	s->watchdog_ticks = 0;
	events_on_run_state(s, result, value);
	if (s->unresponsive) {
		s->unresponsive = false;
		log_notice("QEMU answers again");
		standstill_text(s, text, sizeof(text));
		notify_status("Guest: %s", text);
	}
}

/* It is ticks that count: we may have stood still ourselves, with the host or alone. */
static void on_watchdog(evutil_socket_t fd, short what, void *arg)
{
	struct supervisor *s = arg;
	int64_t period = notify_watchdog_period();

	(void)fd, (void)what;
	notify_watchdog();
	timespan_arm(s->watchdog_timer, period / 2);
	if (!s->ended && !rundir_is_there(&s->dir))
		report_changed(s); /* that makes it anew */
	if (!s->qmp_seen || s->gone)
		return;
	s->watchdog_ticks++;
	if (!s->watchdog_asked)
		s->watchdog_asked = qmp_command(s->qmp, "query-status", NULL, 0, on_watched, s);
	if (!s->unresponsive && s->watchdog_ticks > TICKS_MAX) {
		s->unresponsive = true;
		log_warnx("QEMU has not answered for %s", timespan_format(period).s);
		notify_status("QEMU does not answer");
		events_trigger(s, TRIGGER_UNRESPONSIVE, NULL);
	}
}

/* Whoever waits for the VM to be ready waits no longer than a boot may take. */
static void on_unanswered_timer(evutil_socket_t fd, short what, void *arg)
{
	struct supervisor *s = arg;
	bool counts = !s->ready && !report_stopping(s);
	char *silent = s->qmp_seen ? xstrdup(events_awaited(s))
				   : xasprintf("QEMU, pid %d, has not answered", s->qemu);

	(void)fd, (void)what;
	log_warnx("%s for %s since %s%s", silent, timespan_about(s->options.boot_timeout).s,
		  s->adopted ? "it was taken over" : "its start",
		  counts ? "; the VM counts as started" : "");
	if (!s->qmp_seen)
		notify_status("QEMU does not answer");
	else if (counts)
		notify_status("Started; %s", silent);
	free(silent);
	events_await_no_longer(s);
	if (counts)
		report_ready(s);
}

/* QEMU itself has taken what we added to its arguments; a script may have dropped it. */
static bool is_wrapper(const char *command)
{
	const char *slash = strrchr(command, '/');

	return strncmp(slash ? slash + 1 : command, "qemu-", strlen("qemu-")) != 0;
}

static void on_hint_timer(evutil_socket_t fd, short what, void *arg)
{
	struct supervisor *s = arg;
	const char *command = s->options.command[0];

	(void)fd, (void)what;
	log_warnx("QMP does not answer: does %s pass its arguments on (exec qemu-system-... "
		  "\"$@\")?",
		  command);
	notify_status("QMP does not answer: does %s pass its arguments on?", command);
}

/* ---- signals ---- */

/* Nothing comes out of it, or why QEMU could not be executed. */
static void read_exec_pipe(struct supervisor *s)
{
	if (s->exec_pipe < 0)
		return;
	if (read(s->exec_pipe, &s->exec_error, sizeof(s->exec_error)) > 0)
		log_error("cannot execute %s: %s", s->options.command[0], strerror(s->exec_error));
	event_del(s->exec_event);
	close(s->exec_pipe);
	s->exec_pipe = -1;
}

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

/*
 * A wrapper that did not execute QEMU has ended: QEMU is our child now. Seen at once, or what
 * comes meanwhile, as the kill of a ladder, is for nobody.
 */
static bool take_orphan(struct supervisor *s)
{
	pid_t orphan = s->readconfig > 0 ? child_orphaned(s->readconfig) : 0;

	if (!orphan)
		return false;
	log_warnx("%s has ended without executing QEMU, which goes on as pid %d; a wrapper should "
		  "exec it",
		  s->options.command[0], orphan);
	s->qemu = orphan;
	if (s->gone_event)
		event_free(s->gone_event);
	s->gone_event = NULL;
	if (s->dir.running >= 0)
		close(s->dir.running);
	s->dir.running = -1; /* that of the wrapper: its QEMU is a child */
	vmlock_claim(&s->dir, orphan);
	if (s->outcome.killed)
		actions_kill_qemu(s);
	report_changed(s);
	return true;
}

static void reap(struct supervisor *s)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		if (pid == s->qemu) {
			read_exec_pipe(s); /* it may come after CHLD */
			s->gone = s->waited = !take_orphan(s);
			s->wait_status = status;
		} else if (!run_reaped(s->runner, pid, status)) {
			log_debug("reaped pid %d", pid);
		}
	}
	supervisor_finish_if_over(s);
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

/* The VM has ended, and a program of a run: rung is still waited for. */
static void hurry(struct supervisor *s, const struct trigger_seen *seen, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (!ladder_ends_vm(&seen[i].row->ladder))
			continue;
		log_notice("%s from %s: the VM has ended; its programs are killed",
			   seen[i].row->trigger.s, seen[i].from);
		run_end(s->runner, true);
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
	if (s->ended)
		hurry(s, seen, count);
	else
		climber_triggers(&s->climber, seen, count);
	for (size_t i = 0; i < total && !s->ended; i++)
		if ((int)infos[i].ssi_signo == DEADLINE_SIGNAL)
			take_deadline(s, &infos[i]);
	if (child)
		reap(s);
	if (!s->ended && !rundir_is_there(&s->dir))
		report_changed(s); /* that makes it anew */
}

/* ---- the start ---- */

static void on_climb_timer(evutil_socket_t fd, short what, void *arg)
{
	struct supervisor *s = arg;

	(void)fd, (void)what;
	climber_tick(&s->climber);
}

static void on_exec_pipe(evutil_socket_t fd, short what, void *arg)
{
	(void)fd, (void)what;
	read_exec_pipe(arg);
}

/* ---- the end ---- */

static void on_drain_timer(evutil_socket_t fd, short what, void *arg)
{
	struct supervisor *s = arg;

	(void)fd, (void)what;
	events_set_qmp(s, NULL);
	qmp_free(s->qmp);
	s->qmp = NULL;
	supervisor_finish_if_over(s);
}

/* QEMU's last words may still be on their way when it has ended: SIGCHLD overtakes them. */
void supervisor_finish_if_over(struct supervisor *s)
{
	if (!s->gone)
		return;
	if (s->gone_since == 0)
		s->gone_since = monotonic_ms();
	evtimer_del(s->reconnect_timer);
	if (s->qmp) {
		if (!evtimer_pending(s->drain_timer, NULL))
			timespan_arm(s->drain_timer, DRAIN_MS);
		return;
	}
	if (!s->ended) {
		s->ended = true;
		climber_end(&s->climber);
		run_end(s->runner, false);
	}
	if (!run_busy(s->runner))
		event_base_loopbreak(s->base);
}

static char *history_text(const struct supervisor *s)
{
	const struct climber *c = &s->climber;
	const char *trigger = "";
	char *text = xstrdup("");

	for (size_t i = 0; i < c->history_count; i++) {
		const struct climbed *rung = &c->history[i];
		bool other = strcmp(trigger, rung->trigger) != 0;
		char *longer = xasprintf("%s%s%s%s%s %.1fs", text, other ? "; " : ", ",
					 other ? rung->trigger : "", other ? ": " : "",
					 action_name(rung->action), (double)rung->ms / 1000);

		trigger = rung->trigger;
		free(text);
		text = longer;
	}
	return text;
}

/* How long QEMU took to end by itself; -1: that was not seen. CHLD may overtake SHUTDOWN. */
static int64_t flush_time(const struct supervisor *s)
{
	bool seen = s->down_since > 0 && s->gone_since > 0 && !s->outcome.killed;

	return seen ? MAX(s->gone_since - s->down_since, 0) : -1;
}

static int exec_status(int error)
{
	return error == ENOENT ? EXIT_NO_PROGRAM : EXIT_CANNOT_EXECUTE;
}

/* Where QEMU failed, it may have said why. */
static void add_last_words(struct supervisor *s, int status)
{
	int64_t since = status == EX_UNAVAILABLE ? s->since : s->gone_since - LAST_WORDS_MS;
	size_t len = strlen(s->words);
	char text[256];

	if (status != EX_UNAVAILABLE && (status != EXIT_DIED || s->outcome.reason[0]))
		return;
	lastwords_text(s->lastwords, since, text, sizeof(text));
	if (text[0])
		snprintf(s->words + len, sizeof(s->words) - len, ": %s", text);
}

/* Writes the last line and returns the exit status. */
static int tell_the_end(struct supervisor *s)
{
	char *words = s->words;
	int status = outcome_status(&s->outcome, s->waited ? &s->wait_status : NULL, words,
				    sizeof(s->words));
	char *history;

	lastwords_drain(s->lastwords);
	add_last_words(s, status);
	if (s->ended)
		jobs_tell_cut_off(&s->jobs);
	log_flush(); /* the line to come is the last one */
	if (!s->ended) {
		snprintf(words, sizeof(s->words), "QEMU, pid %d, goes on without its supervisor",
			 s->qemu);
		log_error("cannot wait for events: %s; start qemu-supervise again", words);
		return EX_OSERR;
	}
	if (s->exec_error) {
		snprintf(words, sizeof(s->words), "cannot execute %s: %s", s->options.command[0],
			 strerror(s->exec_error));
		return exec_status(s->exec_error);
	}
	history = history_text(s);
	if (status == EX_UNAVAILABLE)
		log_error("QEMU failed before the VM started: %s (status %d)", words, status);
	else if (status == 0)
		log_notice("ended: %s (status 0)%s", words, history);
	else
		log_warnx("ended: %s (status %d)%s", words, status, history);
	outcome_add_failure(&s->outcome, status, words, sizeof(s->words));
	notify_status("Ended: %s", words);
	free(history);
	return status;
}

/* ---- executing the program again ---- */

/* Why not now; NULL: nothing is against it. */
static const char *not_now(const struct supervisor *s)
{
	if (s->gone)
		return "QEMU has ended";
	if (s->exec_pipe >= 0)
		return "QEMU is just being executed";
	if (run_busy(s->runner))
		return "a program of a run: rung is running";
	if (!rundir_is_there(&s->dir))
		return "the runtime directory was removed or replaced";
	return s->path ? NULL : "it is not known where the program is";
}

static void reexec(struct supervisor *s, int qmp, json_int_t qmp_id)
{
	struct reexec with = {.qemu = s->qemu,
			      .readconfig = s->readconfig,
			      .lock = s->dir.lock,
			      .supervision = s->dir.supervision,
			      .running = s->dir.running,
			      .qmp = qmp,
			      .qmp_id = qmp_id,
			      .notify = notify_pass_on(),
			      .mask = s->signals.inherited,
			      .terminal = s->terminal.saved,
			      .modes = s->terminal.modes};

	memcpy(with.names, s->dir.names, sizeof(with.names));
	log_notice("reexec: executing %s", s->path);
	log_flush();
	report_write_state(s);
	reexec_now(s->path, s->argv, &with);
	log_warn("reexec: cannot execute %s; this one goes on", s->path);
	notify_hide();
	if (qmp >= 0)
		close(qmp);
}

static void on_reexec(evutil_socket_t fd, short what, void *arg)
{
	struct supervisor *s = arg;
	const char *why;
	json_int_t qmp_id = 0;
	bool awaited;
	int qmp;

	(void)fd, (void)what;
	climber_tick(&s->climber);
	report_write_state(s); /* in a directory that is there */
	why = not_now(s);
	if (why) {
		log_notice("reexec: not now: %s", why);
		return;
	}
	if (s->reexec_tries == 0 && !reexec_try(s->path, s->argv)) {
		log_warnx("reexec: %s does not start with our arguments; this one goes on",
			  s->path);
		return;
	}
	/* An answer may decide what comes next: the next program would drop it. */
	awaited = qmp_is_awaited(s->qmp) && s->reexec_tries < REEXEC_TRIES;
	qmp = awaited ? -1 : qmp_duplicate(s->qmp, &qmp_id);
	if (qmp < 0 && qmp_is_ready(s->qmp) && s->reexec_tries++ < REEXEC_TRIES)
		timespan_arm(s->reexec_timer, REEXEC_MS);
	else
		reexec(s, qmp, qmp_id);
}

/* ---- the terminal ---- */

static void save_terminal(struct supervisor *s)
{
	int tty = open("/dev/tty", O_RDONLY | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);

	if (tty >= 0)
		close(tty);
	/* A shell sends HUP to its jobs, the kernel sends it too: neither means "reset". */
	s->hup_is_term = tty >= 0 && !policy_find(&s->options.policy, "HUP")->chosen;
	s->terminal.saved = tcgetattr(STDIN_FILENO, &s->terminal.modes) == 0;
}

/* However QEMU ended; from the background it would be somebody else's terminal. */
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

/* Where one of 0, 1 and 2 is closed, a socket of ours would get its number, and QEMU's output. */
static void open_standard_descriptors(void)
{
	int fd;

	do
		fd = open("/dev/null", O_RDWR);
	while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd >= 0)
		close(fd);
}

static struct event *new_timer(struct supervisor *s, event_callback_fn callback)
{
	return xcheck(evtimer_new(s->base, callback, s));
}

/* libevent would end us with status 1 and a line that names nobody. */
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

/* Everything that can fail does so before there is a QEMU. */
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
	s->climb_timer = new_timer(s, on_climb_timer);
	s->beat_timer = new_timer(s, report_on_beat);
	event_priority_set(s->beat_timer, 0);
	s->pulse_timer = new_timer(s, report_on_pulse);
	s->watchdog_timer = new_timer(s, on_watchdog);
	s->drain_timer = new_timer(s, on_drain_timer);
	s->kill_timer = new_timer(s, actions_on_kill_timer);
	s->unanswered_timer = new_timer(s, on_unanswered_timer);
	s->hint_timer = new_timer(s, on_hint_timer);
	s->back_timer = new_timer(s, actions_on_back_timer);
	s->reconnect_timer = new_timer(s, events_on_reconnect);
	s->reexec_timer = new_timer(s, on_reexec);
	s->state_timer = new_timer(s, report_on_state_timer);
	climber_init(&s->climber, &s->options.policy, &actions_ops, s);
	s->guest = guest_new(s->base, s->options.press_interval, s->options.boot_timeout,
			     &events_guest, s);
	if (s->options.agent)
		s->agentport = agentport_new(s->base, &s->dir, &events_agentport, s);
	s->diskwatch = diskwatch_new(s->base, &s->dir, s->options.vm, report_changed, s);
	s->runner = runner_new(s->base, &s->signals.inherited, actions_on_program_done, s);
	s->actions = s->options.actions;
	if (event_add(s->signal_event, NULL) < 0)
		fatal(EX_OSERR, "cannot wait for signals");
}

/* What a definition wants to be there before QEMU is. */
static int make_ready(const struct options *options)
{
	bool made;
	char *why;

	if (!options->vm)
		return 0;
	made = vm_prepare(options->vm, &why);
	if (!made) {
		log_error("%s", why);
		free(why);
	}
	return made ? 0 : EX_OSERR;
}

/* All that may fail for want of something is done before the fork. */
static int start(struct supervisor *s)
{
	sigset_t mask = signals_qemu_mask(&s->signals);
	int sock = runfiles_connect(s->dir.path, SOCKET_CONTROL),
	    readconfig = child_readconfig(&s->dir);
	int report[2], error;
	char **argv;

	if (sock >= 0)
		s->qmp = qmp_new(s->base, sock, 0, &events_qmp, s);
	if (!s->qmp || readconfig < 0 || pipe2(report, O_CLOEXEC | O_NONBLOCK) < 0) {
		log_warn("cannot prepare the connection to QEMU");
		return EX_OSERR;
	}
	s->exec_pipe = report[0];
	s->exec_event = xcheck(event_new(s->base, report[0], EV_READ, on_exec_pipe, s));
	event_add(s->exec_event, NULL);
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	s->readconfig = readconfig;
	argv = with_readconfig(s->options.command, readconfig);
	s->started = time(NULL);
	s->memory = s->options.vm ? s->options.vm->memory : 0;
	s->began = s->since = monotonic_ms();
	if (s->options.defined)
		s->lastwords = lastwords_new(s->base, s->dir.fd, &s->dir.qemu_stderr);
	s->qemu = child_spawn(argv, &mask, &s->dir, readconfig, report[1]);
	error = errno;
	close(report[1]);
	close(readconfig);
	free_readconfig(argv);
	rundir_handed_over(&s->dir);
	errno = error;
	if (s->qemu < 0)
		log_warn("cannot start a process for QEMU");
	return s->qemu < 0 ? EX_OSERR : 0;
}

/* ---- taking over ---- */

/* Its supervisor cannot wait for it: its process is looked at. */
static void on_gone(evutil_socket_t fd, short what, void *arg)
{
	struct supervisor *s = arg;

	(void)fd, (void)what;
	reap(s); /* it may be our child: then waitpid(2) tells more */
	if (!s->gone_event)
		return; /* a wrapper */
	s->gone = true;
	supervisor_finish_if_over(s);
}

/* The clock of a process's start is CLOCK_BOOTTIME, in ticks. */
static void find_start(struct supervisor *s)
{
	int64_t ticks = sysconf(_SC_CLK_TCK);
	int64_t age = boottime_ms() - (int64_t)s->dir.holder.start * 1000 / ticks;

	s->since = monotonic_ms();
	s->began = s->since - age;
	s->started = time(NULL) - age / 1000;
}

static void take_handover(struct supervisor *s, json_t *state, const struct handover *h)
{
	s->memory = h->memory;
	s->actions = h->actions;
	s->rebooting = h->rebooting;
	s->owes_cont = h->owes_cont;
	s->presses = h->presses;
	s->agent_asked = h->agent_asked;
	s->outcome = h->outcome;
	snprintf(s->run_state, sizeof(s->run_state), "%s", h->run_state);
	snprintf(s->why, sizeof(s->why), "%s", h->why);
	events_tell_ending(s, h->ending);
	if (h->ready)
		report_ready(s);
	handover_resume(state, &s->climber);
	actions_rearm_back_timer(s);
}

static void take_state(struct supervisor *s)
{
	json_t *state = rundir_read_state(&s->dir);
	struct holder qemu = holder_of(s->qemu);
	struct handover handover;

	if (handover_read(state, s->options.name, &qemu, &handover)) {
		take_handover(s, state, &handover);
		diskwatch_resume(s->diskwatch, json_object_get(state, "disks"));
	} else {
		diskwatch_resume(s->diskwatch, NULL);
		log_warnx("%s/state.json is missing, damaged or of another QEMU: what the "
			  "supervisor before us was doing is not known",
			  s->dir.path);
		s->outcome.answered = s->outcome.ran = true; /* or may have */
	}
	json_decref(state);
}

static void watch_process(struct supervisor *s)
{
	find_start(s);
	s->gone_event = xcheck(event_new(s->base, s->dir.running, EV_READ, on_gone, s));
	event_add(s->gone_event, NULL);
}

/* The QEMU of a supervisor that has died: goes on as if we had started it. */
static void adopt(struct supervisor *s)
{
	s->adopted = true;
	s->qemu = s->dir.holder.pid;
	s->terminal.saved = false; /* QEMU's terminal is another one, or set as it needs it */
	watch_process(s);
	log_notice("taking over QEMU, pid %d, which runs without a supervisor", s->qemu);
	s->lastwords = lastwords_of(s->base, s->dir.fd);
	take_state(s);
	events_connect_again(s);
}

/* We are the one that was executed: our QEMU and its connection are what they were. */
static void go_on(struct supervisor *s)
{
	const struct reexec *r = &s->reexec;

	s->adopted = true;
	s->qemu = r->qemu;
	s->readconfig = r->readconfig;
	s->terminal = (struct terminal){.saved = r->terminal, .modes = r->modes};
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	if (s->dir.running >= 0) /* else it has ended meanwhile, and CHLD will tell */
		watch_process(s);
	log_notice("reexec: done, version " VERSION "; QEMU's pid is %d", s->qemu);
	s->lastwords = lastwords_of(s->base, s->dir.fd);
	take_state(s);
	if (r->qmp >= 0)
		s->qmp = qmp_continue(s->base, r->qmp, r->qmp_id, &events_qmp, s);
	if (s->qmp)
		events_on_qmp_ready(s);
	else
		events_connect_again(s);
}

static int begin(struct supervisor *s)
{
	int status;

	if (s->options.defined)
		climber_set_flush(&s->climber, lastend_flush(s->dir.home));
	if (s->reexec.done) {
		go_on(s);
		return 0;
	}
	if (s->dir.running >= 0) {
		adopt(s);
		return 0;
	}
	if (s->options.stands_in) {
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
	return status == 0 ? start(s) : status;
}

/* A failure must not take a VM its supervisor. */
static void dispatch(struct supervisor *s)
{
	for (int i = 0; i < LOOP_TRIES && event_base_dispatch(s->base) < 0; i++) {
		log_warn("cannot wait for events, trying again");
		poll(NULL, 0, LOOP_AGAIN_MS);
	}
}

static void supervise(struct supervisor *s)
{
	notify_status(s->adopted ? "Taking over" : "Starting");
	if (s->options.boot_timeout != FOREVER && !(s->qmp_seen && s->ready))
		timespan_arm(s->unanswered_timer, s->options.boot_timeout);
	if (!s->adopted && !s->qmp_seen && is_wrapper(s->options.command[0]))
		timespan_arm(s->hint_timer, HINT_MS);
	report_pulse(s);
	if (notify_watchdog_period() > 0)
		timespan_arm(s->watchdog_timer, notify_watchdog_period() / 2);
	report_changed(s);
	dispatch(s);
}

static void release(struct supervisor *s)
{
	struct event *events[] = {
		s->signal_event,    s->changed_event,	 s->climb_timer, s->pulse_timer,
		s->watchdog_timer,  s->drain_timer,	 s->kill_timer,	 s->back_timer,
		s->reconnect_timer, s->unanswered_timer, s->hint_timer,	 s->exec_event,
		s->gone_event,	    s->reexec_timer,	 s->state_timer, s->beat_timer};

	qmp_free(s->qmp);
	guest_free(s->guest);
	agentport_free(s->agentport);
	diskwatch_free(s->diskwatch);
	lastwords_free(s->lastwords);
	runner_free(s->runner);
	climber_free(&s->climber);
	jobs_free(&s->jobs);
	for (size_t i = 0; i < ARRAY_SIZE(events); i++)
		if (events[i])
			event_free(events[i]);
	event_base_free(s->base);
	options_free(&s->options);
	free(s->path);
}

/* The directory, and what runs in it already. */
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
	return !options->stands_in && vm_file_look(options->vm) != VM_FILE_GONE;
}

int main(int argc, char **argv)
{
	struct supervisor s = {.dir = RUNDIR_NONE, .exec_pipe = -1, .argv = argv};
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
			status = tell_the_end(&s);
		}
		if (s.options.defined)
			lastend_write(s.dir.home, status, s.words, flush_time(&s));
		claim_end(&s.dir);
	} else if (s.options.defined) {
		lastend_write_failed(s.options.name, status, is_still_defined(&s.options));
	}
	release(&s);
	log_flush();
	return status;
}
