# SPDX-License-Identifier: GPL-2.0-only
"""How often does a step by QEMU's gdbstub end in the interrupt's vector, under KVM?

Claim: with a chance of 50/50, and with patch 1/2 "much rarer", "but not 100%". Made by Ard
Biesheuvel in the review of the series. KVM steps a guest by the guest CPU's own step bit, with
interrupts on (arch/arm64/kvm/debug.c). An interrupt that is due when the step begins is taken
first, and the step ends at its vector: before the guest's kernel has executed an instruction of
it, so no kernel can do anything about it.

Measured: five gdb steps from the beginning of each of 60 system calls; from a vector the guest is
continued to the interrupted instruction, and stepped on. Before each call the guest spins for a
random part of the timer's period, so that calls are independent of each other; the steps in one
call are not, and the interval of the rate says so. What a step takes on the guest's clock is
measured by the guest: its calls with steps, less those without. Cases differ in the period of the
guest's timer, and in the dilation of its clock, which stands for a host that is as many times as
fast.

The first step of a call is at a random moment, so its risk is a step's time by the timer's period.
The steps after a vector are not: getting back from it takes as long as a step.

Refuted by a step that ends in a vector (`enters-interrupt`) or at any other place but the next
instruction (`off-order`); by steps that do not move, if they are the majority (`stuck`). The rate
itself is not judged: the metrics hold it, and the report draws it against the time of a step.
"""

from __future__ import annotations

import statistics
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from kstep.arm64.branch import decode
from kstep.base.errors import MachineryError
from kstep.base.outcome import KernelFault, Signature
from kstep.machine.capability import Capability
from kstep.machine.hardware import Hardware
from kstep.results.rate import ClusteredRate
from kstep.session.session import session
from tests.session_parts.stub_calls import LONG, TICK, Context, enter

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from kstep.console.gdb import Gdb
    from kstep.session.target import Target

UNSTEPPED, CALLS, STEPS = 12, 60, 5


@dataclass(frozen=True)
class Pace:
    """A timer of ``period`` nanoseconds, and the dilation of the guest's clock."""

    dilation: int
    period: int = TICK

    @property
    def name(self) -> str:
        """Name the case."""
        return f"dilation_{self.dilation}" + (
            "" if self.period == TICK else f"_period_{self.period // 1000}us"
        )

    @property
    def hardware(self) -> Hardware:
        """The machine whose clock is so slow."""
        return Hardware(dilation=self.dilation)

    @property
    def trigger(self) -> str:
        """The guest's command, with a timer of its own unless the tick's period is wanted."""
        command = f"jitter {self.period} {UNSTEPPED + CALLS}"
        return command if self.period == TICK else f"often {self.period} {command}"


@dataclass
class Path:
    """Where a step from an instruction may go, by its address: every call takes the same path."""

    known: dict[int, frozenset[int]] = field(default_factory=dict)

    def _expected(self, gdb: Gdb, at: int) -> frozenset[int]:
        if at not in self.known:
            word = int.from_bytes(gdb.read(at, 4), "little")
            self.known[at] = decode(word, at).successors(gdb.registers())
        return self.known[at]

    def steps(
        self, target: Target, gdb: Gdb, entry: Context
    ) -> Iterator[tuple[Signature | None, str]]:
        """Step from the beginning of a call; how each step went wrong, and where it ended.

        From a vector continue to the interrupted instruction, and step that again.
        """
        at = entry.pc
        for _ in range(STEPS):
            expected = self._expected(gdb, at)
            place = target.locate(gdb.step_instruction())
            if place.address in expected:
                yield None, str(place)
                at = place.address
            elif place.address == at:
                yield Signature.STUCK, str(place)
            elif place.symbol == "vectors":
                yield Signature.ENTERS_INTERRUPT, str(place)
                Context(at, gdb.registers()["sp"]).reach(gdb, "interrupted instruction")
            else:
                yield Signature.OFF_ORDER, str(place)
                return


PACES = (
    *map(Pace, (1, 2, 4, 8, 16, 32)),
    Pace(32, period=250_000),
    Pace(64, period=100_000),
)


@session(
    claim="Under KVM, a step by QEMU's gdbstub goes to the next instruction.",
    cases=PACES,
    requires={
        Capability.GDBSTUB: "it has gdb on QEMU's own gdbstub",
        Capability.GDBSTUB_BY_KVM: "it asks how KVM steps",
        Capability.MEMORY_WITHOUT_KDB: "it reads each instruction while that gdb steps",
    },
    area="kdb and gdb",
)
def gdbstub_rate(target: Target, pace: Pace) -> None:
    """Step with gdb on QEMU's stub, in one call after another."""
    calls: list[list[Signature | None]] = []
    places: Counter[str] = Counter()
    path = Path()
    with target.in_gdbstub(1) as gdb, target.running(pace.trigger, LONG) as ended:
        for number in range(UNSTEPPED + CALLS):
            call = enter(target, gdb)
            calls.append([])
            if number >= UNSTEPPED:
                for how, place in path.steps(target, gdb, call.entry):
                    calls[-1].append(how)
                    if how is not None:
                        places[place] += 1
            call.leave(gdb)
        gdb.resume()
    went = Counter(how for each in calls for how in each)
    landed = [(each.count(Signature.ENTERS_INTERRUPT), len(each)) for each in calls]
    # From a vector the guest is continued to the interrupted instruction, which takes as long.
    each = step_time(nanoseconds(ended[0].text), [hits + steps for hits, steps in landed])
    rate = ClusteredRate(tuple(landed[UNSTEPPED:]))
    low, high = rate.interval()
    target.metrics |= {
        "landed": rate.hits,
        "gdb_steps": rate.trials,
        "calls": len(rate.clusters),
        "first_steps_landed": [each[0] for each in calls[UNSTEPPED:]].count(
            Signature.ENTERS_INTERRUPT
        ),
        "stayed": went[Signature.STUCK],
        "percent": round(100 * rate.hits / rate.trials, 1),
        "percent_at_least": round(100 * low, 1),
        "percent_at_most": round(100 * high, 1),
        "step_us": round(each / 1000, 2),
        "period_us": pace.period / 1000,
        **{f"ended_at {place}": times for place, times in places.most_common(4)},
    }
    for signature, most in (
        (Signature.OFF_ORDER, 0),
        (Signature.ENTERS_INTERRUPT, 0),
        (Signature.STUCK, rate.trials // 2),
    ):
        if went[signature] > most:
            raise KernelFault(
                signature,
                f"of {rate.trials} steps {rate.hits} ended in an interrupt's vector, {rate},"
                f" {went[Signature.OFF_ORDER]} elsewhere, and {went[Signature.STUCK]} did not"
                f" move; a step takes {each / 1000:.1f} us of the guest's time, its timer comes"
                f" every {pace.period / 1000:g} us",
            )


def nanoseconds(text: str) -> Sequence[int]:
    """Read what each call took from the output of the guest's program."""
    for line in text.splitlines():
        word, *numbers = line.split() or [""]
        if word == "took" and len(numbers) == UNSTEPPED + CALLS:
            return [int(number) for number in numbers]
    raise MachineryError(f"no times in the output of the guest's program: {text[-200:]!r}")


def step_time(took: Sequence[int], steps: Sequence[int]) -> float:
    """Return what a step takes in nanoseconds of the guest's time, from its calls."""
    without = statistics.median(t for t, n in zip(took, steps, strict=True) if not n)
    return statistics.median((t - without) / n for t, n in zip(took, steps, strict=True) if n)
