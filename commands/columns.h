/* The columns that "vmconf list" adds at the end of its lines when it is asked to. */
#ifndef COLUMNS_H
#define COLUMNS_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#define COLUMNS_MAX 3

struct columns {
	struct column {
		const char *heading;
		char **texts; /* one for each line, malloc'd */
		int width;
	} v[COLUMNS_MAX];
	size_t count, lines;
};

/* texts, an array of columns->lines texts, is freed by columns_free(). */
void columns_add(struct columns *columns, const char *heading, char **texts);
void columns_free(struct columns *columns);

/* How wide all are together, with two spaces before each. */
int columns_width(const struct columns *columns);

/* Print the headings, and what is in one line; padded: something follows on it. */
void columns_print_headings(const struct columns *columns);
void columns_print(const struct columns *columns, size_t line, bool padded);

/*
 * "20G,512M", "52:54:00:12:34:56", of what describe_disks() and describe_nics() return: malloc'd;
 * "-" without any, "?" for what is not known. Addresses, without any: "".
 */
char *column_disks(json_t *disks);
char *column_macs(json_t *nics);
char *column_addresses(json_t *addresses);

#endif
