/* The public keys of ssh with which whoever calls vmconf can log in to a guest. */
#ifndef PUBLICKEYS_H
#define PUBLICKEYS_H

#include <jansson.h>
#include <stdbool.h>

/* Adds those of ssh-agent and of ~/.ssh/ *.pub; under sudo, those of the user who called it. */
void publickeys_of_caller(json_t *keys);

/* Adds those of a file, such as id_ed25519.pub or authorized_keys. False: logged. */
bool publickeys_of_file(json_t *keys, const char *path);

#endif
