/* One "vmconf rpc" that fulfils one request. */
#ifndef JOB_H
#define JOB_H

#include <event2/event.h>
#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

struct job;

struct job_callbacks {
	void (*answer)(void *arg, json_t *answer); /* borrowed */
	/* It has ended. Called once, from the event loop; it may call job_free(). */
	void (*ended)(void *arg);
};

/* Begins request (borrowed). NULL and errno on failure: EMSGSIZE if it is too long. */
struct job *job_new(struct event_base *base, json_t *request, const struct job_callbacks *callbacks,
		    void *arg);
void job_free(struct job *job);

#endif
