/*
 * Any bytes as what "vmconf rpc" reads: each request is refused with a reason, or makes a command
 * line in which no value is an option. The first byte is the size of the pieces in which the rest
 * comes.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/param.h>

#include "commands/rpcanswer.h"
#include "commands/rpcrequest.h"
#include "lib/jsonlines.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool good)
{
	if (!good)
		abort();
}

/* vmconf COMMAND --OPTION... [-- VM] */
static void check_command(const struct rpc_request *r)
{
	static const char *const more[] = {"--more", NULL};
	struct names line = rpc_request_command(r, more, r->vm);
	size_t options = line.count - (r->vm ? 2 : 0);

	check(line.v[line.count] == NULL && line.count >= 3);
	check(strcmp(line.v[0], "vmconf") == 0 && strcmp(line.v[1], r->command->verb) == 0);
	for (size_t i = 2; i < options; i++)
		check(strncmp(line.v[i], "--", 2) == 0 && line.v[i][2] >= 'a' &&
		      line.v[i][2] <= 'z');
	if (r->vm)
		check(strcmp(line.v[options], "--") == 0 && line.v[options + 1] != NULL);
	store_names_free(&line);
}

/* One line, without what a terminal obeys. */
static void check_answer(json_t *answer)
{
	char *line = rpc_answer_line(answer);
	size_t len = strlen(line);

	check(len > 2 && line[len - 1] == '\n');
	for (size_t i = 0; i + 1 < len; i++)
		check((unsigned char)line[i] >= ' ' && line[i] != 0x7f);
	free(line);
	json_decref(answer);
}

static void take(void *arg, const char *text, size_t len)
{
	struct rpc_request request = {0};
	char *why;

	(void)arg;
	check(len <= JSONLINES_MAX);
	if (!text)
		return;
	why = rpc_request_parse(&request, text, len);
	check(why ? *why != '\0' : request.command != NULL);
	if (why)
		check_answer(rpc_error(request.id, why, NULL));
	else
		check_command(&request);
	rpc_request_free(&request);
	free(why);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct jsonlines *lines = jsonlines_new(take, NULL);
	size_t piece = size > 0 ? (size_t)data[0] * 16 + 1 : 1;

	for (size_t at = 1; at < size; at += piece)
		jsonlines_add(lines, (const char *)data + at, MIN(piece, size - at));
	jsonlines_end(lines);
	jsonlines_free(lines);
	return 0;
}
