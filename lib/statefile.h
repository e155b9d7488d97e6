/*
 * state.json in a runtime directory. It is replaced by rename. If there is no room for a new file,
 * a spare file with space reserved is overwritten and exchanged with it; the old one is the next
 * spare.
 */
#ifndef STATEFILE_H
#define STATEFILE_H

#include <jansson.h>
#include <stdbool.h>

#define STATE_FILE  "state.json"
#define STATE_NEW   "state.json.new"
#define STATE_SPARE ".state.json"

/* Makes an empty state.json and the spare, with reserved space. False and errno on failure. */
bool statefile_make(int dirfd);

/* Reserves space for the spare of an existing state.json, if there is any. */
void statefile_reserve(int dirfd);

/* Replaces state.json by state (borrowed). False and errno on failure; it is then unchanged. */
bool statefile_write(int dirfd, const json_t *state);

/* The contents, a new reference; NULL if it cannot be read. */
json_t *statefile_read(int dirfd);

#endif
