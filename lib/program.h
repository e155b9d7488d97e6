/* Programs that we execute: with root's rights never one that somebody else may exchange. */
#ifndef PROGRAM_H
#define PROGRAM_H

/*
 * Opens a program (close-on-exec), unless others may exchange it: it, and each directory and link
 * on its path, must belong to root, to us or to the owner of the program that we are, and nobody
 * else may write to it; a directory is fine where it is sticky, or writable by our own group or
 * that of the program that we are. -1: *why gets a malloc'd reason, and errno is EPERM, or tells
 * why it cannot be executed.
 */
int program_open(const char *path, char **why);

/* The file that execvp(3) would execute, malloc'd; NULL: there is none. */
char *program_find(const char *name);

/*
 * execve(2) of what program_open() has opened at path. A script is executed by that path: its
 * interpreter must open it, and nobody else can exchange it there either. Safe after fork(2);
 * returns with errno on failure.
 */
void program_exec(int fd, const char *path, char *const *argv, char *const *env);

/*
 * execvp(3), but as root only of what program_open() opens. For a child that may allocate; returns
 * with errno on failure: of EPERM the log has told.
 */
void program_run(char *const *argv);

#endif
