/* The host's neighbour tables (ARP, NDP): who was heard on its networks. */
#ifndef NEIGHBOURS_H
#define NEIGHBOURS_H

#include <jansson.h>

/*
 * Appends the addresses of a MAC ("52:54:00:12:34:56") to list, as strings, IPv4 first; none of a
 * link's own, nor of those who no longer answer.
 */
void neighbours_add(json_t *list, const char *mac);

#endif
