/* SPDX-License-Identifier: Apache-2.0 */
/* ttmemd: in the foreground, or detached once everything is there. */
#include "daemon.h"
#include "log.h"
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* Tells the process that waits in detach() how it went, and lets go of the terminal. */
static void on_ready(void *data)
{
	int *report = data;
	const uint8_t fine = 0;
	int null;

	if (*report < 0)
		return;
	null = open("/dev/null", O_RDWR);
	log_to_syslog();
	dup2(null, STDIN_FILENO);
	dup2(null, STDOUT_FILENO);
	dup2(null, STDERR_FILENO);
	if (null > STDERR_FILENO)
		close(null);
	if (write(*report, &fine, 1) != 1)
		log_debug("nobody waits for the start");
	close(*report);
	*report = -1;
}

/* Returns in the child, with the descriptor to report to. The parent ends with the child's status,
 * or with 0 as soon as the child is ready. */
static int detach(void)
{
	uint8_t fine;
	int ends[2], status;
	pid_t child;

	if (pipe2(ends, O_CLOEXEC) || (child = fork()) < 0) {
		log_error("cannot start a process: %s", g_strerror(errno));
		_exit(1);
	}
	if (child == 0) {
		close(ends[0]);
		setsid();
		return ends[1];
	}
	close(ends[1]);
	if (read(ends[0], &fine, 1) == 1)
		_exit(0);
	waitpid(child, &status, 0);
	_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 1);
}

int main(int argc, char **argv)
{
	struct options options;
	int report = -1;
	int status = options_parse(&options, argc, argv);

	if (!status) {
		if (!options.foreground)
			report = detach();
		status = daemon_run(&options, on_ready, &report);
	}
	options_free(&options);
	return status;
}
