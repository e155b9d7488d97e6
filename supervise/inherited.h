/* What QEMU of a definition does not inherit of its supervisor: for the child, before the exec. */
#ifndef INHERITED_H
#define INHERITED_H

/* Descriptors that would be inherited and that no word of argv names ("fd=9") are not. */
void inherited_close(char *const *argv);

/*
 * Unless argv uses standard input and output, QEMU gets a session of its own without a terminal: a
 * standard input or output that is one is replaced by nothing, and by standard error.
 */
void inherited_leave_terminal(char *const *argv);

#endif
