/* Taking over QEMU from another supervisor, or from this one before it was executed again. */
#include "supervise/supervisor.h"

#include <stdio.h>
#include <sys/prctl.h>

#include "lib/log.h"
#include "supervise/cgroup.h"
#include "supervise/handover.h"
#include "supervise/lastwords.h"

static void take_handover(struct supervisor *s, json_t *state, const struct handover *h)
{
	s->process.memory = h->memory;
	s->set.actions = h->actions;
	s->set.rebooting = h->rebooting;
	s->set.owes_cont = h->owes_cont;
	s->asking.presses = h->presses;
	s->asking.agent_asked = h->agent_asked;
	s->outcome = h->outcome;
	snprintf(s->state.run_state, sizeof(s->state.run_state), "%s", h->run_state);
	snprintf(s->state.why, sizeof(s->state.why), "%s", h->why);
	events_tell_ending(s, h->ending);
	if (h->ready)
		report_ready(s);
	handover_resume(state, &s->climber);
	halted_watch(s);
}

static void take_state(struct supervisor *s)
{
	json_t *state = rundir_read_state(&s->dir);
	struct holder qemu = holder_of(s->process.pid);
	struct handover handover;

	s->set.pauses = false; /* as QEMU may not have read what the one before has sent */
	if (handover_read(state, s->options.name, &qemu, &handover)) {
		take_handover(s, state, &handover);
		record_resume(s, json_object_get(state, "history"));
		diskwatch_resume(s->diskwatch, json_object_get(state, "disks"));
	} else {
		diskwatch_resume(s->diskwatch, NULL);
		log_warnx("%s/state.json is missing, damaged or of another QEMU: what the "
			  "supervisor before us was doing is not known",
			  s->dir.path);
		s->outcome.answered = s->outcome.ran = true; /* or may have */
		s->record.begun = true;
	}
	json_decref(state);
}

void takeover_adopt(struct supervisor *s)
{
	s->process.adopted = true;
	s->process.pid = s->dir.holder.pid;
	s->terminal.saved = false; /* QEMU's terminal is another, or in the modes it needs */
	process_watch(s);
	log_notice("taking over QEMU, pid %d, which runs without a supervisor", s->process.pid);
	s->lastwords = lastwords_of(s->base, s->dir.fd, LASTWORDS_OF_QEMU);
	s->cgroup = cgroup_of(s->options.name, s->process.pid);
	take_state(s);
	beside_resume(s);
	link_connect_again(s);
}

void takeover_go_on(struct supervisor *s)
{
	const struct reexec *r = &s->reexec;

	s->process.adopted = true;
	s->process.pid = r->qemu;
	s->process.readconfig = r->readconfig;
	s->terminal = (struct terminal){.saved = r->terminal, .modes = r->modes};
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	if (s->dir.running >= 0) /* else it has ended meanwhile, and SIGCHLD reports it */
		process_watch(s);
	log_notice("reexec: done, version " VERSION "; QEMU's pid is %d", s->process.pid);
	s->lastwords = lastwords_of(s->base, s->dir.fd, LASTWORDS_OF_QEMU);
	s->cgroup = cgroup_of(s->options.name, s->process.pid);
	take_state(s);
	beside_resume(s);
	if (r->qmp >= 0)
		s->link.qmp = qmp_continue(s->base, r->qmp, r->qmp_id, &link_callbacks, s);
	if (s->link.qmp)
		link_on_ready(s);
	else
		link_connect_again(s);
}
