/* What the headers of images refer to, however they were made; and what is never opened. */
#include "unit.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vm/image.h"

#define NAME	 "/base.raw"
#define NAME_AT	 1024
#define CLUSTER	 65536
#define DATA_BIT 4

static unsigned char image[CLUSTER];

static void put32(size_t at, uint32_t value)
{
	value = htobe32(value);
	memcpy(image + at, &value, sizeof(value));
}

static void put64(size_t at, uint64_t value)
{
	put32(at, (uint32_t)(value >> 32));
	put32(at + 4, (uint32_t)value);
}

static size_t put_extension(size_t at, uint32_t type, const char *text, uint32_t len)
{
	put32(at, type);
	put32(at + 4, len);
	memcpy(image + at + 8, text, strlen(text));
	return at + 8 + ((strlen(text) + 7) & ~(size_t)7);
}

/* A whole one, of version 3, that is based on NAME. */
static size_t begin(void)
{
	memset(image, 0, sizeof(image));
	put32(0, 0x514649fb);
	put32(4, 3);
	put64(8, NAME_AT);
	put32(16, strlen(NAME));
	put32(20, 16);
	put64(24, 1 << 20);
	put32(100, 104);
	memcpy(image + NAME_AT, NAME, strlen(NAME));
	return put_extension(104, 0xe2792aca, "raw", 3);
}

static struct image_refs read_refs(const char *format, size_t size, off_t at)
{
	int fd = memfd_create("image", MFD_CLOEXEC);
	struct image_refs refs;

	assert_int_equal(pwrite(fd, image, size, at), size);
	refs = image_read_refs(fd, at, format);
	close(fd);
	return refs;
}

static void has_none(const char *format, size_t size)
{
	struct image_refs refs = read_refs(format, size, 0);

	assert_int_equal(refs.count, 0);
	image_refs_free(&refs);
}

static void has_base(const char *format, const char *of, off_t at)
{
	struct image_refs refs = read_refs(format, sizeof(image), at);

	assert_int_equal(refs.count, 1);
	assert_int_equal(refs.v[0].part, IMAGE_BASE);
	assert_string_equal(refs.v[0].name, NAME);
	if (of)
		assert_string_equal(refs.v[0].format, of);
	else
		assert_null(refs.v[0].format);
	image_refs_free(&refs);
}

static void test_base(void **state)
{
	(void)state;
	begin();
	has_base("qcow2", "raw", 0);
	has_base("qcow2", "raw", 123);
	put32(4, 2); /* what follows is its extensions, then: none */
	has_base("qcow2", NULL, 0);
	has_none("qcow", sizeof(image));
	put32(4, 1);
	has_base("qcow", NULL, 0);
	has_none("qcow2", sizeof(image));
	put64(8, 0);
	has_none("qcow", sizeof(image));
}

static void test_data_file(void **state)
{
	struct image_refs refs;
	size_t end;

	(void)state;
	end = begin();
	put_extension(end, 0x44415441, "data.raw", 8);
	has_base("qcow2", "raw", 0); /* without its bit, the name says nothing */
	put64(72, DATA_BIT);
	refs = read_refs("qcow2", sizeof(image), 0);
	assert_int_equal(refs.count, 2);
	assert_int_equal(refs.v[1].part, IMAGE_DATA);
	assert_string_equal(refs.v[1].name, "data.raw");
	assert_string_equal(refs.v[1].format, "raw");
	assert_false(refs.v[1].beside);
	image_refs_free(&refs);
}

static void test_damaged(void **state)
{
	(void)state;
	for (size_t size = 0; size < NAME_AT + strlen(NAME); size++) {
		begin();
		has_none("qcow2", size);
	}
	begin();
	put32(16, 1024); /* longer than QEMU takes */
	has_none("qcow2", sizeof(image));
	begin();
	put64(8, UINT64_MAX);
	has_none("qcow2", sizeof(image));
	begin();
	put64(8, CLUSTER + 1);
	has_none("qcow2", sizeof(image));
	begin();
	put32(20, 63);
	has_none("qcow2", sizeof(image));
	begin();
	put32(100, UINT32_MAX); /* no extensions there */
	has_base("qcow2", NULL, 0);
	begin();
	put32(108, UINT32_MAX); /* one that goes beyond them */
	has_base("qcow2", NULL, 0);
	begin();
	image[0] = 0;
	has_none("qcow2", sizeof(image));
}

static void test_vmdk(void **state)
{
	static const char text[] = "# Disk DescriptorFile\nparentFileNameHint=\"/base.raw\"\n"
				   "RW 20480 FLAT \"x-f001.vmdk\" 0\nRW 0 FLAT \"none\" 0\n"
				   "RO 5 FLAT \"neither\" 0\nRW 7 ZERO\n";
	struct image_refs refs;

	(void)state;
	memset(image, 0, sizeof(image));
	memcpy(image, text, sizeof(text));
	refs = read_refs("vmdk", sizeof(image), 0);
	assert_int_equal(refs.count, 2);
	assert_string_equal(refs.v[0].name, "x-f001.vmdk");
	assert_int_equal(refs.v[0].part, IMAGE_DATA);
	assert_string_equal(refs.v[1].name, NAME);
	assert_string_equal(refs.v[1].format, "vmdk");
	image_refs_free(&refs);
	memset(image, '"', sizeof(image));
	memcpy(image, "KDMV", 4);
	has_none("vmdk", sizeof(image));
	has_none("vmdk", 5);
}

/* Neither is opened: a FIFO would have a reader, and a watchdog would run. */
static void test_what_is_opened(void **state)
{
	char dir[] = "/tmp/unit-image-XXXXXX", path[64];
	struct stat st;

	(void)state;
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/fifo", dir);
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_int_equal(image_open(path, &st), -1);
	assert_int_equal(errno, EINVAL);
	assert_int_equal(image_open("/dev/null", &st), -1);
	assert_int_equal(errno, EINVAL);
	assert_int_equal(image_open(dir, &st), -1);
	assert_int_equal(errno, EINVAL);
	unlink(path);
	assert_int_equal(image_open(path, &st), -1);
	assert_int_equal(errno, ENOENT);
	rmdir(dir);
}

/* Without _FILE_OFFSET_BITS a 32-bit program cannot even look at a disk of more than 2 GiB:
 * EOVERFLOW. */
static void test_over_2_gib(void **state)
{
	const off_t at = (off_t)3 << 30;
	char path[] = "/tmp/unit-image-XXXXXX";
	int made = mkstemp(path), fd;
	struct image_refs refs;
	struct stat st;

	(void)state;
	begin();
	assert_int_equal(pwrite(made, image, sizeof(image), at), sizeof(image));
	close(made);
	assert_true(image_look(path, &st));
	assert_true(st.st_size == at + (off_t)sizeof(image));
	fd = image_open(path, &st);
	unlink(path);
	assert_true(fd >= 0);
	refs = image_read_refs(fd, at, "qcow2");
	close(fd);
	assert_int_equal(refs.count, 1);
	assert_string_equal(refs.v[0].name, NAME);
	image_refs_free(&refs);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_base),	       cmocka_unit_test(test_data_file),
		cmocka_unit_test(test_damaged),	       cmocka_unit_test(test_vmdk),
		cmocka_unit_test(test_what_is_opened), cmocka_unit_test(test_over_2_gib),
	};

	return RUN(tests);
}
