// SPDX-License-Identifier: GPL-2.0-only
// herd MS ADDRESS: two tasks a processor call settimeofday(NULL, &tz) as fast as
// they can, and one a processor, SCHED_FIFO, wakes every millisecond and calls it
// ten times, for MS milliseconds; all are free to go where the scheduler has them.
// On each processor a perf event counts how often the kernel runs the instruction
// at ADDRESS, which the call is to pass once. Says how many calls there were, how
// many hits, and how often a task was seen on another processor than before.

#include "event.h"

#include <sched.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>

#define MOST 8                  // processors
#define LOOK 100                // calls between two looks at where a task is
#define NS 1000000000LL

// What the tasks share, each with a line of its own.
struct worker {
	uint64_t calls, moved;
	int cpu;
} __attribute__((aligned(64)));

static const struct timespec period = { 0, 1000000 };

static long long now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * NS + t.tv_nsec;
}

static void call(struct worker *self)
{
	static const struct { int minuteswest, dsttime; } zone;

	if (syscall(SYS_settimeofday, NULL, &zone) < 0)
		die("settimeofday");
	if (self->calls++ % LOOK == 0) {
		const int cpu = sched_getcpu();

		self->moved += cpu != self->cpu;
		self->cpu = cpu;
	}
}

static void sleeper(struct worker *self, long long end)
{
	const struct sched_param fifo = { .sched_priority = 50 };

	if (sched_setscheduler(0, SCHED_FIFO, &fifo) < 0)
		die("SCHED_FIFO");
	while (now_ns() < end) {
		clock_nanosleep(CLOCK_MONOTONIC, 0, &period, NULL);
		for (int i = 0; i < 10; i++)
			call(self);
	}
}

int main(int argc, char **argv)
{
	const long ms = argc == 3 ? atol(argv[1]) : 0;
	const uint64_t address = argc == 3 ? strtoull(argv[2], NULL, 16) : 0;
	const int cpus = sysconf(_SC_NPROCESSORS_ONLN);
	struct worker *workers, before = { 0 };
	uint64_t calls = 0, hits = 0, moved = 0;
	int events[MOST], status, bad = 0;
	long long end;

	if (ms <= 0 || !address || cpus > MOST) {
		fprintf(stderr, "usage: herd MS ADDRESS, on %d processors at most\n", MOST);
		return 2;
	}
	workers = mmap(NULL, 3 * cpus * sizeof(*workers), PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (workers == MAP_FAILED)
		die("mmap");
	call(&before);          // the first of a boot takes another way (timekeeping_warp_clock())
	for (int cpu = 0; cpu < cpus; cpu++)
		events[cpu] = count_hits(HW_BREAKPOINT_X, address, -1, cpu);
	end = now_ns() + ms * 1000000;
	for (int i = 0; i < 3 * cpus; i++) {
		const pid_t pid = fork();

		if (pid < 0)
			die("fork");
		if (pid)
			continue;
		if (i % 3 == 0)
			sleeper(workers + i, end);
		while (now_ns() < end)
			call(workers + i);
		_exit(0);
	}
	while (wait(&status) > 0)
		bad |= status;
	for (int cpu = 0; cpu < cpus; cpu++)
		hits += hits_of(events[cpu]);
	for (int i = 0; i < 3 * cpus; i++) {
		calls += workers[i].calls;
		moved += workers[i].moved;
	}
	printf("calls=%llu hits=%llu moved=%llu\n", (unsigned long long)calls,
	       (unsigned long long)hits, (unsigned long long)moved);
	return bad ? 2 : 0;
}
