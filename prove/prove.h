/*
 * What the proofs share. t/prove hands each PROOF of prove/*.c to CBMC, a bounded model checker:
 * it looks at all values that the any_*() can have, within the bounds that the proof states, and
 * finds the ones that break an assertion, overflow, or reach outside an object. A loop that could
 * go round more often than --unwind says makes the proof fail: nothing is cut off in silence.
 *
 * A proof includes the .c file it is about. prove/libc.h has models of what is not ours.
 */
#ifndef PROVE_H
#define PROVE_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* t/prove reads these lines; options are CBMC's, beside those for all. */
#define PROOF(name, options)                                                                       \
	void prove_##name(void);                                                                   \
	void prove_##name(void)

/* Only what holds is looked at further. */
#define ASSUME(condition) __CPROVER_assume(condition)

/* What has no value yet has any value. */
#define ANY(type, name)                                                                            \
	static inline type any_##name(void)                                                        \
	{                                                                                          \
		type value;                                                                        \
                                                                                                   \
		return value;                                                                      \
	}

ANY(bool, bool)
ANY(char, char)
ANY(int, int)
ANY(int64_t, int64)
ANY(uint64_t, uint64)
ANY(size_t, size)
ANY(double, double)

/* Fills text, of size bytes, with any string of up to size - 1 bytes. */
static inline void any_text(char *text, size_t size)
{
	size_t len = any_size();

	ASSUME(len < size);
	for (size_t i = 0; i < size; i++) {
		text[i] = any_char();
		ASSUME((i < len) == (text[i] != '\0') || i > len);
	}
}

#endif
