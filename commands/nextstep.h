/* What create, clone and rename say when all is done: what was made, and what comes next. */
#ifndef NEXTSTEP_H
#define NEXTSTEP_H

enum nextstep {
	NEXT_INSTALL, /* its disk is empty */
	NEXT_START,
	NEXT_LOGIN, /* it was started */
};

/*
 * Logs one line: what the VM is now ("created", or "a clone of" another one; else NULL), and the
 * command that comes next.
 */
void nextstep_tell(const char *name, const char *now, const char *other, enum nextstep next);

#endif
