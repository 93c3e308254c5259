// SPDX-License-Identifier: GPL-2.0-only
// tally EVENT COMMAND [ARG...]: runs a command while a perf event counts the hits of a
// kernel address, x:ADDRESS (executed) or w:ADDRESS (the long there written), on CPU 0,
// and prints them. Its exit status is the command's.

#include "event.h"

#include <sys/wait.h>

int main(int argc, char **argv)
{
	int event, status;
	pid_t pid;

	if (argc < 3) {
		fprintf(stderr, "usage: tally x:ADDRESS|w:ADDRESS COMMAND [ARG...]\n");
		return 2;
	}
	event = count_kernel_hits(argv[1]);
	pid = fork();
	if (pid < 0)
		die("fork");
	if (pid == 0) {
		execvp(argv[2], argv + 2);
		die(argv[2]);
	}
	if (waitpid(pid, &status, 0) < 0)
		die("waitpid");
	printf("hits=%llu\n", (unsigned long long)hits_of(event));
	return WIFEXITED(status) ? WEXITSTATUS(status) : 2;
}
