// SPDX-License-Identifier: GPL-2.0-only
// twice TIMES PERIOD_US EVENT...: passes a store in a function TIMES times, or calls
// settimeofday(NULL, &tz) if an event is the kernel's, while an interrupt comes every PERIOD_US;
// prints times=, events=, and the hits of the event with the fewest and with the most, least= and
// most=. An EVENT is
//   x        the store, executed          w8, w4   its 8 bytes, or the first 4, written
//   x+, w+   this and what follows it, one event each, as many as the CPU has registers for
//   x:ADDRESS, w:ADDRESS                  an address of the kernel, which each call passes once
// One CPU.

#include "event.h"

#include <sys/ioctl.h>

enum { MOST = 32 };

static int event[MOST], events;

static volatile long variables[MOST];
extern const char store[];

static __attribute__((noinline)) void pass(long value)
{
	__asm__ volatile(".global store\nstore: str %1, %0\n\t.rept 31\n\tnop\n\t.endr"
			 : "=Qo"(variables[0]) : "r"(value) : "memory");
	for (int i = 1; i < MOST; i++)
		variables[i] = value;
}

static struct perf_event_attr of_program(char kind, char bytes, int number)
{
	struct perf_event_attr attr = {
		.type = PERF_TYPE_BREAKPOINT, .size = sizeof(attr),
		.bp_type = kind == 'x' ? HW_BREAKPOINT_X : HW_BREAKPOINT_W,
		.bp_addr = kind == 'x' ? (uintptr_t)store + 4 * number : (uintptr_t)&variables[number],
		.bp_len = kind == 'x' || bytes == '4' ? HW_BREAKPOINT_LEN_4 : HW_BREAKPOINT_LEN_8,
	};

	return attr;
}

static void open_all(char kind)
{
	for (int i = 0; i < MOST && events < MOST; i++) {
		struct perf_event_attr attr = of_program(kind, '8', i);
		const int fd = syscall(SYS_perf_event_open, &attr, 0, -1, -1, 0);

		if (fd < 0 && errno == ENOSPC)
			return;
		if (fd < 0)
			die("perf_event_open");
		event[events++] = fd;
	}
}

static void open_events(const char *spec)
{
	struct perf_event_attr attr = of_program(*spec, spec[1], 0);

	if (!strchr("xw", *spec)) {
		errno = EINVAL;
		die(spec);
	}
	if (strchr(spec, ':'))
		event[events++] = count_kernel_hits(spec);
	else if (strchr(spec, '+'))
		open_all(*spec);
	else
		event[events++] = open_event(&attr, 0, -1);
}

int main(int argc, char **argv)
{
	const struct { int minuteswest, dsttime; } zone = { 0, 0 };
	const unsigned long times = argc > 3 && argc <= 3 + MOST ? strtoul(argv[1], NULL, 10) : 0;
	const unsigned long period = times ? strtoul(argv[2], NULL, 10) : 0;
	uint64_t least = UINT64_MAX, most = 0;
	int often, kernel = 0;

	if (!period) {
		fprintf(stderr, "usage: twice TIMES PERIOD_US EVENT...\n");
		return 2;
	}
	pass(1);		// maps the page, so that each store runs once
	// The first call of a boot takes another path (timekeeping_warp_clock()).
	if (syscall(SYS_settimeofday, NULL, &zone) < 0)
		die("settimeofday");
	for (int i = 3; i < argc && events < MOST; i++) {
		open_events(argv[i]);
		kernel |= !!strchr(argv[i], ':');
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
	for (int i = 0; i < events; i++) {
		const uint64_t hits = hits_of(event[i]);

		least = hits < least ? hits : least;
		most = hits > most ? hits : most;
	}
	printf("times=%lu events=%d least=%llu most=%llu\n", times, events,
	       (unsigned long long)least, (unsigned long long)most);
	return 0;
}
