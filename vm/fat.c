#include "vm/fat.h"

#include <stdbool.h>
#include <string.h>

#include "lib/xalloc.h"

#define SECTOR	     512
#define ROOT_ENTRIES 64 /* 32 bytes each */
#define ENTRY	     32
#define NAME_PIECE   13 /* characters of a long name in each entry */
#define CLUSTERS_MIN 64 /* smaller ones look odd to some kernels */

/* Where its parts begin, in bytes. */
struct layout {
	size_t clusters, fat_sectors;
	size_t fat, root, data, end;
};

static size_t clusters_of(size_t len)
{
	return (len + FAT_CLUSTER - 1) / FAT_CLUSTER;
}

static void put16(unsigned char *to, size_t value)
{
	to[0] = value & 0xff;
	to[1] = value >> 8 & 0xff;
}

static void put32(unsigned char *to, size_t value)
{
	put16(to, value & 0xffff);
	put16(to + 2, value >> 16 & 0xffff);
}

static struct layout lay_out(const struct fat_file *files, size_t count)
{
	struct layout l = {.clusters = CLUSTERS_MIN};

	for (size_t i = 0; i < count; i++)
		l.clusters += clusters_of(files[i].len);
	l.fat_sectors = ((l.clusters + 2) * 3 / 2 + SECTOR) / SECTOR;
	l.fat = SECTOR;
	l.root = l.fat + 2 * l.fat_sectors * SECTOR;
	l.data = l.root + (size_t)ROOT_ENTRIES * ENTRY;
	l.end = l.data + l.clusters * FAT_CLUSTER;
	return l;
}

static void put_text(unsigned char *to, const char *text)
{
	while (*text)
		*to++ = (unsigned char)*text++;
}

static void put_label(unsigned char *to, const char *label)
{
	memset(to, ' ', 11);
	put_text(to, label);
}

static void put_boot_sector(unsigned char *b, const struct layout *l, const char *label)
{
	put_text(b, "\xeb\x3c\x90MSDOS5.0");
	put16(b + 11, SECTOR);
	b[13] = FAT_CLUSTER / SECTOR;
	put16(b + 14, l->fat / SECTOR);
	b[16] = 2; /* FATs */
	put16(b + 17, ROOT_ENTRIES);
	b[21] = 0xf8; /* a fixed disk */
	put16(b + 22, l->fat_sectors);
	put16(b + 24, 32); /* sectors of a track, heads: nobody asks any more */
	put16(b + 26, 64);
	put32(b + 32, l->end / SECTOR);
	b[36] = 0x80;
	b[38] = 0x29; /* the next three are there */
	put32(b + 39, 0x71736431);
	put_label(b + 43, label);
	put_text(b + 54, "FAT12   ");
	put16(b + 510, 0xaa55);
}

/* An entry of 12 bits in both FATs. */
static void put_next(unsigned char *image, const struct layout *l, size_t cluster, size_t next)
{
	for (size_t copy = 0; copy < 2; copy++) {
		unsigned char *at =
			image + l->fat + copy * l->fat_sectors * SECTOR + cluster * 3 / 2;

		if (cluster % 2 == 0) {
			at[0] = next & 0xff;
			at[1] = (at[1] & 0xf0) | (next >> 8 & 0x0f);
		} else {
			at[0] = (at[0] & 0x0f) | (next << 4 & 0xf0);
			at[1] = next >> 4 & 0xff;
		}
	}
}

static unsigned char checksum(const unsigned char *short_name)
{
	unsigned char sum = 0;

	for (int i = 0; i < 11; i++)
		sum = (unsigned char)((sum >> 1 | sum << 7) + short_name[i]);
	return sum;
}

/* One entry with 13 characters of a long name, from number piece on. */
static void put_piece(unsigned char *entry, const char *name, size_t piece, unsigned char sum)
{
	static const unsigned char places[NAME_PIECE] = {1,  3,	 5,  7,	 9,  14, 16,
							 18, 20, 22, 24, 28, 30};
	size_t len = strlen(name), from = piece * NAME_PIECE;

	entry[0] = (unsigned char)((piece + 1) | (from + NAME_PIECE >= len ? 0x40 : 0));
	entry[11] = 0x0f;
	entry[13] = sum;
	for (size_t i = 0; i < NAME_PIECE; i++) {
		size_t at = from + i;

		put16(entry + places[i], at < len    ? (unsigned char)name[at]
					 : at == len ? 0
						     : 0xffff);
	}
}

/* Returns where the next entry goes. The short name is not shown by who knows long ones. */
static unsigned char *put_file(unsigned char *entry, const struct fat_file *file, size_t number,
			       size_t cluster)
{
	unsigned char short_name[11];

	put_label(short_name, "FILE");
	short_name[4] = (unsigned char)('1' + number);
	for (size_t piece = (strlen(file->name) + NAME_PIECE - 1) / NAME_PIECE; piece-- > 0;) {
		put_piece(entry, file->name, piece, checksum(short_name));
		entry += ENTRY;
	}
	memcpy(entry, short_name, sizeof(short_name));
	entry[11] = 0x21;	 /* read-only, archive */
	put16(entry + 16, 0x21); /* made and changed on 1980-01-01 */
	put16(entry + 24, 0x21);
	put16(entry + 26, file->len ? cluster : 0);
	put32(entry + 28, file->len);
	return entry + ENTRY;
}

static void put_files(unsigned char *image, const struct layout *l, const struct fat_file *files,
		      size_t count, unsigned char *entry)
{
	size_t cluster = 2;

	for (size_t i = 0; i < count; i++) {
		size_t used = clusters_of(files[i].len);

		entry = put_file(entry, &files[i], i, cluster);
		if (used)
			memcpy(image + l->data + (cluster - 2) * FAT_CLUSTER, files[i].data,
			       files[i].len);
		for (; used > 0; used--, cluster++)
			put_next(image, l, cluster, used == 1 ? 0xfff : cluster + 1);
	}
}

unsigned char *fat_image(const char *label, const struct fat_file *files, size_t count, size_t *len)
{
	const struct layout l = lay_out(files, count);
	unsigned char *image = xcalloc(l.end, 1), *root = image + l.root;

	put_boot_sector(image, &l, label);
	put_next(image, &l, 0, 0xff8);
	put_next(image, &l, 1, 0xfff);
	put_label(root, label);
	root[11] = 0x08;
	put_files(image, &l, files, count, root + ENTRY);
	*len = l.end;
	return image;
}
