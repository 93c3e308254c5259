// SPDX-License-Identifier: GPL-2.0-only
// herd MS ADDRESS [STOPS]: two tasks per CPU call settimeofday(NULL, &tz) as fast as they can,
// and one per CPU, SCHED_FIFO, wakes every millisecond and calls it ten times, for MS
// milliseconds; the scheduler may move all of them. On each CPU a perf event counts
// how often the kernel runs the instruction at ADDRESS, which a call must pass once.
// With STOPS, the one of CPU 0 stays there and also calls getitimer(2), now and then, as
// many times, which then ends all.
// Prints the number of calls, of hits, and how often a task was on another CPU than
// before.

#include "cpu.h"

#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>

#define MOST 8                  // CPUs
#define APART 10                // milliseconds between two stops
#define LOOK 100                // calls between two checks of a task's CPU
#define NS 1000000000LL

// Shared by the tasks; each has its own cache line.
struct worker {
	uint64_t calls, moved;
	int cpu;
} __attribute__((aligned(64)));

static const struct timespec period = { 0, 1000000 };
static volatile long long *end;		// shared by the tasks, too

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

static void sleeper(struct worker *self, long stops)
{
	const struct sched_param fifo = { .sched_priority = 50 };

	if (sched_setscheduler(0, SCHED_FIFO, &fifo) < 0)
		die("SCHED_FIFO");
	if (stops)
		on_cpu(0);
	for (long wake = 1; now_ns() < *end; wake++) {
		clock_nanosleep(CLOCK_MONOTONIC, 0, &period, NULL);
		for (int i = 0; i < 10; i++)
			call(self);
		if (stops && wake % APART == 0) {
			struct itimerval left;

			getitimer(ITIMER_VIRTUAL, &left);
			if (wake / APART == stops)
				*end = 0;
		}
	}
}

int main(int argc, char **argv)
{
	const long ms = argc == 3 || argc == 4 ? atol(argv[1]) : 0;
	const uint64_t address = ms ? strtoull(argv[2], NULL, 16) : 0;
	const long stops = argc == 4 ? atol(argv[3]) : 0;
	const int cpus = sysconf(_SC_NPROCESSORS_ONLN);
	struct worker *workers, before = { 0 };
	uint64_t calls = 0, hits = 0, moved = 0;
	int events[MOST], status, bad = 0;

	if (ms <= 0 || !address || cpus > MOST) {
		fprintf(stderr, "usage: herd MS ADDRESS [STOPS], on %d CPUs at most\n", MOST);
		return 2;
	}
	workers = mmap(NULL, (3 * cpus + 1) * sizeof(*workers), PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (workers == MAP_FAILED)
		die("mmap");
	end = (volatile long long *)(workers + 3 * cpus);
	call(&before);          // the first call of a boot takes another path (timekeeping_warp_clock())
	for (int cpu = 0; cpu < cpus; cpu++)
		events[cpu] = count_hits(HW_BREAKPOINT_X, address, -1, cpu);
	*end = now_ns() + ms * 1000000;
	for (int i = 0; i < 3 * cpus; i++) {
		const pid_t pid = fork();

		if (pid < 0)
			die("fork");
		if (pid)
			continue;
		if (i % 3 == 0)
			sleeper(workers + i, i ? 0 : stops);
		while (now_ns() < *end)
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
