/* What has happened to a VM between two looks at it, for "vmconf watch". */
#ifndef NEWS_H
#define NEWS_H

#include <stddef.h>

#include "commands/vmstate.h"

#define NEWS_TEXT 1024

/* What may happen, in the order in which it does. */
enum news {
	NEWS_ENDED,
	NEWS_STARTING,
	NEWS_STARTED,
	NEWS_TAKEN_OVER,
	NEWS_UNMANAGED,
	NEWS_LISTENING,
	NEWS_READY,
	NEWS_PAUSED,
	NEWS_RESUMED,
	NEWS_HELPER_DIED,
	NEWS_STOPPING,
	NEWS_UNKNOWN,
	NEWS_COUNT
};

const char *news_word(enum news news);

/* Whether that has happened between was and is. */
bool news_happened(enum news news, const struct vm_status *was, const struct vm_status *is);

/* What there is to say of it: pids, the rung, how it ended; or "". */
void news_text(enum news news, const struct vm_status *is, char text[NEWS_TEXT]);

#endif
