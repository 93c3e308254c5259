# SPDX-License-Identifier: GPL-2.0-only
"""Does the kernel's own test of kgdb pass?

Claim: it fails in about one run of three under KVM, for a step ends early also where the
interrupt's handler hits a breakpoint. Made by Daniel Thompson in the review of the series.

drivers/misc/kgdbts.c plays gdb from inside the kernel: it sets a breakpoint, continues to
it, removes it, steps once and asks only whether the PC has changed. So a step that ends in
an interrupt's entry is good enough for it, and `step-in-order` sees what it does not.

Measured: that it gets to its end (there is no line that says passed), and without complaint.

Refuted by a complaint of kgdbts or of the kernel (`splat`), or by no end (`hang`).
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
    """What kgdbts is told to do."""

    name: str


TESTS = (
    Test("V1"),  # plant and detach, a breakpoint, a bad read, a thousand single steps
    Test("V1I1S1000"),  # a thousand breakpoints on do_sys_openat2(); one step before
    Test("V1I1F100"),  # a hundred on kernel_clone(); likewise
    Test("V1I"),  # as V1 without single steps
)
# The tests of breakpoints go on in the background; what opens and forks meanwhile hits them.
ITS_END = "dmesg | grep -q 'Unregistered I/O driver kgdbts'"
RUN = (
    "dmesg -c > /dev/null; echo {name} > /sys/module/kgdbts/parameters/kgdbts && "
    f"until {ITS_END}; do for i in $(seq 50); do : < /dev/null; done; done"
)


@session(claim="The kernel's own test of kgdb passes.", cases=TESTS, area="kdb and gdb")
def kgdbts(target: Target, test: Test) -> None:
    """Run kgdbts to its end; its splats are seen on the console."""
    with target.without_kgdboc():
        target.run(RUN.format(name=test.name), LONG)
