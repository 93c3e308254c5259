// SPDX-License-Identifier: GPL-2.0-only
// sleeper [--fifo PRIO] INTERVAL_US COUNT: sleeps until each of COUNT absolute times,
// INTERVAL_US apart, and prints how often it woke. A time that has passed when it
// wakes for an earlier one is missed, so woken + missed = due; worst_us is the longest
// delay from due time to awake.

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define NS 1000000000LL

static long long now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * NS + t.tv_nsec;
}

int main(int argc, char **argv)
{
	struct sched_param fifo = { 0 };
	long long interval, count, next, late, worst = 0, woken = 0;

	if (argc == 5 && strcmp(argv[1], "--fifo") == 0) {
		fifo.sched_priority = atoi(argv[2]);
		if (sched_setscheduler(0, SCHED_FIFO, &fifo) < 0) {
			perror("sleeper: --fifo");
			return 2;
		}
		argc -= 2;
		argv += 2;
	}
	interval = argc == 3 ? atoll(argv[1]) * 1000 : 0;
	count = argc == 3 ? atoll(argv[2]) : 0;
	if (interval <= 0 || count <= 0) {
		fprintf(stderr, "usage: sleeper [--fifo PRIO] INTERVAL_US COUNT\n");
		return 2;
	}
	next = now_ns() + interval;
	// Absolute times, because relative ones would hide every delay in the next sleep.
	for (long long passed = 0; passed < count; woken++) {
		struct timespec at = { next / NS, next % NS };

		clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL);
		late = now_ns() - next;
		if (late > worst)
			worst = late;
		passed += 1 + late / interval;
		next += (1 + late / interval) * interval;
	}
	printf("woken=%lld due=%lld worst_us=%lld missed=%lld\n",
	       woken, count, worst / 1000, count - woken);
	return 0;
}
