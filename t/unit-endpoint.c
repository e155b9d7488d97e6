/* Where a guest's ssh server may be, and whether one answers there. */
#include "unit.h"

#include <arpa/inet.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "commands/addresses.h"
#include "commands/endpoint.h"
#include "commands/neighbours.h"

/* ---- what others tell ---- */

json_t *addresses_on(const struct store *store, const char *name, int ms, address_of_fn has_mac,
		     void *arg)
{
	(void)store, (void)name, (void)ms, (void)has_mac, (void)arg;
	return json_pack("[s, s]", "2001:db8::2", "192.0.2.7");
}

void neighbours_add(json_t *list, const char *mac)
{
	(void)mac;
	json_array_append_new(list, json_string("192.0.2.7"));
	json_array_append_new(list, json_string("192.0.2.8"));
}

/* ---- VMs ---- */

static struct vm *good(const char *text)
{
	struct vm_problems problems = {0};
	struct vm *vm;

	setenv("QEMU_SUPERVISE_CONFIG_DIR", "/config", 1);
	setenv("QEMU_SUPERVISE_STATE_DIR", "/state", 1);
	vm = vm_from_text("web", text, strlen(text), &problems);
	assert_non_null(vm);
	return vm;
}

static struct vm *defined(const char *forwards)
{
	char text[4096];

	snprintf(text, sizeof(text), "{\"nics\": [{\"type\": \"user\"}], \"forwards\": [%s]}",
		 forwards);
	return good(text);
}

static void forwards(void **state)
{
	struct vm *vm = defined("\"8080:80\", \"0.0.0.0:2201:22\", \"2202:22/udp\", "
				"\"127.0.0.2:2203:22\"");
	struct endpoint list[ENDPOINTS_MAX];

	(void)state;
	assert_int_equal(endpoints_defined(vm, list), 2);
	assert_string_equal(list[0].host, "127.0.0.1");
	assert_int_equal(list[0].port, 2201);
	assert_string_equal(list[1].host, "127.0.0.2");
	assert_int_equal(list[1].port, 2203);
	vm_free(vm);
}

static void more_than_there_is_room_for(void **state)
{
	char text[1024] = "\"2000:22\"";
	struct endpoint list[ENDPOINTS_MAX + 1] = {0};
	struct vm *vm;

	(void)state;
	for (int i = 1; i < 20; i++)
		snprintf(text + strlen(text), sizeof(text) - strlen(text), ", \"%d:22\"", 2000 + i);
	vm = defined(text);
	assert_int_equal(endpoints_defined(vm, list), ENDPOINTS_MAX);
	assert_int_equal(list[ENDPOINTS_MAX - 1].port, 2000 + ENDPOINTS_MAX - 1);
	assert_int_equal(list[ENDPOINTS_MAX].port, 0);
	vm_free(vm);
}

/* Where QEMU is not to be asked, the definition tells. */
static void without_qemu(void **state)
{
	const struct store store = {.runtime = (char *)"/nowhere"};
	struct vm *vm = defined("\"2201:22\"");
	struct endpoint list[ENDPOINTS_MAX];

	(void)state;
	assert_int_equal(endpoints_find(&store, vm, list), 1);
	assert_int_equal(list[0].port, 2201);
	vm_free(vm);
}

/* Each once, and IPv4 first of what an agent tells. */
static void told_twice(void **state)
{
	const struct store store = {.runtime = (char *)"/nowhere"};
	struct vm *vm = good("{\"agent\": true, \"nics\": [{\"type\": \"tap\"}]}");
	struct endpoint list[ENDPOINTS_MAX];

	(void)state;
	assert_int_equal(endpoints_find(&store, vm, list), 3);
	assert_string_equal(list[0].host, "192.0.2.7");
	assert_string_equal(list[1].host, "2001:db8::2");
	assert_string_equal(list[2].host, "192.0.2.8");
	assert_int_equal(list[2].port, 22);
	vm_free(vm);
}

/* ---- whether it answers ---- */

/* A socket that says that to the first one who connects; else nobody listens there. -1: no IPv6. */
static int serve(struct endpoint *e, const char *host)
{
	struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_addr = in6addr_loopback};
	struct sockaddr_in four = {.sin_family = AF_INET,
				   .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	bool is_six = strchr(host, ':') != NULL;
	struct sockaddr *address = is_six ? (struct sockaddr *)&six : (struct sockaddr *)&four;
	socklen_t len = is_six ? sizeof(six) : sizeof(four);
	int fd = socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || bind(fd, address, len) < 0) {
		close(fd);
		return -1;
	}
	assert_int_equal(getsockname(fd, address, &len), 0);
	snprintf(e->host, sizeof(e->host), "%s", host);
	e->port = ntohs(is_six ? six.sin6_port : four.sin_port);
	return fd;
}

static bool answers(const char *host, const char *words)
{
	struct endpoint e;
	int fd = serve(&e, host);
	bool answer;
	pid_t pid;

	if (fd < 0)
		return false;
	if (words)
		assert_int_equal(listen(fd, 1), 0);
	pid = words ? fork() : 0;
	if (words && pid == 0) {
		int client = accept(fd, NULL, NULL);

		_exit(write(client, words, strlen(words)) < 0);
	}
	answer = endpoint_answers(&e, 60000);
	if (pid > 0) {
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
	}
	close(fd);
	return answer;
}

static void an_answer(void **state)
{
	const char *host = *state;
	struct endpoint e;
	int fd = serve(&e, host);

	close(fd);
	if (fd < 0) /* a host without IPv6 */
		return;
	assert_true(answers(host, "SSH-2.0-x\r\n"));
	assert_true(answers(host, "welcome\r\nSSH-2.0-x\r\n"));
	assert_false(answers(host, "220 mail SSH-2.0-x\r\n"));
	assert_false(answers(host, NULL));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(forwards),
		cmocka_unit_test(more_than_there_is_room_for),
		cmocka_unit_test(without_qemu),
		cmocka_unit_test(told_twice),
		cmocka_unit_test_prestate(an_answer, (void *)"127.0.0.1"),
		cmocka_unit_test_prestate(an_answer, (void *)"::1"),
	};

	return RUN(tests);
}
