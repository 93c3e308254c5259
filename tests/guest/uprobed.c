// SPDX-License-Identifier: GPL-2.0-only
// uprobed HOW TIMES PERIOD_US: passes an addition, a store and a branch of its own, each with a uprobe
// on it, TIMES times. The kernel steps a copy of the first two, and simulates the branch.
//   HOW  timer     an interrupt comes every PERIOD_US
//        signals   a signal comes every PERIOD_US, whose handler runs
//        watched   as timer, and perf has a watchpoint on what is stored, and a breakpoint on the
//                  instruction behind the store
// Prints passes=; result=, how often the instructions did what they should; add=, store= and branch=,
// the hits of the probes; written= and executed=, perf's hits; signals=. One CPU.

#include "event.h"

#include <elf.h>
#include <signal.h>
#include <sys/auxv.h>
#include <sys/ioctl.h>
#include <time.h>

#define TYPE "/sys/bus/event_source/devices/uprobe/type"

static volatile long variable;
static volatile unsigned long signals;
extern const char probed_add[], probed_store[], behind_store[], probed_branch[];

static __attribute__((noinline)) long pass(long value)
{
	__asm__ volatile(".global probed_add, probed_store, behind_store, probed_branch\n"
			 "probed_add: add %0, %0, #1\n"
			 "probed_store: str %0, %1\n"
			 "behind_store: nop\n"
			 "probed_branch: cbnz %0, 1f\n"
			 "\tmov %0, #0\n"
			 "1:\n"
			 : "+r"(value), "=Qo"(variable) : : "memory");
	return value;
}

// Where in this file an address comes from.
static uint64_t offset_of(const char *address)
{
	const Elf64_Phdr *segment = (const Elf64_Phdr *)getauxval(AT_PHDR);

	for (unsigned long left = getauxval(AT_PHNUM); left; left--, segment++) {
		const uint64_t in = (uintptr_t)address - segment->p_vaddr;

		if (segment->p_type == PT_LOAD && in < segment->p_filesz)
			return segment->p_offset + in;
	}
	errno = EINVAL;
	die("address");
}

static int probe(const char *address)
{
	struct perf_event_attr attr = { 0 };
	FILE *file = fopen(TYPE, "re");

	if (!file || fscanf(file, "%u", &attr.type) != 1)
		die(TYPE);
	fclose(file);
	attr.uprobe_path = (uintptr_t)"/proc/self/exe";
	attr.probe_offset = offset_of(address);
	return open_event(&attr, 0, -1);
}

static void on_signal(int number)
{
	(void)number;
	signals++;
}

static void signal_every(unsigned long us)
{
	struct itimerspec every = { { 0, us * 1000 }, { 0, us * 1000 } };
	struct sigevent by = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGALRM };
	struct sigaction action = { .sa_handler = on_signal, .sa_flags = SA_RESTART };
	timer_t timer;

	sigaction(SIGALRM, &action, NULL);
	if (timer_create(CLOCK_MONOTONIC, &by, &timer) || timer_settime(timer, 0, &every, NULL))
		die("timer_create");
}

int main(int argc, char **argv)
{
	const unsigned long times = argc == 4 ? strtoul(argv[2], NULL, 10) : 0;
	const unsigned long period = times ? strtoul(argv[3], NULL, 10) : 0;
	const char how = period ? *argv[1] : '\0';
	unsigned long right = 0;
	int add, store, branch, written = -1, executed = -1, often = -1;

	if (!how || !strchr("tsw", how)) {
		fprintf(stderr, "usage: uprobed timer|signals|watched TIMES PERIOD_US\n");
		return 2;
	}
	pass(1);		// maps the page, so that each store runs once
	add = probe(probed_add);
	store = probe(probed_store);
	branch = probe(probed_branch);
	if (how == 'w') {
		written = count_hits(HW_BREAKPOINT_W, (uintptr_t)&variable, 0, -1);
		executed = count_hits(HW_BREAKPOINT_X, (uintptr_t)behind_store, 0, -1);
	}
	if (how == 's') {
		signal_every(period);
	} else {
		often = interrupt_every(period);
		ioctl(often, PERF_EVENT_IOC_ENABLE, 0);
	}
	for (unsigned long i = 0; i < times; i++)
		right += pass(i) == (long)i + 1 && variable == (long)i + 1;
	if (often >= 0)
		ioctl(often, PERF_EVENT_IOC_DISABLE, 0);
	printf("passes=%lu result=%lu add=%llu store=%llu branch=%llu written=%llu executed=%llu"
	       " signals=%lu\n", times, right, (unsigned long long)hits_of(add),
	       (unsigned long long)hits_of(store), (unsigned long long)hits_of(branch),
	       (unsigned long long)(written < 0 ? 0 : hits_of(written)),
	       (unsigned long long)(executed < 0 ? 0 : hits_of(executed)), signals);
	return 0;
}
