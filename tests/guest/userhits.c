// SPDX-License-Identifier: GPL-2.0-only
// userhits executed|written TIMES PERIOD_US: calls its own function, or writes a
// variable, TIMES times, and prints the hits of a perf event on it, while an interrupt
// comes every PERIOD_US. One CPU.

#include "event.h"

#include <sys/ioctl.h>

static volatile long variable;

static __attribute__((noinline)) void called(void)
{
	__asm__ volatile("" : : : "memory");
}

int main(int argc, char **argv)
{
	const unsigned long times = argc == 4 ? strtoul(argv[2], NULL, 10) : 0;
	const unsigned long period = times ? strtoul(argv[3], NULL, 10) : 0;
	const char what = period ? *argv[1] : '\0';
	int event, often;

	if (!what || !strchr("ew", what)) {
		fprintf(stderr, "usage: userhits executed|written TIMES PERIOD_US\n");
		return 2;
	}
	variable = 1;		// maps the page, so that each write runs once
	if (what == 'e')
		event = count_hits(HW_BREAKPOINT_X, (uintptr_t)called, 0, -1);
	else
		event = count_hits(HW_BREAKPOINT_W, (uintptr_t)&variable, 0, -1);
	often = interrupt_every(period);
	ioctl(often, PERF_EVENT_IOC_ENABLE, 0);
	for (unsigned long i = 0; i < times; i++) {
		if (what == 'e')
			called();
		else
			variable = i;
	}
	ioctl(often, PERF_EVENT_IOC_DISABLE, 0);
	printf("times=%lu hits=%llu\n", times, (unsigned long long)hits_of(event));
	return 0;
}
