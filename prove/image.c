/*
 * Headers of disk images, which a guest may have written.
 *
 * Proven: nothing outside an object is touched, nothing overflows, no loop goes on for long, and
 * nothing is leaked or freed twice; what an image refers to has a name of 1 to 1023 bytes.
 *
 * For: every file of qcow2 with up to 2 extensions and names of up to 15 bytes; every one of qcow
 * and qed. A file may change between two reads.
 *
 * Modelled: pread(2), as any bytes at each call; calloc(3) and
 * reallocarray(3).
 */
#include "prove/prove.h"

#include "vm/image.c"
#include "lib/xalloc.c"

static size_t file_size;
static int extensions_left = 2;
static size_t longest_name = NAME_MAX_LEN;

static const char *asked; /* memory, of as many bytes */
static size_t asked_size;

/* Of one size: far cheaper than of any. What it holds is what may be read into it: anything. */
void *calloc(size_t count, size_t size)
{
	asked_size = count * size;
	assert(asked_size <= NAME_MAX_LEN + 1);
	ASSUME(asked_size <= longest_name + 1);
	asked = malloc(longest_name + 1);
	return (void *)asked;
}

void *reallocarray(void *old, size_t count, size_t size)
{
	return realloc(old, count * size);
}

ssize_t pread(int fd, void *to, size_t size, off_t offset)
{
	size_t got = any_size();

	(void)fd;
	assert(to != asked || size < asked_size); /* ends in a 0 */
	if (offset < 0 || any_bool())
		return -1;
	if (to != asked && size == sizeof(struct qcow2_extension) && extensions_left-- <= 0)
		return -1;
	ASSUME(got <= size);
	if ((size_t)offset >= file_size)
		return 0;
	ASSUME(got <= file_size - (size_t)offset);
	__CPROVER_havoc_slice(to, size);
	return (ssize_t)got;
}

int snprintf(char *s, size_t size, const char *format, ...)
{
	(void)format;
	assert(size > 0);
	__CPROVER_havoc_slice(s, size);
	s[size - 1] = '\0';
	return 0;
}

static void check(struct image_refs *refs, size_t most)
{
	assert(refs->count <= most);
	for (size_t i = 0; i < refs->count; i++)
		assert(refs->v[i].name && refs->v[i].name[0]);
	image_refs_free(refs);
}

PROOF(qcow2, "--unwind 4 --memory-leak-check")
{
	struct image_refs refs = {0};
	const struct source in = {.at = any_int64()};

	longest_name = 15;
	file_size = any_size();
	read_qcow2(&in, &refs);
	check(&refs, 2);
}

/* Where its extensions end: at the end of the largest cluster at the latest. */
PROOF(extensions, "--unwind 2")
{
	struct qcow2 q = {.in = {.at = any_int64()}};

	file_size = any_size();
	if (read_at(&q.in, 0, &q.head, QCOW2_V2_LENGTH) && find_extensions(&q))
		assert(q.until > 0 && q.until <= 1 << 21);
}

PROOF(qcow, "--unwind 4 --memory-leak-check")
{
	struct image_refs refs = {0};
	const struct source in = {.at = any_int64()};

	file_size = any_size();
	read_qcow(&in, &refs);
	check(&refs, 1);
}

PROOF(qed, "--unwind 5 --memory-leak-check")
{
	struct image_refs refs = {0};
	const struct source in = {.at = any_int64()};

	file_size = any_size();
	read_qed(&in, &refs);
	check(&refs, 1);
}
