# SPDX-License-Identifier: GPL-2.0-only
"""Do steps stay in order under pseudo-NMIs, which come while interrupts are off?

Claim: patch 1/2 treats them like any interrupt, because el1_interrupt() handles both
(arch/arm64/kernel/entry-common.c). Will Deacon (2020) and Mark Rutland (2025) objected that
masking interrupts instead would not stop NMIs.

With irqchip.gicv3_pseudo_nmi=1 the kernel turns interrupts off with the priority mask of the
GIC, which the PMU's overflow interrupt passes. One is pending at every step: perf samples the
CPU's cycles every millisecond, and a step in kdb takes longer.

Measured: the steps of a function's path to where it turns interrupts off, and 200 from there, each
against program order; and, from perf's samples, how many of the instructions stepped with
interrupts off an NMI hit.

1/2 leaves one window open. The GIC driver unmasks NMIs before the handler returns
(gic_arch_enable_irqs() in drivers/irqchip/irq-gic-v3.c of 6.1), and they stay unmasked until
kernel_exit. An NMI after MDSCR_EL1.SS was restored finds SPSR.SS clear, and the step traps in
its entry: seen in 2 of 50 walks with v5/1+2 and v6/1+2. So the function is walked again if a
step ended in an interrupt, until most walks have none; `windows` counts such walks, and they are
no fault then.

Refuted by steps that go elsewhere in most walks, by a splat, by a clock that does not tick
afterwards, or if NMIs do not come while interrupts are off (`masked-interrupts`). Where they come,
they hit half of these instructions or more; where they do not, samples still have one or two of
them, because the function's locks are taken again after the last step.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from kstep.base.errors import MachineryError
from kstep.base.outcome import KernelFault, Signature
from kstep.machine.hardware import Hardware
from kstep.session.session import Stepped, session
from kstep.session.stepping import LONG_PATH

if TYPE_CHECKING:
    from kstep.judge.stepper import Step
    from kstep.session.target import Target

STEPS = 200
PART = 10  # one in so many of the instructions with interrupts off must be hit
PERIOD = 1_000_000  # cycles: a millisecond, as QEMU counts them
# perf throttles an event that comes too often between two ticks, and no tick comes while
# interrupts are off (__perf_event_account_interrupt in kernel/events/core.c).
UNTHROTTLED = (
    "cd /proc/sys/kernel && echo 25 > perf_cpu_time_max_percent"
    " && echo 1000000 > perf_event_max_sample_rate && echo 0 > perf_cpu_time_max_percent"
)
# msr icc_pmr_el1, xN. With pseudo-NMI it masks interrupts, by a priority without all of these bits:
# GIC_PRIO_IRQON has them, GIC_PRIO_IRQOFF is 0x60 or 0xa0, and 0xc0 since 6.11
# (arch/arm64/include/asm/ptrace.h, include/linux/irqchip/arm-gic-v3-prio.h).
WRITES_PMR, REGISTER, ON = 0xD518_4600, 31, 0xE0
SAMPLE = re.compile(r"^at ([0-9a-f]+) \d+$", re.MULTILINE)

FUNCTIONS = (
    # fs/proc/meminfo.c, by vm_memory_committed(), to lib/percpu_counter.c: a raw spinlock with
    # interrupts off
    Stepped("meminfo_proc_show", "busybox cat /proc/meminfo", "a counter's lock"),
    # kernel/time/hrtimer.c: the timer base's lock; its caller holds the signal lock
    Stepped("__hrtimer_get_remaining", "syscall getitimer 1 0 @", "one lock in another"),
    # kernel/sched/core.c: the task's and the run queue's lock
    Stepped("set_user_nice", "syscall setpriority 1 0 0 5", "the scheduler's locks"),
)


@session(
    claim="Steps stay in order under pseudo-NMIs, with interrupts on or off.",
    cases=FUNCTIONS,
    hardware=Hardware(parameters="irqchip.gicv3_pseudo_nmi=1"),
    needs=("CONFIG_ARM64_PSEUDO_NMI",),
    area="steps",
)
def step_pnmi(target: Target, function: Stepped) -> None:
    """Step through code with interrupts off while perf samples it."""
    target.run(UNTHROTTLED)
    for walk in target.walks():
        masked = Masked(target)
        with target.stopped_at(function.name, f"sampler {PERIOD} {function.trigger}") as stop:
            for step in target.steps(LONG_PATH):
                if walk.met_interrupt(step):
                    break
                masked.see(step)
                if masked.steps >= STEPS and step.returned:
                    break
    target.must_tick()
    sampled = {int(address, 16) for address in SAMPLE.findall(stop.answer.text)}
    hit = masked.addresses & sampled
    target.metrics |= {"irqs_off_pcs": len(masked.addresses), "nmi_in_irqs_off": len(hit)}
    if not masked.addresses:
        raise MachineryError("no instruction was stepped with interrupts off by priority")
    if PART * len(hit) < len(masked.addresses):
        raise KernelFault(
            Signature.MASKED_INTERRUPTS,
            f"NMIs hit {len(hit)} of {len(masked.addresses)} instructions stepped with interrupts"
            f" off; {len(sampled - hit)} other addresses were sampled",
        )


class Masked:
    """The addresses that were stepped while interrupts were off by priority.

    ``steps`` counts the steps since the first of them.
    """

    def __init__(self, target: Target) -> None:
        self.addresses: set[int] = set()
        self.steps = 0
        self._target = target
        self._off = False

    def see(self, step: Step) -> None:
        """Record the next step."""
        if step.instruction.word & ~REGISTER == WRITES_PMR:
            register = step.instruction.word & REGISTER
            written = 0 if register == REGISTER else self._target.kdb.registers()[f"x{register}"]
            self._off = written & ON != ON
        if self._off:
            self.addresses.add(step.after.address)
        self.steps += bool(self.addresses)
