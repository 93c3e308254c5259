// SPDX-License-Identifier: GPL-2.0-only
// often NS COMMAND [ARG...]: executes the command; while it has the CPU, an interrupt
// comes every NS nanoseconds: an hrtimer of perf that always restarts
// (perf_swevent_hrtimer() in kernel/events/core.c). The descriptor, and with it the
// event, stays open across exec.

#include <linux/perf_event.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	struct perf_event_attr attr = {
		.type = PERF_TYPE_SOFTWARE,
		.config = PERF_COUNT_SW_CPU_CLOCK,
		.size = sizeof(attr),
		.sample_period = argc > 2 ? strtoull(argv[1], NULL, 10) : 0,
	};

	if (!attr.sample_period) {
		fprintf(stderr, "usage: often NS COMMAND [ARG...]\n");
		return 2;
	}
	if (syscall(SYS_perf_event_open, &attr, 0, -1, -1, 0) < 0) {
		perror("often: perf_event_open");
		return 2;
	}
	execvp(argv[2], argv + 2);
	perror(argv[2]);
	return 2;
}
