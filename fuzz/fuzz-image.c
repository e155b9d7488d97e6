/* Any bytes as an image: nothing is read beyond it, and no name is empty or longer than QEMU takes.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lib/array.h"
#include "vm/image.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void try_format(int fd, const char *format)
{
	struct image_refs refs = image_read_refs(fd, 0, format);

	for (size_t i = 0; i < refs.count; i++)
		if (!refs.v[i].name[0] || strlen(refs.v[i].name) > 65536 ||
		    (refs.v[i].format && !refs.v[i].format[0]))
			abort();
	image_refs_free(&refs);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const formats[] = {"qcow2", "qcow", "qed", "vmdk"};
	int fd = memfd_create("image", MFD_CLOEXEC);

	if (fd < 0 || write(fd, data, size) != (ssize_t)size)
		abort();
	for (size_t i = 0; i < ARRAY_SIZE(formats); i++)
		try_format(fd, formats[i]);
	image_looks_referring(fd);
	image_qcow2_size(fd);
	close(fd);
	return 0;
}
