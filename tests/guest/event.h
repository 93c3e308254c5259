/* SPDX-License-Identifier: GPL-2.0-only */
/* Perf events, which count hits and cause interrupts. Each function exits with an error
 * message if it fails. */

#ifndef EVENT_H
#define EVENT_H

#include <errno.h>
#include <linux/hw_breakpoint.h>
#include <linux/perf_event.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static _Noreturn void die(const char *what)
{
	fprintf(stderr, "%s: %s: %s\n", program_invocation_short_name, what, strerror(errno));
	exit(2);
}

static int open_event(struct perf_event_attr *attr, pid_t pid, int cpu)
{
	int fd;

	attr->size = sizeof(*attr);
	fd = syscall(SYS_perf_event_open, attr, pid, cpu, -1, PERF_FLAG_FD_CLOEXEC);
	if (fd < 0)
		die("perf_event_open");
	return fd;
}

/* Counts how often the instruction at an address runs (HW_BREAKPOINT_X), or the long
 * there is written (HW_BREAKPOINT_W); pid and cpu as in perf_event_open(2). */
static inline int count_hits(int type, uint64_t address, pid_t pid, int cpu)
{
	struct perf_event_attr attr = {
		.type = PERF_TYPE_BREAKPOINT,
		.bp_type = type,
		.bp_addr = address,
		.bp_len = type == HW_BREAKPOINT_X ? HW_BREAKPOINT_LEN_4 : HW_BREAKPOINT_LEN_8,
	};

	return open_event(&attr, pid, cpu);
}

/* The same for a kernel address, as x:ADDRESS or w:ADDRESS. For all tasks on CPU 0: the
 * event is always in the debug registers. */
static inline int count_kernel_hits(const char *spec)
{
	unsigned long long address;
	char kind[2], rest;

	if (sscanf(spec, "%1[xw]:%llx%c", kind, &address, &rest) != 2) {
		errno = EINVAL;
		die(spec);
	}
	return count_hits(*kind == 'x' ? HW_BREAKPOINT_X : HW_BREAKPOINT_W, address, -1, 0);
}

/* A source of interrupts: an hrtimer that always restarts (perf_swevent_hrtimer() in
 * kernel/events/core.c). Off at first. */
static inline int interrupt_every(unsigned long us)
{
	struct perf_event_attr attr = {
		.type = PERF_TYPE_SOFTWARE,
		.config = PERF_COUNT_SW_CPU_CLOCK,
		.sample_period = us * 1000,	/* ns */
		.disabled = 1,
	};

	return open_event(&attr, -1, 0);
}

static inline uint64_t hits_of(int fd)
{
	uint64_t value;

	if (read(fd, &value, sizeof(value)) != sizeof(value))
		die("read");
	return value;
}

#endif
