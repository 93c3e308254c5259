# SPDX-License-Identifier: GPL-2.0-only
"""The expected result of each cell: the rules of the expect.yaml beside each series."""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kstep.base import document
from kstep.base.document import nearest
from kstep.base.errors import RequestError
from kstep.base.outcome import Outcome, Signature
from kstep.results.cell import Expected
from kstep.source.variant import parse
from kstep.source.version import Span

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kstep.base.document import Document
    from kstep.results.cell import Cell
    from kstep.session.session import Session
    from kstep.source.series import Series
    from kstep.toolchain.accel import Accel

FILE = "expect.yaml"
ALL = "all"  # in place of a list of sessions: all of kstep's
VARIES = "varies"  # in place of a signature: the cell fails in different ways
ERRORS = (
    Signature.NO_BOOT,
    Signature.CONSOLE_LOST,
    Signature.MACHINE_DIED,
    Signature.INFRASTRUCTURE,
)


@dataclass(frozen=True)
class Rule:
    """What to expect of the cells that are in all of the lists; an absent list has everything.

    ``suites`` are those of the tools, asked for or not; ``accels`` the accelerators of the run.
    """

    where: Mapping[str, frozenset[str]]  # by the field of a cell
    versions: Span | None  # of the tree
    expected: Expected
    path: Path
    line: int
    suites: frozenset[str] | None = None
    accels: frozenset[str] | None = None

    def holds(self, cell: Cell, version: str | None, suite: str, accel: Accel | None) -> bool:
        """Whether the rule applies to ``cell``, whose tree is of ``version``, run by ``accel``.

        ``suite`` is that of the toolchain's tools. A rule for some versions, suites or
        accelerators does not apply if they are unknown.
        """
        if self.versions and not (version and self.versions.holds(version)):
            return False
        if self.suites is not None and (cell.suite or suite) not in self.suites:
            return False
        if self.accels is not None and accel not in self.accels:
            return False
        return all(getattr(cell, field) in names for field, names in self.where.items())


@dataclass(frozen=True)
class Expectations:
    """The rules of every series of a run, file by file."""

    files: tuple[tuple[Rule, ...], ...]

    def of(
        self, cell: Cell, version: str | None, suite: str = "", accel: Accel | None = None
    ) -> Expected | None:
        """Return what is expected of a cell whose tree is of ``version``, such as "6.1.192".

        In each file the last rule that applies wins. ``version`` and ``accel`` are None, and
        ``suite`` (of the toolchain's tools) is empty, if they are not known yet.

        Raises RequestError if two files contradict each other, as they may about ``none``.
        """
        found: list[Rule] = []
        for rules in self.files:
            found += [rule for rule in rules if rule.holds(cell, version, suite, accel)][-1:]
        for other in found[1:]:
            if other.expected != found[0].expected:
                raise RequestError(
                    f"{cell.variant}, {cell.name}: expected outcome differs from"
                    f" {found[0].path}:{found[0].line}; make them agree",
                    other.path,
                    other.line,
                )
        return found[0].expected if found else None


def describes(series: Series) -> bool:
    """Whether the series has an expect.yaml."""
    return series.folder is not None and (series.folder / FILE).exists()


def load(series_list: Sequence[Series], sessions: Mapping[str, Session]) -> Expectations:
    """Read the expect.yaml of each series that has one.

    Raises RequestError, with the line, for a name that does not exist.
    """
    return Expectations(
        tuple(_rules(series, sessions) for series in series_list if describes(series))
    )


@functools.cache
def _schema() -> dict[str, Any]:
    text = Path(__file__).with_name("expect.schema.json").read_text("utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema


FIELDS = {
    "variants": "variant",
    "sessions": "session",
    "cases": "case",
    "trees": "tree",
    "kconfigs": "kconfig",
    "compilers": "compiler",
}


def _is_variant(name: str, series: Series) -> bool:
    """Whether the series has such a variant; v6/2+1, for example, would never apply."""
    try:
        return parse(name, [series]).name == name
    except RequestError:
        return False


def _rules(series: Series, sessions: Mapping[str, Session]) -> tuple[Rule, ...]:
    assert series.folder is not None  # noqa: S101 -- load() asked
    doc = document.load(series.folder / FILE, _schema())
    rules = []
    for number, item in enumerate(doc.value["rules"]):
        ours = [name for name, each in sessions.items() if not each.own]
        named = ours if item["sessions"] == ALL else item["sessions"]
        for index, name in enumerate(named):
            if name not in sessions:
                mend = f"write sessions: {ALL}" if name == ALL else nearest(name, sessions)
                raise doc.fault(
                    f'session "{name}" does not exist; {mend}', "rules", number, "sessions", index
                )
        cases = {case.name for name in named for case in sessions[name].cases}
        for index, name in enumerate(item.get("cases", [])):
            if name not in cases:
                raise doc.fault(
                    f'case "{name}" does not exist; {nearest(name, cases)}',
                    "rules",
                    number,
                    "cases",
                    index,
                )
        for index, name in enumerate(item["variants"]):
            if not _is_variant(name, series):
                raise doc.fault(
                    f'variant "{name}" does not exist in series {series.name};'
                    f" write none, or {series.name}/ and patch numbers in order, joined by +",
                    "rules",
                    number,
                    "variants",
                    index,
                )
        versions = item.get("versions")
        span = Span.parse(versions) if versions else None
        if versions and span is None:
            raise doc.fault(
                f'versions "{versions}"; write from 6.12, up to 6.1, or from 5.10 up to 6.1',
                "rules",
                number,
                "versions",
            )
        rules.append(
            Rule(
                where={
                    field: frozenset(named if key == "sessions" else item[key])
                    for key, field in FIELDS.items()
                    if key in item
                },
                versions=span,
                expected=_expected(doc, number, item),
                path=doc.path,
                line=doc.line_of("rules", number),
                suites=_names(item, "suites"),
                accels=_names(item, "accels"),
            )
        )
    return tuple(rules)


def _names(item: Mapping[str, Any], key: str) -> frozenset[str] | None:
    return frozenset(item[key]) if key in item else None


def _expected(doc: Document, number: int, item: Mapping[str, str]) -> Expected:
    """Read what a rule expects, the ``number``-th of its file."""
    outcome, signature = Outcome(item["outcome"]), item.get("signature")
    if signature is None or (signature == VARIES and outcome is Outcome.FAIL):
        return Expected(outcome, None)
    if outcome is Outcome.PASS:
        raise doc.fault(
            "a cell that passes has no signature; remove it", "rules", number, "signature"
        )
    kernel = [str(word) for word in Signature if word not in ERRORS]
    if signature not in kernel:
        raise doc.fault(
            f'signature "{signature}" is not one of a kernel\'s; {nearest(signature, kernel)}',
            "rules",
            number,
            "signature",
        )
    return Expected(outcome, Signature(signature))
