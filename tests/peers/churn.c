/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Processes that come and go: churn COUNT TOGETHER MILLISECONDS. COUNT children, never more than
 * TOGETHER of them at a time, each of which starts, allocates on device 0, stays for so long, and
 * ends: every other one frees before. Prints the pids of all of them, one a line, as they are
 * started, then "done"; says "failed" instead if one of them has. Waits for the end of its input,
 * but not before that.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "ttmem.h"

static void live(int number, long milliseconds)
{
	struct ttmem_device device = {.size = sizeof device, .asic_id = 0xA51C};
	struct timespec stay = {milliseconds / 1000, milliseconds % 1000 * 1000000};

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	prctl(PR_SET_NAME, "churn-member");
	if (ttmem_start())
		_exit(1);
	ttmem_declare_device(0, &device);
	for (uint64_t i = 1; i <= 8; i++)
		ttmem_alloc(0, TTMEM_DRAM, i << 12, 4096, "churn");
	nanosleep(&stay, NULL);
	for (uint64_t i = 1; i <= 8 && number % 2; i++)
		ttmem_free(0, TTMEM_DRAM, i << 12);
	_exit(0);
}

static int wait_one(void)
{
	int status;

	return wait(&status) > 0 && status == 0 ? 0 : -1;
}

int main(int argc, char **argv)
{
	int count = argc == 4 ? atoi(argv[1]) : 0, together = argc == 4 ? atoi(argv[2]) : 0;
	int living = 0, failures = 0;
	char bytes[64];

	if (count < 1 || together < 1)
		return 64;
	for (int i = 0; i < count; i++) {
		pid_t pid;

		if (living == together) {
			failures += wait_one() != 0;
			living--;
		}
		fflush(stdout);
		pid = fork();
		if (pid == 0)
			live(i, atol(argv[3]));
		if (pid < 0)
			return 1;
		living++;
		printf("%d\n", (int)pid);
	}
	while (living--)
		failures += wait_one() != 0;
	puts(failures ? "failed" : "done");
	fflush(stdout);
	while (read(0, bytes, sizeof bytes) > 0)
		;
	return 0;
}
