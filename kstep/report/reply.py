# SPDX-License-Identifier: GPL-2.0-only
"""reply.txt: the mail that answers a patch mail, in plain text, 72 columns wide.

Regressions come first. A Tested-by line is there only where something was measured and
nothing regressed; whose it is, the sender fills in.
"""

from __future__ import annotations

import io
import textwrap
from typing import TYPE_CHECKING

from rich.console import Console

from kstep.base.outcome import Outcome
from kstep.report import command
from kstep.report.sentences import sentences
from kstep.report.story import remarks
from kstep.report.table import legend, tables
from kstep.results.cell import BASE
from kstep.results.printable import printable
from kstep.results.verdict import verdict

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kstep.results.provenance import KernelRecord
    from kstep.results.record import Record

WIDTH = 72
SHORT = 12  # characters of a hash
TESTED_BY = "Tested-by: YOUR NAME <YOUR@ADDRESS>"


def reply(record: Record) -> str:
    """Draw reply.txt, to be written in UTF-8."""
    parts = [
        _regressions(record),
        _changes(record),
        _table(record),
        _subject(record),
        _repeat(record),
        [TESTED_BY] if may_sign(record) else [],
    ]
    return "\n\n".join("\n".join(lines) for lines in parts if lines) + "\n"


def may_sign(record: Record) -> bool:
    """Whether a tester may sign: a variant was measured, all have a verdict, none regressed."""
    entries = verdict(record.cells).values()
    judged = all(each.outcome is not Outcome.ERROR for each in record.cells)
    measured = any(entry[kind] for entry in entries for kind in ("fixed", "unchanged"))
    return judged and measured and not any(entry["regressed"] for entry in entries)


def _regressions(record: Record) -> list[str]:
    entries = verdict(record.cells)
    if not entries:
        return _prose(
            f"Nothing can be said about a regression: the kernel without the series"
            f' ("{BASE}") was not measured beside another.'
        )
    lines: list[str] = []
    for column, entry in entries.items():
        if entry["regressed"]:
            lines += _prose(f"{column} breaks what works without the series:")
            lines += [line for name in entry["regressed"] for line in _item(record, column, name)]
    errors = sum(each.outcome is Outcome.ERROR for each in record.cells)
    lines = lines or _prose("Nothing that works without the series is broken by it here.")
    if errors:
        lines += _prose(
            f"{errors} of {len(record.cells)} cells have no verdict: the machinery failed,"
            " not the kernel."
        )
    return lines


def _item(record: Record, column: str, name: str) -> Iterator[str]:
    """Tell one regression, with what was seen in the first repeat that failed."""
    failed = min(
        (
            each
            for each in record.cells
            if (each.cell.column, each.cell.name) == (column, name) and each.outcome is Outcome.FAIL
        ),
        key=lambda each: each.cell.repeat,
    )
    yield from _prose(f"{name}: {failed.seen}: {failed.message}", "  - ", "    ")


def _changes(record: Record) -> list[str]:
    said = (*map(str, sentences(record.cells)), *remarks(record))
    lines = [line for each in said for line in _prose(each, "", "    ")]
    return [*_prose(f'Against "{BASE}", the kernel with every patch of the series out:'), *lines]


def _table(record: Record) -> list[str]:
    out = io.StringIO()
    console = Console(file=out, width=WIDTH, color_system=None, force_terminal=False)
    console.print(tables(record, WIDTH))
    drawn = [line.rstrip() for line in out.getvalue().replace("─", "-").splitlines()]
    return [*drawn, *_prose(legend(record))] if record.cells else []


def _subject(record: Record) -> list[str]:
    toolchain = record.toolchain
    lines = ["What was tested:"]
    for tree in record.trees:
        hashed = f", sha256 {tree.sha256[:SHORT]}" if tree.sha256 else ""
        lines += _prose(f"{tree.id}: {tree.version}{hashed}", "  ", "    ")
    for kernel in record.kernels:
        lines += _prose(_kernel(kernel), "  ", "    ")
    accel = record.run.host.get("accel")
    how = ", TCG: no hardware and no KVM was tried" if accel == "tcg" else f", {accel}"
    lines += _prose(f"compiler: {toolchain.gcc}", "  ", "    ")
    lines += _prose(f"machine: {toolchain.qemu}{how if accel else ''}", "  ", "    ")
    return lines


def _kernel(kernel: KernelRecord) -> str:
    patches = ", ".join(f"{patch.id} {patch.action}" for patch in kernel.patches)
    return (
        f"{kernel.tree}/{kernel.kconfig}/{kernel.variant}: {patches or 'no patches'};"
        f" config {kernel.config_sha256[:SHORT]}, image {kernel.image_sha256[:SHORT]}"
    )


def _repeat(record: Record) -> list[str]:
    return [
        f"To repeat it, with kstep {printable(record.run.kstep_version)}:",
        "",
        *_wrapped(printable(command.whole(record))),
    ]


def _wrapped(words: str) -> list[str]:
    r"""Break a command where a shell reads on: after a ``\`` at the end of a line."""
    room = WIDTH - len("  ") - len(" \\")
    lines = textwrap.wrap(words, room, break_long_words=False, break_on_hyphens=False)
    found: list[str] = []
    for number, line in enumerate(lines):
        last = number == len(lines) - 1
        # A word that is too long goes on in the first column, for a blank would end it.
        chunks = [line[at : at + room] for at in range(0, len(line), room)]
        found += [
            ("  " if at == 0 else "") + chunk + ("\\" if at < len(chunks) - 1 else "")
            for at, chunk in enumerate(chunks)
        ]
        found[-1] += "" if last else " \\"
    return found


def _prose(text: str, first: str = "", then: str = "") -> list[str]:
    return textwrap.wrap(
        " ".join(printable(text).split()),
        WIDTH,
        initial_indent=first,
        subsequent_indent=then,
        break_on_hyphens=False,
    )
