/* What a unit test logs. */
#ifndef CAUGHT_H
#define CAUGHT_H

#include "unit.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lib/log.h"

/* The log of run(), valid until the next call: "unit: LINE\n" for each. */
static const char *caught(void (*run)(void *arg), void *arg)
{
	static char log[65536];
	static unsigned lines;
	int saved = dup(STDERR_FILENO), fd = memfd_create("log", 0);
	off_t before;
	ssize_t len;

	dup2(fd, STDERR_FILENO);
	log_open("unit", LEVEL_DEBUG);
	for (int i = 0; i < 32; i++) /* what was logged a moment ago would only be counted */
		log_notice("%u", lines++);
	before = lseek(fd, 0, SEEK_END);
	run(arg);
	log_flush();
	log_open("unit", LEVEL_ERROR);
	dup2(saved, STDERR_FILENO);
	len = pread(fd, log, sizeof(log) - 1, before);
	log[len > 0 ? len : 0] = '\0';
	close(fd);
	close(saved);
	return log;
}

#endif
