#include "commands/publickeys.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/log.h"
#include "lib/program.h"
#include "lib/safefile.h"
#include "lib/timespan.h"
#include "lib/xalloc.h"
#include "vm/sshkey.h"

#define AGENT_MS  5000
#define AGENT_MAX 65536

/* ---- lines ---- */

/* Its type and the key itself, without the comment. */
static size_t key_len(const char *line)
{
	size_t type = strcspn(line, " ");

	return type + 1 + strcspn(line + type + 1, " ");
}

static bool has_key(json_t *keys, const char *line)
{
	size_t len = key_len(line), i;
	json_t *key;

	json_array_foreach(keys, i, key)
	{
		const char *other = json_string_value(key);

		if (key_len(other) == len && strncmp(other, line, len) == 0)
			return true;
	}
	return false;
}

/* Nobody is let in by a certificate in a list of keys. */
static bool is_certificate(const char *line)
{
	const char *cert = strstr(line, "-cert-v");

	return cert && cert < line + strcspn(line, " ");
}

/* Adds the keys among the lines of text, which it changes. *wrong: what the first other one is. */
static size_t add_lines(json_t *keys, char *text, const char **wrong)
{
	size_t found = 0;
	char *line;

	*wrong = NULL;
	while ((line = strsep(&text, "\n"))) {
		const char *why;

		line[strcspn(line, "\r")] = '\0';
		if (line[0] == '\0' || line[0] == '#')
			continue;
		why = sshkey_wrong(line);
		if (why && !*wrong)
			*wrong = why;
		if (why || is_certificate(line))
			continue;
		found++;
		if (!has_key(keys, line))
			json_array_append_new(keys, json_string(line));
	}
	return found;
}

/* ---- files ---- */

/* Malloc'd; NULL and errno. */
static char *read_file(int dirfd, const char *path)
{
	int fd = openat(dirfd, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY), error;
	size_t len;
	char *text = fd >= 0 ? safefile_read(fd, &len) : NULL;

	error = errno;
	fd_close(&fd);
	errno = error;
	return text;
}

bool publickeys_of_file(json_t *keys, const char *path)
{
	char *text = read_file(AT_FDCWD, path);
	const char *wrong;
	size_t found;

	if (!text) {
		log_warn("--ssh-key %s: cannot read it", path);
		return false;
	}
	found = add_lines(keys, text, &wrong);
	if (wrong)
		log_error("--ssh-key %s: this is %s", path, wrong);
	else if (found == 0)
		log_error("--ssh-key %s: there is no public key in it", path);
	free(text);
	return !wrong && found > 0;
}

static int is_public(const struct dirent *entry)
{
	size_t len = strlen(entry->d_name);

	return len > 4 && strcmp(entry->d_name + len - 4, ".pub") == 0;
}

/* What is no key there is none of our business. */
static void add_dir(json_t *keys, const char *dir)
{
	struct dirent **entries = NULL;
	int dirfd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int count = dirfd >= 0 ? scandirat(dirfd, ".", &entries, is_public, alphasort) : 0;

	for (int i = 0; i < count; i++) {
		char *text = read_file(dirfd, entries[i]->d_name);
		const char *wrong;

		if (text)
			add_lines(keys, text, &wrong);
		free(text);
		free(entries[i]);
	}
	free(entries);
	fd_close(&dirfd);
}

/* ---- ssh-agent ---- */

static _Noreturn void print_keys(int output)
{
	char *argv[] = {"ssh-add", "-L", NULL};
	int null = open("/dev/null", O_RDWR);

	dup2(null, STDIN_FILENO);
	dup2(output, STDOUT_FILENO);
	dup2(null, STDERR_FILENO);
	program_run(argv);
	_exit(127);
}

/* To the end, or until that time (monotonic ms). Malloc'd. */
static char *read_until(int fd, int64_t until)
{
	char *text = xcalloc(AGENT_MAX + 1, 1);
	struct pollfd readable = {.fd = fd, .events = POLLIN};
	size_t len = 0;
	ssize_t got = 1;

	while (got > 0 && len < AGENT_MAX) {
		int64_t left = until - monotonic_ms();

		if (left <= 0 || poll(&readable, 1, (int)left) != 1)
			break;
		got = read(fd, text + len, AGENT_MAX - len);
		if (got > 0)
			len += (size_t)got;
	}
	if (got != 0)
		log_warnx("ssh-agent did not tell its keys within %d s", AGENT_MS / 1000);
	return text;
}

static void add_agents(json_t *keys)
{
	const char *wrong;
	int ends[2];
	char *text;
	pid_t pid;

	if (pipe2(ends, O_CLOEXEC) < 0)
		return;
	pid = fork();
	if (pid == 0)
		print_keys(ends[1]);
	close(ends[1]);
	text = pid > 0 ? read_until(ends[0], monotonic_ms() + AGENT_MS) : NULL;
	close(ends[0]);
	if (pid > 0) {
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
	}
	if (text)
		add_lines(keys, text, &wrong); /* "The agent has no identities." */
	free(text);
}

/* ---- the caller ---- */

/* Not malloc'd; NULL: not known. */
static const char *home_of_caller(void)
{
	const char *name = geteuid() == 0 ? getenv("SUDO_USER") : NULL;
	const struct passwd *user = name ? getpwnam(name) : NULL;

	return user ? user->pw_dir : getenv("HOME");
}

void publickeys_of_caller(json_t *keys)
{
	const char *home = home_of_caller(), *agent = getenv("SSH_AUTH_SOCK");
	char *dir;

	if (agent && *agent)
		add_agents(keys);
	if (!home)
		return;
	dir = xasprintf("%s/.ssh", home);
	add_dir(keys, dir);
	free(dir);
}
