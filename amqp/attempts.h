/*
 * What was begun and maybe not answered yet: a file for each such request, in .amqp/ of the
 * directory of the VMs' states. It makes a request that is delivered again the same one, and bounds
 * how often that is tried: a request that kills whoever takes it must not do so for ever.
 */
#ifndef ATTEMPTS_H
#define ATTEMPTS_H

#include <stdbool.h>
#include <stddef.h>

struct attempts;

struct attempt {
	char *file; /* its name in the directory */
	char *id;   /* of the request, for "vmconf rpc" */
	int count;  /* how often it was begun and not answered */
	bool known; /* it was begun before */
};

/*
 * Opens the directory and takes its lock, so that of several bridges on a host only one works.
 * NULL: *why is a malloc'd reason, or NULL if another one has the lock.
 */
struct attempts *attempts_open(char **why);
void attempts_close(struct attempts *attempts);

/*
 * What is known of a request; attempt_clear(). message_id is what the sender calls it, or NULL:
 * words are then what tells it from others, and it is a new one unless the broker says that it was
 * delivered before. False: it may have been begun, and errno says why that cannot be read.
 */
bool attempts_find(struct attempts *attempts, struct attempt *attempt, const char *message_id,
		   const void *const words[], const size_t lengths[], size_t count,
		   bool delivered_before);

/* Begins it once more. On the disk on return; false: errno says why it cannot be written. */
bool attempts_begin(struct attempts *attempts, struct attempt *attempt);

/* This time does not count: the connection was lost meanwhile. */
void attempts_excuse(struct attempts *attempts, struct attempt *attempt);

/* It was answered. What its sender named is known for a day, in case it is sent again. */
void attempts_end(struct attempts *attempts, struct attempt *attempt);
void attempt_clear(struct attempt *attempt);

#endif
