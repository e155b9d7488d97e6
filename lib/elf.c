#include "lib/elf.h"

#include <elf.h>
#include <fcntl.h>
#include <limits.h>
#include <link.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/xalloc.h"

#define CLASS (sizeof(void *) == 8 ? ELFCLASS64 : ELFCLASS32)
#define ORDER (__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ ? ELFDATA2LSB : ELFDATA2MSB)

/* The text of a PT_INTERP, malloc'd; NULL: it is none that the kernel would take. */
static char *read_text(int fd, const ElfW(Phdr) * part)
{
	char *text;

	if (part->p_filesz < 2 || part->p_filesz > PATH_MAX)
		return NULL;
	text = xcalloc(part->p_filesz + 1, 1);
	if (pread(fd, text, part->p_filesz, (off_t)part->p_offset) == (ssize_t)part->p_filesz)
		return text;
	free(text);
	return NULL;
}

static char *read_loader(int fd, const ElfW(Ehdr) * head)
{
	ElfW(Phdr) part;

	for (size_t i = 0; i < head->e_phnum; i++) {
		off_t at = (off_t)(head->e_phoff + i * sizeof(part));

		if (pread(fd, &part, sizeof(part), at) != sizeof(part))
			break;
		if (part.p_type == PT_INTERP)
			return read_text(fd, &part);
	}
	return NULL;
}

bool elf_read(const char *path, char **loader)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	ElfW(Ehdr) head;
	bool is = fd >= 0 && pread(fd, &head, sizeof(head), 0) == sizeof(head) &&
		  memcmp(head.e_ident, ELFMAG, SELFMAG) == 0 && head.e_ident[EI_CLASS] == CLASS &&
		  head.e_ident[EI_DATA] == ORDER && head.e_phentsize == sizeof(ElfW(Phdr));

	*loader = is ? read_loader(fd, &head) : NULL;
	fd_close(&fd);
	return is;
}
