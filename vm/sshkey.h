/* Public keys of ssh, as they are in *.pub and authorized_keys. */
#ifndef SSHKEY_H
#define SSHKEY_H

/* What is wrong with a line that should be a public key: words to follow it; NULL: it is one. */
const char *sshkey_wrong(const char *line);

#endif
