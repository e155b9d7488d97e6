/* Reading directories, without mistaking one that cannot be read for an empty one. */
#ifndef DIRECTORY_H
#define DIRECTORY_H

#include <dirent.h>

/*
 * readdir(3) of all but "." and "..". NULL at the end, with errno 0, or on failure, with errno. A
 * dir that is NULL, from an opendir(3) that failed, leaves errno as it is.
 */
struct dirent *directory_next(DIR *dir);

#endif
