// SPDX-License-Identifier: GPL-2.0-only
// untouched TIMES [PERIOD_US EVENT]: makes a system call TIMES times with a known value
// in every register, and checks which of them the call changed. The kernel restores
// all except x0, the result (kernel_exit in arch/arm64/kernel/entry.S): the general
// registers, floating point with control and status, the flags, the thread pointer and
// the stack pointer. With PERIOD_US an interrupt comes that often, and perf counts the
// hits of EVENT, x:ADDRESS or w:ADDRESS in the kernel. Prints the registers that the
// first such call changed, how many calls changed some, and the hits.

#include "event.h"

#include <stddef.h>
#include <sys/ioctl.h>

#define NUMBER 178      // gettid: a process of one thread gets its own id

struct registers {
	uint64_t x[31];         // x0 is only the expected result
	uint64_t sp, tpidr, nzcv, fpcr, fpsr;
	uint64_t v[32][2];
};

// Offsets that the assembler below uses.
_Static_assert(offsetof(struct registers, sp) == 248, "sp");
_Static_assert(offsetof(struct registers, tpidr) == 256, "tpidr");
_Static_assert(offsetof(struct registers, nzcv) == 264, "nzcv");
_Static_assert(offsetof(struct registers, fpcr) == 272, "fpcr");
_Static_assert(offsetof(struct registers, fpsr) == 280, "fpsr");
_Static_assert(offsetof(struct registers, v) == 288, "v");

struct registers before, after;

// Loads the registers from `before`, except sp and the thread pointer, which it stores
// there; makes the call, and stores all in `after`.
void call_with_before(void);
__asm__(
"	.text\n"
"	.globl call_with_before\n"
"call_with_before:\n"
"	stp	x29, x30, [sp, #-160]!\n"
"	stp	x19, x20, [sp, #16]\n"
"	stp	x21, x22, [sp, #32]\n"
"	stp	x23, x24, [sp, #48]\n"
"	stp	x25, x26, [sp, #64]\n"
"	stp	x27, x28, [sp, #80]\n"
"	stp	d8, d9, [sp, #96]\n"
"	stp	d10, d11, [sp, #112]\n"
"	stp	d12, d13, [sp, #128]\n"
"	stp	d14, d15, [sp, #144]\n"
"	adrp	x0, before\n"
"	add	x0, x0, :lo12:before\n"
"	mov	x1, sp\n"
"	mrs	x2, tpidr_el0\n"
"	stp	x1, x2, [x0, #248]\n"
"	ldr	x1, [x0, #264]\n"
"	msr	nzcv, x1\n"
"	ldp	x1, x2, [x0, #272]\n"
"	msr	fpcr, x1\n"
"	msr	fpsr, x2\n"
"	add	x1, x0, #288\n"
"	ld1	{v0.2d-v3.2d}, [x1], #64\n"
"	ld1	{v4.2d-v7.2d}, [x1], #64\n"
"	ld1	{v8.2d-v11.2d}, [x1], #64\n"
"	ld1	{v12.2d-v15.2d}, [x1], #64\n"
"	ld1	{v16.2d-v19.2d}, [x1], #64\n"
"	ld1	{v20.2d-v23.2d}, [x1], #64\n"
"	ld1	{v24.2d-v27.2d}, [x1], #64\n"
"	ld1	{v28.2d-v31.2d}, [x1], #64\n"
"	ldp	x1, x2, [x0, #8]\n"
"	ldp	x3, x4, [x0, #24]\n"
"	ldp	x5, x6, [x0, #40]\n"
"	ldp	x7, x8, [x0, #56]\n"
"	ldp	x9, x10, [x0, #72]\n"
"	ldp	x11, x12, [x0, #88]\n"
"	ldp	x13, x14, [x0, #104]\n"
"	ldp	x15, x16, [x0, #120]\n"
"	ldp	x17, x18, [x0, #136]\n"
"	ldp	x19, x20, [x0, #152]\n"
"	ldp	x21, x22, [x0, #168]\n"
"	ldp	x23, x24, [x0, #184]\n"
"	ldp	x25, x26, [x0, #200]\n"
"	ldp	x27, x28, [x0, #216]\n"
"	ldp	x29, x30, [x0, #232]\n"
"	svc	#0\n"
"	str	x0, [sp, #-16]!\n"          // no register is free for an address but this
"	adrp	x0, after\n"
"	add	x0, x0, :lo12:after\n"
"	stp	x1, x2, [x0, #8]\n"
"	stp	x3, x4, [x0, #24]\n"
"	stp	x5, x6, [x0, #40]\n"
"	stp	x7, x8, [x0, #56]\n"
"	stp	x9, x10, [x0, #72]\n"
"	stp	x11, x12, [x0, #88]\n"
"	stp	x13, x14, [x0, #104]\n"
"	stp	x15, x16, [x0, #120]\n"
"	stp	x17, x18, [x0, #136]\n"
"	stp	x19, x20, [x0, #152]\n"
"	stp	x21, x22, [x0, #168]\n"
"	stp	x23, x24, [x0, #184]\n"
"	stp	x25, x26, [x0, #200]\n"
"	stp	x27, x28, [x0, #216]\n"
"	stp	x29, x30, [x0, #232]\n"
"	ldr	x1, [sp], #16\n"
"	str	x1, [x0]\n"
"	mov	x1, sp\n"
"	mrs	x2, tpidr_el0\n"
"	stp	x1, x2, [x0, #248]\n"
"	mrs	x1, nzcv\n"
"	str	x1, [x0, #264]\n"
"	mrs	x1, fpcr\n"
"	mrs	x2, fpsr\n"
"	stp	x1, x2, [x0, #272]\n"
"	add	x1, x0, #288\n"
"	st1	{v0.2d-v3.2d}, [x1], #64\n"
"	st1	{v4.2d-v7.2d}, [x1], #64\n"
"	st1	{v8.2d-v11.2d}, [x1], #64\n"
"	st1	{v12.2d-v15.2d}, [x1], #64\n"
"	st1	{v16.2d-v19.2d}, [x1], #64\n"
"	st1	{v20.2d-v23.2d}, [x1], #64\n"
"	st1	{v24.2d-v27.2d}, [x1], #64\n"
"	st1	{v28.2d-v31.2d}, [x1], #64\n"
"	msr	fpcr, xzr\n"
"	ldp	x19, x20, [sp, #16]\n"
"	ldp	x21, x22, [sp, #32]\n"
"	ldp	x23, x24, [sp, #48]\n"
"	ldp	x25, x26, [sp, #64]\n"
"	ldp	x27, x28, [sp, #80]\n"
"	ldp	d8, d9, [sp, #96]\n"
"	ldp	d10, d11, [sp, #112]\n"
"	ldp	d12, d13, [sp, #128]\n"
"	ldp	d14, d15, [sp, #144]\n"
"	ldp	x29, x30, [sp], #160\n"
"	ret\n"
);

static void fill(unsigned long turn)
{
	for (uint64_t i = 0; i < 31; i++)
		before.x[i] = 0x5a5a000000000000 | turn << 8 | i;
	before.x[0] = getpid();
	before.x[8] = NUMBER;
	for (uint64_t i = 0; i < 32; i++) {
		before.v[i][0] = 0x6b6b000000000000 | turn << 8 | i;
		before.v[i][1] = ~before.v[i][0];
	}
	before.nzcv = (turn & 15) << 28;
	before.fpcr = (turn & 31) << 22;        // RMode, FZ, DN, AHP
	before.fpsr = turn & 1 ? 0x0800009f : 0;  // QC and the cumulative exception bits
}

static void tell(const char *name, uint64_t was, uint64_t is)
{
	if (was != is)
		printf("%s was %#llx and became %#llx\n", name, (unsigned long long)was,
		       (unsigned long long)is);
}

static void tell_changes(const struct registers *was, const struct registers *is)
{
	char name[8];

	for (int i = 0; i < 31; i++) {
		snprintf(name, sizeof(name), "x%d", i);
		tell(name, was->x[i], is->x[i]);
	}
	for (int i = 0; i < 64; i++) {
		snprintf(name, sizeof(name), "v%d.d%d", i / 2, i % 2);
		tell(name, was->v[i / 2][i % 2], is->v[i / 2][i % 2]);
	}
	tell("sp", was->sp, is->sp);
	tell("tpidr", was->tpidr, is->tpidr);
	tell("nzcv", was->nzcv, is->nzcv);
	tell("fpcr", was->fpcr, is->fpcr);
	tell("fpsr", was->fpsr, is->fpsr);
}

int main(int argc, char **argv)
{
	const unsigned long times = argc >= 2 ? strtoul(argv[1], NULL, 10) : 0;
	const unsigned long period = argc >= 3 ? strtoul(argv[2], NULL, 10) : 0;
	static struct registers first[2];       // that were changed
	unsigned long changed = 0;
	uint64_t hits = 0;
	int place = -1, often = -1;

	if (!times || (argc != 2 && (argc != 4 || !period))) {
		fprintf(stderr, "usage: untouched TIMES [PERIOD_US EVENT]\n");
		return 2;
	}
	if (period) {
		place = count_kernel_hits(argv[3]);
		often = interrupt_every(period);
		ioctl(often, PERF_EVENT_IOC_ENABLE, 0);
	}
	for (unsigned long turn = 1; turn <= times; turn++) {
		fill(turn);
		call_with_before();
		if (memcmp(&before, &after, sizeof(before)) != 0 && !changed++) {
			first[0] = before;
			first[1] = after;
		}
	}
	if (period) {
		ioctl(often, PERF_EVENT_IOC_DISABLE, 0);
		hits = hits_of(place);
	}
	if (changed)
		tell_changes(&first[0], &first[1]);
	printf("calls=%lu hits=%llu changed=%lu\n", times, (unsigned long long)hits, changed);
	return 0;
}
