/* What the QEMU at hand can do. */
#ifndef EMULATOR_H
#define EMULATOR_H

#include <stdbool.h>

/*
 * Whether its -help lists an option ("-runas"). It is executed for that, for 20 ms, and ended after
 * 5 s. False also where it cannot be executed: its start will say why.
 */
bool emulator_takes(const char *emulator, const char *option);

#endif
