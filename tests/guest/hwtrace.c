// SPDX-License-Identifier: GPL-2.0-only
// hwtrace KIND TIMES PERIOD_US: a child makes an access TIMES times, each beside one that must not
// hit, under a tracer that has set a hardware breakpoint or watchpoint by ptrace, as gdb does
// (NT_ARM_HW_BREAK, NT_ARM_HW_WATCH); an interrupt comes every PERIOD_US. At each stop the tracer
// takes the watchpoint out, steps, and sets it again. A KIND is
//   executed      an instruction
//   byte          a byte stored; the bytes on both sides are not watched
//   pair          the upper half of a pair that is stored
//   vector        the last four of 16 bytes stored at once
//   below         a byte of a store that begins below the watched doubleword
//   zeroed        8 bytes in the middle of a block that DC ZVA zeroes
//   loaded        the upper half of a pair that is loaded
// Prints times=; hits=; elsewhere=, stops with another signal, code, PC or address; and unstepped=,
// steps that did not end behind the access, or did not do it. One CPU.

#include "event.h"

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

enum { EXECUTE, LOAD, STORE };		// as in the control register
enum { BLOCK = 64, FILL = 0x55 };

// Shared, so that the parent reads what the child has stored.
static volatile unsigned char *area;
extern const char executed[], byte[], pair[], vector[], below[], zeroed[], loaded[];

// x0 is `area`. The access that is labelled hits once; what is not must not hit.
__asm__(
"	.text\n"
"	.globl executed, byte, pair, vector, below, zeroed, loaded\n"
"make_executed:\n"
"	nop\n"
"executed:\n"
"	str	x1, [x0, #24]\n"
"	nop\n"
"	ret\n"
"make_byte:\n"
"	strb	w1, [x0, #18]\n"
"	strb	w1, [x0, #20]\n"
"byte:	strb	w1, [x0, #19]\n"
"	ret\n"
"make_pair:\n"
"	str	x1, [x0, #16]\n"
"pair:	stp	x1, x1, [x0, #16]\n"
"	ret\n"
"make_vector:\n"
"	str	x1, [x0, #16]\n"
"	dup	v0.2d, x1\n"
"vector:	str	q0, [x0, #16]\n"
"	ret\n"
"make_below:\n"
"	stur	x1, [x0, #12]\n"
"below:	stur	x1, [x0, #21]\n"	// bytes 21 to 28
"	ret\n"
"make_zeroed:\n"
"	str	x1, [x0, #40]\n"
"	add	x2, x0, #64\n"
"	dc	zva, x2\n"
"zeroed:	dc	zva, x0\n"
"	ret\n"
"make_loaded:\n"
"	stp	x1, x1, [x0, #16]\n"
"	ldr	x3, [x0, #16]\n"
"loaded:	ldp	x3, x4, [x0, #16]\n"
"	ret\n"
);
void make_executed(volatile void *, uint64_t), make_byte(volatile void *, uint64_t);
void make_pair(volatile void *, uint64_t), make_vector(volatile void *, uint64_t);
void make_below(volatile void *, uint64_t), make_zeroed(volatile void *, uint64_t);
void make_loaded(volatile void *, uint64_t);

static const struct kind {
	const char *name;
	void (*make)(volatile void *, uint64_t);
	const char *at;			// the access
	int type;
	unsigned int offset, bytes;	// watched, in `area`; within one doubleword
	unsigned int from, to;		// the access, in `area`
} kinds[] = {
	{ "executed", make_executed, executed, EXECUTE, 0, 4, 24, 32 },
	{ "byte", make_byte, byte, STORE, 19, 1, 19, 20 },
	{ "pair", make_pair, pair, STORE, 24, 8, 16, 32 },
	{ "vector", make_vector, vector, STORE, 28, 4, 16, 32 },
	{ "below", make_below, below, STORE, 24, 1, 21, 29 },
	{ "zeroed", make_zeroed, zeroed, STORE, 32, 8, 0, BLOCK },
	{ "loaded", make_loaded, loaded, LOAD, 24, 8, 16, 32 },
};

static const struct kind *kind;
static pid_t pid;

static struct user_regs_struct registers(void)
{
	struct user_regs_struct regs;
	struct iovec io = { &regs, sizeof(regs) };

	if (ptrace(PTRACE_GETREGSET, pid, NT_PRSTATUS, &io) < 0)
		die("PTRACE_GETREGSET");
	return regs;
}

// As aarch64_linux_set_debug_regs() in gdb: only the first register is set.
static void set(bool enabled)
{
	const uint64_t address = kind->type == EXECUTE ? (uintptr_t)kind->at
						       : (uintptr_t)area + kind->offset;
	const unsigned int select = ((1U << kind->bytes) - 1) << (address & 7);
	struct user_hwdebug_state state = { 0 };
	struct iovec io = { &state, sizeof(state.dbg_info) + sizeof(state.pad) +
				    sizeof(state.dbg_regs[0]) };

	state.dbg_regs[0].addr = address & ~7ULL;
	if (kind->type == EXECUTE)
		state.dbg_regs[0].addr = address;
	state.dbg_regs[0].ctrl = (kind->type == EXECUTE ? 0xf : select) << 5 | kind->type << 3 |
				 2 << 1 | enabled;
	if (ptrace(PTRACE_SETREGSET, pid, kind->type == EXECUTE ? NT_ARM_HW_BREAK :
		   NT_ARM_HW_WATCH, &io) < 0)
		die("PTRACE_SETREGSET");
}

// What the access with this number stores: the same in each byte.
static uint64_t pattern(long number)
{
	return (number & 0xff) * 0x0101010101010101;
}

static _Noreturn void child(long times)
{
	ptrace(PTRACE_TRACEME, 0, 0, 0);
	raise(SIGSTOP);
	for (long i = 0; i < times; i++)
		kind->make(area, pattern(i));
	_exit(0);
}

// Returns the signal of the next stop, -1 at the end.
static int resume(int request)
{
	int status;

	if (ptrace(request, pid, 0, 0) < 0)
		die("ptrace");
	if (waitpid(pid, &status, 0) != pid)
		die("waitpid");
	if (WIFSIGNALED(status)) {
		fprintf(stderr, "hwtrace: the child ended by signal %d\n", WTERMSIG(status));
		exit(2);
	}
	return WIFSTOPPED(status) ? WSTOPSIG(status) : -1;
}

static bool is_hit(int signal)
{
	siginfo_t info;
	uintptr_t address;

	if (ptrace(PTRACE_GETSIGINFO, pid, 0, &info) < 0)
		die("PTRACE_GETSIGINFO");
	address = (uintptr_t)info.si_addr;
	if (kind->type == EXECUTE ? address != (uintptr_t)kind->at
				  : address < (uintptr_t)area + kind->from ||
				    address >= (uintptr_t)area + kind->to)
		return false;
	return signal == SIGTRAP && info.si_code == TRAP_HWBKPT &&
	       registers().pc == (uintptr_t)kind->at;
}

// Whether the last stop is behind the access, which has been made.
static bool is_stepped(int signal, long number)
{
	const unsigned char due = kind->from ? pattern(number) : 0;	// DC ZVA is at 0
	siginfo_t info;

	if (signal != SIGTRAP || ptrace(PTRACE_GETSIGINFO, pid, 0, &info) < 0 ||
	    info.si_code != TRAP_TRACE || registers().pc != (uintptr_t)kind->at + 4)
		return false;
	if (kind->type == LOAD)
		return registers().regs[4] == pattern(number);
	for (unsigned int i = kind->from; i < kind->to; i++)
		if (area[i] != due)
			return false;
	return true;
}

int main(int argc, char **argv)
{
	const long times = argc == 4 ? atol(argv[2]) : 0, period = times ? atol(argv[3]) : 0;
	long hits = 0, elsewhere = 0, unstepped = 0;
	int signal, status;
	uint64_t zva;

	for (size_t i = 0; period && i < sizeof(kinds) / sizeof(*kinds); i++)
		if (!strcmp(argv[1], kinds[i].name))
			kind = kinds + i;
	if (!kind || period <= 0) {
		fprintf(stderr, "usage: hwtrace KIND TIMES PERIOD_US\n");
		return 2;
	}
	__asm__("mrs %0, dczid_el0" : "=r"(zva));
	if (zva != 4) {			// DC ZVA is allowed, and zeroes 4 << 4 bytes
		fprintf(stderr, "hwtrace: DCZID_EL0 is %#llx, not 4\n", (unsigned long long)zva);
		return 2;
	}
	area = mmap(NULL, 2 * BLOCK, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (area == MAP_FAILED)
		die("mmap");
	memset((void *)area, FILL, 2 * BLOCK);		// maps the page
	pid = fork();
	if (pid < 0)
		die("fork");
	if (pid == 0)
		child(times);
	if (waitpid(pid, &status, 0) != pid || !WIFSTOPPED(status))
		die("the child does not stop");
	ioctl(interrupt_every(period), PERF_EVENT_IOC_ENABLE, 0);
	set(true);
	while ((signal = resume(PTRACE_CONT)) >= 0 && !elsewhere && !unstepped) {
		if (!is_hit(signal)) {
			elsewhere++;
			break;
		}
		set(false);
		signal = resume(PTRACE_SINGLESTEP);
		if (signal < 0 || !is_stepped(signal, hits))
			unstepped++;
		hits++;
		if (signal < 0)
			break;
		set(true);
	}
	if (signal >= 0) {
		siginfo_t info = { 0 };

		ptrace(PTRACE_GETSIGINFO, pid, 0, &info);
		printf("signal %d, code %d, address %p, pc %#llx; the access at %p, area %p\n", signal,
		       info.si_code, info.si_addr, (unsigned long long)registers().pc, kind->at,
		       (const void *)area);
		kill(pid, SIGKILL);
	}
	printf("times=%ld hits=%ld elsewhere=%ld unstepped=%ld\n", times, hits, elsewhere, unstepped);
	return 0;
}
