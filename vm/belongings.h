/*
 * What a VM needs of its host, for the user whom its QEMU becomes (account.h): its own files are
 * given to that user, and the others must be open to it.
 */
#ifndef BELONGINGS_H
#define BELONGINGS_H

#include <stdbool.h>
#include <stddef.h>

#include "vm/account.h"
#include "vm/confinerules.h"

#define BELONGINGS_WHY 256

enum belongings {
	BELONGINGS_GOOD,
	BELONGINGS_LATE, /* QEMU must open something as root, and become that user by itself */
	BELONGINGS_REFUSED,
};

/*
 * For a child process of root's, which becomes the account meanwhile, in the directory where QEMU
 * will run. give: the VM's own files are given away; otherwise they count as given. What is refused
 * is logged; why it is late goes to late.
 */
enum belongings belongings_check(const struct confine_use *use, const struct account *account,
				 bool give, char late[BELONGINGS_WHY]);

#endif
