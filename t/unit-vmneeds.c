/* What arguments of QEMU's ask of its sandbox, and of root. */
#include "unit.h"

#include <stdio.h>
#include <string.h>

#include "vm/vmneeds.h"

#define RAW  "raw packets of IP are root's"
#define PORT "a port of the host below 1024 is root's"

static void root(void **state)
{
	static const struct {
		const char *netdev, *why;
	} rows[] = {
		{"l2tpv3,id=n,src=::1,udp,udp=on", NULL},
		{"l2tpv3,id=n,src=::1,udp=on", NULL},
		{"l2tpv3,id=n,ipv6,src=::1", RAW},
		{"l2tpv3,id=n,src=::1,udp=off", RAW},
		{"{\"type\": \"l2tpv3\", \"id\": \"n\", \"udp\": true}", NULL},
		{"{\"type\": \"l2tpv3\", \"id\": \"n\", \"udp\": \"on\"}", NULL},
		{"{\"type\": \"l2tpv3\", \"id\": \"n\", \"udp\": false}", RAW},
		{"{\"type\": \"l2tpv3\", \"id\": \"n\"}", RAW},
		{"user,ipv6,id=n,hostfwd=tcp::80-:80", PORT},
		{"user,id=n,hostfwd=tcp::8080-:80", NULL},
		{"af-xdp,id=n,ifname=eth0", "XDP is root's"},
		{"tap,id=n,fd=3", NULL},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		const char *const argv[] = {"-netdev", rows[i].netdev, NULL};
		const char *why = vm_needs_of(argv).root;

		if (!why != !rows[i].why || (why && strcmp(why, rows[i].why) != 0))
			fail_msg("%s: %s", rows[i].netdev, why ? why : "not root");
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(root)};

	return RUN(tests);
}
