// SPDX-License-Identifier: GPL-2.0-only
// A plugin of QEMU's TCG: what the CPU executes between two stops of kgdb.
//
// Arguments: record= the file to write; vectors= the address of the exception vectors
// (arch/arm64/kernel/entry.S), stop= of kgdb_handle_exception(), abort= of do_mem_abort(), in
// hexadecimal.
//
// One line per event, after the number of the CPU:
//   go        kgdb's exception returns to the interrupted context
//   at PC     that context executes the instruction at PC
//   in SLOT   it is interrupted by an exception; the offset of its vector, in hexadecimal
//   out N HOW all exceptions have returned to it, after N instructions; HOW is "abort" if the
//             kernel handled an abort, after which the instruction is executed again, or "-"
//   more      it has executed MOST instructions: no further ones are recorded
//   stop N    kgdb is called, in an exception of the context at level N (1: in none of its own)
//
// What is declared here is QEMU's plugin interface (include/qemu/qemu-plugin.h), which Debian
// does not package. API is its version: 1 for QEMU up to 8.2, 2 for 9.0, 3 and later copy an
// instruction's bytes.
#include <inttypes.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXPORT __attribute__((visibility("default")))

typedef uint64_t plugin_id;
struct tb;
struct insn;
typedef void (*translated)(plugin_id, struct tb *);
typedef void (*executed)(unsigned int, void *);

void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id, translated);
size_t qemu_plugin_tb_n_insns(const struct tb *);
struct insn *qemu_plugin_tb_get_insn(const struct tb *, size_t);
uint64_t qemu_plugin_insn_vaddr(const struct insn *);
void qemu_plugin_register_vcpu_insn_exec_cb(struct insn *, executed, int, void *);
#if API < 3
const void *qemu_plugin_insn_data(const struct insn *);
#else
size_t qemu_plugin_insn_data(const struct insn *, void *, size_t);
#endif

EXPORT int qemu_plugin_version = API;

enum { CPUS = 64, MOST = 64, SLOT = 0x80, VECTORS = 0x800, NO_REGISTERS = 0 };
enum { ERET = 0xd69f03e0, ERETAA = 0xd69f0bff, ERETAB = 0xd69f0fff }; // Arm ARM, C6.2

// What a CPU does: whatever precedes the first stop, kgdb itself, or the interrupted context
// until it has executed MOST instructions.
enum phase { FREE, STOPPED, RESUMED };

static struct cpu {
	enum phase phase;
	unsigned int level; // exceptions above the interrupted context
	unsigned int own;   // instructions of that context
	uint64_t above;     // instructions of the exceptions
	bool abort;         // one of the exceptions is an abort
} cpus[CPUS];
static FILE *record;
static uint64_t vectors, stop, abort_;

static void on_any(unsigned int number, void *pc)
{
	struct cpu *cpu = &cpus[number];

	if (cpu->phase != RESUMED)
		return;
	if (cpu->level) {
		cpu->above++;
		return;
	}
	fprintf(record, "%u at %" PRIxPTR "\n", number, (uintptr_t)pc);
	if (++cpu->own == MOST) {
		fprintf(record, "%u more\n", number);
		cpu->phase = FREE;
	}
}

static void on_vector(unsigned int number, void *pc)
{
	struct cpu *cpu = &cpus[number];

	if (cpu->phase == FREE)
		return;
	if (cpu->phase == RESUMED) {
		if (!cpu->level) {
			cpu->above = 0;
			cpu->abort = false;
			fprintf(record, "%u in %x\n", number,
				(unsigned int)((uintptr_t)pc - vectors));
		}
		cpu->above++;
	}
	cpu->level++;
}

static void on_eret(unsigned int number, void *pc)
{
	struct cpu *cpu = &cpus[number];

	if (cpu->phase == FREE)
		return;
	if (!cpu->level) {
		on_any(number, pc); // the context itself returns from an exception
		return;
	}
	cpu->above++;
	if (--cpu->level)
		return;
	if (cpu->phase == RESUMED) {
		fprintf(record, "%u out %" PRIu64 " %s\n", number, cpu->above,
			cpu->abort ? "abort" : "-");
		return;
	}
	cpu->phase = RESUMED;
	cpu->own = 0;
	fprintf(record, "%u go\n", number);
}

static void on_abort(unsigned int number, void *pc)
{
	if (cpus[number].level == 1) // of the context's own instruction, not of a handler's
		cpus[number].abort = true;
	on_any(number, pc);
}

static void on_stop(unsigned int number, void *pc)
{
	struct cpu *cpu = &cpus[number];

	(void)pc;
	if (cpu->phase == STOPPED)
		return; // called again while kgdb has the CPU
	fprintf(record, "%u stop %u\n", number, cpu->phase == FREE ? 1 : cpu->level);
	fflush(record);
	cpu->phase = STOPPED;
	cpu->level = 1; // kgdb's own exception
}

static uint32_t word(const struct insn *insn)
{
	uint32_t bytes = 0;

#if API < 3
	memcpy(&bytes, qemu_plugin_insn_data(insn), sizeof(bytes));
#else
	qemu_plugin_insn_data(insn, &bytes, sizeof(bytes));
#endif
	return bytes;
}

static executed kind(uint64_t pc, uint32_t word)
{
	if (pc == stop)
		return on_stop;
	if (pc == abort_)
		return on_abort;
	if (word == ERET || word == ERETAA || word == ERETAB)
		return on_eret;
	if (pc - vectors < VECTORS && pc % SLOT == 0)
		return on_vector;
	return on_any;
}

static void on_translated(plugin_id id, struct tb *tb)
{
	(void)id;
	for (size_t i = 0; i < qemu_plugin_tb_n_insns(tb); i++) {
		struct insn *insn = qemu_plugin_tb_get_insn(tb, i);
		uint64_t pc = qemu_plugin_insn_vaddr(insn);

		qemu_plugin_register_vcpu_insn_exec_cb(insn, kind(pc, word(insn)), NO_REGISTERS,
						       (void *)(uintptr_t)pc);
	}
}

static const char *argument(int argc, char **argv, const char *name)
{
	size_t length = strlen(name);

	for (int i = 0; i < argc; i++)
		if (!strncmp(argv[i], name, length) && argv[i][length] == '=')
			return argv[i] + length + 1;
	fprintf(stderr, "recorder: no argument %s=\n", name);
	exit(1);
}

EXPORT int qemu_plugin_install(plugin_id id, const void *info, int argc, char **argv)
{
	(void)info;
	vectors = strtoull(argument(argc, argv, "vectors"), NULL, 16);
	stop = strtoull(argument(argc, argv, "stop"), NULL, 16);
	abort_ = strtoull(argument(argc, argv, "abort"), NULL, 16);
	record = fopen(argument(argc, argv, "record"), "w");
	if (!record) {
		perror("recorder");
		return 1;
	}
	qemu_plugin_register_vcpu_tb_trans_cb(id, on_translated);
	return 0;
}
