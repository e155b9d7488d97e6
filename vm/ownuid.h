/*
 * Uids of which each is one VM's alone ("run-as": "own"). STATE/.uids has a link for each that is
 * taken, named by its number, to the VM's name: two processes cannot make the same one.
 */
#ifndef OWNUID_H
#define OWNUID_H

#include <stdbool.h>
#include <sys/types.h>

/*
 * Away from those of systemd (DynamicUser: up to 65519; containers: 524288 to 1879048191; foreign:
 * from 2147352576 on), of useradd's subuids (up to 600100000) and of FreeIPA (up to 2000200000).
 */
#ifndef OWNUID_FIRST
#define OWNUID_FIRST 2100000000u
#endif
#define OWNUID_COUNT 65536u

bool ownuid_is(uid_t uid);

/* That of the VM whose state directory home is; 0: it has none. */
uid_t ownuid_look(const char *home);

/* The same, and one that is free if it has none. 0: *why is a malloc'd sentence. */
uid_t ownuid_claim(const char *home, char **why);

/* In the directory of all state directories: the VM is gone, or has a new name. */
void ownuid_release(int state_fd, const char *name);
void ownuid_rename(int state_fd, const char *name, const char *new_name);

/* Files in home, which is left without its VM, become root's: another VM may get the uid. */
void ownuid_take_back(const char *home);

#endif
