/* main(): walks all sequences of choices up to a depth, shortest first. */
#include "explore.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "lib/array.h"

#define DEPTH_MAX 12
#define TABLE	  (1u << 22)
#define FOUND_MAX 24

#define DEFAULTS                                                                                   \
	"-o", "TERM=powerdown 4s, quit 2s, kill", "-o", "INT=powerdown 4s, quit 2s, kill", "-o",   \
		"QUIT=quit 2s, kill", "-o", "RTMIN+1=reboot 4s, reset"

#define STOPS "TERM INT QUIT HUP stall go-on hang-up killed time wait listen"

static const struct setting settings[] = {
	{.name = "default",
	 .options = {DEFAULTS},
	 .reboot = "reset",
	 .shutdown = "poweroff",
	 .depth = 3},
	{.name = "unreadable",
	 .options = {DEFAULTS, "-r", "listening"},
	 .reboot = "reset",
	 .shutdown = "poweroff",
	 .unreadable = true,
	 .depth = 2},
	{.name = "forever",
	 .options = {"-o", "TERM=powerdown forever", "-o", "INT=quit forever", "-o",
		     "QUIT=powerdown 1s, quit 2s, kill", "-o", "RTMIN+1=reboot 1s", "-r",
		     "listening"},
	 .reboot = "reset",
	 .shutdown = "poweroff",
	 .depth = 2},
	{.name = "seen", /* that it listens, before anything happens */
	 .options = {DEFAULTS, "-r", "listening"},
	 .reboot = "reset",
	 .shutdown = "poweroff",
	 .choices = "TERM REBOOT HUP stall go-on answer-one refuse-one other-stop other-cont "
		    "suspend power-off guest-reset killed hang-up listen time",
	 .depth = 3},
	{.name = "once", /* is it pressed: no press may be lost, or count if it was not heard */
	 .options = {DEFAULTS, "-r", "listening", "--press-interval", "0"},
	 .reboot = "reset",
	 .shutdown = "poweroff",
	 .choices = "TERM REBOOT stall go-on answers-lost hang-up killed killed-unread listen "
		    "other-stop other-cont suspend wakeup time",
	 .depth = 4},
	{.name = "reboot", /* and no reset behind it */
	 .options = {"-o", "TERM=powerdown 4s, quit 2s, kill", "-o", "RTMIN+1=reboot 4s", "-r",
		     "listening"},
	 .reboot = "reset",
	 .shutdown = "poweroff",
	 .choices = "TERM REBOOT stall go-on answer-one power-off killed killed-unread hang-up "
		    "answers-lost will-be-cut time",
	 .depth = 4},
	{.name = "flushing",
	 .options = {DEFAULTS},
	 .reboot = "reset",
	 .shutdown = "poweroff",
	 .before = "stall TERM power-off",
	 .choices = "TERM HUP killed time wait frozen deadline-20s",
	 .depth = 5},
	{.name = "quit-first",
	 .options = {"-o", "TERM=powerdown 1s, quit 2s, powerdown 4s, quit 2s, kill", "-o",
		     "QUIT=quit 1s, powerdown 4s, quit 2s, kill"},
	 .reboot = "reset",
	 .shutdown = "poweroff",
	 .refuses = "quit",
	 .choices = "TERM QUIT stall answer-one go-on time killed hang-up",
	 .depth = 5},
	{.name = "quit-late", /* what was to be set at 3 s is passed over */
	 .options = {"-o", "TERM=powerdown 1s, quit 3s, nmi 1s, powerdown 4s, quit 2s, kill"},
	 .reboot = "reset",
	 .shutdown = "poweroff",
	 .refuses = "quit",
	 .before = "guest-reset stall TERM",
	 .choices = "stall go-on time wait killed hang-up listen guest-reset",
	 .depth = 4},
	{.name = "no-reset",
	 .options = {DEFAULTS},
	 .reboot = "reset",
	 .shutdown = "poweroff",
	 .refuses = "system_reset",
	 .depth = 2},
	{.name = "no-set-action",
	 .options = {DEFAULTS},
	 .reboot = "reset",
	 .shutdown = "poweroff",
	 .refuses = "set-action",
	 .depth = 2},
	{.name = "no-press",
	 .options = {DEFAULTS},
	 .reboot = "reset",
	 .shutdown = "poweroff",
	 .refuses = "system_powerdown cont",
	 .depth = 2},
	{.name = "taken-over", /* and QEMU has not answered what was set */
	 .options = {DEFAULTS},
	 .qemu = {"-no-shutdown"},
	 .reboot = "reset",
	 .shutdown = "pause",
	 .before = "stall TERM killed",
	 .choices = "TERM answer-one go-on power-off guest-reset time killed hang-up",
	 .depth = 4},
	{.name = "strangers",
	 .options = {DEFAULTS},
	 .reboot = "reset",
	 .shutdown = "poweroff",
	 .choices = "TERM REBOOT stall go-on answers-lost hang-up other-pause other-reset "
		    "power-off half-off "
		    "killed time wait",
	 .depth = 4},
	{.name = "no-reboot",
	 .options = {DEFAULTS},
	 .qemu = {"-no-reboot"},
	 .reboot = "shutdown",
	 .shutdown = "poweroff",
	 .depth = 3},
	{.name = "no-shutdown",
	 .options = {DEFAULTS},
	 .qemu = {"-no-shutdown"},
	 .reboot = "reset",
	 .shutdown = "pause",
	 .depth = 3},
	{.name = "agent",
	 .options = {"-o",
		     "TERM=agent-shutdown 3s, powerdown 4s, agent-shutdown 3s, "
		     "powerdown 4s, quit 2s, kill",
		     "-o", "QUIT=quit 2s, kill", "-r", "agent"},
	 .reboot = "reset",
	 .shutdown = "poweroff",
	 .agent = true,
	 .depth = 3},
	{.name = "halts",
	 .options = {"-o", "TERM=powerdown 9s, quit 2s, kill", "-o", "QUIT=quit 2s, kill"},
	 .reboot = "reset",
	 .shutdown = "poweroff",
	 .choices = "TERM halt stall go-on answer-one hang-up killed other-reset other-stop "
		    "other-cont other-quit time wait frozen",
	 .depth = 4},
	{.name = "long",
	 .options = {DEFAULTS},
	 .reboot = "reset",
	 .shutdown = "poweroff",
	 .choices = STOPS,
	 .depth = 5},
	{.name = "words", /* rungs of other actions, and ladders of events */
	 .options = {"-o",
		     "TERM=agent-shutdown 3s, stop 1s, qmp:{\"execute\": \"eject\", "
		     "\"arguments\": {\"id\": \"cd\"}} 1s, quit 2s, kill",
		     "-o", "INT=nmi 1s, cont 1s, wakeup 1s, quit forever", "-o",
		     "HUP=stop 1s, reset 1s, nmi", "-o", "QUIT=reboot 2s, wakeup", "-o",
		     "RTMIN+1=reboot 4s, reset 1s", "-o", "SUSPEND=wakeup, status", "-o",
		     "GUEST_PANICKED=reset"},
	 .reboot = "reset",
	 .shutdown = "poweroff",
	 .depth = 2},
};

struct world *world;

/* All of the explorer's own, which going back must not touch. */
struct walk {
	struct {
		uint64_t hash;
		unsigned char left; /* choices that were walked from there */
	} table[TABLE];
	uint64_t fair[TABLE];
	unsigned long states, steps, fairs, lengths;
	size_t trace[DEPTH_MAX];
	struct world worlds[DEPTH_MAX + 1];
	struct saved *saved[DEPTH_MAX + 1];
	char found[FOUND_MAX][64];
	size_t found_count;
	char output[1 << 16];
};

static struct walk *walk;

/* Whether a fair end from there is known. */
bool walk_knows(bool obeys)
{
	uint64_t hash = memory_hash(loop_supervisor()) * 2 + obeys;
	size_t i = hash % TABLE;

	walk->lengths++;
	for (; walk->fair[i]; i = (i + 1) % TABLE)
		if (walk->fair[i] == hash)
			return true;
	walk->fair[i] = hash;
	return false;
}

/* Whether the state is new, or was reached with fewer choices left; news: it is new. */
static bool is_to_be_walked(unsigned char left, bool *news)
{
	uint64_t hash = memory_hash(loop_supervisor()) | 1;
	size_t i = hash % TABLE;

	for (; walk->table[i].hash; i = (i + 1) % TABLE) {
		if (walk->table[i].hash != hash)
			continue;
		*news = false;
		if (walk->table[i].left >= left)
			return false;
		walk->table[i].left = left;
		return true;
	}
	walk->table[i].hash = hash;
	walk->table[i].left = left;
	return *news = true;
}

static void save(size_t depth)
{
	walk->worlds[depth] = *world;
	memory_save(walk->saved[depth]);
}

static void restore(size_t depth)
{
	*world = walk->worlds[depth];
	memory_restore(walk->saved[depth]);
}

/* ---- what was found ---- */

static void print_found(size_t depth, const char *then)
{
	char kind[64];

	snprintf(kind, sizeof(kind), "%.40s", world->verdict);
	for (size_t i = 0; i < walk->found_count; i++)
		if (strcmp(walk->found[i], kind) == 0)
			return;
	if (walk->found_count == FOUND_MAX)
		return;
	strcpy(walk->found[walk->found_count++], kind);
	printf("# VIOLATED %s\n#   build/explorer %s", world->verdict, world->setting->name);
	for (size_t i = 0; i < depth; i++)
		printf(" %s", choices_name(walk->trace[i]));
	printf("%s\n", then);
	fflush(stdout);
	if (getenv("EXPLORE_FIRST"))
		_Exit(1);
}

static void end_fairly(size_t depth, bool obeys)
{
	restore(depth);
	choices_fair(obeys);
	walk->fairs++;
	if (world->verdict[0])
		print_found(depth, obeys ? " obey" : " ignore");
}

static void go_down(size_t depth, size_t deepest)
{
	bool news = false;

	if (world->verdict[0]) {
		print_found(depth, "");
		return;
	}
	if (world->over || !is_to_be_walked((unsigned char)(deepest - depth), &news))
		return;
	save(depth);
	if (news) {
		walk->states++;
		end_fairly(depth, true);
		end_fairly(depth, false);
	}
	for (size_t i = 0; depth < deepest && i < choices_count(); i++) {
		restore(depth);
		walk->trace[depth] = i;
		if (!choices_do(i) && !world->verdict[0])
			continue;
		walk->steps++;
		go_down(depth + 1, deepest);
	}
}

static void explore(const struct setting *which, size_t depth)
{
	clock_t began = clock();
	unsigned long states, steps = walk->steps, fairs = walk->fairs;

	memset(walk->fair, 0, sizeof(walk->fair));
	for (size_t deepest = 1; deepest <= depth; deepest++) {
		memset(walk->table, 0, sizeof(walk->table));
		walk->states = 0;
		choices_begin(which);
		go_down(0, deepest);
		restore(0);
	}
	states = walk->states;
	printf("# %s: depth %zu, %lu states, %lu steps, %lu ends, %.1f s\n", which->name, depth,
	       states, walk->steps - steps, walk->fairs - fairs,
	       (double)(clock() - began) / CLOCKS_PER_SEC);
	fflush(stdout);
}

static size_t find_choice(const char *name)
{
	for (size_t i = 0; i < choices_count(); i++)
		if (strcmp(choices_name(i), name) == 0)
			return i;
	fprintf(stderr, "no choice %s\n", name);
	exit(64);
}

static void told(const char *what)
{
	printf("---- %s (%lld ms)%s%s\n", what, (long long)(world->now - MONOTONIC_BEGIN),
	       world->verdict[0] ? ": VIOLATED " : "", world->verdict);
	fflush(stdout);
}

static int replay(const struct setting *which, char **names)
{
	choices_begin(which);
	told("start");
	for (; *names; names++) {
		if (strcmp(*names, "obey") == 0 || strcmp(*names, "ignore") == 0)
			choices_fair(strcmp(*names, "obey") == 0);
		else if (!choices_do(find_choice(*names)))
			printf("(not possible)\n");
		told(*names);
	}
	return world->verdict[0] ? 1 : 0;
}

static const struct setting *find_setting(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(settings); i++)
		if (strcmp(settings[i].name, name) == 0)
			return &settings[i];
	fprintf(stderr, "no setting %s\n", name);
	exit(64);
}

int main(int argc, char **argv)
{
	const char *depth = getenv("EXPLORE_DEPTH"), *only = getenv("EXPLORE_SETTING");

	walk = memory_map(sizeof(*walk));
	setvbuf(stdout, walk->output, _IOFBF, sizeof(walk->output));
	memory_open();
	world = memory_map(sizeof(*world));
	for (size_t i = 0; i <= DEPTH_MAX; i++)
		walk->saved[i] = memory_new();
	if (argc > 1)
		return replay(find_setting(argv[1]), argv + 2);
	for (size_t i = 0; i < ARRAY_SIZE(settings); i++)
		if (!only || strcmp(only, settings[i].name) == 0)
			explore(&settings[i],
				depth ? (size_t)atoi(depth) : (size_t)settings[i].depth);
	printf("# %zu rules, %zu violations\n", rules_count(), walk->found_count);
	fflush(stdout);
	_Exit(walk->found_count > 0);
}
