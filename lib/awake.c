#include "lib/awake.h"

#define GAP_MS (2 * AWAKE_BEAT_MS) /* a busy host is not a frozen one */

int64_t awake_look(struct awake *awake, int64_t now, int64_t real)
{
	int64_t gap = awake->seen_real > 0 ? real - awake->seen_real : 0;

	if (gap <= GAP_MS)
		gap = 0;
	else
		awake->missed += now - awake->seen;
	awake->seen = now;
	awake->seen_real = real;
	return gap;
}

void awake_rest(struct awake *awake)
{
	awake->seen = awake->seen_real = 0;
}
