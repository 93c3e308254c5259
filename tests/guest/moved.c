// SPDX-License-Identifier: GPL-2.0-only
// moved STEADY WHO LAPS CODE DATA: a task on the first CPU passes an instruction and a store of its
// own, and the kernel's at CODE and DATA once each (settimeofday()), in a loop, while another sets
// break- and watchpoints on these for it, moves them, turns them off and on, and takes them away, one
// after the other, LAPS times.
//   STEADY  what is hit all the time, and so has a step due: user, kernel (at CODE), or none
//   WHO     sets them: irq, a real-time task on the same CPU, woken by the timer; or cpu, on the last
// Prints laps=; missed=, the laps in which a point was hit less often than what it is on was passed
// while it was set; excess=, in which more often; and for the steady one passes= and hits=.

#include "cpu.h"
#include "event.h"

#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>

enum { PASSES = 12, KINDS = 4, SHORT_NS = 200000 };

static volatile struct shared {
	uint64_t passes;	// begun
	bool ends;
} *shared;

static volatile long variable;
static pid_t pid;
extern const char instruction[];

static __attribute__((noinline)) void pass(long value)
{
	__asm__ volatile(".global instruction\ninstruction: nop\n\tstr %1, %0"
			 : "=Qo"(variable) : "r"(value) : "memory");
}

static void pass_all(void)
{
	static const struct { int minuteswest, dsttime; } zone;

	shared->passes++;
	pass(shared->passes);
	if (syscall(SYS_settimeofday, NULL, &zone) < 0)
		die("settimeofday");
}

static _Noreturn void passer(void)
{
	on_cpu(0);
	while (!shared->ends)
		pass_all();
	_exit(0);
}

static const struct timespec nap = { 0, SHORT_NS };

// Until what follows the pass that is under way has been passed a few times.
static void wait_passes(bool sleeps)
{
	const uint64_t until = shared->passes + PASSES;

	while (shared->passes < until)
		if (sleeps)
			nanosleep(&nap, NULL);
}

static struct perf_event_attr point(int kind, uint64_t code, uint64_t data)
{
	const uint64_t places[] = { code, data, (uintptr_t)instruction, (uintptr_t)&variable };
	struct perf_event_attr attr = {
		.type = PERF_TYPE_BREAKPOINT, .size = sizeof(attr), .bp_addr = places[kind],
		.bp_type = kind % 2 ? HW_BREAKPOINT_W : HW_BREAKPOINT_X,
		.bp_len = kind % 2 ? HW_BREAKPOINT_LEN_8 : HW_BREAKPOINT_LEN_4,
	};

	return attr;
}

// A kernel's point is the CPU's, a program's the task's.
static int set(struct perf_event_attr attr)
{
	const bool of_kernel = attr.bp_addr >> 63;

	return open_event(&attr, of_kernel ? -1 : pid, of_kernel ? 0 : -1);
}

static uint64_t missed, excess;

// What a point has counted, and how many passes were begun before it was read, and after.
struct mark {
	uint64_t before, hits, after;
};

static struct mark mark(int fd)
{
	const uint64_t before = shared->passes, hits = hits_of(fd);

	return (struct mark){ before, hits, shared->passes };
}

// Lets some passes go by, and compares them with what a point that was set before has counted. The
// first and the last of them may count or not.
static void look(int fd, int kind, const char *what, bool sleeps)
{
	const struct mark first = mark(fd), last = (wait_passes(sleeps), mark(fd));
	const uint64_t counted = last.hits - first.hits;
	const uint64_t full = last.before - first.after - 1, most = last.after - first.before + 1;

	if (counted >= full && counted <= most)
		return;
	if (missed + excess == 0)
		printf("kind %d, %s: %llu hits in %llu passes\n", kind, what,
		       (unsigned long long)counted, (unsigned long long)full);
	*(counted < full ? &missed : &excess) += 1;
}

static void lap(int kind, bool sleeps, uint64_t code, uint64_t data)
{
	struct perf_event_attr attr = point(kind, code, data);
	const int fd = set(attr);

	look(fd, kind, "set", sleeps);
	ioctl(fd, PERF_EVENT_IOC_DISABLE, 0);
	ioctl(fd, PERF_EVENT_IOC_ENABLE, 0);
	look(fd, kind, "turned off and on", sleeps);
	if (kind % 2 == 0) {		// moved to the next instruction
		attr.bp_addr += 4;
		if (ioctl(fd, PERF_EVENT_IOC_MODIFY_ATTRIBUTES, &attr) < 0)
			die("PERF_EVENT_IOC_MODIFY_ATTRIBUTES");
		look(fd, kind, "moved", sleeps);
	}
	close(fd);
}

int main(int argc, char **argv)
{
	const long laps = argc == 6 ? atol(argv[3]) : 0;
	const uint64_t code = laps > 0 ? strtoull(argv[4], NULL, 16) : 0;
	const uint64_t data = code ? strtoull(argv[5], NULL, 16) : 0;
	const bool sleeps = data && !strcmp(argv[2], "irq");
	const struct sched_param fifo = { .sched_priority = 50 };
	struct perf_event_attr attr;
	struct mark first = { 0 };
	int status, steady = -1;
	uint64_t hits = 0;

	if (!data || (!sleeps && strcmp(argv[2], "cpu")) || !strchr("ukn", *argv[1])) {
		fprintf(stderr, "usage: moved user|kernel|none irq|cpu LAPS CODE DATA\n");
		return 2;
	}
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (shared == MAP_FAILED)
		die("mmap");
	pass_all();	// maps the page; the first call of a boot takes another path
	pid = fork();
	if (pid < 0)
		die("fork");
	if (pid == 0)
		passer();
	on_cpu(sleeps ? 0 : sysconf(_SC_NPROCESSORS_ONLN) - 1);
	if (sleeps && sched_setscheduler(0, SCHED_FIFO, &fifo) < 0)
		die("SCHED_FIFO");
	attr = point(*argv[1] == 'k' ? 0 : 2, code, data);
	if (*argv[1] != 'n') {
		steady = set(attr);
		first = mark(steady);
	}
	for (long i = 0; i < laps; i++)
		lap(i % KINDS, sleeps, code, data);
	shared->ends = true;
	waitpid(pid, &status, 0);
	if (steady >= 0)
		hits = hits_of(steady) - first.hits;
	printf("laps=%ld missed=%llu excess=%llu passes=%llu hits=%llu\n", laps,
	       (unsigned long long)missed, (unsigned long long)excess,
	       (unsigned long long)(shared->passes - first.after), (unsigned long long)hits);
	return !WIFEXITED(status) || WEXITSTATUS(status);
}
