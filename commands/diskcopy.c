#include "commands/diskcopy.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/array.h"
#include "commands/copywait.h"
#include "commands/disk.h"
#include "commands/jsonof.h"
#include "lib/fd.h"
#include "lib/log.h"
#include "lib/xalloc.h"

/* ---- what is in an image ---- */

/* What qemu-img info says. NULL: it failed, for example as a QEMU has the image open, and said so.
 */
static json_t *ask(const char *path, const char *format)
{
	const char *const argv[] = {"qemu-img", "info", "--output=json", "-f", format, path, NULL};

	return json_of(argv, "qemu-utils");
}

static json_t *bitmaps_of(json_t *info)
{
	json_t *specific = json_object_get(info, "format-specific");

	return json_object_get(json_object_get(specific, "data"), "bitmaps");
}

/* One that was not closed, so that QEMU no longer knows its contents. */
static bool is_broken(json_t *bitmap)
{
	json_t *flag;
	size_t i;

	json_array_foreach(json_object_get(bitmap, "flags"), i, flag)
	{
		if (strcmp(json_string_value(flag), "in-use") == 0)
			return true;
	}
	return false;
}

/* The names in a list of snapshots or bitmaps, malloc'd: "a, b". */
static char *names_of(json_t *list, bool broken)
{
	char *names = xstrdup("");
	json_t *one;
	size_t i;

	json_array_foreach(list, i, one)
	{
		const char *name = json_string_value(json_object_get(one, "name"));
		char *longer;

		if (!name || is_broken(one) != broken)
			continue;
		longer = xasprintf("%s%s%s", names, *names ? ", " : "", name);
		free(names);
		names = longer;
	}
	return names;
}

/* ---- how to copy it ---- */

static enum disk_way way_of_overlay(const char *name, const char *path, json_t *info, bool drop)
{
	const char *base = json_string_value(json_object_get(info, "backing-filename"));
	char *snapshots = names_of(json_object_get(info, "snapshots"), false);
	char *bitmaps = names_of(bitmaps_of(info), false);
	char *broken = names_of(bitmaps_of(info), true);
	enum disk_way way = *bitmaps || *broken ? DISK_BITMAPS : DISK_CONVERT;

	if (*snapshots && !drop) {
		log_error("%s cannot be cloned: its disk %s is based on %s, and a copy that stands "
			  "alone cannot have its internal snapshots (%s); to leave them out, use "
			  "--drop-snapshots",
			  name, path, base ? base : "another file", snapshots);
		way = DISK_REFUSED;
	} else if (*snapshots) {
		log_notice("%s: the copy will not have its internal snapshots: %s", path,
			   snapshots);
	}
	if (*broken && way != DISK_REFUSED)
		log_notice("%s: the copy will not have bitmaps that were not closed: %s", path,
			   broken);
	free(snapshots);
	free(bitmaps);
	free(broken);
	return way;
}

enum disk_way disk_way_of(const char *name, const char *path, const char *format, bool drop)
{
	enum disk_way way = DISK_BYTES;
	struct stat st;
	json_t *info;

	if (strcmp(format, "raw") == 0 && stat(path, &st) == 0 && S_ISREG(st.st_mode))
		return DISK_BYTES;
	if (strcmp(format, "qcow2") != 0)
		return DISK_CONVERT; /* only qcow2 has anything to lose */
	info = ask(path, format);
	if (!info)
		return DISK_REFUSED;
	if (json_object_get(info, "backing-filename") ||
	    json_object_get(json_object_get(json_object_get(info, "format-specific"), "data"),
			    "data-file"))
		way = way_of_overlay(name, path, info, drop);
	json_decref(info);
	return way;
}

void disk_tell_left(const char *path, const char *format)
{
	json_t *info = strcmp(format, "qcow2") == 0 ? ask(path, format) : NULL;
	char *snapshots = names_of(json_object_get(info, "snapshots"), false);
	char *bitmaps = names_of(bitmaps_of(info), false);

	if (*snapshots || *bitmaps)
		log_notice("%s: the overlay does not have its internal snapshots and bitmaps "
			   "(%s%s%s); "
			   "they stay there",
			   path, snapshots, *snapshots && *bitmaps ? ", " : "", bitmaps);
	free(snapshots);
	free(bitmaps);
	json_decref(info);
}

/* ---- copying it ---- */

/*
 * QEMU shows through OFD locks on bytes of an image (its block/file-posix.c) what it does with it,
 * from 100 on, and what others must not do, from 200 on; each kind of access is one byte.
 */
enum { LOCK_DOES = 100, LOCK_KEEPS_OFF = 200, ACCESS_WRITE = 1, ACCESS_RESIZE = 3 };

/* Keeps others from writing while the descriptor is open. -1: somebody does, which is logged. */
static int keep_writers_off(const char *path)
{
	static const off_t bits[] = {ACCESS_WRITE, ACCESS_RESIZE};
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	bool off = fd >= 0;

	for (size_t i = 0; i < ARRAY_SIZE(bits); i++)
		off = off && fd_lock(fd, F_OFD_SETLK, F_RDLCK, LOCK_KEEPS_OFF + bits[i], 1);
	if (!off && fd < 0)
		log_warn("cannot read %s", path);
	for (size_t i = 0; i < ARRAY_SIZE(bits) && off; i++)
		off = fd_lock(fd, F_OFD_GETLK, F_WRLCK, LOCK_DOES + bits[i], 1);
	if (!off && fd >= 0) {
		log_error("%s is in use: another process writes to it", path);
		close(fd);
		fd = -1;
	}
	return fd;
}

static bool copy_bytes(const struct store *store, const char *from, const char *to)
{
	const char *const argv[] = {"cp", "--reflink=auto", "--", from, to, NULL};
	int fd = keep_writers_off(from);
	bool copied = fd >= 0 && copy_wait(disk_run(store, argv), "cp", from, to, true);

	fd_close(&fd);
	return copied;
}

bool disk_copy_whole(const struct store *store, const char *from, const char *to,
		     const char *format, enum disk_way way)
{
	const char *const argv[] = {
		"qemu-img", "convert", "-q", "--bitmaps", "--skip-broken-bitmaps",
		"-f",	    format,    "-O", format,	  from,
		to,	    NULL};

	switch (way) {
	case DISK_BYTES:
		return copy_bytes(store, from, to);
	case DISK_CONVERT:
		return copy_wait(disk_copy(store, from, to, format), "qemu-img", from, to, false);
	case DISK_BITMAPS:
		return copy_wait(disk_run(store, argv), "qemu-img", from, to, false);
	case DISK_REFUSED:
		break;
	}
	return false;
}
