#include "lib/connected.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LISTENS	  0x10000 /* __SO_ACCEPTCON */
#define CONNECTED 3	  /* SS_CONNECTED; SS_CONNECTING is not accepted yet */

/* A line of /proc/net/unix: "Num: RefCount Protocol Flags Type St Inode Path". */
static enum connected read_line(const char *line, const char *path)
{
	unsigned flags, state;
	int at = 0;

	if (sscanf(line, "%*[^:]: %*x %*x %x %*x %x %*u %n", &flags, &state, &at) != 2 || !at ||
	    strcmp(line + at, path) != 0)
		return CONNECTED_UNKNOWN;
	if (flags & LISTENS)
		return CONNECTED_NOBODY;
	return state == CONNECTED ? CONNECTED_SOMEBODY : CONNECTED_UNKNOWN;
}

enum connected connected_look(const char *path)
{
	FILE *file = fopen("/proc/net/unix", "re");
	enum connected found = CONNECTED_UNKNOWN;
	char *line = NULL;
	size_t size = 0;

	while (file && getline(&line, &size, file) > 0) {
		enum connected here;

		line[strcspn(line, "\n")] = '\0';
		here = read_line(line, path);
		if (here > found)
			found = here;
	}
	if (file)
		fclose(file);
	free(line);
	return found;
}
