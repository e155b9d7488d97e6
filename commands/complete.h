/* vmconf --complete: what the words of vmconf's command line may become (lib/complete.h). */
#ifndef COMMANDS_COMPLETE_H
#define COMMANDS_COMPLETE_H

#include "commands/call.h"

/* Answers for the words of call->argv, of which there is at least one, and exits. */
_Noreturn void complete_call(struct call *call);

#endif
