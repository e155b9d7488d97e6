#include "vm/image.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/array.h"
#include "lib/xalloc.h"

#define NAME_MAX_LEN 1023	 /* of a backing file, in each of these formats */
#define TEXT_MAX     (64 * 1024) /* of a vmdk's descriptor */
#define EXTENSIONS   64		 /* in a header; QEMU writes at most five */

/* ---- opening ---- */

/* O_PATH opens nothing, so a device's driver does not notice. */
static int look(const char *path, struct stat *st)
{
	int fd = open(path, O_PATH | O_CLOEXEC);
	bool looked = fd >= 0 && fstat(fd, st) == 0;
	bool good = looked && (S_ISREG(st->st_mode) || S_ISBLK(st->st_mode));
	int error = looked ? EINVAL : errno;

	if (fd >= 0 && !good)
		close(fd);
	errno = error;
	return good ? fd : -1;
}

bool image_look(const char *path, struct stat *st)
{
	int fd = look(path, st);

	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

/* Opens through the O_PATH descriptor, so it opens exactly what was checked. */
int image_open(const char *path, struct stat *st)
{
	int looked = look(path, st), fd, error;
	char link[64];

	if (looked < 0)
		return -1;
	snprintf(link, sizeof(link), "/proc/self/fd/%d", looked);
	fd = open(link, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	error = errno;
	close(looked);
	errno = error;
	return fd;
}

/* QEMU locks bytes from 100 on for what it may do, from 200 on for what others may not. */
bool image_is_open(const char *path)
{
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 100, .l_len = 200};
	struct stat st;
	int fd = image_open(path, &st);
	bool open = fd >= 0 && fcntl(fd, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;

	if (fd >= 0)
		close(fd);
	return open;
}

/* ---- reading ---- */

/* An image, or its container; its header is at an offset of the file. */
struct source {
	int fd;
	off_t at;
};

static bool read_at(const struct source *in, uint64_t offset, void *to, size_t len)
{
	if (offset > INT64_MAX / 2 || in->at > INT64_MAX / 2)
		return false;
	return pread(in->fd, to, len, in->at + (off_t)offset) == (ssize_t)len;
}

/* A file name of QEMU's, malloc'd; NULL if it is truncated or missing. */
static char *read_name(const struct source *in, uint64_t offset, uint32_t len)
{
	char *name = len > 0 && len <= NAME_MAX_LEN ? xcalloc(len + 1, 1) : NULL;

	if (!name || (read_at(in, offset, name, len) && name[0]))
		return name;
	free(name);
	return NULL;
}

/* Takes ownership of name; copies format, which is NULL or "" if not known. */
static void add(struct image_refs *refs, enum image_part part, char *name, const char *format)
{
	struct image_ref *ref;

	if (!name)
		return;
	refs->v = xreallocarray(refs->v, refs->count + 1, sizeof(refs->v[0]));
	ref = &refs->v[refs->count++];
	*ref = (struct image_ref){.part = part, .beside = true};
	ref->name = name;
	snprintf(ref->said, sizeof(ref->said), "%s", format ? format : "");
}

/* ---- qcow2 and qcow (docs/interop/qcow2.txt in QEMU): numbers are big-endian ---- */

struct qcow2_head {
	uint32_t magic, version;
	uint64_t backing_offset;
	uint32_t backing_size, cluster_bits;
	uint64_t size;
	uint32_t crypt_method, l1_size;
	uint64_t l1_offset, refcount_offset;
	uint32_t refcount_clusters, snapshot_count;
	uint64_t snapshots_offset;
	uint64_t incompatible, compatible, autoclear; /* from version 3 on, like the following */
	uint32_t refcount_order, header_length;
} __attribute__((packed));

struct qcow2_extension {
	uint32_t type, len;
} __attribute__((packed));

#define QCOW_MAGIC	      0x514649fb
#define QCOW2_V2_LENGTH	      72
#define QCOW2_HAS_DATA_FILE   (UINT64_C(1) << 2)
#define EXTENSION_BASE_FORMAT 0xe2792aca
#define EXTENSION_DATA_FILE   0x44415441

struct qcow2 {
	struct source in;
	struct qcow2_head head;
	uint64_t from, until; /* offsets of the extensions */
	char format[16];      /* of its base */
	char *data;	      /* its data file */
};

static void take_extension(struct qcow2 *q, uint32_t type, uint32_t len)
{
	char *text = NULL;

	if (type == EXTENSION_BASE_FORMAT && len < sizeof(q->format))
		text = read_name(&q->in, q->from, len);
	if (text)
		snprintf(q->format, sizeof(q->format), "%s", text);
	free(text);
	if (type == EXTENSION_DATA_FILE && !q->data)
		q->data = read_name(&q->in, q->from, len);
}

static void read_extensions(struct qcow2 *q)
{
	struct qcow2_extension extension;

	for (int i = 0; i < EXTENSIONS && q->from + sizeof(extension) <= q->until; i++) {
		uint32_t len;

		if (!read_at(&q->in, q->from, &extension, sizeof(extension)) || !extension.type)
			return;
		q->from += sizeof(extension);
		len = be32toh(extension.len);
		if (len > q->until - q->from)
			return;
		take_extension(q, be32toh(extension.type), len);
		q->from += ((uint64_t)len + 7) & ~UINT64_C(7);
	}
}

/* Finds the extensions as QEMU does: up to the base's name, or to the end of the cluster. */
static bool find_extensions(struct qcow2 *q)
{
	uint32_t bits = be32toh(q->head.cluster_bits), version = be32toh(q->head.version);
	uint64_t base = be64toh(q->head.backing_offset);
	size_t len = version == 2 ? QCOW2_V2_LENGTH : sizeof(q->head);

	if (be32toh(q->head.magic) != QCOW_MAGIC || (version != 2 && version != 3) || bits < 9 ||
	    bits > 21 || !read_at(&q->in, 0, &q->head, len))
		return false;
	q->from = version == 2 ? QCOW2_V2_LENGTH : be32toh(q->head.header_length);
	q->until = base ? base : UINT64_C(1) << bits;
	return base <= UINT64_C(1) << bits;
}

static void read_qcow2(const struct source *in, struct image_refs *refs)
{
	struct qcow2 q = {.in = *in};

	if (!read_at(in, 0, &q.head, QCOW2_V2_LENGTH) || !find_extensions(&q))
		return;
	read_extensions(&q);
	if (q.head.backing_offset)
		add(refs, IMAGE_BASE,
		    read_name(in, be64toh(q.head.backing_offset), be32toh(q.head.backing_size)),
		    q.format);
	if (!(be64toh(q.head.incompatible) & QCOW2_HAS_DATA_FILE) || !q.data) {
		free(q.data);
		return;
	}
	add(refs, IMAGE_DATA, q.data, "raw");
	refs->v[refs->count - 1].beside = false;
}

/* Version 1, whose fields are the same that far. */
static void read_qcow(const struct source *in, struct image_refs *refs)
{
	struct qcow2_head head;

	if (read_at(in, 0, &head, 24) && be32toh(head.magic) == QCOW_MAGIC &&
	    be32toh(head.version) == 1 && head.backing_offset)
		add(refs, IMAGE_BASE,
		    read_name(in, be64toh(head.backing_offset), be32toh(head.backing_size)), NULL);
}

unsigned long long image_qcow2_size(int fd)
{
	struct qcow2_head head;

	if (!read_at(&(struct source){.fd = fd}, 0, &head, QCOW2_V2_LENGTH) ||
	    be32toh(head.magic) != QCOW_MAGIC)
		return 0;
	return be64toh(head.size);
}

/* ---- qed (docs/specs/qed_spec.txt): numbers are little-endian ---- */

struct qed_head {
	uint32_t magic, cluster_size, table_size, header_size;
	uint64_t features, compatible, autoclear, l1_offset, size;
	uint32_t base_offset, base_size;
} __attribute__((packed));

#define QED_HAS_BASE	0x01
#define QED_BASE_IS_RAW 0x04

static void read_qed(const struct source *in, struct image_refs *refs)
{
	struct qed_head head;
	uint64_t features;

	if (!read_at(in, 0, &head, sizeof(head)) || memcmp(&head.magic, "QED", 4) != 0)
		return;
	features = le64toh(head.features);
	if (features & QED_HAS_BASE)
		add(refs, IMAGE_BASE,
		    read_name(in, le32toh(head.base_offset), le32toh(head.base_size)),
		    features & QED_BASE_IS_RAW ? "raw" : NULL);
}

/* ---- vmdk: a text file, or text embedded in the image ---- */

struct vmdk_head {
	uint32_t magic, version, flags;
	uint64_t capacity, grain, text_sector, text_sectors;
} __attribute__((packed));

static char *read_text(const struct source *in, uint64_t offset)
{
	char *text = xcalloc(TEXT_MAX + 1, 1);

	if (offset < INT64_MAX / 2 && in->at < INT64_MAX / 2 &&
	    pread(in->fd, text, TEXT_MAX, in->at + (off_t)offset) > 0)
		return text;
	free(text);
	return NULL;
}

/* The text in the next pair of quotes, malloc'd; NULL if there is none. */
static char *quoted_after(const char *text)
{
	const char *from = text + strcspn(text, "\"\n");
	size_t len = *from == '"' ? strcspn(from + 1, "\"\n") : 0;

	return len > 0 ? xasprintf("%.*s", (int)len, from + 1) : NULL;
}

static void take_extents(const char *text, struct image_refs *refs)
{
	for (const char *line = text; line; line = strchr(line, '\n')) {
		char access[11], type[11];
		long long sectors;

		line += *line == '\n';
		if (sscanf(line, "%10s %lld %10s", access, &sectors, type) == 3 && sectors > 0 &&
		    strcmp(access, "RW") == 0)
			add(refs, IMAGE_DATA, quoted_after(line), "raw");
	}
}

static void read_vmdk(const struct source *in, struct image_refs *refs)
{
	struct vmdk_head head = {0};
	bool sparse, plain;
	const char *parent;
	char *text;

	if (!read_at(in, 0, &head.magic, sizeof(head.magic)) || memcmp(&head, "COWD", 4) == 0)
		return;
	sparse = memcmp(&head, "KDMV", 4) == 0 && read_at(in, 0, &head, sizeof(head));
	if (sparse && (!head.text_sector || le64toh(head.text_sector) > UINT32_MAX))
		return;
	text = read_text(in, le64toh(head.text_sector) * 512);
	plain = text && (!sparse || !head.capacity);
	if (plain)
		take_extents(text, refs);
	parent = text ? strstr(text, "parentFileNameHint") : NULL;
	if (parent)
		add(refs, IMAGE_BASE, quoted_after(parent), "vmdk");
	free(text);
}

/* ---- all of them ---- */

static const struct reader {
	const char *format, *magic;
	size_t len; /* of magic */
	void (*read)(const struct source *in, struct image_refs *refs);
} readers[] = {
	{"qcow2", "QFI\xfb", 4, read_qcow2}, {"qcow", "QFI\xfb", 4, read_qcow},
	{"qed", "QED", 4, read_qed},	     {"vmdk", "KDMV", 4, read_vmdk},
	{"vmdk", "COWD", 4, read_vmdk},
};

#define READERS (ARRAY_SIZE(readers))

static const struct reader *find_reader(const char *format)
{
	for (size_t i = 0; i < READERS; i++)
		if (strcmp(readers[i].format, format) == 0)
			return &readers[i];
	return NULL;
}

bool image_may_refer(const char *format)
{
	return find_reader(format) != NULL;
}

/* A vmdk may be plain text, and QEMU accepts a lot as the start of one. */
bool image_looks_referring(int fd)
{
	char head[2048 + 1] = "";
	ssize_t len = pread(fd, head, sizeof(head) - 1, 0);
	const char *text = head + strspn(head, " \t\r\n");

	for (size_t i = 0; i < READERS && len > 0; i++)
		if (memcmp(head, readers[i].magic, readers[i].len) == 0)
			return true;
	return text[0] == '#' || strncmp(text, "version=", 8) == 0;
}

struct image_refs image_read_refs(int fd, off_t at, const char *format)
{
	const struct source in = {.fd = fd, .at = at};
	const struct reader *reader = find_reader(format);
	struct image_refs refs = {0};

	if (reader)
		reader->read(&in, &refs);
	for (size_t i = 0; i < refs.count; i++)
		refs.v[i].format = refs.v[i].said[0] ? refs.v[i].said : NULL;
	return refs;
}

void image_refs_free(struct image_refs *refs)
{
	for (size_t i = 0; i < refs->count; i++)
		free(refs->v[i].name);
	free(refs->v);
	*refs = (struct image_refs){0};
}
