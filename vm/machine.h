/* Defaults for emulator, machine, accel and devices. */
#ifndef MACHINE_H
#define MACHINE_H

#include "vm/problem.h"

/* Fills them in; if none are known for this kind of host, that is a problem at file. */
void machine_fill(struct reader *r, const struct place *file);
void machine_fill_devices(struct vm *vm);

#endif
