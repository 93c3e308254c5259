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
//   faulted    each round reads and writes a page that was never touched
//   broken     BRK, reached by a step and by PTRACE_CONT; the tracer moves the child behind it
//   restarted  a signal that the tracer keeps back interrupts a system call, which is restarted
//   written    the tracer writes registers of all kinds, and the child copies them
//   several    a hardware breakpoint on each of some instructions, set at once and taken out one by one
//   replaced   each round's child is stepped over execve(); the tracer's breakpoint is gone then
//   detached   each round's child is let go after a step, and runs on and ends
//   breakpoint, watchpoint
//              perf's event is hit in each round and sends a signal (O_ASYNC, as rr does); the
//              tracer steps on from where that stops the child
//   hardware   the same with a breakpoint that the tracer has set by ptrace, and takes out to step
// With two CPUs, the child has the second one for itself.

#include "cpu.h"

#include <fcntl.h>
#include <asm/ptrace.h>
#include <elf.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
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
"	.globl plain, called, stored, trapped, forked, touched, broken, copied, ending, passed\n"
"	.globl handler\n"
"plain:\n"
"0:	add	x10, x10, #1\n"
"1:	nop\n"
"2:	b	0b\n"
"called:\n"			// x19, x20, x21, x2: the call and its arguments
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
"touched:\n"
"0:	ldr	x11, [x9]\n"
"1:	str	x10, [x9]\n"
"2:	add	x9, x9, #1, lsl #12\n"
"3:	add	x10, x10, #1\n"
"4:	b	0b\n"
"broken:\n"
"0:	add	x10, x10, #1\n"
"1:	brk	#0\n"
"2:	add	x11, x11, #1\n"
"3:	brk	#0x400\n"		// in the kernel it is kgdb's
"4:	b	0b\n"
"copied:\n"
"0:	fmov	x11, d5\n"
"1:	mov	x12, v5.d[1]\n"
"2:	mrs	x13, tpidr_el0\n"
"3:	mov	x14, x28\n"
"4:	cset	x15, eq\n"
"5:	dup	v6.2d, x28\n"
"6:	b	0b\n"
"ending:\n"
"0:	add	x10, x10, #1\n"
"1:	nop\n"
"2:	nop\n"
"3:	mov	x0, #0\n"
"	mov	x8, #93\n"		// exit(0)
"	svc	#0\n"
"passed:\n"
"	nop\n"
"	ret\n"
"handler:\n"
"0:	add	x1, x1, #1\n"
"1:	ret\n"			// then __kernel_rt_sigreturn in the vDSO: mov x8; svc
);
extern const uint32_t plain[], called[], stored[], trapped[], forked[], touched[], broken[];
extern const uint32_t copied[], ending[], handler[], _start[];
void passed(void);

enum { CALL = 3, STORE = 1, BEHIND = 3, EMULATED = 0x1234, SENT = SIGUSR1, HIT = SIGSTKFLT };
enum { FIRST_END = 60 };	// the file from which `restarted` reads
enum { POINTS = 4 };		// of `several`, at most; `stored` has one instruction more

static volatile uint64_t variable;
static volatile uint64_t *at = &variable;	// what the child has in x9
static pid_t pid;
static long stops, wrong;
static bool blocks;
static int ends[2];		// of the pipe from which a call reads
static siginfo_t told;		// of the last stop
static const char *const again[] = { "traced", "again", NULL };

struct call {
	uint64_t number, arguments[3];	// with the first 0, the child's own PID
};

static _Noreturn void child(const uint32_t *block, const struct call *call)
{
	struct sigaction action = { .sa_handler = (void (*)(int))(uintptr_t)handler };
	const uint64_t first = call->arguments[0] ? call->arguments[0] : (uint64_t)getpid();
	const long last = sysconf(_SC_NPROCESSORS_ONLN) - 1;

	on_cpu(last);
	sigaction(SENT, &action, NULL);
	ptrace(PTRACE_TRACEME, 0, 0, 0);
	raise(SIGSTOP);
	__asm__ volatile(
		"mov	x9, %1\n"
		"mov	x19, %2\n"
		"mov	x20, %3\n"
		"mov	x21, %4\n"
		"mov	x2, %5\n"
		"mov	x3, #0\n"
		"br	%0"
		: : "r"(block), "r"(at), "r"(call->number), "r"(first),
		    "r"(call->arguments[1]), "r"(call->arguments[2])
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

static void set(int kind, void *value, size_t size)
{
	struct iovec io = { value, size };

	if (ptrace(PTRACE_SETREGSET, pid, kind, &io) < 0)
		die("PTRACE_SETREGSET");
}

static void set_result(uint64_t value)
{
	struct user_regs_struct regs = registers();

	regs.regs[0] = value;
	set(NT_PRSTATUS, &regs, sizeof(regs));
}

static bool move_to(const uint32_t *to)
{
	struct user_regs_struct regs = registers();

	regs.pc = (uintptr_t)to;
	set(NT_PRSTATUS, &regs, sizeof(regs));
	return true;
}

// Counts a fault if what was found is not what is due.
static bool same(const char *what, uint64_t found, uint64_t due)
{
	if (found == due)
		return true;
	printf("%s: %#llx, not %#llx\n", what, (unsigned long long)found, (unsigned long long)due);
	wrong++;
	return false;
}

static void set_hardware(const uint32_t *at, bool enabled)
{
	struct user_hwdebug_state state = { 0 };

	state.dbg_regs[0].addr = (uintptr_t)at;
	state.dbg_regs[0].ctrl = 0xf << 5 | 2 << 1 | enabled;
	set(NT_ARM_HW_BREAK, &state, (const char *)(state.dbg_regs + 1) - (const char *)&state);
}

// On the instructions of `stored`, but for one of them; returns how many there are, with that one.
static int set_several(int but)
{
	struct user_hwdebug_state state = { 0 }, found = { 0 };
	struct iovec io = { &found, sizeof(found) };
	int count;

	if (ptrace(PTRACE_GETREGSET, pid, NT_ARM_HW_BREAK, &io) < 0)
		die("PTRACE_GETREGSET");
	count = found.dbg_info & 0xff;
	if (count > POINTS)
		count = POINTS;
	for (int i = 0; i < count; i++) {
		state.dbg_regs[i].addr = (uintptr_t)(stored + i);
		state.dbg_regs[i].ctrl = 0xf << 5 | 2 << 1 | (i != but);
	}
	set(NT_ARM_HW_BREAK, &state, (const char *)(state.dbg_regs + count) - (const char *)&state);
	if (ptrace(PTRACE_GETREGSET, pid, NT_ARM_HW_BREAK, &io) < 0)
		die("PTRACE_GETREGSET");
	for (int i = 0; i < count; i++) {
		same("a breakpoint's address", found.dbg_regs[i].addr, state.dbg_regs[i].addr);
		same("whether it is on", found.dbg_regs[i].ctrl & 1, i != but);
	}
	return count;
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

// Has the child go on.
static bool resume(int request, int signal)
{
	const uint64_t sigtrap = 1UL << (SIGTRAP - 1);

	if (wrong)
		return false;
	if (blocks && ptrace(PTRACE_SETSIGMASK, pid, sizeof(sigtrap), &sigtrap) < 0)
		die("PTRACE_SETSIGMASK");
	if (ptrace(request, pid, 0, signal) < 0)
		die("ptrace");
	return true;
}

// Says what its next stop must be: the signal, and where.
static bool stops_by(int due, const uint32_t *at)
{
	int status, stopped;
	uint64_t pc;

	if (waitpid(pid, &status, 0) != pid)
		die("waitpid");
	if (!WIFSTOPPED(status)) {
		fprintf(stderr, "traced: the child ended with status %#x\n", status);
		exit(2);
	}
	stopped = WSTOPSIG(status);
	pc = registers().pc;
	memset(&told, 0, sizeof(told));
	ptrace(PTRACE_GETSIGINFO, pid, 0, &told);
	stops++;
	if (stopped != due || (at && pc != (uintptr_t)at)) {
		printf("stop %ld: signal %d, code %d at %#llx, not signal %d at %p; blocks %p, %p\n",
		       stops, stopped, told.si_code, (unsigned long long)pc, due, (const void *)at,
		       (const void *)called, (const void *)stored);
		wrong++;
	}
	return !wrong;
}

static bool go(int request, int signal, int due, const uint32_t *at)
{
	return resume(request, signal) && stops_by(due, at);
}

// The child must end by itself, with status 0.
static bool ends_well(void)
{
	int status;

	if (waitpid(pid, &status, 0) != pid)
		die("waitpid");
	return same("the child's status", status, 0);
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

static void round_faulted(void)
{
	(void)(step(touched + 1) && step(touched + 2) && step(touched + 3) && step(touched + 4) &&
	       step(touched));
}

// A stop at a BRK, told as one; the tracer has the child go on behind it.
static bool breaks(int request, const uint32_t *brk)
{
	return go(request, 0, SIGTRAP, brk) && same("the code of BRK", told.si_code, TRAP_BRKPT) &&
	       same("its address", (uintptr_t)told.si_addr, (uintptr_t)brk) && move_to(brk + 1);
}

static void round_broken(void)
{
	const struct user_regs_struct before = registers();

	if (!step(broken + 1) || !breaks(PTRACE_SINGLESTEP, broken + 1) || !step(broken + 3) ||
	    !breaks(PTRACE_CONT, broken + 3) || !step(broken))
		return;
	same("runs before BRK", registers().regs[10], before.regs[10] + 1);
	same("runs behind BRK", registers().regs[11], before.regs[11] + 1);
}

static bool sleeps(void)
{
	char path[32], state = 0;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	file = fopen(path, "r");
	if (!file || fscanf(file, "%*d (%*[^)]) %c", &state) != 1)
		die(path);
	fclose(file);
	return state == 'S';
}

static void round_restarted(void)
{
	if (!step(called + 1) || !step(called + 2) || !step(called + CALL) ||
	    !resume(PTRACE_SINGLESTEP, 0))
		return;
	while (!sleeps())
		sched_yield();
	kill(pid, SENT);
	// First by syscall_trace_exit(), which sends a signal, too.
	if (!stops_by(SIGTRAP, called + CALL) ||
	    !go(PTRACE_SINGLESTEP, 0, SENT, called + CALL))
		return;
	if (write(ends[1], "", 1) != 1)
		die("write");
	(void)(go(PTRACE_SINGLESTEP, 0, SIGTRAP, called + 4) &&
	       same("the call's result", registers().regs[0], 1) && step_from_call(called + 5) &&
	       step(called + 6) && step(called));
}

static void round_written(void)
{
	const uint64_t zero = 1UL << 30;		// PSTATE.Z
	struct user_regs_struct regs = registers();
	struct user_fpsimd_struct vectors;
	struct iovec io = { &vectors, sizeof(vectors) };
	uint64_t thread = 0x1000 + stops, low = 0x2000 + stops, high = 0x3000 + stops;
	const uint64_t general = 0x4000 + stops;

	regs.regs[28] = general;
	regs.pstate ^= zero;
	set(NT_PRSTATUS, &regs, sizeof(regs));
	set(NT_ARM_TLS, &thread, sizeof(thread));
	if (ptrace(PTRACE_GETREGSET, pid, NT_PRFPREG, &io) < 0)
		die("PTRACE_GETREGSET");
	vectors.vregs[5] = (__uint128_t)high << 64 | low;
	set(NT_PRFPREG, &vectors, sizeof(vectors));
	for (int i = 1; i <= 6; i++)
		if (!step(copied + i))
			return;
	if (ptrace(PTRACE_GETREGSET, pid, NT_PRFPREG, &io) < 0)
		die("PTRACE_GETREGSET");
	same("v5, low", registers().regs[11], low);
	same("v5, high", registers().regs[12], high);
	same("tpidr_el0", registers().regs[13], thread);
	same("x28", registers().regs[14], general);
	same("PSTATE.Z", registers().regs[15], !!(regs.pstate & zero));
	same("v6, low", vectors.vregs[6], general);
	same("v6, high", vectors.vregs[6] >> 64, general);
	(void)step(copied);
}

static void round_several(void)
{
	const int count = set_several(-1);

	for (int i = 0; i < count; i++) {
		if (!go(PTRACE_CONT, 0, SIGTRAP, stored + i) ||
		    !same("the code of a hit", told.si_code, TRAP_HWBKPT))
			return;
		set_several(i);
		if (!step(stored + i + 1))
			return;
		set_several(-1);
	}
}

// The program begins again, stops there a few times because it was replaced, and is then stepped on.
static void round_replaced(void)
{
	int times = 0;

	set_hardware((const uint32_t *)(uintptr_t)passed, true);
	if (!step(called + 1) || !step(called + 2) || !step(called + CALL))
		return;
	do {
		if (!step(NULL))
			return;
	} while (registers().pc == (uintptr_t)_start && ++times < 4);
	(void)(same("the program's start", registers().pc, (uintptr_t)(_start + 1)) &&
	       step(_start + 2) && step(_start + 3) && resume(PTRACE_CONT, 0) && ends_well());
}

static void round_detached(void)
{
	(void)(step(ending + 1) && step(ending + 2) && resume(PTRACE_DETACH, 0) && ends_well());
}

static const struct mode {
	const char *name;
	const uint32_t *block;
	void (*round)(void);
	struct call call;
	bool anew;		// each round has a child of its own
} modes[] = {
	{ "blocked", called, round_blocked, { .number = SYS_getppid }, false },
	{ "handled", called, round_handled, { SYS_kill, { 0, SENT } }, false },
	{ "syscall", called, round_syscall, { .number = SYS_getppid }, false },
	{ "emulated", called, round_emulated, { .number = SYS_getppid }, false },
	{ "trapped", trapped, round_trapped, { 0 }, false },
	{ "forked", forked, round_forked, { .arguments[2] = __WALL }, false },
	{ "breakpoint", stored, round_hit, { 0 }, false },
	{ "watchpoint", stored, round_hit, { 0 }, false },
	{ "hardware", stored, round_hardware, { 0 }, false },
	{ "faulted", touched, round_faulted, { 0 }, false },
	{ "broken", broken, round_broken, { 0 }, false },
	{ "restarted", called, round_restarted,
	  { SYS_read, { FIRST_END, (uintptr_t)&variable, 1 } }, false },
	{ "written", copied, round_written, { 0 }, false },
	{ "several", stored, round_several, { 0 }, false },
	{ "replaced", called, round_replaced,
	  { SYS_execve, { (uintptr_t)"/proc/self/exe", (uintptr_t)again, 0 } }, true },
	{ "detached", ending, round_detached, { 0 }, true },
};

// A new child, stopped at its block, or on the way there.
static void start(const struct mode *mode)
{
	int status;

	pid = fork();
	if (pid < 0)
		die("fork");
	if (pid == 0)
		child(mode->block, &mode->call);
	if (waitpid(pid, &status, 0) != pid || !WIFSTOPPED(status))
		die("the child does not stop");
	ptrace(PTRACE_SETOPTIONS, pid, 0, PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL);
	if (mode->block != stored)	// through the C library to the block
		while (step(NULL) && registers().pc != (uintptr_t)mode->block)
			;
}

int main(int argc, char **argv)
{
	const long rounds = argc == 4 ? atol(argv[2]) : 0, period = rounds ? atol(argv[3]) : 0;
	const struct mode *mode = NULL;
	long done = 0;

	if (argc == 2 && !strcmp(argv[1], again[1])) {
		passed();
		return 0;
	}
	for (size_t i = 0; period > 0 && i < sizeof(modes) / sizeof(*modes); i++)
		if (!strcmp(argv[1], modes[i].name))
			mode = modes + i;
	if (!mode) {
		fprintf(stderr, "usage: traced MODE ROUNDS PERIOD_US\n");
		return 2;
	}
	variable = 1;		// maps the page
	if (mode->block == touched) {
		at = mmap(NULL, (rounds + 1) * sysconf(_SC_PAGESIZE), PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (at == MAP_FAILED)
			die("mmap");
	}
	if (pipe(ends) < 0 || dup2(ends[0], FIRST_END) < 0)
		die("pipe");
	on_cpu(0);
	ioctl(interrupt_every(period), PERF_EVENT_IOC_ENABLE, 0);
	if (!mode->anew)
		start(mode);
	stops = 0;
	blocks = !strcmp(argv[1], "blocked");
	if (!strcmp(argv[1], "breakpoint"))
		signal_hits(HW_BREAKPOINT_X, (uintptr_t)(stored + STORE));
	else if (!strcmp(argv[1], "watchpoint"))
		signal_hits(HW_BREAKPOINT_W, (uintptr_t)&variable);
	else if (!strcmp(argv[1], "hardware"))
		set_hardware(stored + STORE, true);
	for (; done < rounds && !wrong; done++) {
		if (mode->anew)
			start(mode);
		mode->round();
	}
	if (!mode->anew || wrong)
		kill(pid, SIGKILL);
	printf("stops=%ld wrong=%ld rounds=%ld\n", stops, wrong, done);
	return 0;
}
