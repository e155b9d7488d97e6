#include "lib/landlock.h"

#include <stddef.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lib/array.h"

/* ---- linux/landlock.h, of which older headers have only a part ---- */

#ifndef SYS_landlock_create_ruleset /* the same numbers on all architectures but alpha */
#define SYS_landlock_create_ruleset 444
#define SYS_landlock_add_rule	    445
#define SYS_landlock_restrict_self  446
#endif

#define GET_VERSION	  1U /* LANDLOCK_CREATE_RULESET_VERSION */
#define RULE_PATH_BENEATH 1

#define FS(bit)	    (UINT64_C(1) << (bit))
#define EXECUTE	    FS(0)
#define WRITE_FILE  FS(1)
#define READ_FILE   FS(2)
#define READ_DIR    FS(3)
#define REMOVE_DIR  FS(4)
#define REMOVE_FILE FS(5)
#define MAKE_DIR    FS(7)
#define MAKE_REG    FS(8)
#define MAKE_SOCK   FS(9)
#define MAKE_FIFO   FS(10)
#define MAKE_SYM    FS(12)
#define REFER	    FS(13)
#define TRUNCATE    FS(14)
#define IOCTL_DEV   FS(15)

#define NET_BIND    UINT64_C(1)
#define NET_CONNECT UINT64_C(2)

#define SCOPE_ABSTRACT UINT64_C(1)
#define SCOPE_SIGNAL   UINT64_C(2)

struct ruleset {
	uint64_t fs, net, scoped;
};

struct beneath {
	uint64_t allowed;
	int32_t fd;
} __attribute__((packed));

/* ---- which version knows what ---- */

static const struct {
	int since;
	uint64_t fs;
	size_t size; /* of struct ruleset then */
} versions[] = {
	{1, REFER - 1, offsetof(struct ruleset, net)},	  {2, REFER, offsetof(struct ruleset, net)},
	{3, TRUNCATE, offsetof(struct ruleset, net)},	  {4, 0, offsetof(struct ruleset, scoped)},
	{5, IOCTL_DEV, offsetof(struct ruleset, scoped)}, {6, 0, sizeof(struct ruleset)},
};

#define NOT_6 "signals to other processes and abstract sockets"
#define NOT_5 "ioctl on devices, " NOT_6
#define NOT_4 "TCP, " NOT_5
#define NOT_3 "truncate(2), " NOT_4

static const char *const missing[] = {
	[1] = NOT_3, [2] = NOT_3, [3] = NOT_4, [4] = NOT_5, [5] = NOT_6};

int landlock_version(void)
{
	long version = syscall(SYS_landlock_create_ruleset, NULL, 0, GET_VERSION);

	return version > 0 ? (int)version : 0;
}

const char *landlock_missing(int version)
{
	if (version <= 0)
		return "anything";
	return (size_t)version < ARRAY_SIZE(missing) ? missing[version] : NULL;
}

/* ---- rules ---- */

static const struct {
	unsigned right;
	uint64_t file, dir; /* what it is for a file; and what more for a directory */
} rights_of[] = {
	{LANDLOCK_READ, READ_FILE, READ_DIR},
	{LANDLOCK_WRITE, WRITE_FILE | TRUNCATE, 0},
	{LANDLOCK_EXECUTE, EXECUTE, 0},
	{LANDLOCK_MAKE, 0, MAKE_REG},
	{LANDLOCK_SOCKET, 0, MAKE_SOCK},
	{LANDLOCK_REMOVE, 0, REMOVE_FILE},
	{LANDLOCK_DEVICE, IOCTL_DEV, 0},
	{LANDLOCK_TREE, 0,
	 REMOVE_DIR | REMOVE_FILE | MAKE_DIR | MAKE_REG | MAKE_SOCK | MAKE_FIFO | MAKE_SYM | REFER},
};

static uint64_t known(int version)
{
	uint64_t fs = 0;

	for (size_t i = 0; i < ARRAY_SIZE(versions); i++)
		fs |= versions[i].since <= version ? versions[i].fs : 0;
	return fs;
}

static size_t size_of_ruleset(int version)
{
	size_t size = 0;

	for (size_t i = 0; i < ARRAY_SIZE(versions); i++)
		size = versions[i].since <= version ? versions[i].size : size;
	return size;
}

int landlock_new(unsigned limits)
{
	int version = landlock_version();
	struct ruleset all = {.fs = known(version)};

	if (version >= 4)
		all.net = (limits & LANDLOCK_NO_BIND ? NET_BIND : 0) |
			  (limits & LANDLOCK_NO_CONNECT ? NET_CONNECT : 0);
	if (version >= 6)
		all.scoped = (limits & LANDLOCK_NO_ABSTRACT ? SCOPE_ABSTRACT : 0) |
			     (limits & LANDLOCK_NO_SIGNALS ? SCOPE_SIGNAL : 0);
	if (version == 0)
		return -1;
	return (int)syscall(SYS_landlock_create_ruleset, &all, size_of_ruleset(version), 0);
}

bool landlock_allow(int rules, int fd, unsigned rights)
{
	struct beneath rule = {.fd = fd};
	struct stat st;

	if (fstat(fd, &st) < 0)
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(rights_of); i++) {
		if (!(rights & rights_of[i].right))
			continue;
		rule.allowed |= rights_of[i].file;
		rule.allowed |= S_ISDIR(st.st_mode) ? rights_of[i].dir : 0;
	}
	rule.allowed &= known(landlock_version());
	return rule.allowed == 0 ||
	       syscall(SYS_landlock_add_rule, rules, RULE_PATH_BENEATH, &rule, 0) == 0;
}

bool landlock_enforce(int rules)
{
	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
	       syscall(SYS_landlock_restrict_self, rules, 0) == 0;
}
