/* Keys that users of other programs may try in a definition. */
#ifndef OTHERKEYS_H
#define OTHERKEYS_H

/* What to write instead of an unknown key, as the end of a message; "": not known. */
const char *otherkey_hint(const char *key);

#endif
