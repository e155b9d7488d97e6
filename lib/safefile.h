/*
 * Files in a directory that somebody else can or once could write to: no link is followed, no FIFO
 * is waited for, and a file with a second name elsewhere is never written.
 */
#ifndef SAFEFILE_H
#define SAFEFILE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>

#define SAFEFILE_MAX (1024 * 1024)

/*
 * openat(2), close-on-exec, of a regular file with a single name; O_CREAT makes it with mode 0600.
 * -1 and errno on failure: also ELOOP (a symbolic link), EMLINK (it has another name) and EINVAL
 * (not a regular file).
 */
int safefile_open(int dirfd, const char *name, int flags);

/*
 * Whether path is a symbolic link that somebody else may have put there, neither root nor we: in a
 * directory that is whose the link is, only if strict. *owner: whose it is.
 */
bool safefile_is_planted(const char *path, bool strict, uid_t *owner);

/* Makes a new file, open for writing, replacing any file of that name. -1 and errno on failure. */
int safefile_create(int dirfd, const char *name);

/*
 * Reads a regular file to its end: malloc'd, with a NUL after its len bytes. NULL on failure, with
 * errno: EFBIG for one of more than SAFEFILE_MAX bytes, EINVAL for one that is not regular.
 */
char *safefile_read(int fd, size_t *len);

/* The JSON object in it. NULL: errno is why it cannot be read, or 0: it is not one. fd may be -1.
 */
json_t *safefile_read_json(int fd);

/*
 * Whether an error of open(2) or of these means that there is no such file. Anybody who can write
 * to its directory may have replaced it: with what is no file, or a large one. After any other
 * error it may be there.
 */
bool safefile_is_none(int error);

/* Writes all of text. False on failure, with errno. */
bool safefile_write(int fd, const char *text, size_t len);

/*
 * Replaces a file (mode 0600) atomically, even on power loss. new is the name used while writing;
 * only one process at a time may use it. False on failure, with errno.
 */
bool safefile_replace(int dirfd, const char *name, const char *new, const char *text);

/*
 * Replaces a file by its end, from at on, as safefile_replace() does. fd is the file, open for
 * reading.
 */
bool safefile_keep_end(int dirfd, const char *name, const char *new, int fd, off_t at);

/*
 * Who but root and us could replace files in a directory: the end of a sentence, malloc'd; or NULL.
 */
char *safefile_writers(const struct stat *dir);

/* Whether a directory is ours or, if root_is_good, root's: others could replace our files. */
bool safefile_owner_is_good(const struct stat *dir, bool root_is_good);

#endif
