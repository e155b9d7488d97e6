/* Our other programs: in the source tree, or installed, even under another PREFIX. */
#ifndef NEARBY_H
#define NEARBY_H

/* A program, relative to this program's directory. Malloc'd; NULL if it does not exist. */
char *nearby(const char *file);

/* A program that vmconf executes, such as "init/systemd", by its place in the tree. Malloc'd. */
char *nearby_helper(const char *file);

#endif
