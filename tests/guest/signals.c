// SPDX-License-Identifier: GPL-2.0-only
// signals MODE ROUNDS: a signal in each round, which must be handled when the system call that
// it meets returns to user space, or soon after. Prints sent=, handled= and late=: how many were
// not handled by then.
//   self   kill() of itself: handled before kill() returns
//   timer  a timer of 2 ms, then getppid(): handled within 300 ms, without a further system call
//   sleep  the same timer, then nanosleep() of 400 ms, which it must interrupt: handled by then
//   other  the same sleep, on the first CPU, which a child on the last interrupts after 20 ms
//   work   no signal, but work that the kernel leaves for the task's way out: a pipe's last writer is
//          released there by close_range(), and the reader sees its end

#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MS 1000000LL
enum { PATIENCE_MS = 300, SLEEP_MS = 400, TIMER_US = 2000, ASLEEP_MS = 20 };

static volatile struct shared {
	long handled, naps, sent, late;
} *shared;

static void on_signal(int number)
{
	(void)number;
	shared->handled++;
}

// By the vDSO, so without a system call.
static long long now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000 * MS + t.tv_nsec;
}

static void await(long due)
{
	long long until = now_ns() + PATIENCE_MS * MS;

	while (shared->handled < due && now_ns() < until)
		;
}

static void arm(void)
{
	struct itimerval once = { .it_value.tv_usec = TIMER_US };

	setitimer(ITIMER_REAL, &once, NULL);
}

static void on_cpu(long cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	sched_setaffinity(0, sizeof(set), &set);
}

static int sends(pid_t target, long rounds)
{
	on_cpu(sysconf(_SC_NPROCESSORS_ONLN) - 1);
	for (long i = 0; i < rounds; i++) {
		long long asleep;

		while (shared->naps <= i)
			;
		asleep = now_ns() + ASLEEP_MS * MS;
		while (now_ns() < asleep)
			;
		if (kill(target, SIGUSR1))
			return 1;
	}
	return 0;
}

static pid_t start_sender(long rounds)
{
	pid_t parent = getpid(), child = fork();

	if (!child)
		_exit(sends(parent, rounds));
	if (child < 0) {
		perror("signals");
		exit(2);
	}
	on_cpu(0);
	return child;
}

static void release_writer(void)
{
	struct pollfd reader = { .events = POLLIN };
	int ends[2];

	if (pipe(ends) < 0 || syscall(SYS_close_range, ends[1], ends[1], 0) < 0) {
		perror("signals");
		exit(2);
	}
	reader.fd = ends[0];
	shared->handled += poll(&reader, 1, 0) == 1 && reader.revents & POLLHUP;
	close(ends[0]);
}

int main(int argc, char **argv)
{
	struct sigaction action = { .sa_handler = on_signal };
	const char *mode = argc == 3 ? argv[1] : "";
	long rounds = argc == 3 ? atol(argv[2]) : 0;
	struct timespec nap = { .tv_nsec = SLEEP_MS * MS };
	pid_t child = 0;
	int status = 0;

	if (rounds <= 0 || (strcmp(mode, "self") && strcmp(mode, "timer") &&
			    strcmp(mode, "sleep") && strcmp(mode, "other") &&
			    strcmp(mode, "work"))) {
		fprintf(stderr, "usage: signals self|timer|sleep|other|work ROUNDS\n");
		return 2;
	}
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (shared == MAP_FAILED) {
		perror("signals");
		return 2;
	}
	sigaction(SIGUSR1, &action, NULL);
	sigaction(SIGALRM, &action, NULL);
	if (!strcmp(mode, "other"))
		child = start_sender(rounds);
	for (long i = 0; i < rounds; i++) {
		long due = shared->handled + 1;

		shared->sent++;
		if (!strcmp(mode, "self")) {
			kill(getpid(), SIGUSR1);
		} else if (!strcmp(mode, "timer")) {
			arm();
			getppid();
			await(due);
		} else if (!strcmp(mode, "work")) {
			release_writer();
		} else {
			if (!child)
				arm();
			shared->naps++;
			nanosleep(&nap, NULL);
		}
		shared->late += shared->handled < due;
	}
	if (child)
		waitpid(child, &status, 0);
	printf("sent=%ld handled=%ld late=%ld\n", shared->sent, shared->handled, shared->late);
	return status != 0;
}
