// SPDX-License-Identifier: GPL-2.0-only
// twice TIMES PERIOD_US EVENT EVENT EVENT: passes a store in a function TIMES times, or calls
// settimeofday(NULL, &tz) if an event is the kernel's, while an interrupt comes every PERIOD_US;
// prints times=, and the hits of the events, first=, second= and third=. An EVENT is
//   x        the store, executed          w8, w4   its 8 bytes, or the first 4, written
//   x:ADDRESS, w:ADDRESS                  an address of the kernel, which each call passes once
// One CPU.

#include "event.h"

#include <sys/ioctl.h>

enum { EVENTS = 3 };

static volatile long variable;
extern const char store[];

static __attribute__((noinline)) void pass(long value)
{
	__asm__ volatile(".global store\nstore: str %1, %0" : "=Qo"(variable) : "r"(value) : "memory");
}

static int open_one(const char *spec)
{
	struct perf_event_attr attr = { .type = PERF_TYPE_BREAKPOINT };

	if (strchr(spec, ':'))
		return count_kernel_hits(spec);
	if (!strcmp(spec, "x"))
		return count_hits(HW_BREAKPOINT_X, (uintptr_t)store, 0, -1);
	if (strcmp(spec, "w8") && strcmp(spec, "w4")) {
		errno = EINVAL;
		die(spec);
	}
	attr.bp_type = HW_BREAKPOINT_W;
	attr.bp_addr = (uintptr_t)&variable;
	attr.bp_len = spec[1] == '8' ? HW_BREAKPOINT_LEN_8 : HW_BREAKPOINT_LEN_4;
	return open_event(&attr, 0, -1);
}

int main(int argc, char **argv)
{
	const struct { int minuteswest, dsttime; } zone = { 0, 0 };
	const unsigned long times = argc == 3 + EVENTS ? strtoul(argv[1], NULL, 10) : 0;
	const unsigned long period = times ? strtoul(argv[2], NULL, 10) : 0;
	int event[EVENTS], often, kernel = 0;

	if (!period) {
		fprintf(stderr, "usage: twice TIMES PERIOD_US EVENT EVENT EVENT\n");
		return 2;
	}
	pass(1);		// maps the page, so that each store runs once
	// The first call of a boot takes another path (timekeeping_warp_clock()).
	if (syscall(SYS_settimeofday, NULL, &zone) < 0)
		die("settimeofday");
	for (int i = 0; i < EVENTS; i++) {
		event[i] = open_one(argv[3 + i]);
		kernel |= !!strchr(argv[3 + i], ':');
	}
	often = interrupt_every(period);
	ioctl(often, PERF_EVENT_IOC_ENABLE, 0);
	for (unsigned long i = 0; i < times; i++) {
		if (kernel)
			syscall(SYS_settimeofday, NULL, &zone);
		else
			pass(i);
	}
	ioctl(often, PERF_EVENT_IOC_DISABLE, 0);
	printf("times=%lu first=%llu second=%llu third=%llu\n", times,
	       (unsigned long long)hits_of(event[0]), (unsigned long long)hits_of(event[1]),
	       (unsigned long long)hits_of(event[2]));
	return 0;
}
