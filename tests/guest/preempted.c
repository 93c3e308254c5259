// SPDX-License-Identifier: GPL-2.0-only
// preempted WHERE WAKES SECONDS ADDRESS: on the first CPU a task enters and leaves the kernel in a
// loop, and a real-time task reads an eventfd; the last CPU writes to it WAKES times, or a fiftieth
// of that if it takes longer than SECONDS, each time when the reader sleeps, so that the first task
// is preempted wherever it is. A perf event counts how often that CPU runs the kernel's instruction at
// ADDRESS, which a read must pass once, behind its sleep, and nothing else there.
//   WHERE   kernel_fault   a system call's store to an address that is not mapped
//           user_fault     a load of the program's own from a page that is not there yet
//           system_call    getppid()
//           executed, written   an instruction or a variable of its own with a perf event on it
//           cpu_executed, cpu_written   the same, and the event is the CPU's: the reader passes it, too
// Prints wakes=; missed=, the reads after which the event had not counted, and excess=, after which
// it had counted more than once; passes= of the loop, and hits= of its own event.

#include "cpu.h"
#include "event.h"

#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>

enum { PAGES = 64, BETWEEN = 1 << 17 /* ns at most */, ENOUGH = 50, CHILDREN = 2 };

#define CPU "cpu_"

static volatile struct shared {
	uint64_t reads, missed, excess, passes, hits;
	int ready;
	bool begins, ends;
} *shared;

static const char *const places[] = {
	"kernel_fault", "user_fault", "system_call", "executed", "written",
	"cpu_executed", "cpu_written", NULL,
};

static volatile long variable;
extern const char instruction[];

static __attribute__((noinline)) void pass(long value)
{
	__asm__ volatile(".global instruction\ninstruction: nop\n\tstr %1, %0"
			 : "=Qo"(variable) : "r"(value) : "memory");
}

// An event on what is passed: the task's own, or the first CPU's.
static int count_passes(char what, pid_t task, int cpu)
{
	if (what == 'e')
		return count_hits(HW_BREAKPOINT_X, (uintptr_t)instruction, task, cpu);
	return count_hits(HW_BREAKPOINT_W, (uintptr_t)&variable, task, cpu);
}

static _Noreturn void reader(int wakes_by, uint64_t address, bool passes)
{
	const struct sched_param fifo = { .sched_priority = 50 };
	uint64_t value, before = 0, now;
	int event;

	on_cpu(0);
	pass(1);	// maps the page, so that each store runs once
	event = count_hits(HW_BREAKPOINT_X, address, -1, 0);
	if (sched_setscheduler(0, SCHED_FIFO, &fifo) < 0)
		die("SCHED_FIFO");
	__atomic_add_fetch(&shared->ready, 1, __ATOMIC_SEQ_CST);
	while (!shared->ends) {
		if (read(wakes_by, &value, sizeof(value)) != sizeof(value))
			die("eventfd");
		now = hits_of(event);
		shared->missed += now == before;
		shared->excess += now > before + 1;
		before = now;
		if (passes)
			pass(now);
		shared->reads++;
	}
	_exit(0);
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
	if (*where == 'e' || *where == 'w')
		event = count_passes(*where, 0, -1);
	__atomic_add_fetch(&shared->ready, 1, __ATOMIC_SEQ_CST);
	while (!shared->begins)
		sched_yield();
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

static void on_child(int number)
{
	static const char early[] = "preempted: a task has ended early\n";

	(void)number;
	if (!shared->ends && write(STDERR_FILENO, early, sizeof(early) - 1))
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
	int fd, status, bad = 0, event = -1;
	bool of_cpu;
	struct timespec between = { 0 };
	uint32_t random = 1;

	while (address && *where && strcmp(*where, argv[1]))
		where++;
	if (!address || !*where) {
		fprintf(stderr, "usage: preempted kernel_fault|user_fault|system_call"
			"|[cpu_]executed|[cpu_]written WAKES SECONDS ADDRESS\n");
		return 2;
	}
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	fd = eventfd(0, EFD_CLOEXEC);
	if (shared == MAP_FAILED || fd < 0)
		die("eventfd");
	of_cpu = !strncmp(*where, CPU, strlen(CPU));
	signal(SIGCHLD, on_child);
	if (start() == 0)
		reader(fd, address, of_cpu);
	if (start() == 0)
		victim(*where);
	while (shared->ready < CHILDREN)
		sched_yield();
	on_cpu(sysconf(_SC_NPROCESSORS_ONLN) - 1);
	if (of_cpu)
		event = count_passes((*where)[strlen(CPU)], -1, 0);
	shared->begins = true;
	end = now() + seconds;
	// A sleep between two: it may be anywhere by then, also on a host that runs one CPU at a time.
	while (!shared->ends) {
		random = random * 1664525 + 1013904223;
		between.tv_nsec = (random >> 8) % BETWEEN;
		nanosleep(&between, NULL);
		if (shared->reads < woken)
			continue;
		shared->ends = ++woken >= (now() < end ? wakes : wakes / ENOUGH);
		if (write(fd, &one, sizeof(one)) != sizeof(one))
			die("eventfd");
	}
	while (wait(&status) > 0)
		bad |= status;
	if (of_cpu) {
		shared->passes += shared->reads;
		shared->hits = hits_of(event);
	}
	printf("wakes=%llu missed=%llu excess=%llu passes=%llu hits=%llu\n",
	       (unsigned long long)woken,
	       (unsigned long long)shared->missed, (unsigned long long)shared->excess,
	       (unsigned long long)shared->passes, (unsigned long long)shared->hits);
	return bad ? 2 : 0;
}
