/* What an installed QEMU, or a program that runs beside it, supports. */
#ifndef EMULATOR_H
#define EMULATOR_H

#include <stdbool.h>

/*
 * What a program of QEMU's prints with one option, such as --version, on standard output: malloc'd,
 * up to 1 MiB; "" if it cannot be executed. NULL: it has not told all of that within 30 s, and was
 * ended, or no process could be made.
 */
char *emulator_prints(const char *program, const char *option);

/*
 * Whether QEMU's -help lists an option ("-runas"). Runs it, which takes about 20 ms, and 30 s at
 * most. False also if it does not tell: starting it will report why.
 */
bool emulator_takes(const char *emulator, const char *option);

#endif
