// SPDX-License-Identifier: GPL-2.0-only
// ticks MS [ENOUGH]: keeps its CPU busy for MS milliseconds of the architected counter,
// which always runs, or until the coarse clock has advanced ENOUGH times, and counts
// how often it did. Only the timer tick advances it (tick_do_update_jiffies64() in
// kernel/time/tick-sched.c), on the CPU that keeps the time. Exit status 0 if it
// advanced.

#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static uint64_t counter(void)
{
	uint64_t value;

	// The barrier keeps the read from being speculated ahead of the loop.
	__asm__ volatile("isb; mrs %0, cntvct_el0" : "=r"(value) : : "memory");
	return value;
}

static uint64_t frequency(void)
{
	uint64_t hz;

	__asm__("mrs %0, cntfrq_el0" : "=r"(hz));
	return hz;
}

int main(int argc, char **argv)
{
	const long ms = argc > 1 ? atol(argv[1]) : 0;
	const long enough = argc > 2 ? atol(argv[2]) : LONG_MAX;
	struct timespec res, last, now;
	uint64_t start, span;
	long ticks = 0;

	if (ms <= 0 || enough <= 0) {
		fprintf(stderr, "usage: ticks MS [ENOUGH]\n");
		return 2;
	}
	clock_getres(CLOCK_MONOTONIC_COARSE, &res);
	clock_gettime(CLOCK_MONOTONIC_COARSE, &last);
	span = (uint64_t)ms * frequency() / 1000;
	for (start = counter(); ticks < enough && counter() - start < span; last = now) {
		clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
		ticks += now.tv_nsec != last.tv_nsec || now.tv_sec != last.tv_sec;
	}
	printf("ticks=%ld ms=%ld hz=%ld\n", ticks, ms, 1000000000L / res.tv_nsec);
	return ticks == 0;
}
