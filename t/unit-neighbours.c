/* The host's neighbour tables, as the kernel might tell them. */
#include "unit.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "commands/neighbours.h"

#define MAC "52:54:00:12:34:ab"

/* ---- the kernel ---- */

static unsigned char packets[2][2][1024]; /* of IPv4 and IPv6 */
static size_t lengths[2][2];
static unsigned asked, family, next;
static int no_socket, no_send; /* errno, or 0 */

int socket(int domain, int type, int protocol)
{
	(void)type;
	assert_int_equal(domain, AF_NETLINK);
	assert_int_equal(protocol, NETLINK_ROUTE);
	errno = no_socket;
	return no_socket ? -1 : dup(STDERR_FILENO);
}

ssize_t send(int fd, const void *bytes, size_t len, int flags)
{
	const struct nlmsghdr *header = bytes;
	const struct ndmsg *body = NLMSG_DATA(header);

	(void)fd;
	assert_int_equal(flags, 0);
	assert_int_equal(header->nlmsg_len, len);
	assert_int_equal(header->nlmsg_type, RTM_GETNEIGH);
	assert_int_equal(header->nlmsg_flags, NLM_F_REQUEST | NLM_F_DUMP);
	family = body->ndm_family == AF_INET ? 0 : 1;
	asked++;
	next = 0;
	errno = no_send;
	return no_send ? -1 : (ssize_t)len;
}

static ssize_t receive(void *bytes, size_t room)
{
	size_t len;

	if (next == ARRAY_SIZE(packets[0]) || lengths[family][next] == 0) {
		errno = EAGAIN; /* SO_RCVTIMEO */
		return -1;
	}
	len = lengths[family][next];
	assert_true(len <= room);
	memcpy(bytes, packets[family][next++], len);
	return (ssize_t)len;
}

ssize_t recv(int fd, void *bytes, size_t room, int flags)
{
	(void)fd;
	assert_int_equal(flags, 0);
	return receive(bytes, room);
}

/* With _FORTIFY_SOURCE. */
ssize_t __recv_chk(int fd, void *bytes, size_t len, size_t room, int flags);
ssize_t __recv_chk(int fd, void *bytes, size_t len, size_t room, int flags)
{
	assert_true(len <= room);
	return recv(fd, bytes, len, flags);
}

/* ---- what it tells ---- */

static void begin(void)
{
	memset(packets, 0, sizeof(packets));
	memset(lengths, 0, sizeof(lengths));
	asked = 0;
	no_socket = no_send = 0;
}

static struct nlmsghdr *message(int af, unsigned packet, unsigned short type, const void *body,
				size_t len)
{
	size_t row = af == AF_INET ? 0 : 1;
	struct nlmsghdr *header = (struct nlmsghdr *)(packets[row][packet] + lengths[row][packet]);

	header->nlmsg_type = type;
	header->nlmsg_len = (unsigned)NLMSG_LENGTH(len);
	if (len)
		memcpy(NLMSG_DATA(header), body, len);
	lengths[row][packet] += NLMSG_ALIGN(header->nlmsg_len);
	return header;
}

static void attribute(unsigned char *at, unsigned short type, const void *data, size_t len)
{
	struct rtattr *head = (struct rtattr *)at;

	head->rta_type = type;
	head->rta_len = (unsigned short)RTA_LENGTH(len);
	memcpy(RTA_DATA(head), data, len);
}

/* An entry; the lengths are what the kernel says that they are. */
static void entry(int af, unsigned packet, const char *address, size_t address_len,
		  const unsigned char *mac, size_t mac_len, unsigned short nud)
{
	_Alignas(struct ndmsg) unsigned char body[256] = {0};
	struct ndmsg *head = (struct ndmsg *)body;
	unsigned char bytes[16] = {0};
	size_t at = NLMSG_ALIGN(sizeof(*head));

	head->ndm_family = (unsigned char)af;
	head->ndm_state = nud;
	if (address) {
		assert_int_equal(inet_pton(af, address, bytes), 1);
		attribute(body + at, NDA_DST, bytes, address_len);
		at += RTA_SPACE(address_len);
	}
	attribute(body + at, NDA_LLADDR, mac, mac_len);
	at += RTA_SPACE(mac_len);
	message(af, packet, RTM_NEWNEIGH, body, at);
}

static void done(int af, unsigned packet)
{
	message(af, packet, NLMSG_DONE, NULL, 0);
}

static const unsigned char its[] = {0x52, 0x54, 0x00, 0x12, 0x34, 0xab};
static const unsigned char others[] = {0x52, 0x54, 0x00, 0x12, 0x34, 0xac};
static const unsigned char longer[] = {0x52, 0x54, 0x00, 0x12, 0x34, 0xab, 0x00, 0x01};

static void adds(const char *expected)
{
	json_t *list = json_array();
	char *text;

	neighbours_add(list, MAC);
	text = json_dumps(list, JSON_COMPACT);
	assert_string_equal(text, expected);
	free(text);
	json_decref(list);
}

/* ---- tests ---- */

static void its_addresses(void **state)
{
	(void)state;
	begin();
	entry(AF_INET, 0, "192.0.2.7", 4, its, 6, NUD_REACHABLE);
	entry(AF_INET, 0, "192.0.2.8", 4, others, 6, NUD_REACHABLE);
	entry(AF_INET, 0, "192.0.2.9", 4, its, 6, NUD_STALE);
	done(AF_INET, 0);
	entry(AF_INET6, 0, "fe80::1", 16, its, 6, NUD_REACHABLE);
	entry(AF_INET6, 0, "2001:db8::1", 16, its, 6, NUD_REACHABLE);
	done(AF_INET6, 0);
	adds("[\"192.0.2.7\",\"192.0.2.9\",\"2001:db8::1\"]");
	assert_int_equal(asked, 2);
}

static void who_does_not_answer(void **state)
{
	static const unsigned short gone[] = {NUD_FAILED, NUD_INCOMPLETE, NUD_NOARP};

	(void)state;
	begin();
	for (size_t i = 0; i < ARRAY_SIZE(gone); i++)
		entry(AF_INET, 0, "192.0.2.7", 4, its, 6, gone[i]);
	done(AF_INET, 0);
	done(AF_INET6, 0);
	adds("[]");
}

/* Of an InfiniBand, a tunnel; without an address, or with a part of one. */
static void what_is_none(void **state)
{
	(void)state;
	begin();
	entry(AF_INET, 0, "192.0.2.1", 4, longer, sizeof(longer), NUD_REACHABLE);
	entry(AF_INET, 0, "192.0.2.2", 4, its, 4, NUD_REACHABLE);
	entry(AF_INET, 0, NULL, 0, its, 6, NUD_REACHABLE);
	entry(AF_INET, 0, "192.0.2.3", 3, its, 6, NUD_REACHABLE);
	message(AF_INET, 0, RTM_NEWNEIGH, "", 1);
	entry(AF_INET, 0, "192.0.2.4", 4, its, 6, NUD_REACHABLE);
	done(AF_INET, 0);
	done(AF_INET6, 0);
	adds("[\"192.0.2.4\"]");
}

static void in_several_packets(void **state)
{
	(void)state;
	begin();
	entry(AF_INET, 0, "192.0.2.7", 4, its, 6, NUD_REACHABLE);
	entry(AF_INET, 1, "192.0.2.8", 4, its, 6, NUD_REACHABLE);
	done(AF_INET, 1);
	entry(AF_INET6, 0, "2001:db8::1", 16, its, 6, NUD_REACHABLE);
	adds("[\"192.0.2.7\",\"192.0.2.8\",\"2001:db8::1\"]"); /* the rest does not come */
}

static void what_follows_an_error(void **state)
{
	(void)state;
	begin();
	message(AF_INET, 0, NLMSG_ERROR, &(struct nlmsgerr){.error = -EPERM},
		sizeof(struct nlmsgerr));
	entry(AF_INET, 0, "192.0.2.7", 4, its, 6, NUD_REACHABLE);
	done(AF_INET6, 0);
	adds("[]");
}

static void no_answer(void **state)
{
	(void)state;
	begin();
	no_socket = EMFILE;
	adds("[]");
	assert_int_equal(asked, 0);
	begin();
	entry(AF_INET, 0, "192.0.2.7", 4, its, 6, NUD_REACHABLE);
	no_send = ENOBUFS;
	adds("[]");
	assert_int_equal(asked, 2);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(its_addresses),	 cmocka_unit_test(who_does_not_answer),
		cmocka_unit_test(what_is_none),		 cmocka_unit_test(in_several_packets),
		cmocka_unit_test(what_follows_an_error), cmocka_unit_test(no_answer),
	};

	return RUN(tests);
}
