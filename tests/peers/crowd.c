/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Many processes that each hold one buffer: crowd COUNT DEVICE KIND SIZE. KIND is a number. Prints
 * the pids of those that have allocated, one a line, then "ready"; ends them all when its standard
 * input ends.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ttmem.h"

#define CROWD_MAX 8192

static pid_t members[CROWD_MAX];

static void live(char **argv, int ready)
{
	pid_t pid = getpid();
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	prctl(PR_SET_NAME, "crowd-member");
	int started = ttmem_start();
	ttmem_alloc((uint32_t)atoi(argv[2]), (enum ttmem_kind)atoi(argv[3]), 0x1000,
		    strtoull(argv[4], NULL, 0), "crowd");
	if (started == 0 && write(ready, &pid, sizeof(pid)) == sizeof(pid))
		for (;;)
			pause();
	_exit(1);
}

int main(int argc, char **argv)
{
	int ready[2], count = argc == 5 ? atoi(argv[1]) : 0, born = 0;
	char bytes[64];
	pid_t pid;
	if (count < 1 || count > CROWD_MAX || pipe2(ready, O_CLOEXEC) < 0)
		return 64;
	while (born < count && (pid = fork()) >= 0) {
		if (pid == 0)
			live(argv, ready[1]);
		members[born++] = pid;
	}
	close(ready[1]);
	while (read(ready[0], &pid, sizeof(pid)) == sizeof(pid)) {
		printf("%d\n", pid);
		if (--count == 0)
			break;
	}
	puts("ready");
	fflush(stdout);
	while (read(0, bytes, sizeof(bytes)) > 0)
		;
	for (int i = 0; i < born; i++)
		kill(members[i], SIGKILL);
	for (int i = 0; i < born; i++)
		waitpid(members[i], NULL, 0);
	return 0;
}
