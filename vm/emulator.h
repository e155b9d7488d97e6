/* What an installed QEMU supports. */
#ifndef EMULATOR_H
#define EMULATOR_H

#include <stdbool.h>

/*
 * Whether QEMU's -help lists an option ("-runas"). Runs it, which takes about 20 ms and is ended
 * after 5 s. False also if it cannot be executed: starting it will report why.
 */
bool emulator_takes(const char *emulator, const char *option);

#endif
