#include "commands/neighbours.h"

#include <arpa/inet.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <stdbool.h>
#include <stdio.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "lib/xalloc.h"

#define ANSWER_S   1
#define GONE	   (NUD_INCOMPLETE | NUD_FAILED | NUD_NOARP)
#define BUFFER	   32768
#define MAC_LENGTH 6

struct dump {
	struct nlmsghdr header;
	struct ndmsg body;
};

static bool ask(int fd, unsigned char family)
{
	struct dump dump = {.header = {.nlmsg_len = sizeof(dump),
				       .nlmsg_type = RTM_GETNEIGH,
				       .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP},
			    .body = {.ndm_family = family}};

	return send(fd, &dump, sizeof(dump), 0) == (ssize_t)sizeof(dump);
}

static bool is_mac(const struct rtattr *attribute, const char *mac)
{
	const unsigned char *b = RTA_DATA(attribute);
	char text[18];

	if (RTA_PAYLOAD(attribute) != MAC_LENGTH)
		return false;
	snprintf(text, sizeof(text), "%02x:%02x:%02x:%02x:%02x:%02x", b[0], b[1], b[2], b[3], b[4],
		 b[5]);
	return strcasecmp(text, mac) == 0;
}

static void add_address(json_t *list, int family, const struct rtattr *attribute)
{
	char text[INET6_ADDRSTRLEN];
	size_t size = family == AF_INET ? sizeof(struct in_addr) : sizeof(struct in6_addr);

	if (RTA_PAYLOAD(attribute) < size ||
	    !inet_ntop(family, RTA_DATA(attribute), text, sizeof(text)))
		return;
	if (strncasecmp(text, "fe80:", 5) != 0)
		json_array_append_new(list, xcheck(json_string(text)));
}

static void take_entry(json_t *list, struct nlmsghdr *header, const char *mac)
{
	struct ndmsg *entry = NLMSG_DATA(header);
	size_t len = header->nlmsg_len - NLMSG_LENGTH(sizeof(*entry));
	const struct rtattr *attribute = (struct rtattr *)(entry + 1), *address = NULL;
	bool is_its = false;

	for (; RTA_OK(attribute, len); attribute = RTA_NEXT(attribute, len)) {
		if (attribute->rta_type == NDA_DST)
			address = attribute;
		if (attribute->rta_type == NDA_LLADDR)
			is_its = is_mac(attribute, mac);
	}
	if (is_its && address && !(entry->ndm_state & GONE))
		add_address(list, entry->ndm_family, address);
}

/* One packet; false: it was the last one. */
static bool take_packet(json_t *list, int fd, const char *mac)
{
	static char buffer[BUFFER] __attribute__((aligned(NLMSG_ALIGNTO)));
	ssize_t got = recv(fd, buffer, sizeof(buffer), 0);
	size_t len = got > 0 ? (size_t)got : 0;
	struct nlmsghdr *header = (struct nlmsghdr *)buffer;

	for (; NLMSG_OK(header, len); header = NLMSG_NEXT(header, len)) {
		if (header->nlmsg_type == NLMSG_DONE || header->nlmsg_type == NLMSG_ERROR)
			return false;
		if (header->nlmsg_type == RTM_NEWNEIGH &&
		    header->nlmsg_len >= NLMSG_LENGTH(sizeof(struct ndmsg)))
			take_entry(list, header, mac);
	}
	return got > 0;
}

void neighbours_add(json_t *list, const char *mac)
{
	static const unsigned char families[] = {AF_INET, AF_INET6};
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);

	if (fd < 0)
		return;
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &(struct timeval){.tv_sec = ANSWER_S},
		   sizeof(struct timeval));
	for (size_t i = 0; i < sizeof(families); i++)
		if (ask(fd, families[i]))
			while (take_packet(list, fd, mac))
				;
	close(fd);
}
