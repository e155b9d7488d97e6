/*
 * state.json in a runtime directory. A new one takes its place by rename. Where there is no room
 * for one, it is written over a spare file, whose room is there, and the two are exchanged: then
 * the old one is the spare.
 */
#ifndef STATEFILE_H
#define STATEFILE_H

#include <jansson.h>
#include <stdbool.h>

#define STATE_FILE  "state.json"
#define STATE_NEW   "state.json.new"
#define STATE_SPARE ".state.json"

/* Makes an empty one and the spare, with room reserved for both. False and errno on failure. */
bool statefile_make(int dirfd);

/* Reserves what room can be had for the spare of a state.json that is there. */
void statefile_reserve(int dirfd);

/* Replaces it by state (borrowed). False and errno: it could not be written, and is as it was. */
bool statefile_write(int dirfd, const json_t *state);

/* What it holds, a new reference; NULL: nothing that can be read. */
json_t *statefile_read(int dirfd);

#endif
