#include "lib/complete.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/printable.h"
#include "lib/xalloc.h"

void complete_files(void)
{
	puts(":files");
}

/* A word that a terminal would obey is none that anybody types. */
static bool can_be_typed(const char *word)
{
	char *safe = printable(xstrdup(word));
	bool same = strcmp(safe, word) == 0;

	free(safe);
	return same;
}

void complete_offer(const char *typed, const char *prefix, const char *word,
		    const char *description)
{
	int len = description ? (int)strcspn(description, "\n") : 0;
	char *told;

	if (strncmp(word, typed, strlen(typed)) != 0 || !can_be_typed(word))
		return;
	if (len > 0 && description[len - 1] == '.')
		len--;
	told = printable(xasprintf("%.*s", len, len > 0 ? description : ""));
	printf("%s%s%s%s\n", prefix, word, len > 0 ? "\t" : "", told);
	free(told);
}

void complete_words(const char *typed, const char *const *words)
{
	for (; *words; words++)
		complete_offer(typed, "", *words, NULL);
}

/* The option that a word is, whose value is the next word; NULL: none. */
static const struct option *wants_value(const char *word, const struct option *options,
					const char *letters)
{
	size_t len = strlen(word);
	const char *letter;

	if (strncmp(word, "--", 2) != 0) {
		letter = word[0] == '-' && len > 1 ? strchr(letters, word[len - 1]) : NULL;
		if (!letter || letter[1] != ':')
			return NULL;
		while (options->name && options->val != *letter)
			options++;
		return options->name ? options : NULL;
	}
	for (; options && options->name; options++)
		if (options->has_arg == required_argument && strcmp(options->name, word + 2) == 0)
			return options;
	return NULL;
}

/* "--option=value" */
static void split(struct complete *c, const struct option *options)
{
	const char *equals = strncmp(c->typed, "--", 2) == 0 ? strchr(c->typed, '=') : NULL;

	if (!equals)
		return;
	for (; options && options->name; options++) {
		if (strlen(options->name) != (size_t)(equals - c->typed) - 2 ||
		    strncmp(options->name, c->typed + 2, strlen(options->name)) != 0)
			continue;
		c->option = options->name;
		c->prefix = xasprintf("--%s=", options->name);
		c->typed = equals + 1;
		return;
	}
}

struct complete complete_read(char **words, size_t count, const struct option *options,
			      const char *letters)
{
	static const struct option none[] = {{NULL, 0, NULL, 0}};
	struct complete c = {.typed = count > 0 ? words[count - 1] : "",
			     .prefix = "",
			     .operands = xcalloc(count + 1, sizeof(c.operands[0]))};
	bool only_operands = false;

	options = options ? options : none;
	for (size_t i = 0; i + 1 < count; i++) {
		const struct option *option =
			only_operands ? NULL : wants_value(words[i], options, letters);

		if (option && i + 2 == count)
			c.option = option->name;
		else if (option)
			i++;
		else if (only_operands || words[i][0] != '-')
			c.operands[c.count++] = words[i];
		only_operands = only_operands || strcmp(words[i], "--") == 0;
	}
	c.is_option = !only_operands && !c.option && c.typed[0] == '-';
	if (c.is_option)
		split(&c, options);
	c.is_option = c.is_option && !c.option;
	return c;
}

/* What stands in help behind an option, and its value in capitals, after at least two blanks. */
static const char *in_help(const char *help, const char *name)
{
	char *word = xasprintf("--%s", name);
	const char *at = help, *text = NULL;

	for (; !text && (at = strstr(at, word)); at += strlen(word)) {
		const char *blanks = at + strlen(word);

		if (*blanks != ' ' || (at > help && at[-1] != ' '))
			continue;
		blanks = strstr(blanks, "  ");
		if (blanks && blanks < at + strcspn(at, "\n"))
			text = blanks + strspn(blanks, " ");
	}
	free(word);
	return text && *text != '-' ? text : NULL;
}

void complete_options(const struct complete *c, const struct option *options, const char *help)
{
	complete_offer(c->typed, "", "--help", "tells more");
	for (; options && options->name; options++) {
		char *word = xasprintf("--%s", options->name);

		if (options->val != 'h')
			complete_offer(c->typed, "", word, in_help(help, options->name));
		free(word);
	}
}
