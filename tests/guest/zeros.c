// SPDX-License-Identifier: GPL-2.0-only
// zeros [EVENT] COMMAND [ARG...]: until the command ends, reads /dev/zero, 256 MiB per
// call, into the same MiB, and prints how many calls it began. The kernel clears it page
// by page without a lock, with only cond_resched() in between (read_iter_zero() in
// drivers/char/mem.c), which is empty with CONFIG_PREEMPT: a path of a few hundred
// milliseconds that does not yield. With an EVENT in the kernel, x:ADDRESS or
// w:ADDRESS, a perf event counts its hits meanwhile. Exit status of COMMAND.

#include "event.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/uio.h>
#include <sys/wait.h>

#define PIECES 256

static char memory[1 << 20];
static volatile sig_atomic_t ended;

static void on_end(int signal)
{
	(void)signal;
	ended = 1;
}

int main(int argc, char **argv)
{
	const struct sigaction action = { .sa_handler = on_end };       // interrupts a read
	struct iovec pieces[PIECES];
	int fd = open("/dev/zero", O_RDONLY | O_CLOEXEC), event = -1, rounds, status;
	pid_t pid;

	if (argc > 1 && strchr(argv[1], ':')) {
		event = count_kernel_hits(argv[1]);
		argc--;
		argv++;
	}
	if (argc < 2) {
		fprintf(stderr, "usage: zeros [EVENT] COMMAND [ARG...]\n");
		return 2;
	}
	// No page fault in the middle of the path, which would yield.
	memset(memory, 1, sizeof(memory));
	for (int i = 0; i < PIECES; i++)
		pieces[i] = (struct iovec){ memory, sizeof(memory) };
	sigaction(SIGCHLD, &action, NULL);
	pid = fork();
	if (pid == 0) {
		execvp(argv[1], argv + 1);
		perror(argv[1]);
		_exit(2);
	}
	for (rounds = 0; !ended; rounds++)
		if (readv(fd, pieces, PIECES) < 0 && !ended) {
			perror("zeros: /dev/zero");
			return 2;
		}
	if (waitpid(pid, &status, 0) != pid || !WIFEXITED(status))
		return 2;
	if (event >= 0)
		printf("hits=%llu\n", (unsigned long long)hits_of(event));
	printf("rounds=%d\n", rounds);
	return WEXITSTATUS(status);
}
