/* What a VM's serial console has printed: console.log in its state directory, which QEMU appends
 * to. */
#ifndef CONSOLELOG_H
#define CONSOLELOG_H

#include <jansson.h>
#include <sys/types.h>

#define CONSOLE_LOG	 "console.log"
#define CONSOLE_LOG_NEW	 "console.log.new" /* while it is made shorter */
#define CONSOLE_LOG_MAX	 (1024 * 1024)	   /* bytes, above which a start leaves the last ... */
#define CONSOLE_LOG_KEPT (256 * 1024)	   /* bytes of it */

/*
 * Opens it for a QEMU that is about to start, in home, the VM's open state directory, and makes it
 * shorter if it is too long; *begin is its length. Close-on-exec. -1 and errno on failure.
 */
int consolelog_open(int home, off_t *begin);

/*
 * Its last lines, made safe, of what was printed after the first begin bytes: a new array. If one
 * of them tells of a panic, that one and what follows.
 */
json_t *consolelog_tail(int home, off_t begin);

#endif
