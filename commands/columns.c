#include "commands/columns.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/param.h>

#include "commands/describe.h"
#include "lib/xalloc.h"

void columns_add(struct columns *columns, const char *heading, char **texts)
{
	struct column *column = &columns->v[columns->count++];

	assert(columns->count <= COLUMNS_MAX);
	*column = (struct column){heading, texts, (int)strlen(heading)};
	for (size_t i = 0; i < columns->lines; i++)
		column->width = MAX(column->width, (int)strlen(texts[i]));
}

void columns_free(struct columns *columns)
{
	for (size_t i = 0; i < columns->count; i++) {
		for (size_t line = 0; line < columns->lines; line++)
			free(columns->v[i].texts[line]);
		free(columns->v[i].texts);
	}
}

int columns_width(const struct columns *columns)
{
	int width = 0;

	for (size_t i = 0; i < columns->count; i++)
		width += 2 + columns->v[i].width;
	return width;
}

static void print_cell(const struct columns *columns, size_t i, const char *text, bool padded)
{
	printf("  %-*s", padded || i + 1 < columns->count ? columns->v[i].width : 0, text);
}

void columns_print_headings(const struct columns *columns)
{
	for (size_t i = 0; i < columns->count; i++)
		print_cell(columns, i, columns->v[i].heading, false);
}

void columns_print(const struct columns *columns, size_t line, bool padded)
{
	for (size_t i = 0; i < columns->count; i++)
		print_cell(columns, i, columns->v[i].texts[line], padded);
}

/* What text_of() returns for each, malloc'd, between commas. */
static char *joined(json_t *list, char *(*text_of)(json_t *of), const char *none)
{
	char *text = xstrdup(json_is_null(list) ? "?" : json_array_size(list) == 0 ? none : "");
	json_t *of;
	size_t i;

	json_array_foreach(list, i, of)
	{
		char *one = text_of(of), *longer = xasprintf("%s%s%s", text, i > 0 ? "," : "", one);

		free(one);
		free(text);
		text = longer;
	}
	return text;
}

static char *size_of(json_t *disk)
{
	uint64_t size = (uint64_t)json_integer_value(json_object_get(disk, "size"));
	char text[32] = "?";

	if (size > 0)
		describe_size(size, text, sizeof(text));
	return xstrdup(text);
}

static char *mac_of(json_t *nic)
{
	return xstrdup(json_string_value(json_object_get(nic, "mac")));
}

char *column_disks(json_t *disks)
{
	return joined(disks, size_of, "-");
}

char *column_macs(json_t *nics)
{
	return joined(nics, mac_of, "-");
}

static char *string_of(json_t *string)
{
	return xstrdup(json_string_value(string));
}

char *column_addresses(json_t *addresses)
{
	return joined(addresses, string_of, "");
}
