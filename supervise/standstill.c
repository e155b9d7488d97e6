/* Reports that, and why, QEMU has stopped the guest's CPUs. */

#include <stdio.h>
#include <string.h>

#include "lib/log.h"
#include "supervise/supervisor.h"
#include "vm/runstate.h"

void standstill_text(const struct supervisor *s, char *text, size_t size)
{
	runstate_text(text, size, s->state.run_state, s->state.why);
}

/* The event precedes the run state that it causes. Errors passed to the guest are its own. */
void standstill_io_error(struct supervisor *s, json_t *data)
{
	const char *action = json_string_value(json_object_get(data, "action"));
	const char *device = json_string_value(json_object_get(data, "device"));
	const char *node = json_string_value(json_object_get(data, "node-name"));
	const char *reason = json_string_value(json_object_get(data, "reason"));
	const char *disk = device && *device ? device : node && *node ? node : "a disk";

	if (!action || strcmp(action, "stop") != 0)
		return;
	if (json_is_true(json_object_get(data, "nospace")))
		reason = "no space left on device";
	snprintf(s->state.why, sizeof(s->state.why), "%.40s: %.60s", disk,
		 reason ? reason : "I/O error");
}

/* Whether it is reported elsewhere: by an event of its own, or at the end. */
static bool is_told(const struct supervisor *s, const char *text)
{
	enum runstate_kind kind = runstate_kind(s->state.run_state);

	if (!s->link.started_told || strcmp(s->state.told, text) == 0)
		return true;
	if (strcmp(s->state.run_state, "guest-panicked") == 0 ||
	    strcmp(s->state.run_state, "shutdown") == 0)
		return true;
	return kind != RUNSTATE_FAILED && (kind != RUNSTATE_STOPPED || report_stopping(s));
}

/* A guest that a ladder resumed is logged again only if it stops once more. */
static void runs(struct supervisor *s)
{
	if (report_stopping(s))
		return;
	if (s->state.told[0])
		log_notice("the guest runs again");
	s->state.told[0] = '\0';
}

static void tell(struct supervisor *s)
{
	char text[RUNSTATE_TEXT];

	standstill_text(s, text, sizeof(text));
	if (is_told(s, text))
		return;
	if (runstate_kind(s->state.run_state) == RUNSTATE_FAILED)
		log_warnx("QEMU has stopped the guest: %s; %s", text,
			  runstate_way_out(s->state.run_state));
	else
		log_notice("the guest is stopped: %s", text);
	snprintf(s->state.told, sizeof(s->state.told), "%s", text);
}

void standstill_changed(struct supervisor *s)
{
	char text[RUNSTATE_TEXT];

	standstill_text(s, text, sizeof(text));
	outcome_failed(&s->outcome,
		       runstate_kind(s->state.run_state) == RUNSTATE_FAILED ? text : "");
	if (strcmp(s->state.run_state, "running") == 0)
		runs(s);
	tell(s);
}

void standstill_ending(struct supervisor *s)
{
	s->state.told[0] = '\0';
	tell(s);
}
