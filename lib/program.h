/* Executing programs, as root never one that somebody else could have replaced. */
#ifndef PROGRAM_H
#define PROGRAM_H

#include <stdbool.h>

/*
 * Opens a program (close-on-exec) that others cannot replace: it and every directory and link on
 * its path must belong to root, to us or to the owner of our own executable, and nobody else may
 * write to them. Exceptions are directories that are sticky or writable by our group or that of our
 * executable. -1 on failure: *why is a malloc'd reason, and errno is EPERM, or why it cannot be
 * executed.
 */
int program_open(const char *path, char **why);

/* The file that execvp(3) would execute, malloc'd; NULL if there is none. */
char *program_find(const char *name);

/*
 * execve(2) of what program_open() opened at path. A script is executed by path, since its
 * interpreter must open it, and nobody else can replace it there. Safe after fork(2); returns only
 * on failure, with errno.
 */
void program_exec(int fd, const char *path, char *const *argv, char *const *env);

/*
 * execvp(3), but root executes only what program_open() accepts. For a child that may allocate
 * memory. Returns only on failure, with errno; EPERM has been logged.
 */
void program_run(char *const *argv);

/* The same, with last(arg) before the exec, if not NULL; false: it is not executed; errno. */
void program_run_after(char *const *argv, bool (*last)(void *arg), void *arg);

#endif
