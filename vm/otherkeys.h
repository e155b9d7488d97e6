/* Keys that users of other programs try in a definition. */
#ifndef OTHERKEYS_H
#define OTHERKEYS_H

/* What to write instead of a key that there is not, as the end of a message; "": it is not known.
 */
const char *otherkey_hint(const char *key);

#endif
