# SPDX-License-Identifier: GPL-2.0-only
"""The groups of kdb's commands, and commands that show which groups are allowed.

include/linux/kdb.h defines the groups, and the tables in kernel/debug/kdb/ say which a command
needs.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kstep.session.checks import must, must_be

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kstep.console.kdb import Kdb
    from kstep.session.target import Target

PARAMETER = "/sys/module/kdb/parameters/cmd_enable"
ALL, READ, WRITE, REG_READ, REG_WRITE, INSPECT, FLOW, SIGNAL, REBOOT, SAFE = (
    1 << n for n in range(10)
)
NO = "Permission denied"


@dataclass(frozen=True)
class Probe:
    """A command, and the sets of groups that it needs.

    One group of each set: an address as argument needs READ or FLOW, whatever the command.
    """

    command: str
    needs: tuple[int, ...]

    def is_allowed(self, groups: int) -> bool:
        """Whether kdb should accept it with these groups allowed."""
        return all(groups & need for need in self.needs)


# Commands without an effect if kdb accepts them.
PROBES = (
    *(
        Probe(command, (READ,))
        for command in (
            "md8c1 linux_banner",
            "mdr linux_banner 4",
            "mds linux_banner 1",
            "per_cpu kstat",
            "bt 0x10 1",
            "btt 0x10",
        )
    ),
    Probe("mm8 0x10 0", (WRITE, READ | FLOW)),
    Probe("rd", (REG_READ,)),
    Probe("rm nothing 0", (REG_WRITE,)),
    *(Probe(command, (INSPECT,)) for command in ("ps", "pid", "btp 1")),
    Probe("bt", (INSPECT | READ,)),
    *(Probe(command, (FLOW,)) for command in ("bp", "bl", "bd 5", "be 5", "bc 5", "ss 1")),
    Probe("bp 0x10", (FLOW,)),
    Probe("kill -9 32000", (SIGNAL,)),
    *(
        Probe(command, ())
        for command in (
            "help",
            "env",
            "set KSTEP=1",
            "dmesg 1",
            "summary",
            "grephelp",
            "defcmd",
            "cpu",
            "sr h",
        )
    ),
)
MODULES = (Probe("lsmod", (INSPECT,)),)  # needs CONFIG_MODULES
# Commands with an effect, so they are sent only when kdb must refuse them.
DOERS = (
    Probe("reboot", (REBOOT,)),
    Probe("go 0x10", (REG_WRITE, READ | FLOW)),
    Probe("kgdb", (ALL,)),
    Probe("set PROMPT=x", (READ,)),
    Probe("cpu 0", (ALL,)),
)


def must_keep_to(kdb: Kdb, groups: int, probes: tuple[Probe, ...] = PROBES) -> None:
    """Check that kdb accepts the commands of these groups and no others."""
    for probe in probes:
        why = kdb.refusal(probe.command)
        must(
            (why == NO) != probe.is_allowed(groups),
            f"with groups {groups:#x} kdb answers {probe.command!r} with {why or 'a result'!r}",
        )
    for probe in DOERS:
        if not probe.is_allowed(groups):
            must_be(kdb.refusal(probe.command), NO, f"{probe.command}, groups {groups:#x}")


@contextmanager
def allowed(target: Target, groups: int) -> Iterator[Kdb]:
    """Enter kdb with only these groups of commands allowed."""
    target.run(f"echo {groups} > {PARAMETER}")
    with target.in_kdb() as kdb:
        yield kdb
    target.run(f"echo {ALL} > {PARAMETER}")
    must_be(target.run(f"cat {PARAMETER}").text.strip(), str(ALL), PARAMETER)
