#include "amqp/bridge.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "amqp/attempts.h"
#include "amqp/broker.h"
#include "amqp/job.h"
#include "amqp/request.h"
#include "lib/log.h"
#include "lib/notify.h"
#include "lib/timespan.h"
#include "lib/xalloc.h"
#include "vm/paths.h"
#include "vm/store.h"

#define TRIES	      3	   /* of one request */
#define REFUSED_MS    1000 /* before another host is asked, or we are again */
#define RETRY_MS      1000 /* after the first failure to connect; each time twice as long */
#define RETRY_MAX_MS  30000
#define LOCK_RETRY_MS 1000

/* A request that is at hand. */
struct work {
	struct bridge *bridge;
	struct delivery delivery;
	bool orphan;   /* its connection is lost: it is delivered again, and answered then */
	bool answered; /* with its last answer */
	struct attempt attempt;
	struct job *job;
	json_t *id; /* as the sender calls it, or NULL */
	struct event *refused;
};

struct bridge {
	const struct settings *settings;
	struct event_base *base;
	struct attempts *attempts;
	struct broker *broker; /* NULL: not connected */
	struct event *readable, *beat, *retry;
	int64_t pause; /* before the next try to connect, in ms */
	char *told;    /* why it could not, which is logged once */
	bool waits;    /* for another bridge on this host */
	bool ready;    /* the init system was told */
	bool stopping;
	struct work *works[KINDS]; /* of this connection; NULL: none of that kind */
	size_t at_hand;		   /* those, and the orphans */
};

static void connect_now(struct bridge *b);

/* ---- the connection ---- */

static void end_if_idle(struct bridge *b)
{
	if (b->stopping && b->at_hand == 0)
		event_base_loopexit(b->base, NULL);
}

/*
 * librabbitmq may have read deliveries while it waited for an answer of the broker's: the socket no
 * longer tells of these.
 */
static void look_again(struct bridge *b)
{
	if (b->readable)
		event_active(b->readable, EV_READ, 0);
}

static void drop(struct work *w)
{
	struct bridge *b = w->bridge;

	if (b->works[w->delivery.kind] == w)
		b->works[w->delivery.kind] = NULL;
	event_free(w->refused);
	attempt_clear(&w->attempt);
	json_decref(w->id);
	broker_forget(&w->delivery);
	free(w);
	b->at_hand--;
	look_again(b);
	end_if_idle(b);
}

static void try_again(struct bridge *b, const char *why)
{
	if (!b->told || strcmp(b->told, why) != 0)
		log_warnx("no connection to the broker: %s; trying again", why);
	free(b->told);
	b->told = xstrdup(why);
	notify_status("no connection to the broker: %s", why);
	timespan_arm(b->retry, b->pause);
	b->pause = b->pause * 2 < RETRY_MAX_MS ? b->pause * 2 : RETRY_MAX_MS;
}

/* That it is delivered again is not its fault. */
static void orphan(struct work *w)
{
	w->orphan = true;
	attempts_excuse(w->bridge->attempts, &w->attempt);
}

/* What is at hand goes on; it is delivered again to whoever is there then. */
static void lost(struct bridge *b)
{
	const char *why = broker_why(b->broker);
	char *kept = xstrdup(why ? why : "unknown");

	for (size_t i = 0; i < KINDS; i++) {
		struct work *w = b->works[i];

		b->works[i] = NULL;
		if (w && w->job)
			orphan(w);
		else if (w)
			drop(w);
	}
	event_free(b->readable);
	evtimer_del(b->beat);
	b->readable = NULL;
	broker_free(b->broker);
	b->broker = NULL;
	if (!b->stopping)
		try_again(b, kept);
	free(kept);
}

/* ---- one request ---- */

/* Only a VM that is being made is told of twice (vmconf-rpc.7). */
static bool is_last(const json_t *answer)
{
	const char *status =
		json_string_value(json_object_get(json_object_get(answer, "response"), "status"));

	return !status || strcmp(status, "allocating") != 0;
}

/* Sends an answer, which is given to it, with the name of this host and the sender's id. */
static bool answer(struct work *w, json_t *value)
{
	json_t *info = json_object_get(value, "execution-info");
	char *text;
	bool sent = true;

	if (info)
		json_object_set_new(info, "host", json_string(w->bridge->settings->name));
	json_object_del(value, "id");
	if (w->id)
		json_object_set(value, "id", w->id);
	text = xcheck(json_dumps(value, JSON_COMPACT));
	w->answered = is_last(value);
	if (!w->orphan)
		sent = broker_answer(w->bridge->broker, &w->delivery, text);
	free(text);
	look_again(w->bridge);
	return sent;
}

static bool answer_error(struct work *w, const char *reason)
{
	json_t *value = request_error(reason);
	bool sent = answer(w, value);

	json_decref(value);
	return sent;
}

/* It is over: the broker may forget it, and so may we. */
static void done(struct work *w)
{
	struct bridge *b = w->bridge;
	bool up = w->orphan || broker_done(b->broker, &w->delivery);

	if (!w->orphan && up && w->attempt.count > 0)
		attempts_end(b->attempts, &w->attempt);
	drop(w);
	if (!up)
		lost(b);
}

static void done_with_error(struct work *w, const char *reason)
{
	if (answer_error(w, reason))
		done(w);
	else
		lost(w->bridge);
}

/* Not now, or not here: another host may take it, or we may, after a pause. */
static void on_refused(evutil_socket_t fd, short what, void *arg)
{
	struct work *w = arg;
	struct bridge *b = w->bridge;
	bool up = broker_give_back(b->broker, &w->delivery);

	(void)fd;
	(void)what;
	drop(w);
	if (!up)
		lost(b);
}

static void refuse(struct work *w)
{
	timespan_arm(w->refused, w->bridge->stopping ? 0 : REFUSED_MS);
}

static void bury(struct work *w)
{
	struct bridge *b = w->bridge;

	log_warnx("a request (%s) was begun %d times and never answered: it goes to the queue of "
		  "the dead",
		  w->attempt.id, w->attempt.count);
	if (answer_error(w, "it was tried too often, and never done") &&
	    broker_bury(b->broker, &w->delivery, "tried too often")) {
		attempts_end(b->attempts, &w->attempt);
		drop(w);
	} else {
		lost(b);
	}
}

static void on_answer(void *arg, json_t *value)
{
	struct work *w = arg;

	/* A job's channel must not be freed here: lost() leaves it. */
	if (!answer(w, value))
		lost(w->bridge);
}

static void on_job_ended(void *arg)
{
	struct work *w = arg;

	job_free(w->job);
	w->job = NULL;
	if (w->answered || w->orphan) {
		done(w);
		return;
	}
	log_warnx("vmconf rpc ended without a last answer to a request (%s)", w->attempt.id);
	refuse(w);
}

static const struct job_callbacks on_job = {.answer = on_answer, .ended = on_job_ended};

/* Whether another host of the exchange has to answer: we have no such VM, and never had. */
static bool is_for_others(const struct work *w, const json_t *request)
{
	const char *name = request_vm(request);
	struct store store;
	bool ours;

	if (w->delivery.kind != KIND_OWN || !name || w->attempt.known || !vm_name_is_valid(name))
		return false;
	store_open(&store);
	ours = store_has(&store, name);
	store_close(&store);
	return !ours;
}

static void begin_job(struct work *w, json_t *request)
{
	w->id = json_incref(json_object_get(request, "id"));
	json_object_set_new(request, "id", json_string(w->attempt.id));
	w->job = job_new(w->bridge->base, request, &on_job, w);
	if (!w->job && errno == EMSGSIZE)
		done_with_error(w, "the request is too long");
	else if (!w->job) {
		log_warn("vmconf cannot be run");
		refuse(w);
	}
}

/* It is written down before it is done. */
static void begin(struct work *w, json_t *request)
{
	char *why = NULL;

	if (!w->attempt.known && request_is_create(request))
		why = request_no_room(request, w->bridge->settings);
	if (why) {
		log_info("create-vm is left to others: %s", why);
		refuse(w);
		free(why);
	} else if (is_for_others(w, request)) {
		done(w);
	} else if (w->attempt.count >= TRIES) {
		bury(w);
	} else if (!attempts_begin(w->bridge->attempts, &w->attempt)) {
		log_warn("a request cannot be noted");
		refuse(w);
	} else {
		begin_job(w, request);
	}
}

/* What is known of it; false: that cannot be read. */
static bool find(struct work *w)
{
	const amqp_envelope_t *e = &w->delivery.envelope;
	const amqp_basic_properties_t *p = &e->message.properties;
	const bool has_reply = p->_flags & AMQP_BASIC_REPLY_TO_FLAG;
	const bool has_correlation = p->_flags & AMQP_BASIC_CORRELATION_ID_FLAG;
	const void *const words[] = {e->message.body.bytes, has_reply ? p->reply_to.bytes : NULL,
				     has_correlation ? p->correlation_id.bytes : NULL};
	const size_t lengths[] = {e->message.body.len, has_reply ? p->reply_to.len : 0,
				  has_correlation ? p->correlation_id.len : 0};
	char *id = p->_flags & AMQP_BASIC_MESSAGE_ID_FLAG ? broker_text(&p->message_id) : NULL;
	bool found = attempts_find(w->bridge->attempts, &w->attempt, id, words, lengths, 3,
				   e->redelivered);

	if (!found)
		log_warn("whether a request was begun before cannot be read");
	free(id);
	return found;
}

static void take(struct work *w)
{
	const amqp_envelope_t *e = &w->delivery.envelope;
	char *key = broker_text(&e->routing_key), *why;
	json_t *request = request_read(e->message.body.bytes, e->message.body.len,
				       e->exchange.len ? key : NULL, &why);

	if (!request)
		done_with_error(w, why);
	else if (w->bridge->stopping || !find(w))
		refuse(w);
	else
		begin(w, request);
	free(why);
	free(key);
	json_decref(request);
}

static void on_delivery(struct bridge *b, const struct delivery *delivery)
{
	struct work *w = xcalloc(1, sizeof(*w));

	*w = (struct work){.bridge = b, .delivery = *delivery};
	w->refused = xcheck(evtimer_new(b->base, on_refused, w));
	b->works[delivery->kind] = w;
	b->at_hand++;
	take(w);
}

/* ---- the loop ---- */

/* The broker sends one request of a kind at a time. */
static void on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct bridge *b = arg;
	struct delivery delivery;

	(void)fd;
	(void)what;
	while (b->broker && broker_next(b->broker, &delivery))
		on_delivery(b, &delivery);
	if (b->broker && broker_why(b->broker))
		lost(b);
}

/* librabbitmq sends heartbeats when it is called. */
static void on_beat(evutil_socket_t fd, short what, void *arg)
{
	struct bridge *b = arg;

	on_readable(fd, what, b);
	if (b->broker)
		timespan_arm(b->beat, BROKER_BEAT * 1000);
}

static void on_retry(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	connect_now(arg);
}

static bool open_attempts(struct bridge *b)
{
	char *why;

	if (!b->attempts)
		b->attempts = attempts_open(&why);
	if (b->attempts)
		return true;
	if (why)
		fatalx(EX_OSERR, "%s", why);
	if (!b->waits)
		log_notice("another vmconf-amqp works for these VMs: waiting until it ends");
	b->waits = true;
	notify_status("waiting for another vmconf-amqp");
	timespan_arm(b->retry, LOCK_RETRY_MS);
	return false;
}

static void connect_now(struct bridge *b)
{
	char *why;

	if (b->stopping || !open_attempts(b))
		return;
	b->broker = broker_connect(b->settings, &why);
	if (!b->broker) {
		try_again(b, why);
		free(why);
		return;
	}
	log_info("connected to the broker");
	notify_status("connected to the broker");
	if (!b->ready)
		b->ready = notify_ready();
	b->pause = RETRY_MS;
	free(b->told);
	b->told = NULL;
	b->readable = xcheck(
		event_new(b->base, broker_fd(b->broker), EV_READ | EV_PERSIST, on_readable, b));
	event_add(b->readable, NULL);
	timespan_arm(b->beat, 0);
}

struct bridge *bridge_new(struct event_base *base, const struct settings *settings)
{
	struct bridge *b = xcalloc(1, sizeof(*b));

	*b = (struct bridge){.settings = settings, .base = base, .pause = RETRY_MS};
	b->beat = xcheck(evtimer_new(base, on_beat, b));
	b->retry = xcheck(evtimer_new(base, on_retry, b));
	timespan_arm(b->retry, 0);
	return b;
}

void bridge_stop(struct bridge *b)
{
	b->stopping = true;
	evtimer_del(b->retry);
	if (b->broker && !broker_take_no_more(b->broker))
		lost(b);
	for (size_t i = 0; i < KINDS; i++)
		if (b->works[i] && evtimer_pending(b->works[i]->refused, NULL))
			refuse(b->works[i]);
	end_if_idle(b);
}

void bridge_free(struct bridge *b)
{
	if (b->readable)
		event_free(b->readable);
	event_free(b->beat);
	event_free(b->retry);
	broker_free(b->broker);
	attempts_close(b->attempts);
	free(b->told);
	free(b);
}
