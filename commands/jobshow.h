/* What "start" and "stop" show on a terminal while they wait. */
#ifndef JOBSHOW_H
#define JOBSHOW_H

#include "commands/vmjob.h"

/* Shows how far the VMs are, a few times a second. */
void jobs_show(struct lifecycle *l);

#endif
