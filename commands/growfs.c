#include "commands/growfs.h"

#include <inttypes.h>
#include <time.h>

#include "commands/ask.h"
#include "lib/array.h"
#include "lib/timespan.h"
#include "lib/xalloc.h"

#define ASK_MS	5000
#define LOOK_MS 200
#define ALL_MS	120000

/*
 * What the guest's shell runs, with the size of the disk in sectors. It needs only a shell, and the
 * programs for the file systems that it finds. The guest may not yet know of the new size.
 */
static const char script[] =
	"PATH=/usr/sbin:/usr/bin:/sbin:/bin found=\n"
	"have() { command -v \"$1\" >/dev/null || exit \"$2\"; }\n"
	"seen() { for file in /sys/block/*/size; do\n"
	"	read -r size <\"$file\" && [ \"$size\" != \"$1\" ] || return 0\n"
	"done; return 1; }\n"
	"n=0\n"
	"until seen \"$1\" || [ $n = 50 ]; do sleep 0.1; n=$((n + 1)); done\n"
	"while read -r _ _ device _ dir rest; do\n"
	"	rest=${rest##* - } type=${rest%% *} rest=${rest#* } source=${rest%% *}\n"
	"	case $type in\n"
	"	ext[234] | xfs) ;;\n"
	"	btrfs) device=../../class/block/${source##*/} ;;\n"
	"	*) continue ;;\n"
	"	esac\n"
	"	disk=$(cd -P \"/sys/dev/block/$device\" 2>/dev/null && pwd) || continue\n"
	"	node=/dev/${disk##*/} part=\n"
	"	[ ! -e \"$disk/partition\" ] || { read -r part <\"$disk/partition\"; "
	"disk=${disk%/*}; }\n"
	"	read -r size <\"$disk/size\"\n"
	"	[ \"$size\" = \"$1\" ] || continue\n"
	"	dir=$(printf %b \"$dir\") found=1\n"
	"	if [ \"$part\" ]; then\n"
	"		have growpart 4\n"
	"		growpart \"/dev/${disk##*/}\" \"$part\"\n"
	"		[ $? -le 1 ] || exit 5 # 1: there is nothing after it\n"
	"	fi\n"
	"	case $type in\n"
	"	xfs) have xfs_growfs 6; xfs_growfs \"$dir\" ;;\n"
	"	btrfs) have btrfs 6; btrfs filesystem resize max \"$dir\" ;;\n"
	"	*) have resize2fs 6; resize2fs \"$node\" ;;\n"
	"	esac || exit 7\n"
	"done </proc/self/mountinfo\n"
	"[ \"$found\" ] || exit 3\n";

/* Its exit statuses. */
static const char *const reasons[] = {
	[3] = "nothing that is mounted there is on this disk, or on a partition of it",
	[4] = "the guest has no growpart (packages cloud-guest-utils, cloud-utils-growpart)",
	[5] = "the guest's growpart failed",
	[6] = "the guest lacks the program for it (resize2fs, xfs_growfs, btrfs)",
	[7] = "the guest's program for it failed",
};

static json_t *ask(const struct store *store, const char *name, const char *command,
		   json_t *arguments, char **why)
{
	json_t *value;
	enum qmp_result result = ask_agent(store, name, command, arguments, ASK_MS, &value);

	if (result == QMP_OK)
		return value;
	*why = result == QMP_ERROR ? xasprintf("the guest agent refuses %s: %s", command,
					       qmp_why(result, value))
				   : xstrdup("no guest agent answers");
	json_decref(value);
	return NULL;
}

static json_t *start(const struct store *store, const char *name, uint64_t bytes, char **why)
{
	char *sectors = xasprintf("%" PRIu64, bytes / 512);
	json_t *arguments = xcheck(json_pack("{s:s, s:[s, s, s, s], s:b}", "path", "/bin/sh", "arg",
					     "-c", script, "sh", sectors, "capture-output", 0));

	free(sectors);
	return ask(store, name, "guest-exec", arguments, why);
}

/* Its exit status; -1: not known, see why. */
static int wait_for(const struct store *store, const char *name, json_int_t pid, char **why)
{
	const struct timespec pause = {.tv_nsec = LOOK_MS * 1000000L};
	int64_t until = monotonic_ms() + ALL_MS;
	int status = -1;

	while (status < 0 && !*why && monotonic_ms() < until) {
		json_t *pid_is = xcheck(json_pack("{s:I}", "pid", pid)), *now;

		now = ask(store, name, "guest-exec-status", pid_is, why);
		if (json_is_true(json_object_get(now, "exited")))
			status = json_is_integer(json_object_get(now, "exitcode"))
					 ? (int)json_integer_value(json_object_get(now, "exitcode"))
					 : 7;
		json_decref(now);
		if (status < 0 && !*why)
			nanosleep(&pause, NULL);
	}
	if (status < 0 && !*why)
		*why = xasprintf("the guest has not done it within %d s, and may still do it",
				 ALL_MS / 1000);
	return status;
}

bool growfs(const struct store *store, const char *name, uint64_t bytes, char **why)
{
	json_t *started;
	int status;

	*why = NULL;
	started = start(store, name, bytes, why);
	if (!started)
		return false;
	status = wait_for(store, name, json_integer_value(json_object_get(started, "pid")), why);
	json_decref(started);
	if (status > 0)
		*why = status < (int)ARRAY_SIZE(reasons) && reasons[status]
			       ? xstrdup(reasons[status])
			       : xasprintf("the guest's shell ended with status %d", status);
	return status == 0;
}
