// SPDX-License-Identifier: GPL-2.0-only
// userhits executed|written|called TIMES PERIOD_US: calls its own function, or writes a
// variable, or makes a system call, TIMES times, and prints the hits of a perf event on
// the function, the variable or the call's instruction, while an interrupt comes every
// PERIOD_US. One CPU.

#include "event.h"

#include <sys/ioctl.h>

static volatile long variable;

static __attribute__((noinline)) void called(void)
{
	__asm__ volatile("" : : : "memory");
}

extern const char call[];

static __attribute__((noinline)) void calls(void)
{
	register long x0 __asm__("x0");
	register long x8 __asm__("x8") = SYS_getppid;

	__asm__ volatile(".global call\ncall: svc #0" : "=r"(x0) : "r"(x8) : "memory");
}

int main(int argc, char **argv)
{
	const unsigned long times = argc == 4 ? strtoul(argv[2], NULL, 10) : 0;
	const unsigned long period = times ? strtoul(argv[3], NULL, 10) : 0;
	const char what = period ? *argv[1] : '\0';
	int event, often;

	if (!what || !strchr("ewc", what)) {
		fprintf(stderr, "usage: userhits executed|written|called TIMES PERIOD_US\n");
		return 2;
	}
	variable = 1;		// maps the page, so that each write runs once
	if (what == 'e')
		event = count_hits(HW_BREAKPOINT_X, (uintptr_t)called, 0, -1);
	else if (what == 'c')
		event = count_hits(HW_BREAKPOINT_X, (uintptr_t)call, 0, -1);
	else
		event = count_hits(HW_BREAKPOINT_W, (uintptr_t)&variable, 0, -1);
	often = interrupt_every(period);
	ioctl(often, PERF_EVENT_IOC_ENABLE, 0);
	for (unsigned long i = 0; i < times; i++) {
		if (what == 'e')
			called();
		else if (what == 'c')
			calls();
		else
			variable = i;
	}
	ioctl(often, PERF_EVENT_IOC_DISABLE, 0);
	printf("times=%lu hits=%llu\n", times, (unsigned long long)hits_of(event));
	return 0;
}
