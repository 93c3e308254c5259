// SPDX-License-Identifier: GPL-2.0-only
// preempted WHERE WAKES SECONDS ADDRESS: on the first CPU a task enters and leaves the kernel in a
// loop, and a real-time task reads an eventfd; the last CPU writes to it WAKES times, or a tenth of
// that if it takes longer than SECONDS, each time when the reader sleeps, so that the first task is
// preempted wherever it is. A perf event counts how often that CPU runs the kernel's instruction at
// ADDRESS, which a read must pass once, behind its sleep, and nothing else there.
//   WHERE   kernel_fault   a system call's store to an address that is not mapped
//           user_fault     a load of the program's own from a page that is not there yet
//           system_call    getppid()
//           executed, written   an instruction or a variable of its own with a perf event on it
// Prints wakes=; missed=, the reads after which the event had not counted, and excess=, after which
// it had counted more than once; passes= of the loop, and hits= of its own event.

#include "event.h"

#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>

enum { PAGES = 64, MOST_SPINS = 4096, ENOUGH = 10 };

static volatile struct shared {
	uint64_t reads, missed, excess, passes, hits;
	bool ready, ends;
} *shared;

static const char *const places[] = {
	"kernel_fault", "user_fault", "system_call", "executed", "written", NULL,
};

static volatile long variable;
extern const char instruction[];

static void on_cpu(long cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	if (sched_setaffinity(0, sizeof(set), &set) < 0)
		die("sched_setaffinity");
}

static _Noreturn void reader(int wakes_by, uint64_t address)
{
	const struct sched_param fifo = { .sched_priority = 50 };
	uint64_t value, before = 0, now;
	int event;

	on_cpu(0);
	event = count_hits(HW_BREAKPOINT_X, address, -1, 0);
	if (sched_setscheduler(0, SCHED_FIFO, &fifo) < 0)
		die("SCHED_FIFO");
	shared->ready = true;
	while (!shared->ends) {
		if (read(wakes_by, &value, sizeof(value)) != sizeof(value))
			die("eventfd");
		now = hits_of(event);
		shared->missed += now == before;
		shared->excess += now > before + 1;
		before = now;
		shared->reads++;
	}
	_exit(0);
}

static __attribute__((noinline)) void pass(long value)
{
	__asm__ volatile(".global instruction\ninstruction: nop\n\tstr %1, %0"
			 : "=Qo"(variable) : "r"(value) : "memory");
}

// Pages that are not there yet, in the place of others if there are any.
static volatile char *unmapped(volatile char *old, size_t size)
{
	char *pages = mmap((void *)old, size, PROT_READ,
			   MAP_PRIVATE | MAP_ANONYMOUS | (old ? MAP_FIXED : 0), -1, 0);

	if (pages == MAP_FAILED)
		die("mmap");
	return pages;
}

static _Noreturn void victim(const char *where)
{
	const size_t size = PAGES * sysconf(_SC_PAGESIZE);
	volatile char *pages = NULL;
	int event = -1;

	on_cpu(0);
	pass(1);		// maps the page, so that each store runs once
	if (*where == 'e')
		event = count_hits(HW_BREAKPOINT_X, (uintptr_t)instruction, 0, -1);
	else if (*where == 'w')
		event = count_hits(HW_BREAKPOINT_W, (uintptr_t)&variable, 0, -1);
	for (uint64_t i = 0; !shared->ends; i++) {
		switch (*where) {
		case 'k':
			syscall(SYS_clock_gettime, CLOCK_REALTIME, 8);
			break;
		case 'u':
			if (i % PAGES == 0)
				pages = unmapped(pages, size);
			(void)pages[i % PAGES * (size / PAGES)];
			break;
		case 's':
			syscall(SYS_getppid);
			break;
		default:
			pass(i);
		}
		shared->passes++;
	}
	if (event >= 0)
		shared->hits = hits_of(event);
	_exit(0);
}

// A task that has failed has said why.
static void on_child(int number)
{
	(void)number;
	if (!shared->ends)
		_exit(2);
}

static time_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec;
}

static pid_t start(void)
{
	const pid_t pid = fork();

	if (pid < 0)
		die("fork");
	if (pid == 0)
		prctl(PR_SET_PDEATHSIG, SIGKILL);
	return pid;
}

int main(int argc, char **argv)
{
	const unsigned long wakes = argc == 5 ? strtoul(argv[2], NULL, 10) : 0;
	const time_t seconds = wakes ? atol(argv[3]) : 0;
	const uint64_t address = seconds ? strtoull(argv[4], NULL, 16) : 0;
	const uint64_t one = 1;
	uint64_t woken = 0;
	time_t end;
	const char *const *where = places;
	int fd, status, bad = 0;
	uint32_t random = 1;

	while (address && *where && strcmp(*where, argv[1]))
		where++;
	if (!address || !*where) {
		fprintf(stderr, "usage: preempted kernel_fault|user_fault|system_call|executed|written"
			" WAKES SECONDS ADDRESS\n");
		return 2;
	}
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	fd = eventfd(0, EFD_CLOEXEC);
	if (shared == MAP_FAILED || fd < 0)
		die("eventfd");
	signal(SIGCHLD, on_child);
	if (start() == 0)
		reader(fd, address);
	while (!shared->ready)
		sched_yield();
	if (start() == 0)
		victim(*where);
	on_cpu(sysconf(_SC_NPROCESSORS_ONLN) - 1);
	end = now() + seconds;
	while (!shared->ends) {
		// Until the reader sleeps and the other has run, and then for some time, so that it may
		// be anywhere.
		const uint64_t passes = shared->passes;

		while (shared->passes == passes)
			;
		random = random * 1664525 + 1013904223;
		for (volatile uint32_t spins = random >> 16 & (MOST_SPINS - 1); spins; spins--)
			;
		shared->ends = ++woken >= (now() < end ? wakes : wakes / ENOUGH);
		if (write(fd, &one, sizeof(one)) != sizeof(one))
			die("eventfd");
		while (shared->reads < woken)
			;
	}
	while (wait(&status) > 0)
		bad |= status;
	printf("wakes=%llu missed=%llu excess=%llu passes=%llu hits=%llu\n",
	       (unsigned long long)woken,
	       (unsigned long long)shared->missed, (unsigned long long)shared->excess,
	       (unsigned long long)shared->passes, (unsigned long long)shared->hits);
	return bad ? 2 : 0;
}
