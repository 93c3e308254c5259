// SPDX-License-Identifier: GPL-2.0-only
// jitter NS COUNT: getsid(), COUNT times, each after a random time below NS
// nanoseconds in user space. So a call is as likely at any moment of a timer's
// period of NS as at any other, whatever the calls before it have met. No other
// program of the guest calls getsid(). The last line has the time that each call
// took, in nanoseconds: "took 510 480 ...". It ends sooner, without that line, when
// getsid() fails, which a debugger can have it do.

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static uint64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC_RAW, &t);
	return t.tv_sec * 1000000000ull + t.tv_nsec;
}

int main(int argc, char **argv)
{
	const uint64_t period = argc == 3 ? strtoull(argv[1], NULL, 10) : 0;
	const size_t count = argc == 3 ? strtoull(argv[2], NULL, 10) : 0;
	uint64_t *took = calloc(count + 1, sizeof(*took));

	if (!period || !count || !took) {
		fprintf(stderr, "usage: jitter NS COUNT\n");
		return 2;
	}
	srandom(now());
	for (size_t i = 0; i < count; i++) {
		const uint64_t start = now();
		const uint64_t wait = (uint64_t)random() % period;

		while (now() - start < wait)
			;
		took[i] = now();
		if (syscall(SYS_getsid, 0) < 0)
			return 0;
		took[i] = now() - took[i];
	}
	printf("took");
	for (size_t i = 0; i < count; i++)
		printf(" %llu", (unsigned long long)took[i]);
	printf("\n");
	return 0;
}
