/*
 * Headers of disk images, which a guest may have written.
 *
 * Proven: nothing outside an object is touched, nothing overflows, no loop goes on for long, and
 * nothing is leaked or freed twice; what an image refers to has a name of 1 to 1023 bytes.
 *
 * For: every file of up to 96 bytes, for the qcow2 reader; every file for those of qcow and qed. A
 * file may change between two reads.
 *
 * Modelled: pread(2), as any bytes at each call.
 */
#include "prove/prove.h"

#include "vm/image.c"
#include "lib/xalloc.c"

static size_t file_size;

ssize_t pread(int fd, void *to, size_t size, off_t offset)
{
	size_t got = any_size();

	(void)fd;
	if (offset < 0 || any_bool())
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

PROOF(qcow2, "--unwind 4 --unwindset read_extensions.0:14 --memory-leak-check")
{
	struct image_refs refs = {0};
	const struct source in = {.at = any_int64()};

	file_size = any_size();
	ASSUME(file_size <= 96);
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

PROOF(others, "--unwind 4 --memory-leak-check")
{
	struct image_refs refs = {0};
	const struct source in = {.at = any_int64()};

	file_size = any_size();
	if (any_bool())
		read_qcow(&in, &refs);
	else
		read_qed(&in, &refs);
	check(&refs, 1);
}
