// SPDX-License-Identifier: GPL-2.0-only
// hops ROUNDS: calls getitimer() on each CPU in turn, ROUNDS times, from the first to the last.

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/time.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN), rounds = argc == 2 ? atol(argv[1]) : 0;

	if (rounds <= 0) {
		fprintf(stderr, "usage: hops ROUNDS\n");
		return 2;
	}
	for (long i = 0; i < rounds * cpus; i++) {
		struct itimerval timer;
		cpu_set_t set;

		CPU_ZERO(&set);
		CPU_SET(i % cpus, &set);
		if (sched_setaffinity(0, sizeof(set), &set)) {
			perror("hops");
			return 1;
		}
		getitimer(ITIMER_REAL, &timer);
	}
	printf("calls=%ld\n", rounds * cpus);
	return 0;
}
