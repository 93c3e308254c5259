# SPDX-License-Identifier: GPL-2.0-only
"""Cells and records of runs that never were, for the tests of results and of reports."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, Any

from kstep.base.outcome import Outcome, Signature
from kstep.results.cell import Cell, CellRecord, Expected
from kstep.results.provenance import (
    KernelRecord,
    PatchRecord,
    RunRecord,
    SessionRecord,
    ToolchainRecord,
    TreeRecord,
)
from kstep.results.record import Record
from kstep.results.request import Asked

if TYPE_CHECKING:
    from pathlib import Path

ASKED = Asked(
    folder=".",
    series=("v5", "v6"),
    trees=("debian:6.1",),
    kconfigs={"base": "base"},
    matrix="each",
    variants=(),
    sessions=(),
    repeat=1,
    jobs=0,
    toolchain="auto",
    accel="auto",
    machine="",
    reset="",
)
SIGNATURES = {"pass": None, "fail": Signature.STUCK, "error": Signature.NO_BOOT}


def a_cell(
    variant: str = "none",
    name: str = "step-in-order[up_read]",
    seen: str = "pass",
    wanted: str | None = None,
    *,
    repeat: int = 1,
    message: str = "",
    **more: Any,  # noqa: ANN401 -- whatever field of a cell or its record a test is about
) -> CellRecord:
    """Make a cell's record; ``seen`` and ``wanted`` are an outcome, or a signature of a fault."""
    session, bracket, case = name.partition("[")
    place = {key: more.pop(key, default) for key, default in PLACE.items()}
    outcome, signature = judged(seen)
    return CellRecord(
        Cell(
            **place,
            variant=variant,
            session=session,
            case=case.removesuffix("]") if bracket else None,
            repeat=repeat,
        ),
        outcome,
        signature,
        None if wanted is None else Expected(*judged(wanted)),
        message,
        **{"seconds": 1.5, "boot_seconds": 4.0, "metrics": {}, "files": {}, **more},
    )


PLACE = {"tree": "debian:6.1", "kconfig": "base", "compiler": "gcc", "suite": ""}


def judged(word: str) -> tuple[Outcome, Signature | None]:
    """Tell the outcome that goes with a word: ``pass``, ``fail``, ``error`` or a signature."""
    if word in SIGNATURES:
        return Outcome(word), SIGNATURES[word]
    errors = {"no-boot", "console-lost", "machine-died", "infrastructure"}
    return Outcome.ERROR if word in errors else Outcome.FAIL, Signature(word)


def a_record(path: Path, *cells: CellRecord) -> Record:
    """Make a record that is nowhere written yet."""
    return Record(
        path,
        RunRecord("r1", "2026-03-01T10:00:00+00:00", 0.0, ("verify",), "0.1.0", {"cores": 2}),
        ToolchainRecord("docker", "sha256:d1", "gcc 12.2.0", "qemu 7.2.9", "gdb 13.1"),
        request=ASKED,
        trees=[TreeRecord("debian:6.1", "6.1.192", "7e" * 32)],
        kernels=[
            KernelRecord(
                "debian:6.1",
                "base",
                "v5/1",
                image_sha256="1a" * 32,
                vmlinux_sha256="2b" * 32,
                config_sha256="3c" * 32,
                patches=(
                    PatchRecord("v5/1", "4d" * 32, "applied"),
                    PatchRecord("v5/2", "5e" * 32, "reverted"),
                ),
                cached=False,
                same_as=None,
                build_seconds=61.0,
                objects_compiled=17,
            )
        ],
        sessions=[
            SessionRecord(
                "step-in-order",
                "A step goes to the next instruction.",
                "Does it?\n\nClaim: so.",
                "tests/sessions/step_in_order.py",
                34,
            )
        ],
        cells=cells,
    )


def read_back(path: Path) -> list[tuple[float, str, bytes]]:
    """Read a transcript as anybody could who knows Python's escapes."""
    rows = [line.split(" ", 2) for line in path.read_text("ascii").splitlines()]
    return [(float(t), d, ast.literal_eval(text).encode("latin-1")) for t, d, text in rows]
