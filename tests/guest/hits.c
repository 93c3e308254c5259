// SPDX-License-Identifier: GPL-2.0-only
// hits COUNT PERIOD_US IRQ TASK...: calls settimeofday(NULL, &tz) in a loop, until
// COUNT interrupts have come, with perf events that count how often the kernel runs
// the instruction at an address (x:ADDRESS) or writes the long at it (w:ADDRESS). Each
// TASK must be an address that a call passes once, IRQ one that every interrupt passes
// once. Beside the tick an interrupt comes every PERIOD_US, or none if that is 0.
// Prints what the events counted, the sum for all TASKs, and the true numbers: its own
// calls, and the interrupts in /proc/stat. One CPU.

#include "event.h"

#include <fcntl.h>
#include <sys/ioctl.h>

#define BETWEEN_LOOKS 100       // calls; reading /proc/stat takes longer than one
#define TRIES 1000
#define MOST 5                  // TASKs: a Cortex-A76 has six breakpoints

// Interrupts so far: adds up the single ones, because the sum before them counts IPIs
// twice (show_stat() in fs/proc/stat.c).
static uint64_t interrupts(void)
{
	static char text[65536];
	static int fd = -1;
	uint64_t total = 0;
	char *at, *end;
	ssize_t size;

	if (fd < 0)
		fd = open("/proc/stat", O_RDONLY | O_CLOEXEC);
	size = pread(fd, text, sizeof(text) - 1, 0);
	if (size < 0)
		die("/proc/stat");
	text[size] = '\0';
	at = strstr(text, "\nintr ");
	if (!at)
		die("/proc/stat has no interrupts");
	end = strchr(at + 1, '\n');
	*end = '\0';
	strtoull(at + 6, &at, 10);
	while (*at == ' ')
		total += strtoull(at + 1, &at, 10);
	return total;
}

struct reading {
	uint64_t interrupts, hits;
};

static uint64_t unsettled;

// Reads both with no interrupt in between. A machine may be too slow for that; then the
// interrupts that came count as unsettled.
static struct reading reading(int irq)
{
	struct reading r;
	uint64_t before;
	int tries = 0;

	do {
		before = interrupts();
		r.hits = hits_of(irq);
		r.interrupts = interrupts();
	} while (r.interrupts != before && ++tries < TRIES);
	unsettled += r.interrupts - before;
	return r;
}

int main(int argc, char **argv)
{
	const struct { int minuteswest, dsttime; } zone = { 0, 0 };
	const int tasks = argc - 4;
	const uint64_t enough = tasks > 0 && tasks <= MOST ? strtoull(argv[1], NULL, 10) : 0;
	const unsigned long period = enough ? strtoul(argv[2], NULL, 10) : 0;
	struct reading first, last;
	unsigned long calls = 0;
	uint64_t call_hits = 0;
	int task[MOST], irq, often = -1;

	if (!enough) {
		fprintf(stderr, "usage: hits COUNT PERIOD_US IRQ TASK...\n");
		return 2;
	}
	// The first call of a boot takes another path (timekeeping_warp_clock()).
	if (syscall(SYS_settimeofday, NULL, &zone) < 0)
		die("settimeofday");
	irq = count_kernel_hits(argv[3]);
	for (int i = 0; i < tasks; i++)
		task[i] = count_kernel_hits(argv[4 + i]);
	if (period)
		often = interrupt_every(period);
	first = reading(irq);
	if (period)
		ioctl(often, PERF_EVENT_IOC_ENABLE, 0);
	do {
		for (int i = 0; i < BETWEEN_LOOKS; i++, calls++)
			syscall(SYS_settimeofday, NULL, &zone);
	} while (interrupts() - first.interrupts < enough);
	if (period)
		ioctl(often, PERF_EVENT_IOC_DISABLE, 0);
	last = reading(irq);
	for (int i = 0; i < tasks; i++)
		call_hits += hits_of(task[i]);
	printf("calls=%lu call_hits=%llu interrupts=%llu interrupt_hits=%llu unsettled=%llu\n",
	       calls, (unsigned long long)call_hits,
	       (unsigned long long)(last.interrupts - first.interrupts),
	       (unsigned long long)(last.hits - first.hits), (unsigned long long)unsettled);
	return 0;
}
