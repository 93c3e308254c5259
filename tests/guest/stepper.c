// SPDX-License-Identifier: GPL-2.0-only
// stepper STEPS [EVENT|quiet]: single-steps a child by ptrace while a timer of 100 Hz sends it
// signals, until it has run STEPS instructions. The child loops through a block whose
// order is known: straight code, branches taken and not, a loop, a call, a return, a
// branch through a register, a system call; a signal leads to a handler, then to the
// vDSO, and back. Ends with a message at the first stop that is elsewhere, or is not
// reported as a step. With an EVENT, x:ADDRESS in the kernel, which the system call passes
// once, perf counts its hits, those of an instruction of the handler and those of the
// variable that it writes, where no signal can come between; and an interrupt comes
// every 100 microseconds. If it is quiet, no signals are sent: one that is pending would
// hide that the step is not.

#include "event.h"

#include <elf.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/ioctl.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <time.h>

#define INTERVAL_NS 10000000
#define OFTEN_US 100
#define LONG_S 30               // no step takes longer, with a debugger of the kernel's amid it

// The numbers are those in `order`. Global, because gcc uses the GOT for symbols that it
// does not define, where local labels would all become the first one.
__asm__(
"	.text\n"
"	.globl block, handler\n"
"block:\n"
"0:	mov	x9, #3\n"
"1:	tbz	x9, #0, 3f\n"           // x9 = 3, 2, 1: not taken, taken, not taken
"2:	add	x11, x11, #1\n"         // the child's count of it
"3:	subs	x9, x9, #1\n"
"4:	b.ne	1b\n"
"5:	bl	11f\n"
"6:	mov	x8, #173\n"             // getppid
"7:	svc	#0\n"
"8:	adr	x10, 10f\n"
"9:	br	x10\n"
"10:	b	0b\n"
"11:	cbz	xzr, 13f\n"
"12:	brk	#1\n"                   // skipped
"13:	ret\n"
"handler:\n"
"0:	adrp	x1, handled\n"
"1:	add	x1, x1, :lo12:handled\n"
"2:	ldr	w2, [x1]\n"
"3:	add	w2, w2, #1\n"
"4:	str	w2, [x1]\n"
"5:	ret\n"                          // 6: mov x8, #139; 7: svc #0: __kernel_rt_sigreturn
);
extern const uint32_t block[], handler[];
_Alignas(8) int handled;        // the child counts, the parent reads

static const int order[] = { 0, 1, 2, 3, 4, 1, 3, 4, 1, 2, 3, 4, 5, 11, 13, 6, 7, 8, 9, 10 };
#define ORDER ((int)(sizeof(order) / sizeof(*order)))
#define COUNT 2         // the instruction that the child counts
#define CALL 16         // the index of 7, the system call, in it
#define WATCHED 3       // the handler's instruction that perf counts
#define HANDLER 6       // instructions, and two more of the vDSO
#define HANDLER_CALL (HANDLER + 1)

struct position {
	bool in_handler;
	int at;         // in `order`, or in the handler
};

static pid_t pid;
static uint64_t vdso;   // the address of __kernel_rt_sigreturn, once known
static struct position here, back;
static bool after_call, quiet;
static long taken, repeated, calls, counts;

static _Noreturn void child(void)
{
	struct itimerspec often = { { 0, INTERVAL_NS }, { 0, INTERVAL_NS } };
	struct sigevent event = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGALRM };
	struct sigaction action = { .sa_handler = (void (*)(int))(uintptr_t)handler };
	timer_t timer;

	sigaction(SIGALRM, &action, NULL);
	if (timer_create(CLOCK_MONOTONIC, &event, &timer) < 0)
		die("timer_create");
	ptrace(PTRACE_TRACEME, 0, 0, 0);
	raise(SIGSTOP);
	if (!quiet)
		timer_settime(timer, 0, &often, NULL);
	((void (*)(void))(uintptr_t)block)();
	__builtin_unreachable();
}

static struct user_regs_struct registers(void)
{
	struct user_regs_struct regs;
	struct iovec io = { &regs, sizeof(regs) };

	if (ptrace(PTRACE_GETREGSET, pid, NT_PRSTATUS, &io) < 0)
		die("PTRACE_GETREGSET");
	return regs;
}

static uint64_t pc(void)
{
	return registers().pc;
}

static void on_alarm(int number)
{
	(void)number;
	kill(pid, SIGKILL);
	fprintf(stderr, "stepper: a step does not come back\n");	// amid waitpid()
	_exit(2);
}

// Lets the child run one instruction, or take a signal. Returns the signal of its stop.
static int step(int signal)
{
	int status;

	alarm(LONG_S);
	if (ptrace(PTRACE_SINGLESTEP, pid, 0, signal) < 0)
		die("PTRACE_SINGLESTEP");
	if (waitpid(pid, &status, 0) != pid)
		die("waitpid");
	if (!WIFSTOPPED(status)) {
		fprintf(stderr, "stepper: the child ended with status %#x\n", status);
		exit(2);
	}
	return WSTOPSIG(status);
}

// Whether the last stop is reported as a step, as send_user_sigtrap() does
// (arch/arm64/kernel/debug-monitors.c).
static bool told_as_a_step(void)
{
	siginfo_t info;

	if (ptrace(PTRACE_GETSIGINFO, pid, 0, &info) < 0)
		die("PTRACE_GETSIGINFO");
	return info.si_code == TRAP_TRACE && (uintptr_t)info.si_addr == pc();
}

static uint64_t address(struct position p)
{
	if (!p.in_handler)
		return (uintptr_t)(block + order[p.at]);
	return p.at < HANDLER ? (uintptr_t)(handler + p.at) : vdso + 4 * (p.at - HANDLER);
}

static struct position next(struct position p)
{
	if (!p.in_handler)
		return (struct position){ false, (p.at + 1) % ORDER };
	return p.at < HANDLER_CALL ? (struct position){ true, p.at + 1 } : back;
}

// The child must stop at the next instruction, or at the same one if a signal came
// first. After a system call it stops twice at the same address: one stop is by
// syscall_trace_exit() (arch/arm64/kernel/ptrace.c), one by the step itself.
static bool arrived(int signal)
{
	const uint64_t stopped = pc();
	const struct position to = next(here);

	if (here.in_handler && here.at == HANDLER - 1 && !vdso && stopped != address(here))
		vdso = stopped;
	if (signal != SIGTRAP && signal != SIGALRM)
		return false;
	if (stopped == address(to)) {
		after_call = here.at == (here.in_handler ? HANDLER_CALL : CALL);
		calls += after_call && !here.in_handler;
		counts += !here.in_handler && order[here.at] == COUNT;
		here = to;
		taken++;
		return true;
	}
	if (stopped != address(here) || (signal == SIGTRAP && !after_call))
		return false;
	if (signal == SIGTRAP) {
		after_call = false;
		repeated++;
	}
	return true;
}

int main(int argc, char **argv)
{
	const long steps = argc >= 2 ? atol(argv[1]) : 0;
	const bool watched = argc == 3 && strcmp(argv[2], "quiet");
	long signals = 0, stuck, off_order;
	uint64_t count;
	bool well = true, told = true;
	int signal, status, runs = -1, writes = -1, place = -1;

	if (steps <= 0 || argc > 3) {
		fprintf(stderr, "usage: stepper STEPS [EVENT|quiet]\n");
		return 2;
	}
	quiet = argc == 3 && !watched;
	sigaction(SIGALRM, &(struct sigaction){ .sa_handler = on_alarm }, NULL);
	pid = fork();
	if (pid < 0)
		die("fork");
	if (pid == 0)
		child();
	if (waitpid(pid, &status, 0) != pid || !WIFSTOPPED(status))
		die("the child does not stop");
	if (watched) {
		runs = count_hits(HW_BREAKPOINT_X, (uintptr_t)(handler + WATCHED), pid, -1);
		ioctl(interrupt_every(OFTEN_US), PERF_EVENT_IOC_ENABLE, 0);
		place = count_kernel_hits(argv[2]);
		writes = count_hits(HW_BREAKPOINT_W, (uintptr_t)&handled, pid, -1);
	}
	// Through the C library to the block; the first signal may come earlier.
	for (signal = 0; pc() != (uintptr_t)block; signals += signal == SIGALRM)
		signal = step(signal == SIGALRM ? SIGALRM : 0);
	count = registers().regs[11];
	while (well && told && (taken < steps || here.in_handler)) {
		signal = step(0);
		well = arrived(signal);
		told = !well || signal != SIGTRAP || after_call || told_as_a_step();
		if (well && signal == SIGALRM) {
			signals++;
			back = here;
			here = (struct position){ true, 0 };
			after_call = false;
			signal = step(SIGALRM);
			well = signal == SIGTRAP && pc() == address(here);
		}
	}
	stuck = !well && signal == SIGTRAP && pc() == address(here);
	off_order = !well && !stuck;
	if (!well)
		printf("signal %d at %#llx, not %#llx; before at %#llx; block %p handler %p\n",
		       signal, (unsigned long long)pc(), (unsigned long long)address(next(here)),
		       (unsigned long long)address(here), (void *)block, (void *)handler);
	if (!told)
		printf("the stop at %#llx is not reported as a step\n", (unsigned long long)pc());
	count = registers().regs[11] - count;
	errno = 0;
	handled = ptrace(PTRACE_PEEKDATA, pid, &handled, 0);
	if (errno)
		die("PTRACE_PEEKDATA");
	if (watched)
		printf("calls=%ld call_hits=%llu run_hits=%llu write_hits=%llu\n", calls,
		       (unsigned long long)hits_of(place), (unsigned long long)hits_of(runs),
		       (unsigned long long)hits_of(writes));
	kill(pid, SIGKILL);
	printf("steps=%ld stuck=%ld off_order=%ld reported_otherwise=%d repeated=%ld signals=%ld"
	       " handled=%d counts=%ld counted=%lld\n", taken, stuck, off_order, !told, repeated,
	       signals, handled, counts, (long long)count);
	return 0;
}
