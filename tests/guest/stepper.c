// SPDX-License-Identifier: GPL-2.0-only
// stepper STEPS: single-steps a child by ptrace while a timer of 1000 Hz sends it
// signals, until it has run STEPS instructions. The child goes round a block whose
// order is known: straight on, branches taken and not, a loop, a call, a return, a
// branch through a register, a system call; and a signal leads into a handler, on
// into the vDSO, and back. Ends at the first stop that is elsewhere, and tells it.

#include <elf.h>
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define INTERVAL_NS 1000000

// The numbers are those of `order`. Global, for gcc reaches what is not its own
// through the GOT, where local labels would all become the first one.
__asm__(
"	.text\n"
"	.globl block, handler\n"
"block:\n"
"0:	mov	x9, #3\n"
"1:	tbz	x9, #0, 3f\n"           // x9 = 3, 2, 1: not taken, taken, not taken
"2:	nop\n"
"3:	subs	x9, x9, #1\n"
"4:	b.ne	1b\n"
"5:	bl	11f\n"
"6:	mov	x8, #173\n"             // getppid
"7:	svc	#0\n"
"8:	adr	x10, 10f\n"
"9:	br	x10\n"
"10:	b	0b\n"
"11:	cbz	xzr, 13f\n"
"12:	brk	#1\n"                   // passed over
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
int handled;    // the child counts, the parent reads

static const int order[] = { 0, 1, 2, 3, 4, 1, 3, 4, 1, 2, 3, 4, 5, 11, 13, 6, 7, 8, 9, 10 };
#define ORDER ((int)(sizeof(order) / sizeof(*order)))
#define CALL 16         // where 7, the system call, stands in it
#define HANDLER 6       // instructions, and two more of the vDSO
#define HANDLER_CALL (HANDLER + 1)

struct position {
	bool in_handler;
	int at;         // in `order`, or in the handler
};

static pid_t pid;
static uint64_t vdso;   // of __kernel_rt_sigreturn, once it has been seen
static struct position here, back;
static bool after_call;
static long taken, repeated;

static _Noreturn void die(const char *what)
{
	fprintf(stderr, "stepper: %s: %s\n", what, strerror(errno));
	exit(2);
}

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
	timer_settime(timer, 0, &often, NULL);
	((void (*)(void))(uintptr_t)block)();
	__builtin_unreachable();
}

static uint64_t pc(void)
{
	struct user_regs_struct regs;
	struct iovec io = { &regs, sizeof(regs) };

	if (ptrace(PTRACE_GETREGSET, pid, NT_PRSTATUS, &io) < 0)
		die("PTRACE_GETREGSET");
	return regs.pc;
}

// Lets the child run one instruction, or take a signal. Returns what it stops with.
static int step(int signal)
{
	int status;

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

// Where the child stopped must be the next place, or where it was if a signal came
// first. After a system call there is a stop more in the same place: one is told by
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
	const long steps = argc == 2 ? atol(argv[1]) : 0;
	long signals = 0, stuck, off_order;
	bool well = true;
	int signal, status;

	if (steps <= 0) {
		fprintf(stderr, "usage: stepper STEPS\n");
		return 2;
	}
	pid = fork();
	if (pid < 0)
		die("fork");
	if (pid == 0)
		child();
	if (waitpid(pid, &status, 0) != pid || !WIFSTOPPED(status))
		die("the child does not stop");
	// Through the C library to the block; the first signal may come sooner.
	for (signal = 0; pc() != (uintptr_t)block; signals += signal == SIGALRM)
		signal = step(signal == SIGALRM ? SIGALRM : 0);
	while (well && (taken < steps || here.in_handler)) {
		signal = step(0);
		well = arrived(signal);
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
	errno = 0;
	handled = ptrace(PTRACE_PEEKDATA, pid, &handled, 0);
	if (errno)
		die("PTRACE_PEEKDATA");
	kill(pid, SIGKILL);
	printf("steps=%ld stuck=%ld off_order=%ld repeated=%ld signals=%ld handled=%d\n",
	       taken, stuck, off_order, repeated, signals, handled);
	return 0;
}
