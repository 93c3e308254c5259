// SPDX-License-Identifier: GPL-2.0-only
// traced MODE ROUNDS PERIOD_US: a child goes round a block of instructions, stepped by a tracer,
// while an interrupt comes every PERIOD_US. Ends at the first stop that is not as it must be, which
// it prints; then stops=, wrong= and rounds=. A MODE is
//   blocked    the child has SIGTRAP blocked at each step: a stop that is forced unblocks it
//   handled    each round sends a signal to itself, whose handler the tracer enters by a step
//   syscall    in each round PTRACE_SYSCALL goes into a system call and out of it, between steps
//   emulated   by PTRACE_SYSEMU_SINGLESTEP: each system call stops once, and is not made
//   trapped    each round reads a register of the CPU's, which the kernel emulates
//   forked     each round forks by a step; the new child, which nobody traces, runs on and ends; the
//              tracer's breakpoint behind that, set by ptrace, is the first one's alone
//   breakpoint, watchpoint
//              perf's event is hit in each round and sends a signal (O_ASYNC, as rr does); the
//              tracer steps on from where that stops the child
//   hardware   the same with a breakpoint that the tracer has set by ptrace, and takes out to step
// One CPU.

#include "event.h"

#include <fcntl.h>
#include <asm/ptrace.h>
#include <elf.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/ioctl.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>

#ifndef TRAP_HWBKPT
#define TRAP_HWBKPT 4
#endif
#ifndef PTRACE_SYSEMU_SINGLESTEP
#define PTRACE_SYSEMU_SINGLESTEP 32
#endif

// x0: what the system call returned. x9: where to store.
__asm__(
"	.text\n"
"	.globl plain, called, stored, trapped, forked, handler\n"
"plain:\n"
"0:	add	x10, x10, #1\n"
"1:	nop\n"
"2:	b	0b\n"
"called:\n"			// x19, x20, x21: the call and its arguments
"0:	mov	x8, x19\n"
"1:	mov	x0, x20\n"
"2:	mov	x1, x21\n"
"3:	svc	#0\n"
"4:	mov	x11, x0\n"
"5:	add	x10, x10, #1\n"
"6:	b	0b\n"
"stored:\n"
"0:	add	x10, x10, #1\n"
"1:	str	x10, [x9]\n"
"2:	add	x11, x11, #1\n"
"3:	nop\n"
"4:	b	0b\n"
"trapped:\n"
"0:	add	x10, x10, #1\n"
"1:	mrs	x11, S3_0_C0_C6_0\n"	// ID_AA64ISAR0_EL1
"2:	add	x12, x12, #1\n"
"3:	nop\n"
"4:	b	0b\n"
"forked:\n"			// x2: options of wait4()
"0:	mov	x8, #220\n"		// clone(), with no signal at the end
"1:	mov	x0, #0\n"
"2:	mov	x1, #0\n"
"3:	svc	#0\n"
"4:	cbz	x0, 9f\n"
"5:	mov	x1, x9\n"
"6:	mov	x8, #260\n"		// wait4()
"7:	svc	#0\n"
"8:	ldr	w11, [x9]\n"
"	b	0b\n"
"9:	add	x10, x10, #1\n"
"	nop\n"
"	mov	x8, #93\n"		// exit(0)
"	svc	#0\n"
"handler:\n"
"0:	add	x1, x1, #1\n"
"1:	ret\n"			// then __kernel_rt_sigreturn in the vDSO: mov x8; svc
);
extern const uint32_t plain[], called[], stored[], trapped[], forked[], handler[];

enum { CALL = 3, STORE = 1, BEHIND = 3, EMULATED = 0x1234, SENT = SIGUSR1, HIT = SIGSTKFLT };

static volatile uint64_t variable;
static pid_t pid;
static long stops, wrong;
static bool blocks;

static _Noreturn void child(const uint32_t *block, bool kills)
{
	struct sigaction action = { .sa_handler = (void (*)(int))(uintptr_t)handler };
	const uint64_t call = kills ? SYS_kill : SYS_getppid, self = getpid();

	sigaction(SENT, &action, NULL);
	ptrace(PTRACE_TRACEME, 0, 0, 0);
	raise(SIGSTOP);
	__asm__ volatile(
		"mov	x9, %1\n"
		"mov	x19, %2\n"
		"mov	x20, %3\n"
		"mov	x21, %4\n"
		"mov	x2, #0x40000000\n"	// __WALL
		"mov	x3, #0\n"
		"br	%0"
		: : "r"(block), "r"(&variable), "r"(call), "r"(self), "r"((uint64_t)SENT)
		: "x2", "x3", "x9", "x19", "x20", "x21", "memory");
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

static void set_result(uint64_t value)
{
	struct user_regs_struct regs = registers();
	struct iovec io = { &regs, sizeof(regs) };

	regs.regs[0] = value;
	if (ptrace(PTRACE_SETREGSET, pid, NT_PRSTATUS, &io) < 0)
		die("PTRACE_SETREGSET");
}

static void set_hardware(const uint32_t *at, bool enabled)
{
	struct user_hwdebug_state state = { 0 };
	struct iovec io = { &state, sizeof(state.dbg_info) + sizeof(state.pad) +
				    sizeof(state.dbg_regs[0]) };

	state.dbg_regs[0].addr = (uintptr_t)at;
	state.dbg_regs[0].ctrl = 0xf << 5 | 2 << 1 | enabled;
	if (ptrace(PTRACE_SETREGSET, pid, NT_ARM_HW_BREAK, &io) < 0)
		die("PTRACE_SETREGSET");
}

// Hits send a signal to the child, at each hit.
static void signal_hits(int type, uint64_t address)
{
	struct perf_event_attr attr = {
		.type = PERF_TYPE_BREAKPOINT, .bp_type = type, .bp_addr = address,
		.bp_len = type == HW_BREAKPOINT_X ? HW_BREAKPOINT_LEN_4 : HW_BREAKPOINT_LEN_8,
		.sample_period = 1, .wakeup_events = 1, .exclude_kernel = 1,
	};
	struct f_owner_ex owner = { F_OWNER_TID, pid };
	int fd;

	attr.size = sizeof(attr);
	fd = syscall(SYS_perf_event_open, &attr, pid, -1, -1, 0);
	if (fd < 0 || fcntl(fd, F_SETOWN_EX, &owner) || fcntl(fd, F_SETSIG, HIT) ||
	    fcntl(fd, F_SETFL, O_ASYNC))
		die("perf_event_open");
}

// Has the child go on, and says what its next stop must be: the signal, and where.
static bool go(int request, int signal, int due, const uint32_t *at)
{
	const uint64_t sigtrap = 1UL << (SIGTRAP - 1);
	int status, stopped;
	siginfo_t info = { 0 };
	uint64_t pc;

	if (wrong)
		return false;
	if (blocks && ptrace(PTRACE_SETSIGMASK, pid, sizeof(sigtrap), &sigtrap) < 0)
		die("PTRACE_SETSIGMASK");
	if (ptrace(request, pid, 0, signal) < 0)
		die("ptrace");
	if (waitpid(pid, &status, 0) != pid)
		die("waitpid");
	if (!WIFSTOPPED(status)) {
		fprintf(stderr, "traced: the child ended with status %#x\n", status);
		exit(2);
	}
	stopped = WSTOPSIG(status);
	pc = registers().pc;
	ptrace(PTRACE_GETSIGINFO, pid, 0, &info);
	stops++;
	if (stopped != due || (at && pc != (uintptr_t)at)) {
		printf("stop %ld: signal %d, code %d at %#llx, not signal %d at %p; blocks %p, %p\n",
		       stops, stopped, info.si_code, (unsigned long long)pc, due, (const void *)at,
		       (const void *)called, (const void *)stored);
		wrong++;
	}
	return !wrong;
}

static bool step(const uint32_t *at)
{
	return go(PTRACE_SINGLESTEP, 0, SIGTRAP, at);
}

// A step from behind a system call may stop where it is: one stop there is by syscall_trace_exit()
// (arch/arm64/kernel/ptrace.c), one by the step itself.
static bool step_from_call(const uint32_t *at)
{
	if (!go(PTRACE_SINGLESTEP, 0, SIGTRAP, NULL))
		return false;
	return registers().pc == (uintptr_t)at || (registers().pc == (uintptr_t)(at - 1) && step(at));
}

static void round_blocked(void)
{
	(void)(step(called + 1) && step(called + 2) && step(called + CALL) &&
	       step(called + 4) && step_from_call(called + 5) && step(called + 6) && step(called));
}

static void round_handled(void)
{
	static const uint32_t *vdso;

	if (!step(called + 1) || !step(called + 2) || !step(called + CALL) ||
	    !step(called + 4))			// syscall_trace_exit()
		return;
	if (!go(PTRACE_SINGLESTEP, 0, SENT, called + 4) ||
	    !go(PTRACE_SINGLESTEP, SENT, SIGTRAP, handler) || !step(handler + 1) || !step(vdso))
		return;
	vdso = (const uint32_t *)(uintptr_t)registers().pc;
	(void)(step(vdso + 1) && step(called + 4) && step_from_call(called + 5) &&
	       step(called + 6) && step(called));
}

static void round_syscall(void)
{
	(void)(step(called + 1) && step(called + 2) && step(called + CALL) &&
	       go(PTRACE_SYSCALL, 0, SIGTRAP | 0x80, called + 4) &&
	       go(PTRACE_SYSCALL, 0, SIGTRAP | 0x80, called + 4) && step(called + 5) &&
	       step(called + 6) && step(called));
}

static void round_emulated(void)
{
	const int how = PTRACE_SYSEMU_SINGLESTEP;

	if (!go(how, 0, SIGTRAP, called + 1) || !go(how, 0, SIGTRAP, called + 2) ||
	    !go(how, 0, SIGTRAP, called + CALL) || !go(how, 0, SIGTRAP | 0x80, called + 4))
		return;
	set_result(EMULATED);
	if (!go(how, 0, SIGTRAP, called + 5))
		return;
	if (registers().regs[11] != EMULATED) {
		printf("the call returned %#llx\n", (unsigned long long)registers().regs[11]);
		wrong++;
	}
	(void)(go(how, 0, SIGTRAP, called + 6) && go(how, 0, SIGTRAP, called));
}

static void round_trapped(void)
{
	(void)(step(trapped + 1) && step(trapped + 2) && step(trapped + 3) && step(trapped + 4) &&
	       step(trapped));
}

static void round_forked(void)
{
	const uint32_t *behind = forked + 8;

	set_hardware(behind, true);
	if (!step(forked + 1) || !step(forked + 2) || !step(forked + 3) || !step(forked + 4) ||
	    !step_from_call(forked + 5) || !step(forked + 6) || !step(forked + 7) ||
	    !go(PTRACE_CONT, 0, SIGTRAP, behind))
		return;
	set_hardware(behind, false);
	if (!step(behind + 1))
		return;
	if (registers().regs[11]) {
		printf("the new child ended with status %#llx\n",
		       (unsigned long long)registers().regs[11]);
		wrong++;
	}
	(void)step(forked);
}

// From where the event's signal stops the child: at the instruction, or behind it.
static void round_hit(void)
{
	uint64_t at;

	if (!go(PTRACE_CONT, 0, HIT, NULL))
		return;
	at = (registers().pc - (uintptr_t)stored) / 4;
	while (at != BEHIND && step(stored + at + 1))
		at++;
}

static void round_hardware(void)
{
	if (!go(PTRACE_CONT, 0, SIGTRAP, stored + STORE))
		return;
	set_hardware(stored + STORE, false);
	(void)(step(stored + STORE + 1) && step(stored + STORE + 2));
	set_hardware(stored + STORE, true);
}

static const struct {
	const char *name;
	const uint32_t *block;
	void (*round)(void);
} modes[] = {
	{ "blocked", called, round_blocked },
	{ "handled", called, round_handled },
	{ "syscall", called, round_syscall },
	{ "emulated", called, round_emulated },
	{ "trapped", trapped, round_trapped },
	{ "forked", forked, round_forked },
	{ "breakpoint", stored, round_hit },
	{ "watchpoint", stored, round_hit },
	{ "hardware", stored, round_hardware },
};

int main(int argc, char **argv)
{
	const long rounds = argc == 4 ? atol(argv[2]) : 0, period = rounds ? atol(argv[3]) : 0;
	int status, mode = -1;
	long done = 0;

	for (size_t i = 0; period > 0 && i < sizeof(modes) / sizeof(*modes); i++)
		if (!strcmp(argv[1], modes[i].name))
			mode = i;
	if (mode < 0) {
		fprintf(stderr, "usage: traced MODE ROUNDS PERIOD_US\n");
		return 2;
	}
	variable = 1;		// maps the page
	pid = fork();
	if (pid < 0)
		die("fork");
	if (pid == 0)
		child(modes[mode].block, !strcmp(argv[1], "handled"));
	if (waitpid(pid, &status, 0) != pid || !WIFSTOPPED(status))
		die("the child does not stop");
	ptrace(PTRACE_SETOPTIONS, pid, 0, PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL);
	ioctl(interrupt_every(period), PERF_EVENT_IOC_ENABLE, 0);
	if (modes[mode].block != stored)	// through the C library to the block
		while (step(NULL) && registers().pc != (uintptr_t)modes[mode].block)
			;
	stops = 0;
	blocks = !strcmp(argv[1], "blocked");
	if (!strcmp(argv[1], "breakpoint"))
		signal_hits(HW_BREAKPOINT_X, (uintptr_t)(stored + STORE));
	else if (!strcmp(argv[1], "watchpoint"))
		signal_hits(HW_BREAKPOINT_W, (uintptr_t)&variable);
	else if (!strcmp(argv[1], "hardware"))
		set_hardware(stored + STORE, true);
	for (; done < rounds && !wrong; done++)
		modes[mode].round();
	kill(pid, SIGKILL);
	printf("stops=%ld wrong=%ld rounds=%ld\n", stops, wrong, done);
	return 0;
}
