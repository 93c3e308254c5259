# SPDX-License-Identifier: GPL-2.0-only
"""reply.txt: the mail that answers a patch mail, in plain text, 72 columns wide.

First what each variant fixes, then what it breaks, with what was seen. There is a Tested-by line
only if something was measured and nothing regressed; the sender fills in the name.
"""

from __future__ import annotations

import io
import textwrap
from typing import TYPE_CHECKING

from rich.console import Console

from kstep.base.outcome import Outcome
from kstep.report import command
from kstep.report.effect import count_tests, effects
from kstep.report.story import remarks
from kstep.report.table import legend, tables
from kstep.results.cell import BASE
from kstep.results.printable import printable
from kstep.results.verdict import verdict

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kstep.report.effect import Effect, Share
    from kstep.results.cell import CellRecord
    from kstep.results.provenance import KernelRecord
    from kstep.results.record import Record

WIDTH = 72
SHORT = 12  # characters of a hash
FEW = 6  # tests of an area whose results are described
TESTED_BY = "Tested-by: YOUR NAME <YOUR@ADDRESS>"


def reply(record: Record) -> str:
    """Return reply.txt, to write in UTF-8."""
    parts = [
        *_effects(record),
        _left(record),
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


def _effects(record: Record) -> list[list[str]]:
    """Describe the effect of each variant, or why it is unknown."""
    found = effects(record)
    if all(effect.alone for effect in found):
        return [
            prose(
                "Nothing can be said about regressions: the kernel without the series"
                f' ("{BASE}") was not run beside another.'
            )
        ]
    start = "Compared with the same kernel without the series:"
    return [prose(start), *(_effect(record, effect) for effect in found)]


def _effect(record: Record, effect: Effect) -> list[str]:
    lines = prose(f"{effect.label}:")
    for said, shares in ((effect.fixed, effect.fixes), (effect.broken, effect.breaks)):
        lines += prose(f"{said}{':' if shares else ''}", "  ", "  ")
        for share in shares:
            lines += prose(share.short, "  - ", "    ")
            lines += _seen(record, effect, share) if shares is effect.breaks else []
    for said in (effect.rest, *effect.rates):
        lines += prose(said, "  ", "  ")
    return lines


def _seen(record: Record, effect: Effect, share: Share) -> Iterator[str]:
    """Describe the tests that a variant breaks, by the first repeat that failed."""
    failed: dict[str, CellRecord] = {}
    for each in sorted(record.cells, key=lambda each: each.cell.repeat):
        if each.cell.column == effect.column and each.outcome is Outcome.FAIL:
            failed.setdefault(each.cell.name, each)
    for name in share.names[:FEW]:
        yield from prose(f"{name}: {failed[name].seen}: {failed[name].message}", "    ", "      ")
    if more := share.names[FEW:]:
        yield from prose(f"and {len(more)} more: {', '.join(more)}", "    ", "      ")


def _left(record: Record) -> list[str]:
    """Describe what has no verdict, what was compared with what, and what was skipped."""
    lines = []
    errors = sum(each.outcome is Outcome.ERROR for each in record.cells)
    if errors:
        lines += prose(
            f"{errors} of {count_tests(len(record.cells))} have no verdict: the machinery failed,"
            " not the kernel."
        )
    return lines + [line for said in remarks(record) for line in prose(said, "", "    ")]


def _table(record: Record) -> list[str]:
    out = io.StringIO()
    console = Console(file=out, width=WIDTH, color_system=None, force_terminal=False)
    console.print(tables(record, WIDTH))
    drawn = [line.rstrip() for line in out.getvalue().replace("─", "-").splitlines()]
    return [*drawn, *prose(legend(record))] if record.cells else []


def _subject(record: Record) -> list[str]:
    lines = ["What was tested:"]
    for tree in record.trees:
        hashed = f", sha256 {tree.sha256[:SHORT]}" if tree.sha256 else ""
        lines += prose(f"{tree.id}: {tree.version}{hashed}", "  ", "    ")
    for kernel in record.kernels:
        lines += prose(_kernel(kernel), "  ", "    ")
    accel = record.run.host.get("accel")
    how = ", TCG: no hardware and no KVM was tried" if accel == "tcg" else f", {accel}"
    if host := record.run.host.get("emulated_host"):
        how += f" on an emulated host: {host}"
    for said in dict.fromkeys(each.gcc for each in record.toolchains):
        lines += prose(f"compiler: {said}", "  ", "    ")
    for said in dict.fromkeys(each.qemu for each in record.toolchains):
        lines += prose(f"machine: {said}{how if accel else ''}", "  ", "    ")
    return lines


def _kernel(kernel: KernelRecord) -> str:
    patches = ", ".join(f"{patch.id} {patch.action}" for patch in kernel.patches)
    return (
        f"{kernel.column}: {patches or 'no patches'};"
        f" config {kernel.config_sha256[:SHORT]}, image {kernel.image_sha256[:SHORT]}"
    )


def _repeat(record: Record) -> list[str]:
    return [
        f"To repeat it, with kstep {printable(record.run.kstep_version)}:",
        "",
        *_wrapped(printable(command.whole(record))),
    ]


def _wrapped(words: str) -> list[str]:
    r"""Break a command into lines that end with ``\``, which a shell joins."""
    room = WIDTH - len("  ") - len(" \\")
    lines = textwrap.wrap(words, room, break_long_words=False, break_on_hyphens=False)
    found: list[str] = []
    for number, line in enumerate(lines):
        last = number == len(lines) - 1
        # A word that is too long continues in the first column, because a blank would end it.
        chunks = [line[at : at + room] for at in range(0, len(line), room)]
        found += [
            ("  " if at == 0 else "") + chunk + ("\\" if at < len(chunks) - 1 else "")
            for at, chunk in enumerate(chunks)
        ]
        found[-1] += "" if last else " \\"
    return found


def prose(text: str, first: str = "", then: str = "") -> list[str]:
    """Wrap a text for a mail; ``first`` and ``then`` begin its first line and the others."""
    return textwrap.wrap(
        " ".join(printable(text).split()),
        WIDTH,
        initial_indent=first,
        subsequent_indent=then,
        break_on_hyphens=False,
    )
