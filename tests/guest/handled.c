// SPDX-License-Identifier: GPL-2.0-only
// handled HOW TIMES PERIOD_US EVENT: passes a store in a function TIMES times, or calls
// settimeofday(NULL, &tz) if the event is the kernel's, with a perf event that has a handler, while an
// interrupt comes every PERIOD_US.
//   HOW    bpf        a BPF program, which counts its runs
//          forward, backward   a sample at each hit, written to a buffer from its start or its end
//   EVENT  x          the store, executed          w          its 8 bytes, written
//          x:ADDRESS, w:ADDRESS                    an address of the kernel, passed once a call
// Prints passes=, the event's hits=, and runs=, those of the BPF program, or the samples. Ends, with what
// was passed so far, after SECONDS of signals: a hit that is never stepped over lets signals through.

#include "event.h"

#include <linux/bpf.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

enum { SECONDS = 10, PAGES = 256 };

static volatile long variable;
static volatile unsigned long passes;
static int event, map;
static struct perf_event_mmap_page *buffer;
extern const char store[];

static __attribute__((noinline)) void pass(long value)
{
	__asm__ volatile(".global store\nstore: str %1, %0" : "=Qo"(variable) : "r"(value) : "memory");
}

static long bpf(int command, union bpf_attr *attr)
{
	return syscall(SYS_bpf, command, attr, sizeof(*attr));
}

// A program that adds one to the map's only value.
static int counter(void)
{
	union bpf_attr of_map = {
		.map_type = BPF_MAP_TYPE_ARRAY, .key_size = 4, .value_size = 8, .max_entries = 1,
	};
	int fd;

	map = bpf(BPF_MAP_CREATE, &of_map);
	if (map < 0)
		die("BPF_MAP_CREATE");

	const struct bpf_insn code[] = {
		{ .code = BPF_ST | BPF_MEM | BPF_W, .dst_reg = 10, .off = -4, .imm = 0 },
		{ .code = BPF_ALU64 | BPF_MOV | BPF_X, .dst_reg = 2, .src_reg = 10 },
		{ .code = BPF_ALU64 | BPF_ADD | BPF_K, .dst_reg = 2, .imm = -4 },
		{ .code = BPF_LD | BPF_DW | BPF_IMM, .dst_reg = 1, .src_reg = BPF_PSEUDO_MAP_FD, .imm = map },
		{ 0 },
		{ .code = BPF_JMP | BPF_CALL, .imm = BPF_FUNC_map_lookup_elem },
		{ .code = BPF_JMP | BPF_JEQ | BPF_K, .dst_reg = 0, .off = 2, .imm = 0 },
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 1, .imm = 1 },
		{ .code = BPF_STX | BPF_ATOMIC | BPF_DW, .dst_reg = 0, .src_reg = 1, .imm = BPF_ADD },
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 0, .imm = 0 },
		{ .code = BPF_JMP | BPF_EXIT },
	};
	union bpf_attr of_program = {
		.prog_type = BPF_PROG_TYPE_PERF_EVENT,
		.insns = (uintptr_t)code,
		.insn_cnt = sizeof(code) / sizeof(*code),
		.license = (uintptr_t)"GPL",
	};

	fd = bpf(BPF_PROG_LOAD, &of_program);
	if (fd < 0)
		die("BPF_PROG_LOAD");
	return fd;
}

static uint64_t counted(void)
{
	uint32_t key = 0;
	uint64_t value = 0;
	union bpf_attr at = { .map_fd = map, .key = (uintptr_t)&key, .value = (uintptr_t)&value };

	if (bpf(BPF_MAP_LOOKUP_ELEM, &at) < 0)
		die("BPF_MAP_LOOKUP_ELEM");
	return value;
}

// Samples of one size are written one after the other, upwards or downwards.
static uint64_t samples(void)
{
	const uint64_t head = buffer->data_head;
	const uint64_t size = (int64_t)head < 0 ? -head : head;

	return size / (sizeof(struct perf_event_header) + sizeof(uint64_t));
}

static void end(void)
{
	ioctl(event, PERF_EVENT_IOC_DISABLE, 0);
	printf("passes=%lu hits=%llu runs=%llu\n", passes, (unsigned long long)hits_of(event),
	       (unsigned long long)(buffer ? samples() : counted()));
	fflush(stdout);
	_exit(0);
}

static void on_alarm(int number)
{
	(void)number;
	end();
}

int main(int argc, char **argv)
{
	static const struct { int minuteswest, dsttime; } zone;
	const unsigned long times = argc == 5 ? strtoul(argv[2], NULL, 10) : 0;
	const unsigned long period = times ? strtoul(argv[3], NULL, 10) : 0;
	struct perf_event_attr attr = { .type = PERF_TYPE_BREAKPOINT };
	int often, kernel;

	if (!period || !strchr("xw", *argv[4])) {
		fprintf(stderr, "usage: handled bpf|forward|backward TIMES PERIOD_US EVENT\n");
		return 2;
	}
	kernel = argv[4][1] == ':';
	attr.bp_type = *argv[4] == 'x' ? HW_BREAKPOINT_X : HW_BREAKPOINT_W;
	attr.bp_len = *argv[4] == 'x' ? HW_BREAKPOINT_LEN_4 : HW_BREAKPOINT_LEN_8;
	if (kernel)
		attr.bp_addr = strtoull(argv[4] + 2, NULL, 16);
	else
		attr.bp_addr = *argv[4] == 'x' ? (uintptr_t)store : (uintptr_t)&variable;
	attr.disabled = 1;
	attr.sample_period = 1;
	attr.sample_type = PERF_SAMPLE_IP;
	attr.write_backward = !strcmp(argv[1], "backward");
	pass(1);		// maps the page, so that each store runs once
	// The first call of a boot takes another path (timekeeping_warp_clock()).
	if (syscall(SYS_settimeofday, NULL, &zone) < 0)
		die("settimeofday");
	event = open_event(&attr, kernel ? -1 : 0, kernel ? 0 : -1);
	if (!strcmp(argv[1], "bpf")) {
		if (ioctl(event, PERF_EVENT_IOC_SET_BPF, counter()) < 0)
			die("PERF_EVENT_IOC_SET_BPF");
	} else {
		const size_t size = (1 + PAGES) * sysconf(_SC_PAGESIZE);
		const int access = attr.write_backward ? PROT_READ : PROT_READ | PROT_WRITE;

		buffer = mmap(NULL, size, access, MAP_SHARED, event, 0);
		if (buffer == MAP_FAILED)
			die("mmap");
	}
	signal(SIGALRM, on_alarm);
	alarm(SECONDS);
	often = interrupt_every(period);
	ioctl(often, PERF_EVENT_IOC_ENABLE, 0);
	ioctl(event, PERF_EVENT_IOC_ENABLE, 0);
	while (passes < times) {
		passes++;
		if (kernel)
			syscall(SYS_settimeofday, NULL, &zone);
		else
			pass(passes);
	}
	ioctl(often, PERF_EVENT_IOC_DISABLE, 0);
	end();
}
