/* Which of QEMU's options need which files, devices and networks: a table. */
#ifndef CONFINEOPTIONS_H
#define CONFINEOPTIONS_H

#include "vm/confinerules.h"

/* Adds what the options of use->argv need; images are files.h's. */
void confine_options(struct confinement *c, const struct confine_use *use);

#endif
