// SPDX-License-Identifier: GPL-2.0-only
// offline LAPS CODE DATA: turns the last CPU off and on, LAPS times. Each time:
//   - a task with a perf breakpoint and watchpoint of its own passes them on that CPU, on the first while
//     the other is away, and on that CPU again
//   - perf events on the kernel's instruction at CODE and the long at DATA, which a call of
//     settimeofday() passes once, are set on the CPU that has come back, and on the first CPU once;
//     another on CODE is set on the CPU when it goes, which ends its counting
// Prints laps=, and what was passed on the way, and counted: passes=, executed=, written=; calls= on the
// last CPU, code=; stores= on the CPU that came back, data=; and steady_calls= and steady=, the first CPU's.

#include "cpu.h"
#include "event.h"

#include <fcntl.h>

enum { TIMES = 50 };

static volatile long variable;
static long last;
extern const char instruction[];

static void turn(const char *on)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/sys/devices/system/cpu/cpu%ld/online", last);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, on, 1) != 1)
		die(path);
	close(fd);
}

static __attribute__((noinline)) void pass(long value)
{
	__asm__ volatile(".global instruction\ninstruction: nop\n\tstr %1, %0"
			 : "=Qo"(variable) : "r"(value) : "memory");
}

static uint64_t passes, calls, steady_calls;

static void pass_some(void)
{
	for (int i = 0; i < TIMES; i++, passes++)
		pass(i);
}

static void call_some(uint64_t *count)
{
	static const struct { int minuteswest, dsttime; } zone;

	for (int i = 0; i < TIMES; i++, ++*count)
		if (syscall(SYS_settimeofday, NULL, &zone) < 0)
			die("settimeofday");
}

int main(int argc, char **argv)
{
	const long laps = argc == 4 ? atol(argv[1]) : 0;
	const uint64_t code = laps > 0 ? strtoull(argv[2], NULL, 16) : 0;
	const uint64_t data = code ? strtoull(argv[3], NULL, 16) : 0;
	uint64_t first = 0, code_hits = 0, data_hits = 0;
	int executed, written, steady;

	if (!data) {
		fprintf(stderr, "usage: offline LAPS CODE DATA\n");
		return 2;
	}
	last = sysconf(_SC_NPROCESSORS_ONLN) - 1;
	call_some(&first);	// the first call of a boot takes another path
	pass(1);		// maps the page, so that each store runs once
	executed = count_hits(HW_BREAKPOINT_X, (uintptr_t)instruction, 0, -1);
	written = count_hits(HW_BREAKPOINT_W, (uintptr_t)&variable, 0, -1);
	steady = count_hits(HW_BREAKPOINT_X, code, -1, 0);
	for (long i = 0; i < laps; i++) {
		const int kept = count_hits(HW_BREAKPOINT_X, code, -1, last);
		int again[2];

		on_cpu(last);
		pass_some();
		call_some(&calls);
		on_cpu(0);
		turn("0");
		pass_some();
		call_some(&steady_calls);
		turn("1");
		again[0] = count_hits(HW_BREAKPOINT_X, code, -1, last);
		again[1] = count_hits(HW_BREAKPOINT_W, data, -1, last);
		on_cpu(last);
		pass_some();
		call_some(&calls);
		on_cpu(0);
		call_some(&steady_calls);
		code_hits += hits_of(kept) + hits_of(again[0]);
		data_hits += hits_of(again[1]);
		close(kept);
		close(again[0]);
		close(again[1]);
	}
	printf("laps=%ld passes=%llu executed=%llu written=%llu calls=%llu code=%llu stores=%llu"
	       " data=%llu steady_calls=%llu steady=%llu\n", laps, (unsigned long long)passes,
	       (unsigned long long)hits_of(executed), (unsigned long long)hits_of(written),
	       (unsigned long long)calls, (unsigned long long)code_hits,
	       (unsigned long long)calls / 2, (unsigned long long)data_hits, (unsigned long long)steady_calls,
	       (unsigned long long)hits_of(steady));
	return 0;
}
