/* vmconf rpc: requests on standard input, answers on standard output (vmconf-rpc(7)). */

#include <errno.h>
#include <event2/buffer.h>
#include <event2/event.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <sysexits.h>
#include <unistd.h>

#include "commands/call.h"
#include "commands/rpcanswer.h"
#include "commands/rpcrecord.h"
#include "commands/rpcrequest.h"
#include "commands/rpcwork.h"
#include "lib/array.h"
#include "lib/jsonlines.h"
#include "lib/log.h"
#include "lib/timespan.h"
#include "lib/xalloc.h"

#define PARALLEL    16
#define READ_AHEAD  64		  /* requests that wait for their turn */
#define WAITING_MAX (1024 * 1024) /* the same, in bytes */
#define UNREAD_MAX  (1024 * 1024) /* answers that nobody reads, in bytes */
#define UNREAD_MS   5000	  /* how long to wait at the end until they are read */
#define AGAIN_MS    50		  /* until it is seen whether another one is done with an id */
#define PIECE	    65536

static const int ends[] = {SIGTERM, SIGINT, SIGHUP};

struct entry {
	struct rpc_work *work;
	size_t len; /* of the request's text */
	bool runs;
	struct entry *next;
};

struct rpc {
	struct rpc_host host;
	struct jsonlines *input;
	struct evbuffer *output;
	struct event *readable, *writable, *again, *children, *signals[ARRAY_SIZE(ends)];
	struct entry *entries; /* in the order of their requests */
	size_t parallel, running, waiting, watching;
	size_t waiting_len; /* their text, in bytes */
	bool check;
	bool input_over;  /* no more is read */
	bool ending;	  /* what has not begun is refused */
	int64_t patience; /* when nobody is waited for any more that does not read; 0: not yet */
};

/* ---- answers ---- */

/* At most what a pipe takes at once: nothing here may block. */
static void on_writable(evutil_socket_t fd, short what, void *arg)
{
	struct rpc *rpc = arg;
	int len = evbuffer_write_atmost(rpc->output, fd, PIPE_BUF);

	(void)what;
	if (len < 0 && errno != EAGAIN && errno != EINTR) { /* nobody reads */
		evbuffer_drain(rpc->output, evbuffer_get_length(rpc->output));
		rpc->ending = true;
	}
	if (evbuffer_get_length(rpc->output) == 0)
		event_del(rpc->writable);
}

static void on_answer(void *arg, json_t *answer)
{
	struct rpc *rpc = arg;
	char *line = rpc_answer_line(answer);

	evbuffer_add_printf(rpc->output, "%s", line);
	event_add(rpc->writable, NULL);
	free(line);
}

static void answer(struct rpc *rpc, json_t *value)
{
	on_answer(rpc, value);
	json_decref(value);
}

/* ---- requests ---- */

static void add_request(struct rpc *rpc, struct rpc_request *request, size_t len)
{
	struct entry **end = &rpc->entries;

	while (*end)
		end = &(*end)->next;
	*end = xcalloc(1, sizeof(**end));
	(*end)->work = rpc_work_new(&rpc->host, request);
	(*end)->len = len;
	rpc->waiting++;
	rpc->waiting_len += len;
}

static void on_request(void *arg, const char *text, size_t len)
{
	struct rpc *rpc = arg;
	struct rpc_request request = {0};
	char *why = text ? rpc_request_parse(&request, text, len)
			 : xasprintf("a request is longer than %zu bytes", JSONLINES_MAX);

	if (why)
		answer(rpc, rpc_error(request.id, why, NULL));
	else if (rpc->check)
		answer(rpc, rpc_success(request.id, xcheck(json_object())));
	else
		add_request(rpc, &request, len);
	rpc_request_free(&request);
	free(why);
}

static void end_input(struct rpc *rpc)
{
	event_del(rpc->readable);
	if (!rpc->input_over && !rpc->ending)
		jsonlines_end(rpc->input);
	rpc->input_over = true;
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct rpc *rpc = arg;
	char piece[PIECE];
	ssize_t len = read(fd, piece, sizeof(piece));

	(void)what;
	if (len > 0)
		jsonlines_add(rpc->input, piece, (size_t)len);
	else if (len == 0 || (errno != EINTR && errno != EAGAIN))
		end_input(rpc);
}

/* Takes it out of the list. */
static void forget(struct entry **at)
{
	struct entry *entry = *at;

	*at = entry->next;
	rpc_work_free(entry->work);
	free(entry);
}

static void no_longer_waits(struct rpc *rpc, const struct entry *entry)
{
	rpc->waiting--;
	rpc->waiting_len -= entry->len;
}

/* A watch takes nobody's turn, but there are no more of them than of others. */
static enum rpc_progress begin_work(struct rpc *rpc, struct rpc_work *work)
{
	enum rpc_progress progress;

	if (rpc_work_is_watch(work) && rpc->watching >= rpc->parallel) {
		rpc_work_refuse(work, "there are as many watches as there may be");
		return RPC_OVER;
	}
	progress = rpc_work_begin(work);
	if (progress == RPC_RUNS)
		*(rpc_work_is_watch(work) ? &rpc->watching : &rpc->running) += 1;
	return progress;
}

/* Returns the next one in the list. */
static struct entry **begin(struct rpc *rpc, struct entry **at)
{
	struct entry *entry = *at;
	enum rpc_progress progress = begin_work(rpc, entry->work);

	if (progress == RPC_WAITS)
		return &entry->next;
	no_longer_waits(rpc, entry);
	entry->runs = progress == RPC_RUNS;
	if (entry->runs)
		return &entry->next;
	forget(at);
	return at;
}

/* ---- the loop ---- */

static void refuse_waiting(struct rpc *rpc)
{
	for (struct entry **at = &rpc->entries; *at;) {
		if ((*at)->runs) {
			at = &(*at)->next;
			continue;
		}
		rpc_work_refuse((*at)->work, "not begun: vmconf rpc is ending; send it again");
		no_longer_waits(rpc, *at);
		forget(at);
	}
}

static void begin_waiting(struct rpc *rpc)
{
	for (struct entry **at = &rpc->entries; *at && rpc->running < rpc->parallel;)
		at = (*at)->runs ? &(*at)->next : begin(rpc, at);
	if (rpc->waiting > 0 && rpc->running < rpc->parallel)
		timespan_arm(rpc->again, AGAIN_MS);
}

static bool is_read(const struct rpc *rpc)
{
	return evbuffer_get_length(rpc->output) < UNREAD_MAX;
}

/* Watches end with the input. What would only be kept until somebody reads it is not read. */
static void tend_running(struct rpc *rpc)
{
	for (struct entry *entry = rpc->entries; entry; entry = entry->next) {
		if (!entry->runs)
			continue;
		if (rpc->input_over && rpc_work_is_watch(entry->work))
			rpc_work_end(entry->work);
		rpc_work_read(entry->work, is_read(rpc));
	}
}

static bool wants_more(const struct rpc *rpc)
{
	return !rpc->input_over && rpc->waiting < READ_AHEAD && rpc->waiting_len < WAITING_MAX &&
	       is_read(rpc);
}

/* Of the answers, once all is done. */
static bool waits_for_reader(struct rpc *rpc)
{
	int64_t now = monotonic_ms();

	if (evbuffer_get_length(rpc->output) == 0)
		return false;
	if (rpc->ending && !rpc->patience)
		rpc->patience = now + UNREAD_MS;
	if (rpc->ending && now < rpc->patience)
		timespan_arm(rpc->again, rpc->patience - now);
	return !rpc->ending || now < rpc->patience;
}

/* After each turn of the loop. False: it is over. */
static bool go_on(struct rpc *rpc)
{
	if (rpc->ending) {
		refuse_waiting(rpc);
		end_input(rpc);
	} else if (is_read(rpc)) {
		begin_waiting(rpc);
	}
	tend_running(rpc);
	if (wants_more(rpc))
		event_add(rpc->readable, NULL);
	else
		event_del(rpc->readable);
	return !rpc->input_over || rpc->entries || waits_for_reader(rpc);
}

static void on_again(evutil_socket_t fd, short what, void *arg)
{
	(void)fd, (void)what, (void)arg;
}

static void on_children(evutil_socket_t fd, short what, void *arg)
{
	struct rpc *rpc = arg;

	(void)fd, (void)what;
	for (struct entry **at = &rpc->entries; *at;) {
		if (!(*at)->runs || rpc_work_look((*at)->work) != RPC_OVER) {
			at = &(*at)->next;
			continue;
		}
		*(rpc_work_is_watch((*at)->work) ? &rpc->watching : &rpc->running) -= 1;
		forget(at);
	}
}

static void on_end(evutil_socket_t fd, short what, void *arg)
{
	struct rpc *rpc = arg;

	(void)fd, (void)what;
	rpc->ending = true;
}

/* Not epoll, which takes no regular files. */
static struct event_base *new_base(void)
{
	struct event_config *config = xcheck(event_config_new());
	struct event_base *base;

	event_config_avoid_method(config, "epoll");
	base = xcheck(event_base_new_with_config(config));
	event_config_free(config);
	return base;
}

static bool is_ignored(int signo)
{
	struct sigaction now;

	return sigaction(signo, NULL, &now) == 0 && now.sa_handler == SIG_IGN;
}

static void open_events(struct rpc *rpc)
{
	struct event_base *base = rpc->host.base;

	rpc->readable =
		xcheck(event_new(base, STDIN_FILENO, EV_READ | EV_PERSIST, on_readable, rpc));
	rpc->writable =
		xcheck(event_new(base, STDOUT_FILENO, EV_WRITE | EV_PERSIST, on_writable, rpc));
	rpc->again = xcheck(event_new(base, -1, 0, on_again, rpc));
	rpc->children = xcheck(evsignal_new(base, SIGCHLD, on_children, rpc));
	event_add(rpc->children, NULL);
	for (size_t i = 0; i < ARRAY_SIZE(ends); i++) {
		rpc->signals[i] = xcheck(evsignal_new(base, ends[i], on_end, rpc));
		if (!is_ignored(ends[i]))
			event_add(rpc->signals[i], NULL);
	}
	signal(SIGPIPE, SIG_IGN);
}

static void close_events(struct rpc *rpc)
{
	event_free(rpc->readable);
	event_free(rpc->writable);
	event_free(rpc->again);
	event_free(rpc->children);
	for (size_t i = 0; i < ARRAY_SIZE(ends); i++)
		event_free(rpc->signals[i]);
	event_base_free(rpc->host.base);
}

static void serve(struct rpc *rpc)
{
	rpc->host.answer = on_answer;
	rpc->host.arg = rpc;
	rpc->host.base = new_base();
	rpc->input = jsonlines_new(on_request, rpc);
	rpc->output = xcheck(evbuffer_new());
	open_events(rpc);
	while (go_on(rpc))
		event_base_loop(rpc->host.base, EVLOOP_ONCE);
	close_events(rpc);
	evbuffer_free(rpc->output);
	jsonlines_free(rpc->input);
}

int cmd_rpc(struct call *call)
{
	static const struct option options[] = {{"check", no_argument, NULL, 'c'},
						{"parallel", required_argument, NULL, 'p'},
						{NULL, 0, NULL, 0}};
	struct rpc rpc = {.host.store = &call->store, .parallel = PARALLEL};
	int option;

	while ((option = call_option(call, options)) != -1) {
		if (option == 'c')
			rpc.check = true;
		else
			rpc.parallel = (size_t)call_number(call, "parallel", optarg, 1, 1000);
	}
	call_operands(call, 0, 0);
	rpc.host.program = open("/proc/self/exe", O_PATH | O_CLOEXEC);
	if (rpc.host.program < 0)
		fatal(EX_OSERR, "cannot open our own program");
	rpc_record_prune(&call->store);
	serve(&rpc);
	close(rpc.host.program);
	return 0;
}
