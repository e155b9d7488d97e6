/* The rule about the exit status: what is known of QEMU's end, and so may be said. */
#include "explore.h"

static const struct ghost *ghost(void)
{
	return &world->ghost;
}

/* ---- "Say what is known, and no more ... the status is not 0" (1, 5) ---- */

struct allowed {
	int statuses[12];
	size_t count;
};

static void allow(struct allowed *a, int status)
{
	a->statuses[a->count++] = status;
}

/* A guest that panicked before was not shut down, whatever came then. */
static void allow_for(struct allowed *a, enum ended how)
{
	const struct qemu *q = &world->qemu;
	bool known = q->panicked && ghost()->panic_read && !ghost()->forgot;

	if (q->panicked && how != KILLED)
		allow(a, EXIT_PANICKED);
	if (known && how != KILLED)
		return;
	switch (how) {
	case LIVES_ON:
		break;
	case POWERED_OFF:
		allow(a, 0);
		break;
	case RESET_ITSELF:
		allow(a, ghost()->stop_at_shutdown ? EXIT_RESET_WHILE_STOPPING : EXIT_REBOOT_ASKED);
		if (ghost()->stop_at_shutdown)
			allow(a, EXIT_NOT_SHUT_DOWN);
		break;
	case PANICKED:
		allow(a, EXIT_PANICKED);
		break;
	case QUIT:
	case RESET_BY_US:
		allow(a, EXIT_NOT_SHUT_DOWN);
		if (q->halted)
			allow(a, EXIT_HALTED);
		if (!q->ran)
			allow(a, 0); /* "no guest ever ran" */
		break;
	case KILLED:
		allow(a, EXIT_KILLED);
		break;
	case DIED:
		allow(a, EXIT_DIED);
		break;
	}
}

/* "The first SHUTDOWN event decides, but ... our SIGKILL makes it 81." */
static struct allowed statuses(void)
{
	const struct ghost *g = ghost();
	const struct qemu *q = &world->qemu;
	struct allowed a = {.count = 0};
	bool known = g->first_read && !g->forgot;

	if (!g->answered)
		allow(&a, 69);
	if (!known && q->ended != KILLED)
		allow(&a, EXIT_DIED);
	if (g->forgot && g->panic_once)
		allow(&a, EXIT_PANICKED); /* that it was reset since is not known */
	if (q->ended == KILLED || q->ended == DIED || !known)
		allow_for(&a, q->ended);
	if (q->ended != KILLED && !(q->ended == DIED && q->child))
		allow_for(&a, q->first);
	return a;
}

/* What QEMU wrote before it ended. */
static bool is_unread(void)
{
	return world->connections[SOCKET_CONTROL].length > 0 ||
	       world->connections[SOCKET_QMP].length > 0;
}

void rules_exit(int status)
{
	struct allowed a = statuses();

	if (is_unread())
		rules_violated("status: %d, and what QEMU said last was not read", status);

	if (world->qemu.alive)
		rules_violated("one: the supervisor has ended with status %d, and QEMU lives",
			       status);
	for (size_t i = 0; i < a.count; i++)
		if (a.statuses[i] == status)
			return;
	rules_violated("status: %d, where QEMU ended by way %d (should be %d)", status,
		       (int)world->qemu.ended, a.count ? a.statuses[a.count - 1] : -1);
}
