// SPDX-License-Identifier: GPL-2.0-only
// faults WAKES ADDRESS: a task on the first CPU has the kernel write to pages that are not there, so
// that it faults in the kernel all the time. Beside it a real-time task sleeps in a read of a pipe,
// until a task on the last CPU writes, WAKES times. A perf event on the first CPU counts how often the
// kernel's instruction at ADDRESS runs, which each such read must pass once, after it has slept; there
// is none if that is 0. Prints wakes= and hits=. Two CPUs.

#include "event.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>

enum { SIZE = 1 << 20, LEAST_NS = 20000, SPREAD = 32768 };

static volatile uint64_t *reads;

static void on_cpu(long cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	if (sched_setaffinity(0, sizeof(set), &set) < 0)
		die("sched_setaffinity");
}

static pid_t start(void (*task)(int), int fd)
{
	const pid_t pid = fork();

	if (pid < 0)
		die("fork");
	if (pid == 0) {
		on_cpu(0);
		task(fd);
		_exit(0);
	}
	return pid;
}

static void fault(int fd)
{
	char *memory = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (memory == MAP_FAILED)
		die("mmap");
	madvise(memory, SIZE, MADV_NOHUGEPAGE);		// a fault for each page
	for (;;)
		if (read(fd, memory, SIZE) != SIZE || madvise(memory, SIZE, MADV_DONTNEED) < 0)
			die("/dev/zero");
}

static void sleep_in_read(int fd)
{
	const struct sched_param fifo = { .sched_priority = 50 };
	char byte;

	if (sched_setscheduler(0, SCHED_FIFO, &fifo) < 0)
		die("SCHED_FIFO");
	while (read(fd, &byte, 1) == 1)
		*reads += 1;
}

static long long now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000LL + t.tv_nsec;
}

int main(int argc, char **argv)
{
	const unsigned long wakes = argc == 3 ? strtoul(argv[1], NULL, 10) : 0;
	const uint64_t address = wakes ? strtoull(argv[2], NULL, 16) : 0;
	const int zeros = open("/dev/zero", O_RDONLY | O_CLOEXEC);
	uint32_t random = 1;
	int ends[2], event = -1, status;
	pid_t faults, sleeps;

	if (!wakes) {
		fprintf(stderr, "usage: faults WAKES ADDRESS\n");
		return 2;
	}
	reads = mmap(NULL, sizeof(*reads), PROT_READ | PROT_WRITE,
		     MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (reads == MAP_FAILED || zeros < 0 || pipe2(ends, O_CLOEXEC) < 0)
		die("pipe");
	faults = start(fault, zeros);
	sleeps = start(sleep_in_read, ends[0]);
	on_cpu(sysconf(_SC_NPROCESSORS_ONLN) - 1);
	if (address)
		event = count_hits(HW_BREAKPOINT_X, address, -1, 0);
	for (unsigned long i = 0; i < wakes; i++) {
		long long due;

		random = random * 1664525 + 1013904223;		// at any point of the faults
		due = now_ns() + LEAST_NS + (random >> 8) % SPREAD;
		while (now_ns() < due)
			;
		if (write(ends[1], "", 1) != 1)
			die("write");
		while (*reads <= i)
			;
	}
	printf("wakes=%lu hits=%llu\n", wakes, address ? (unsigned long long)hits_of(event) : 0);
	kill(faults, SIGKILL);
	kill(sleeps, SIGKILL);
	while (wait(&status) > 0)
		;
	return 0;
}
