/* The end of QEMU: when everything has been read, and what is reported. */
#include "supervise/supervisor.h"

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/param.h>
#include <sys/wait.h>
#include <sysexits.h>

#include "lib/log.h"
#include "lib/notify.h"
#include "lib/timespan.h"
#include "lib/xalloc.h"
#include "supervise/cgroup.h"
#include "supervise/confinement.h"
#include "supervise/lastwords.h"

#define DRAIN_MS      1000  /* for QEMU's last events and messages after its end */
#define ABORTS_MS     30000 /* after its start: an abort then may be KVM's */
#define LAST_WORDS_MS 2000  /* before its end: QEMU's messages since then may say why */

void ending_on_drain(evutil_socket_t fd, short what, void *arg)
{
	struct supervisor *s = arg;

	(void)fd, (void)what;
	link_set_qmp(s, NULL);
	qmp_free(s->link.qmp);
	s->link.qmp = NULL;
	ending_finish_if_over(s);
}

/* Waits for what QEMU wrote before it ended, which SIGCHLD may overtake. */
void ending_finish_if_over(struct supervisor *s)
{
	if (!s->process.gone)
		return;
	if (s->process.gone_since == 0)
		s->process.gone_since = monotonic_ms();
	evtimer_del(s->timers[TIMER_RECONNECT]);
	if (s->link.qmp) {
		if (!evtimer_pending(s->timers[TIMER_DRAIN], NULL))
			timespan_arm(s->timers[TIMER_DRAIN], DRAIN_MS);
		return;
	}
	if (!s->process.ended) {
		s->process.ended = true;
		climber_end(&s->climber);
		run_end(s->runner, false);
		helpers_end(s->helpers, !s->outcome.ran);
	}
	if (!run_busy(s->runner) && !helpers_busy(s->helpers))
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

/* SIGCHLD may overtake SHUTDOWN. */
int64_t ending_flush_time(const struct supervisor *s)
{
	bool seen = s->process.down_since > 0 && s->process.gone_since > 0 && !s->outcome.killed;

	return seen ? MAX(s->process.gone_since - s->process.down_since, 0) : -1;
}

static int exec_status(int error)
{
	return error == ENOENT ? EXIT_NO_PROGRAM : EXIT_CANNOT_EXECUTE;
}

static void add_words(struct supervisor *s, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

static void add_words(struct supervisor *s, const char *fmt, ...)
{
	size_t len = strlen(s->words);
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(s->words + len, sizeof(s->words) - len, fmt, ap);
	va_end(ap);
}

/* What QEMU had no permission for may be ours to give. */
static void add_confined(struct supervisor *s, const char *message)
{
	const struct confine_use use = confinement_of(&s->options, &s->dir);
	char *explained = use.confine->on ? confine_explain(&use, message) : NULL;

	if (explained)
		add_words(s, "; %s", explained);
	free(explained);
}

/* If QEMU failed, it may have said why. */
static void add_last_words(struct supervisor *s, int status)
{
	int64_t since =
		status == EX_UNAVAILABLE ? s->process.since : s->process.gone_since - LAST_WORDS_MS;
	char text[256];

	if (status != EX_UNAVAILABLE && (status != EXIT_DIED || s->outcome.reason[0]))
		return;
	lastwords_text(s->lastwords, since, text, sizeof(text));
	if (text[0])
		add_words(s, ": %s", text);
	if (s->outcome.out_of_pids)
		add_words(s, "; it had all the threads that limits.pids lets it have");
	add_confined(s, text);
}

static bool uses_kvm(char **command)
{
	for (char **word = command; *word; word++) {
		bool before =
			word[1] && (strcmp(*word, "-accel") == 0 ||
				    strcmp(*word, "-machine") == 0 || strcmp(*word, "-M") == 0);

		if (strcmp(*word, "-enable-kvm") == 0 || (before && strstr(word[1], "kvm")))
			return true;
	}
	return false;
}

/* QEMU aborts at the first guest code where /dev/kvm is there and can run none. */
static void add_cure(struct supervisor *s)
{
	bool aborted = s->process.waited && WIFSIGNALED(s->process.wait_status) &&
		       WTERMSIG(s->process.wait_status) == SIGABRT;
	int64_t lived = s->process.gone_since - s->process.began;

	if (aborted && lived < ABORTS_MS && uses_kvm(s->options.command))
		add_words(s, "; does KVM run guests here? \"vmconf doctor\" tries it; without KVM: "
			     "\"accel\": \"tcg\" (-accel tcg)");
}

int ending_tell(struct supervisor *s)
{
	char *words = s->words;
	int status;
	char *history;

	cgroup_tell(s->cgroup, &s->outcome);
	status = outcome_status(&s->outcome, s->process.waited ? &s->process.wait_status : NULL,
				words, sizeof(s->words));
	lastwords_drain(s->lastwords);
	add_last_words(s, status);
	add_cure(s);
	if (s->process.ended)
		jobs_tell_cut_off(&s->jobs);
	log_flush(); /* so that ours is the last line */
	if (!s->process.ended) {
		snprintf(words, sizeof(s->words), "QEMU, pid %d, goes on without its supervisor",
			 s->process.pid);
		log_error("cannot wait for events: %s; start qemu-supervise again", words);
		return EX_OSERR;
	}
	if (s->process.exec_error) {
		snprintf(words, sizeof(s->words), "cannot execute %s: %s", s->options.command[0],
			 strerror(s->process.exec_error));
		return exec_status(s->process.exec_error);
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
