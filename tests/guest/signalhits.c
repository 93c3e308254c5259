// SPDX-License-Identifier: GPL-2.0-only
// signalhits timer|once|sigtrap executed|written TIMES PERIOD_US: passes an instruction, or writes a
// variable, with a perf event on it, while TIMES signals come whose handler runs: with `timer` every
// PERIOD_US by a timer; with `once` by a timer that is set anew when its signal was handled, or is late;
// with `sigtrap` at each hit, by the event itself (attr.sigtrap, since 5.13),
// and an interrupt comes every PERIOD_US. Prints passes=, hits=, signals= and late=. Gives up after ten times
// as many signals. One CPU.

#include "event.h"

#include <signal.h>
#include <sys/ioctl.h>
#include <sys/time.h>
#include <time.h>

enum { PATIENCE_MS = 1000, ENOUGH = 3, MOST = 10 };		// times as many signals

static volatile long variable;
static volatile unsigned long signals, passes, times, late;
static int event, often;
static const char *mode;
extern const char instruction[];

static __attribute__((noinline)) void pass(long value)
{
	__asm__ volatile(".global instruction\ninstruction: nop\n\tstr %1, %0"
			 : "=Qo"(variable) : "r"(value) : "memory");
}

static void end(void)
{
	ioctl(event, PERF_EVENT_IOC_DISABLE, 0);
	if (often)
		ioctl(often, PERF_EVENT_IOC_DISABLE, 0);
	printf("passes=%lu hits=%llu signals=%lu late=%lu\n", passes,
	       (unsigned long long)hits_of(event), signals, late);
	fflush(stdout);
	_exit(0);
}

static void on_signal(int number)
{
	(void)number;
	if (++signals > MOST * times)
		end();
}

static void signal_every(unsigned long us)
{
	struct itimerspec every = { { 0, us * 1000 }, { 0, us * 1000 } };
	struct sigevent by = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGALRM };
	timer_t timer;

	if (timer_create(CLOCK_MONOTONIC, &by, &timer) || timer_settime(timer, 0, &every, NULL))
		die("timer_create");
}

// By the vDSO, so without a system call.
static long long now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000LL + t.tv_nsec / 1000000;
}

static void signal_once(unsigned long us)
{
	const struct itimerval once = { .it_value.tv_usec = us };
	const unsigned long due = signals + 1;
	const long long until = now_ms() + PATIENCE_MS;

	setitimer(ITIMER_REAL, &once, NULL);
	while (signals < due && now_ms() < until)
		pass(++passes);
	late += signals < due;
}

int main(int argc, char **argv)
{
	const unsigned long period = argc == 5 ? strtoul(argv[4], NULL, 10) : 0;
	struct sigaction action = { .sa_handler = on_signal, .sa_flags = SA_RESTART };
	struct perf_event_attr attr = { .type = PERF_TYPE_BREAKPOINT, .disabled = 1 };

	times = period ? strtoul(argv[3], NULL, 10) : 0;
	mode = times ? argv[1] : "";
	if ((strcmp(mode, "timer") && strcmp(mode, "once") && strcmp(mode, "sigtrap")) || !strchr("ew", *argv[2])) {
		fprintf(stderr, "usage: signalhits timer|once|sigtrap executed|written TIMES PERIOD_US\n");
		return 2;
	}
	pass(1);			// maps the page, so that each write runs once
	attr.bp_type = *argv[2] == 'e' ? HW_BREAKPOINT_X : HW_BREAKPOINT_W;
	attr.bp_addr = *argv[2] == 'e' ? (uintptr_t)instruction : (uintptr_t)&variable;
	attr.bp_len = *argv[2] == 'e' ? HW_BREAKPOINT_LEN_4 : HW_BREAKPOINT_LEN_8;
	attr.exclude_kernel = 1;
	sigaction(SIGALRM, &action, NULL);
	sigaction(SIGTRAP, &action, NULL);
	if (!strcmp(mode, "sigtrap")) {
		attr.sigtrap = 1;
		attr.remove_on_exec = 1;
		attr.sample_period = 1;
	}
	event = open_event(&attr, 0, -1);
	if (attr.sigtrap) {
		often = interrupt_every(period);
		ioctl(often, PERF_EVENT_IOC_ENABLE, 0);
	}
	ioctl(event, PERF_EVENT_IOC_ENABLE, 0);
	if (!strcmp(mode, "once")) {
		for (unsigned long i = 0; i < times && late < ENOUGH; i++)
			signal_once(period);
		end();
	}
	if (!attr.sigtrap)
		signal_every(period);
	while ((attr.sigtrap ? passes : signals) < times) {
		passes++;
		pass(passes);
	}
	end();
}
