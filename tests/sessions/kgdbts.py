# SPDX-License-Identifier: GPL-2.0-only
"""Does the kernel's own test of kgdb pass?

Claim: it fails in about one run of three under KVM, because a step also ends early if the
interrupt's handler hits a breakpoint. Made by Daniel Thompson in the review of the series.

drivers/misc/kgdbts.c emulates gdb inside the kernel: it sets a breakpoint, continues to
it, removes it, steps once and checks only that the PC has changed. So a step that ends in
an interrupt's entry passes; `step-in-order` catches it.

Measured: that it ends (it prints no line for a pass), and without a splat.

Refuted by an error of kgdbts or a splat of the kernel (`splat`), or if it never ends (`hang`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kstep.session.session import session

if TYPE_CHECKING:
    from kstep.session.target import Target

LONG = 30.0  # seconds; the longest takes about four


@dataclass(frozen=True)
class Test:
    """A parameter of kgdbts, which selects its tests."""

    name: str


TESTS = (
    Test("V1"),  # plant and detach, a breakpoint, a bad read, a thousand single steps
    Test("V1I1S1000"),  # one step, then a thousand breakpoints on do_sys_openat2()
    Test("V1I1F100"),  # one step, then a hundred breakpoints on kernel_clone()
    Test("V1I"),  # as V1 without single steps
)
# The breakpoint tests go on in the background; opens and forks meanwhile hit the breakpoints.
ITS_END = "dmesg | grep -q 'Unregistered I/O driver kgdbts'"
RUN = (
    "dmesg -c > /dev/null; echo {name} > /sys/module/kgdbts/parameters/kgdbts && "
    f"until {ITS_END}; do for i in $(seq 50); do : < /dev/null; done; done"
)


@session(claim="The kernel's own test of kgdb passes.", cases=TESTS, area="kdb and gdb")
def kgdbts(target: Target, test: Test) -> None:
    """Run kgdbts to its end; its splats appear on the console."""
    with target.without_kgdboc():
        target.run(RUN.format(name=test.name), LONG)
