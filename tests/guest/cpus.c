// SPDX-License-Identifier: GPL-2.0-only
// cpus [ROUNDS]: moves from CPU to CPU, ROUNDS times (3) over all online CPUs, and
// checks that each is alive: it must run this program, and wake it by its own timer.
// Compares the clocks on the way: none may go back from one CPU to the next, and the
// monotonic clock must keep its distance to the architected counter, which always
// runs. Prints that distance (offset_us), and how far jiffies are ahead of the
// monotonic clock (jiffies_ms: the maximum, as they may be late but never early), to
// compare two runs. Exit status 0 if all checks pass.

#include <limits.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/times.h>
#include <time.h>
#include <unistd.h>

#define NS 1000000000LL
#define CLOCKS 4

static const struct timespec a_while = { 0, 2000000 };  // two ticks of 1000 Hz
static const long long slack_ns = 100000;       // less than a tick

static long long clock_ns(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return t.tv_sec * NS + t.tv_nsec;
}

static long long counter_ns(void)
{
	uint64_t value, hz;

	// The barrier keeps the read from being speculated ahead of the clock's.
	__asm__ volatile("isb; mrs %0, cntvct_el0" : "=r"(value) : : "memory");
	__asm__("mrs %0, cntfrq_el0" : "=r"(hz));
	return (long long)((__int128)value * NS / hz);
}

int main(int argc, char **argv)
{
	static const clockid_t clocks[CLOCKS] = {
		CLOCK_MONOTONIC, CLOCK_MONOTONIC_COARSE, CLOCK_BOOTTIME, CLOCK_REALTIME,
	};
	const long rounds = argc > 1 ? atol(argv[1]) : 3;
	const long online = sysconf(_SC_NPROCESSORS_ONLN);
	long long last[CLOCKS] = { 0 }, least = LLONG_MIN, most = LLONG_MAX;
	long long ahead = LLONG_MIN;
	long answers = 0, back = 0;

	if (rounds <= 0) {
		fprintf(stderr, "usage: cpus [ROUNDS]\n");
		return 2;
	}
	for (long visit = 0; visit < rounds * online; visit++) {
		long long before, now, after;
		cpu_set_t set;

		CPU_ZERO(&set);
		CPU_SET(visit % online, &set);
		if (sched_setaffinity(0, sizeof(set), &set) < 0) {
			perror("cpus: sched_setaffinity");
			return 2;
		}
		for (int i = 0; i < CLOCKS; i++) {
			now = clock_ns(clocks[i]);
			back += now < last[i];
			last[i] = now;
		}
		// The distance is between the two, however long it takes to read them.
		before = counter_ns();
		now = clock_ns(CLOCK_MONOTONIC);
		after = counter_ns();
		if (now - after > least)
			least = now - after;
		if (now - before < most)
			most = now - before;
		// in jiffies, by get_jiffies_64(): sys_times() in kernel/sys.c
		now = times(NULL) * (1000LL / sysconf(_SC_CLK_TCK)) - after / 1000000;
		if (now > ahead)
			ahead = now;
		answers += clock_nanosleep(CLOCK_MONOTONIC, 0, &a_while, NULL) == 0
			&& sched_getcpu() == visit % online;
	}
	printf("cpus=%ld answers=%ld asked=%ld back=%ld offset_us=%lld apart_us=%lld"
	       " jiffies_ms=%lld\n",
	       online, answers, rounds * online, back, least / 1000,
	       least > most ? (least - most) / 1000 : 0, ahead);
	return answers < rounds * online || back || least > most + slack_ns;
}
