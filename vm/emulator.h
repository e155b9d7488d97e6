/* What an installed QEMU, or a program that runs beside it, supports. */
#ifndef EMULATOR_H
#define EMULATOR_H

#include <stdbool.h>

/*
 * Whether QEMU's -help lists an option ("-runas"). Runs it, which takes about 20 ms and is ended
 * after 5 s. False also if it cannot be executed: starting it will report why.
 */
bool emulator_takes(const char *emulator, const char *option);

/* What a program prints when it is called with an option such as "--help", in the same way:
 * malloc'd. */
char *emulator_help(const char *program, const char *option);

#endif
