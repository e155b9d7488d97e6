#include "commands/jsonof.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "commands/disk.h"
#include "lib/log.h"
#include "lib/program.h"

_Noreturn static void child(const char *const *argv, const char *package, int out)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	dup2(out, STDOUT_FILENO);
	program_run((char *const *)argv);
	if (errno == ENOENT)
		log_error("%s is not installed (Debian: apt install %s)", argv[0], package);
	else if (errno != EPERM)
		log_warn("cannot execute %s", argv[0]);
	_exit(127);
}

json_t *json_of(const char *const *argv, const char *package)
{
	json_t *answer = NULL;
	int out[2];
	pid_t pid;

	if (pipe2(out, O_CLOEXEC) < 0) {
		log_warn("cannot run %s", argv[0]);
		return NULL;
	}
	pid = fork();
	if (pid == 0)
		child(argv, package, out[1]);
	if (pid < 0)
		log_warn("cannot start %s", argv[0]);
	close(out[1]);
	if (pid > 0)
		answer = json_loadfd(out[0], 0, NULL);
	close(out[0]);
	if (!disk_wait(pid, argv[0])) {
		json_decref(answer);
		answer = NULL;
	}
	return answer;
}
