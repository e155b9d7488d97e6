/* What the unit tests share: cmocka's headers in their order, and TAP output. */
#ifndef UNIT_H
#define UNIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "lib/array.h"

#define RUN(tests)                                                                                 \
	(cmocka_set_message_output(CM_OUTPUT_TAP), cmocka_run_group_tests(tests, NULL, NULL))

/*
 * Ends a test where what it needs is not so; with T_NO_SKIP it fails. Some versions of cmocka print
 * "not ok" for skip(), which prove takes for a failure.
 */
#define NEED(what)                                                                                 \
	do {                                                                                       \
		if (!(what)) {                                                                     \
			if (getenv("T_NO_SKIP"))                                                   \
				fail_msg("not so: %s; and T_NO_SKIP is set", #what);               \
			print_message("# left out, since this is not so: %s\n", #what);            \
			return;                                                                    \
		}                                                                                  \
	} while (0)

#endif
