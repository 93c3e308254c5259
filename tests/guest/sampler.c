// SPDX-License-Identifier: GPL-2.0-only
// sampler PERIOD COMMAND [ARG...]: runs a command on CPU 0 while the PMU there samples
// the kernel, in all tasks, every PERIOD CPU cycles. Prints the number of samples and a
// line for each address (`at ADDRESS COUNT`); other records are about samples that the
// kernel throttled or lost. Exit status: the command's, or 2.

#include <errno.h>
#include <linux/perf_event.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define BYTES (512 << 10)       // of samples: pages of any size, as many as a power of two

// The record that the kernel writes for PERF_SAMPLE_IP alone.
struct sample {
	struct perf_event_header header;
	uint64_t ip;
};

static int up(const void *a, const void *b)
{
	const uint64_t one = *(const uint64_t *)a, other = *(const uint64_t *)b;

	return (one > other) - (one < other);
}

// The buffer is not drained while samples come, so it does not wrap: the kernel drops
// what does not fit, and records that when there is room again.
static void report(const struct perf_event_mmap_page *page, const char *data)
{
	static uint64_t ips[BYTES / sizeof(struct sample)];
	const uint64_t head = __atomic_load_n(&page->data_head, __ATOMIC_ACQUIRE);
	const struct perf_event_header *each;
	size_t count = 0, other = 0;

	for (uint64_t at = 0; at < head; at += each->size) {
		each = (const void *)(data + at);
		if (each->type != PERF_RECORD_SAMPLE)
			other++;
		else if (((const struct sample *)each)->ip >> 63)       // it may come late, in user space
			ips[count++] = ((const struct sample *)each)->ip;
	}
	printf("samples=%zu other=%zu\n", count, other);
	qsort(ips, count, sizeof(*ips), up);
	for (size_t i = 0, n; i < count; i += n) {
		for (n = 1; i + n < count && ips[i + n] == ips[i]; n++)
			;
		printf("at %016llx %zu\n", (unsigned long long)ips[i], n);
	}
}

int main(int argc, char **argv)
{
	struct perf_event_attr attr = {
		.type = PERF_TYPE_HARDWARE,
		.size = sizeof(attr),
		.config = PERF_COUNT_HW_CPU_CYCLES,
		.sample_period = argc > 2 ? strtoull(argv[1], NULL, 10) : 0,
		.sample_type = PERF_SAMPLE_IP,
		.exclude_user = 1,
		.exclude_hv = 1,
	};
	const long size = sysconf(_SC_PAGESIZE);
	cpu_set_t first;
	pid_t pid;
	char *map;
	int fd, status;

	if (!attr.sample_period) {
		fprintf(stderr, "usage: sampler PERIOD COMMAND [ARG...]\n");
		return 2;
	}
	CPU_ZERO(&first);
	CPU_SET(0, &first);
	sched_setaffinity(0, sizeof(first), &first);
	fd = syscall(SYS_perf_event_open, &attr, -1, 0, -1, PERF_FLAG_FD_CLOEXEC);
	if (fd < 0) {
		perror("sampler: perf_event_open");
		return 2;
	}
	map = mmap(NULL, size + BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED) {
		perror("sampler: mmap");
		return 2;
	}
	pid = fork();
	if (pid == 0) {
		execvp(argv[2], argv + 2);
		fprintf(stderr, "sampler: %s: %s\n", argv[2], strerror(errno));
		_exit(2);
	}
	if (pid < 0 || waitpid(pid, &status, 0) < 0) {
		perror("sampler");
		return 2;
	}
	ioctl(fd, PERF_EVENT_IOC_DISABLE, 0);
	report((const void *)map, map + size);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 2;
}
