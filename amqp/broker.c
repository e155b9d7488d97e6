#include "amqp/broker.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

#include "lib/array.h"
#include "lib/log.h"
#include "lib/printable.h"
#include "lib/xalloc.h"

#define HEARTBEAT_S (2 * BROKER_BEAT)
#define PATIENCE_S  10 /* for each answer of the broker's */
#define FRAME_MAX   131072
#define CHANNEL_MAX 0 /* as many as the broker likes */

#define EXCHANGE     "computing"
#define SHARED_QUEUE "computing-competing"
#define ONE_QUEUE    "vm-queue"
#define DEAD	     "-dead" /* appended to the name of a queue */

/* The requests that only the host with the VM can fulfil, or that each host answers. */
static const char *const own_keys[] = {"list-vms",  "start-vm", "stop-vm",   "restart-vm",
				       "delete-vm", "vm-info",	"enable-vm", "disable-vm"};
static const char *const shared_keys[] = {"create-vm"};

struct broker {
	amqp_connection_state_t connection;
	char *queues[KINDS]; /* by kind; NULL: there is none of that kind */
	char *dead;	     /* the queue of requests that could not be done */
	char *why;	     /* the connection is lost */
};

static const amqp_channel_t channels[KINDS] = {[KIND_OWN] = 1, [KIND_SHARED] = 2};
static const struct timeval patience = {.tv_sec = PATIENCE_S};

static amqp_bytes_t bytes_of(const char *text)
{
	return amqp_cstring_bytes(text ? text : "");
}

char *broker_text(const amqp_bytes_t *bytes)
{
	if (!bytes->len)
		return NULL;
	return printable(xasprintf("%.*s", (int)bytes->len, (const char *)bytes->bytes));
}

/* ---- what the broker says ---- */

static char *words_of(const amqp_method_t *method)
{
	const amqp_connection_close_t *connection = method->decoded;
	const amqp_channel_close_t *channel = method->decoded;
	char *text = NULL;

	if (method->id == AMQP_CONNECTION_CLOSE_METHOD)
		text = broker_text(&connection->reply_text);
	else if (method->id == AMQP_CHANNEL_CLOSE_METHOD)
		text = broker_text(&channel->reply_text);
	else if (method->id == AMQP_BASIC_CANCEL_METHOD)
		text = xstrdup("a queue was deleted");
	return text ? text : xasprintf("the broker sent method 0x%08x", method->id);
}

static bool lose(struct broker *broker, char *why)
{
	free(broker->why);
	broker->why = why;
	return false;
}

static bool succeeded(struct broker *broker, amqp_rpc_reply_t reply)
{
	switch (reply.reply_type) {
	case AMQP_RESPONSE_NORMAL:
		return true;
	case AMQP_RESPONSE_LIBRARY_EXCEPTION:
		return lose(broker, xstrdup(amqp_error_string2(reply.library_error)));
	case AMQP_RESPONSE_SERVER_EXCEPTION:
		return lose(broker, words_of(&reply.reply));
	case AMQP_RESPONSE_NONE:
		break;
	}
	return lose(broker, xstrdup("it ended without an answer"));
}

static bool last_succeeded(struct broker *broker)
{
	return succeeded(broker, amqp_get_rpc_reply(broker->connection));
}

static bool sent(struct broker *broker, int status)
{
	return status == AMQP_STATUS_OK || lose(broker, xstrdup(amqp_error_string2(status)));
}

static bool commit(struct broker *broker, amqp_channel_t channel)
{
	amqp_tx_commit(broker->connection, channel);
	return last_succeeded(broker);
}

/* ---- queues and exchanges ---- */

static bool open_channel(struct broker *broker, amqp_channel_t channel)
{
	amqp_channel_open(broker->connection, channel);
	return last_succeeded(broker);
}

/*
 * After a declaration: what is there already with other properties serves as well, but the broker
 * has closed the channel then (PRECONDITION_FAILED).
 */
static bool is_declared(struct broker *broker, amqp_channel_t channel)
{
	amqp_rpc_reply_t reply = amqp_get_rpc_reply(broker->connection);
	const amqp_channel_close_t *close = reply.reply.decoded;
	amqp_channel_close_ok_t closed = {0};

	if (reply.reply_type != AMQP_RESPONSE_SERVER_EXCEPTION ||
	    reply.reply.id != AMQP_CHANNEL_CLOSE_METHOD ||
	    close->reply_code != AMQP_PRECONDITION_FAILED)
		return succeeded(broker, reply);
	return sent(broker, amqp_send_method(broker->connection, channel,
					     AMQP_CHANNEL_CLOSE_OK_METHOD, &closed)) &&
	       open_channel(broker, channel);
}

static bool declare_queue(struct broker *broker, amqp_channel_t channel, const char *name)
{
	amqp_queue_declare(broker->connection, channel, bytes_of(name), false, true, false, false,
			   amqp_empty_table);
	return is_declared(broker, channel);
}

static bool bind(struct broker *broker, amqp_channel_t channel, const char *queue,
		 const char *const *keys, size_t count)
{
	bool bound = true;

	for (size_t i = 0; bound && i < count; i++) {
		amqp_queue_bind(broker->connection, channel, bytes_of(queue), bytes_of(EXCHANGE),
				bytes_of(keys[i]), amqp_empty_table);
		bound = last_succeeded(broker);
	}
	return bound;
}

static bool declare_exchange(struct broker *broker, amqp_channel_t channel)
{
	amqp_exchange_declare(broker->connection, channel, bytes_of(EXCHANGE), bytes_of("direct"),
			      false, true, false, false, amqp_empty_table);
	return is_declared(broker, channel);
}

/* Waits for requests of a kind, one at a time; the broker keeps those that nobody has taken. */
static bool consume(struct broker *broker, enum kind kind)
{
	amqp_connection_state_t c = broker->connection;
	amqp_channel_t channel = channels[kind];

	amqp_tx_select(c, channel);
	if (!last_succeeded(broker))
		return false;
	amqp_basic_qos(c, channel, 0, 1, false);
	if (!last_succeeded(broker))
		return false;
	amqp_basic_consume(c, channel, bytes_of(broker->queues[kind]),
			   bytes_of(broker->queues[kind]), false, false, false, amqp_empty_table);
	return last_succeeded(broker);
}

static bool set_up_kind(struct broker *broker, enum kind kind)
{
	amqp_channel_t channel = channels[kind];
	bool own = kind == KIND_OWN;

	if (!broker->queues[kind])
		return true;
	return open_channel(broker, channel) && declare_queue(broker, channel, broker->dead) &&
	       declare_queue(broker, channel, broker->queues[kind]) &&
	       (!broker->queues[KIND_OWN] ||
		(declare_exchange(broker, channel) &&
		 bind(broker, channel, broker->queues[kind], own ? own_keys : shared_keys,
		      own ? ARRAY_SIZE(own_keys) : ARRAY_SIZE(shared_keys)))) &&
	       consume(broker, kind);
}

static void name_queues(struct broker *broker, const struct settings *settings)
{
	bool direct = settings->topology == TOPOLOGY_DIRECT;

	if (direct)
		broker->queues[KIND_OWN] = xasprintf(EXCHANGE "-%s", settings->name);
	broker->queues[KIND_SHARED] = xstrdup(direct ? SHARED_QUEUE : ONE_QUEUE);
	broker->dead = xstrdup(direct ? EXCHANGE DEAD : ONE_QUEUE DEAD);
}

/* ---- connecting ---- */

static amqp_socket_t *new_socket(struct broker *broker, const struct settings *settings, bool tls)
{
	amqp_socket_t *socket;

	if (!tls)
		return amqp_tcp_socket_new(broker->connection);
	if (!settings->ca) {
		lose(broker, xstrdup("amqps needs to know whom to trust: set ca, as to "
				     "/etc/ssl/certs/ca-certificates.crt"));
		return NULL;
	}
	socket = xcheck(amqp_ssl_socket_new(broker->connection));
	amqp_ssl_socket_set_verify_peer(socket, true);
	amqp_ssl_socket_set_verify_hostname(socket, true);
	if (amqp_ssl_socket_set_cacert(socket, settings->ca) != AMQP_STATUS_OK) {
		lose(broker, xasprintf("%s: not a certificate", settings->ca));
		return NULL;
	}
	if (settings->cert &&
	    amqp_ssl_socket_set_key(socket, settings->cert, settings->key) != AMQP_STATUS_OK) {
		lose(broker, xasprintf("%s and %s: not a certificate and its key", settings->cert,
				       settings->key));
		return NULL;
	}
	return socket;
}

/* The broker tells us when a queue that we wait for is deleted. */
static bool log_in(struct broker *broker, const struct amqp_connection_info *info,
		   const char *password)
{
	amqp_table_entry_t tells = {
		.key = bytes_of("consumer_cancel_notify"),
		.value = {.kind = AMQP_FIELD_KIND_BOOLEAN, .value.boolean = true}};
	amqp_table_entry_t capabilities = {
		.key = bytes_of("capabilities"),
		.value = {.kind = AMQP_FIELD_KIND_TABLE, .value.table = {1, &tells}}};
	const amqp_table_t properties = {1, &capabilities};

	return succeeded(broker, amqp_login_with_properties(
					 broker->connection, info->vhost, CHANNEL_MAX, FRAME_MAX,
					 HEARTBEAT_S, &properties, AMQP_SASL_METHOD_PLAIN,
					 info->user, password ? password : info->password));
}

static bool connect_to(struct broker *broker, const struct settings *settings, char *url)
{
	struct amqp_connection_info info;
	amqp_socket_t *socket;
	char *password, *why;
	bool in = false;
	int status;

	if (amqp_parse_url(url, &info) != AMQP_STATUS_OK)
		return lose(broker, xstrdup("not a URL of a broker: amqp[s]://USER@HOST/VHOST"));
	password = settings_password(settings, &why);
	if (why)
		return lose(broker, why);
	socket = new_socket(broker, settings, info.ssl);
	if (!socket)
		goto out;
	amqp_set_handshake_timeout(broker->connection, &patience);
	amqp_set_rpc_timeout(broker->connection, &patience);
	status = amqp_socket_open_noblock(socket, info.host, info.port, &patience);
	in = sent(broker, status) && log_in(broker, &info, password);
out:
	free(password);
	return in;
}

struct broker *broker_connect(const struct settings *settings, char **why)
{
	struct broker *broker = xcalloc(1, sizeof(*broker));
	char *url = xstrdup(settings->url); /* its parser writes into it */
	bool up;

	broker->connection = xcheck(amqp_new_connection());
	name_queues(broker, settings);
	up = connect_to(broker, settings, url) && set_up_kind(broker, KIND_OWN) &&
	     set_up_kind(broker, KIND_SHARED);
	free(url);
	if (up)
		return broker;
	*why = xstrdup(broker->why ? broker->why : "unknown");
	broker_free(broker);
	return NULL;
}

void broker_free(struct broker *broker)
{
	if (!broker)
		return;
	if (!broker->why)
		amqp_connection_close(broker->connection, AMQP_REPLY_SUCCESS);
	amqp_destroy_connection(broker->connection);
	for (size_t i = 0; i < KINDS; i++)
		free(broker->queues[i]);
	free(broker->dead);
	free(broker->why);
	free(broker);
}

int broker_fd(const struct broker *broker)
{
	return amqp_get_sockfd(broker->connection);
}

const char *broker_why(const struct broker *broker)
{
	return broker->why;
}

/* ---- deliveries ---- */

/* Anything but a delivery that arrives: most of that ends the connection. */
static bool take_other(struct broker *broker)
{
	amqp_frame_t frame;

	if (!sent(broker, amqp_simple_wait_frame(broker->connection, &frame)))
		return false;
	if (frame.frame_type != AMQP_FRAME_METHOD)
		return true;
	switch (frame.payload.method.id) {
	case AMQP_CONNECTION_CLOSE_METHOD:
	case AMQP_CHANNEL_CLOSE_METHOD:
	case AMQP_BASIC_CANCEL_METHOD:
		return lose(broker, words_of(&frame.payload.method));
	default:
		return true;
	}
}

bool broker_next(struct broker *broker, struct delivery *delivery)
{
	static const struct timeval now = {0};
	amqp_rpc_reply_t reply;

	do {
		amqp_maybe_release_buffers(broker->connection);
		reply = amqp_consume_message(broker->connection, &delivery->envelope, &now, 0);
		if (reply.reply_type == AMQP_RESPONSE_NORMAL) {
			delivery->kind = delivery->envelope.channel == channels[KIND_OWN]
						 ? KIND_OWN
						 : KIND_SHARED;
			return true;
		}
		if (reply.reply_type == AMQP_RESPONSE_LIBRARY_EXCEPTION &&
		    reply.library_error == AMQP_STATUS_TIMEOUT)
			return false;
	} while (reply.reply_type == AMQP_RESPONSE_LIBRARY_EXCEPTION &&
		 reply.library_error == AMQP_STATUS_UNEXPECTED_STATE && take_other(broker));
	return broker->why ? false : succeeded(broker, reply);
}

bool broker_take_no_more(struct broker *broker)
{
	for (size_t i = 0; i < KINDS; i++) {
		if (!broker->queues[i])
			continue;
		amqp_basic_cancel(broker->connection, channels[i], bytes_of(broker->queues[i]));
		if (!last_succeeded(broker))
			return false;
	}
	return true;
}

/* ---- answers ---- */

static bool publish(struct broker *broker, const struct delivery *delivery, amqp_bytes_t queue,
		    const amqp_basic_properties_t *properties, amqp_bytes_t body)
{
	return sent(broker,
		    amqp_basic_publish(broker->connection, channels[delivery->kind],
				       amqp_empty_bytes, queue, false, false, properties, body));
}

bool broker_answer(struct broker *broker, const struct delivery *delivery, const char *text)
{
	const amqp_basic_properties_t *asked = &delivery->envelope.message.properties;
	amqp_basic_properties_t properties = {._flags = AMQP_BASIC_CONTENT_TYPE_FLAG,
					      .content_type = bytes_of("application/json"),
					      .correlation_id = asked->correlation_id,
					      .delivery_mode = asked->delivery_mode};

	if (!(asked->_flags & AMQP_BASIC_REPLY_TO_FLAG) || !asked->reply_to.len)
		return true;
	properties._flags |=
		asked->_flags & (AMQP_BASIC_CORRELATION_ID_FLAG | AMQP_BASIC_DELIVERY_MODE_FLAG);
	return publish(broker, delivery, asked->reply_to, &properties, bytes_of(text)) &&
	       commit(broker, channels[delivery->kind]);
}

bool broker_done(struct broker *broker, const struct delivery *delivery)
{
	amqp_channel_t channel = channels[delivery->kind];

	return sent(broker, amqp_basic_ack(broker->connection, channel,
					   delivery->envelope.delivery_tag, false)) &&
	       commit(broker, channel);
}

bool broker_give_back(struct broker *broker, const struct delivery *delivery)
{
	amqp_channel_t channel = channels[delivery->kind];

	return sent(broker, amqp_basic_nack(broker->connection, channel,
					    delivery->envelope.delivery_tag, false, true)) &&
	       commit(broker, channel);
}

bool broker_bury(struct broker *broker, const struct delivery *delivery, const char *why)
{
	amqp_basic_properties_t properties = delivery->envelope.message.properties;
	amqp_table_entry_t headers[] = {
		{.key = bytes_of("x-death-reason"),
		 .value = {.kind = AMQP_FIELD_KIND_UTF8, .value.bytes = bytes_of(why)}},
		{.key = bytes_of("x-routing-key"),
		 .value = {.kind = AMQP_FIELD_KIND_UTF8,
			   .value.bytes = delivery->envelope.routing_key}},
	};

	properties._flags |= AMQP_BASIC_HEADERS_FLAG | AMQP_BASIC_DELIVERY_MODE_FLAG;
	properties._flags &= ~(amqp_flags_t)(AMQP_BASIC_EXPIRATION_FLAG | AMQP_BASIC_USER_ID_FLAG);
	properties.headers = (amqp_table_t){ARRAY_SIZE(headers), headers};
	properties.delivery_mode = AMQP_DELIVERY_PERSISTENT;
	return publish(broker, delivery, bytes_of(broker->dead), &properties,
		       delivery->envelope.message.body) &&
	       broker_done(broker, delivery);
}

void broker_forget(struct delivery *delivery)
{
	amqp_destroy_envelope(&delivery->envelope);
}
