/* Whether anybody is connected to a listening socket. */
#ifndef CONNECTED_H
#define CONNECTED_H

enum connected { CONNECTED_UNKNOWN, CONNECTED_NOBODY, CONNECTED_SOMEBODY };

/*
 * Whether the listener on the socket at path has accepted a connection. One that is not accepted
 * yet does not count. CONNECTED_UNKNOWN: the socket is not visible, as in another network
 * namespace.
 */
enum connected connected_look(const char *path);

#endif
