/* What stands for the keys that a definition does not have: emulator, machine, accel, devices. */
#ifndef MACHINE_H
#define MACHINE_H

#include "vm/problem.h"

/* Fills them in; where none is known for this kind of host that is a problem at file. */
void machine_fill(struct reader *r, const struct place *file);
void machine_fill_devices(struct vm *vm);

#endif
