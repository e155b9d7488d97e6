/*
 * Files in a directory that somebody else may write to, or could once: no link is followed, no FIFO
 * waited for, and no file that has a second name elsewhere is written to.
 */
#ifndef SAFEFILE_H
#define SAFEFILE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>

/*
 * openat(2) of a regular file that has this name alone, close-on-exec; with O_CREAT it is made with
 * mode 0600. -1 and errno: also ELOOP, it is a link; EMLINK, it has another name; EINVAL, it is not
 * a regular file.
 */
int safefile_open(int dirfd, const char *name, int flags);

/* A new file, open for writing, in the place of whatever has that name. -1 and errno. */
int safefile_create(int dirfd, const char *name);

/* Writes all of it. False and errno. */
bool safefile_write(int fd, const char *text, size_t len);

/*
 * Replaces a file: it holds all of text (mode 0600) or what it did before, also after a power cut.
 * new is its name while it is written, which only one process may use at a time. False and errno.
 */
bool safefile_replace(int dirfd, const char *name, const char *new, const char *text);

/*
 * Who else than we and root may exchange what is in a directory, as the end of a sentence,
 * malloc'd; NULL: nobody.
 */
char *safefile_writers(const struct stat *dir);

/* Whether a directory is ours, or may be root's: another owner can exchange our files in it. */
bool safefile_owner_is_good(const struct stat *dir, bool root_is_good);

#endif
