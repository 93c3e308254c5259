# SPDX-License-Identifier: GPL-2.0-only
"""The unit of result, by which everything about a run is looked up, and its result."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Self

from kstep.base.outcome import Outcome, Signature
from kstep.results.setup import COMPILER, Setup

if TYPE_CHECKING:
    from collections.abc import Mapping

BASE = "none"  # the variant that the others are compared with


@dataclass(frozen=True, order=True, slots=True)
class Cell:
    """The unit of result: one session, over one case, on one kernel, once.

    ``repeat`` counts from 1; ``case`` is None if a session has no cases. ``suite`` is empty if
    none was asked for.
    """

    tree: str
    kconfig: str
    variant: str
    session: str
    case: str | None
    repeat: int
    compiler: str = COMPILER
    suite: str = ""

    @property
    def setup(self) -> Setup:
        """What its kernel is built from and with."""
        return Setup(self.tree, self.kconfig, self.compiler, self.suite)

    @property
    def column(self) -> str:
        """The key of the verdict: the setup and the variant."""
        return f"{self.setup.name}/{self.variant}"

    @property
    def name(self) -> str:
        """The session, with the case in brackets if there is one."""
        return cell_name(self.session, self.case)


@dataclass(frozen=True)
class Expected:
    """What ``expect.yaml`` predicts of a cell."""

    outcome: Outcome
    signature: Signature | None


@dataclass(frozen=True)
class Try:
    """A try of a cell that ended without a verdict, after which the cell was run again."""

    outcome: Outcome
    signature: Signature | None
    message: str
    seconds: float
    boot_seconds: float
    files: Mapping[str, str]

    def to_json(self) -> dict[str, Any]:
        """Return the try in the form of results.json."""
        return {**asdict(self), "files": dict(self.files)}

    @classmethod
    def from_json(cls, item: Mapping[str, Any]) -> Self:
        """Read a try from a valid results.json."""
        known = {
            "outcome": Outcome(item["outcome"]),
            "signature": _signature(item["signature"]),
        }
        return cls(**{**item, **known})


def cell_name(session: str, case: str | None) -> str:
    """Return the name of a test: the session, with the case in brackets if there is one."""
    return session if case is None else f"{session}[{case}]"


@dataclass(frozen=True)
class CellRecord:
    """The result of one cell.

    ``held`` marks a cell without expectations: it is compared with ``none``, and ``base`` is
    the outcome of ``none`` there (``fail`` if any repeat failed), as far as the record knows.
    ``died_at_boot``: the kernel failed before it was up, so nothing else is known about it;
    ``base_died_at_boot``: so did the kernel of ``none``.
    ``earlier`` are tries that a fault of the machinery ended.
    ``files`` are paths relative to the run's folder: ``console_log`` and ``trace``, and
    ``lines``, the source lines of the trace's addresses; ``qemu``, a script that boots the
    cell's machine by hand; and ``session``, the path of the script
    in the source.
    """

    cell: Cell
    outcome: Outcome
    signature: Signature | None
    expected: Expected | None
    message: str
    seconds: float
    boot_seconds: float
    metrics: Mapping[str, object]
    files: Mapping[str, str]
    held: bool = False
    base: Outcome | None = None
    died_at_boot: bool = False
    base_died_at_boot: bool = False
    earlier: tuple[Try, ...] = ()

    @property
    def matched(self) -> bool:
        """As predicted; without a prediction, passed, or no worse than ``none`` if ``held``.

        If no signature is predicted for a failure, any will do. A kernel that dies at boot is
        worse than one that fails in another way.
        """
        if self.expected is None:
            as_none = self.outcome is self.base is Outcome.FAIL
            worse = self.died_at_boot and not self.base_died_at_boot
            return self.outcome is Outcome.PASS or (as_none and not worse)
        wanted = self.expected.signature
        return self.outcome is self.expected.outcome and wanted in (None, self.signature)

    @property
    def seen(self) -> str:
        """The result in one word: the signature, or ``pass``."""
        return self.signature or self.outcome

    @property
    def wanted(self) -> str:
        """What was predicted in one word; without a prediction, ``pass``."""
        if self.expected is None:
            return Outcome.PASS
        return self.expected.signature or self.expected.outcome

    def to_json(self) -> dict[str, Any]:
        """Return the cell in the form of results.json."""
        return {
            **asdict(self.cell),
            "outcome": self.outcome,
            "signature": self.signature,
            "expected": None if self.expected is None else asdict(self.expected),
            "matched": self.matched,
            **({"held_against": BASE} if self.held else {}),
            "message": self.message,
            "seconds": self.seconds,
            "boot_seconds": self.boot_seconds,
            "metrics": dict(self.metrics),
            "files": dict(self.files),
            **({"died_at_boot": True} if self.died_at_boot else {}),
            **({"earlier": [each.to_json() for each in self.earlier]} if self.earlier else {}),
        }

    @classmethod
    def from_json(cls, item: Mapping[str, Any]) -> CellRecord:
        """Read a cell from a valid results.json; ``matched`` is derived anew."""
        keys = ("tree", "kconfig", "variant", "session", "case", "repeat")
        rest = ("message", "seconds", "boot_seconds", "metrics", "files")
        return cls(
            cell=Cell(
                **{key: item[key] for key in keys},
                compiler=item.get("compiler", COMPILER),
                suite=item.get("suite", ""),
            ),
            outcome=Outcome(item["outcome"]),
            signature=_signature(item["signature"]),
            expected=item["expected"]
            and Expected(
                Outcome(item["expected"]["outcome"]), _signature(item["expected"]["signature"])
            ),
            **{key: item[key] for key in rest},
            held="held_against" in item,
            died_at_boot="died_at_boot" in item,
            earlier=tuple(map(Try.from_json, item.get("earlier", []))),
        )


def _signature(word: str | None) -> Signature | None:
    return None if word is None else Signature(word)
