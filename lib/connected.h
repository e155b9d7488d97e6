/* Who is connected to a socket that listens. */
#ifndef CONNECTED_H
#define CONNECTED_H

enum connected { CONNECTED_UNKNOWN, CONNECTED_NOBODY, CONNECTED_SOMEBODY };

/*
 * Whether a connection to the socket of that path was taken by the program that listens there; one
 * that still waits for that does not count. Unknown: it is not seen from here, as in another
 * network namespace.
 */
enum connected connected_look(const char *path);

#endif
