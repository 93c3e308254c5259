# SPDX-License-Identifier: GPL-2.0-only
"""The one truth about a run: ``results.json``, from which every report is drawn.

The file's form is schema 1, in ``results.schema.json`` beside this module.
"""

from __future__ import annotations

import functools
import json
import time
from collections import defaultdict
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

import jsonschema

from kstep.base.errors import MachineryError, RequestError
from kstep.base.outcome import Outcome, Signature
from kstep.results.cell import Cell
from kstep.results.transcript import tail
from kstep.results.verdict import BASE, verdict

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

SCHEMA = 1
FILE = "results.json"

_MESSAGE = 160  # characters of a validator's message


@dataclass(frozen=True)
class RunRecord:
    """When, how and where; ``started`` is ISO 8601 with its zone, ``seconds`` are so far."""

    id: str
    started: str
    seconds: float
    argv: tuple[str, ...]
    kstep_version: str
    host: Mapping[str, object]


@dataclass(frozen=True)
class ToolchainRecord:
    """What built and booted the kernels; no ``image_digest`` where kind is ``host``."""

    kind: str
    image_digest: str | None
    gcc: str
    qemu: str
    gdb: str


@dataclass(frozen=True)
class TreeRecord:
    """A kernel source; ``sha256`` is None where there is no one file to take it of."""

    id: str
    version: str
    sha256: str | None


@dataclass(frozen=True)
class PatchRecord:
    """One patch of the series and what became of it in one kernel.

    ``action`` is ``applied``, ``reverted``, ``present`` or ``absent``; ``port`` is the file
    that counted, where that was one of the patch's ports.
    """

    id: str
    sha256: str
    action: str
    port: str | None = None


@dataclass(frozen=True)
class KernelRecord:
    """One built variant; ``same_as`` names the variant whose image is identical, if any."""

    tree: str
    kconfig: str
    variant: str
    image_sha256: str
    vmlinux_sha256: str
    config_sha256: str
    patches: tuple[PatchRecord, ...]
    cached: bool
    same_as: str | None
    build_seconds: float
    objects_compiled: int

    @classmethod
    def from_json(cls, item: Mapping[str, Any]) -> KernelRecord:
        """Read a kernel from a valid results.json."""
        return cls(**{**item, "patches": tuple(PatchRecord(**each) for each in item["patches"])})


@dataclass(frozen=True)
class SessionRecord:
    """A session of the run: what it claims, its script's docstring, and where it is written.

    ``file`` is relative to kstep's folder; ``line`` is that of the session's decorator.
    """

    name: str
    claim: str
    text: str
    file: str
    line: int


@dataclass(frozen=True)
class Expected:
    """What ``expect.yaml`` predicts of a cell."""

    outcome: Outcome
    signature: Signature | None


@dataclass(frozen=True)
class CellRecord:
    """What one cell came to.

    ``held`` marks a cell of a series that nobody described: it is held against ``none``,
    and ``base`` is what ``none`` came to there (``fail`` if any repeat failed), as far as
    the record knows.
    ``files`` are paths relative to the run's folder: ``console_log`` and ``trace``, and
    ``lines``, the source lines of the trace's addresses; ``qemu``, a script that boots the
    cell's machine by hand; and ``session``, the script, as the reader of a report finds it in
    the source.
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

    @property
    def matched(self) -> bool:
        """As predicted; without a prediction, passed, or no worse than ``none`` where held.

        Where no signature is predicted for a failure, it varies.
        """
        if self.expected is None:
            as_none = self.outcome is self.base is Outcome.FAIL
            return self.outcome is Outcome.PASS or as_none
        wanted = self.expected.signature
        return self.outcome is self.expected.outcome and wanted in (None, self.signature)

    @property
    def seen(self) -> str:
        """What it came to in one word: the signature, or ``pass``."""
        return self.signature or self.outcome

    @property
    def wanted(self) -> str:
        """What was predicted in one word; without a prediction, ``pass``."""
        if self.expected is None:
            return Outcome.PASS
        return self.expected.signature or self.expected.outcome

    def to_json(self) -> dict[str, Any]:
        """Write the cell as it stands in results.json."""
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
        }

    @classmethod
    def from_json(cls, item: Mapping[str, Any]) -> CellRecord:
        """Read a cell from a valid results.json; ``matched`` is derived anew."""
        keys = ("tree", "kconfig", "variant", "session", "case", "repeat")
        rest = ("message", "seconds", "boot_seconds", "metrics", "files")
        return cls(
            cell=Cell(**{key: item[key] for key in keys}),
            outcome=Outcome(item["outcome"]),
            signature=_signature(item["signature"]),
            expected=item["expected"]
            and Expected(
                Outcome(item["expected"]["outcome"]), _signature(item["expected"]["signature"])
            ),
            **{key: item[key] for key in rest},
            held="held_against" in item,
        )


@dataclass(frozen=True)
class LeftOut:
    """What is not in the run: a variant, or of a variant what ``why`` names."""

    tree: str
    variant: str
    why: str


class Record:
    """The results of one run, kept in the folder ``folder``.

    Every ``add`` writes the file anew beside the old one and renames it into place, so that
    it is valid at every moment and no finished cell is lost when kstep is killed. (It is not
    synced to the disk: a power cut is another matter.) Threads may share a record.
    """

    def __init__(
        self,
        folder: Path,
        run: RunRecord,
        toolchain: ToolchainRecord,
        *,
        trees: Iterable[TreeRecord] = (),
        kernels: Iterable[KernelRecord] = (),
        sessions: Iterable[SessionRecord] = (),
        left_out: Iterable[LeftOut] = (),
        cells: Iterable[CellRecord] = (),
    ) -> None:
        self.folder = folder
        self.run = run
        self.toolchain = toolchain
        self.sessions = {each.name: each for each in sessions}
        self.left_out = tuple(left_out)
        self._opened = time.monotonic() - run.seconds
        self._lock = Lock()
        self._trees = {tree.id: tree for tree in trees}
        self._kernels = {(each.tree, each.kconfig, each.variant): each for each in kernels}
        self._bases: dict[tuple[str | None, ...], dict[Cell, Outcome]] = defaultdict(dict)
        found = list(cells)
        for record in found:
            self._learn(record)
        self._cells = {record.cell: self._based(record) for record in found}
        # Each cell's JSON: made once, written often.
        self._lines = {cell: _line(record) for cell, record in self._cells.items()}

    @property
    def trees(self) -> list[TreeRecord]:
        """In the order in which they were added."""
        return list(self._trees.values())

    @property
    def kernels(self) -> list[KernelRecord]:
        """In the order in which they were added."""
        return list(self._kernels.values())

    @property
    def cells(self) -> list[CellRecord]:
        """In the order in which they finished."""
        return list(self._cells.values())

    def add_tree(self, tree: TreeRecord) -> None:
        """Keep ``tree`` and write; one with the same id takes the place of the former."""
        with self._lock:
            self._trees[tree.id] = tree
            self._write()

    def add_kernel(self, kernel: KernelRecord) -> None:
        """Keep ``kernel`` and write; the same variant takes the place of the former."""
        with self._lock:
            self._kernels[kernel.tree, kernel.kconfig, kernel.variant] = kernel
            self._write()

    def add(self, record: CellRecord) -> None:
        """Keep the result of a cell and write; the same cell takes the place of the former.

        Raises ValueError or TypeError where ``metrics`` hold what JSON cannot, and
        MachineryError where the file cannot be written; the old file stays then.
        """
        with self._lock:
            _line(record)  # what cannot be written is not kept
            self._learn(record)
            again = [record]
            if record.cell.variant == BASE:
                place = _place(record.cell)
                others = (each for cell, each in self._cells.items() if cell != record.cell)
                again += [each for each in others if _place(each.cell) == place]
            for each in map(self._based, again):
                self._cells[each.cell] = each
                self._lines[each.cell] = _line(each)
            self._write()

    def _learn(self, record: CellRecord) -> None:
        """Keep what ``none`` came to: it is the measure of cells that are held against it."""
        if record.cell.variant == BASE:
            self._bases[_place(record.cell)][record.cell] = record.outcome

    def _based(self, record: CellRecord) -> CellRecord:
        """Tell a cell that is held against ``none`` what that came to."""
        seen = {*self._bases[_place(record.cell)].values()} - {Outcome.ERROR}
        base = Outcome.FAIL if Outcome.FAIL in seen else next(iter(seen), None)
        return replace(record, base=base) if record.held else record

    def write(self) -> None:
        """Write, with ``seconds`` up to now: at the beginning of a run, and at its end."""
        with self._lock:
            self._write()

    def path(self, record: CellRecord, name: str) -> Path | None:
        """Return where a file of a cell is; None where it is not there.

        results.json may be somebody else's: its names do not lead out of the run.
        """
        try:
            path = (self.folder / record.files.get(name, "")).resolve()
            inside = path.is_relative_to(self.folder.resolve()) and path.is_file()
        except (OSError, ValueError):
            return None
        return path if inside else None

    def tail(self, record: CellRecord, lines: int = 40) -> list[str]:
        """Read the last lines of a cell's console; none where there is no log."""
        path = self.path(record, "console_log")
        return [] if path is None else tail(path, lines)

    def _write(self) -> None:
        self.run = replace(self.run, seconds=round(time.monotonic() - self._opened, 3))
        parts = {
            "schema": str(SCHEMA),
            "run": json.dumps(asdict(self.run)),
            "toolchain": json.dumps(asdict(self.toolchain)),
            "trees": _array(json.dumps(asdict(tree)) for tree in self._trees.values()),
            "kernels": _array(json.dumps(asdict(kernel)) for kernel in self._kernels.values()),
            "sessions": _array(json.dumps(asdict(each)) for each in self.sessions.values()),
            "cells": _array(self._lines.values()),
            "verdict": json.dumps(verdict(self._cells.values())),
        }
        if self.left_out:
            parts["left_out"] = _array(json.dumps(asdict(each)) for each in self.left_out)
        text = "{" + ",\n".join(f'"{key}": {value}' for key, value in parts.items()) + "}\n"
        path = self.folder / FILE
        part = path.with_name(FILE + ".part")
        try:
            part.write_text(text, "utf-8")
            part.replace(path)
        except OSError as error:
            part.unlink(missing_ok=True)
            raise MachineryError(f"{path}: cannot be written: {error.strerror}") from error


def load(path: Path) -> Record:
    """Read a run again, from its folder or its results.json; nothing is written.

    Raises RequestError where that is not a results.json of schema 1.
    """
    file = path / FILE if path.is_dir() else path
    mend = "name a run's folder, as ./inv verify wrote it"
    try:
        data = json.loads(file.read_text("utf-8"))
    except OSError as error:
        raise RequestError(f"cannot be read ({error.strerror}): {mend}", file) from error
    except json.JSONDecodeError as error:
        raise RequestError(f"not JSON ({error.msg}): {mend}", file, error.lineno) from error
    except (ValueError, RecursionError) as error:
        raise RequestError(f"not JSON: {mend}", file) from error
    # What else may be wrong in a file of another schema is of no interest.
    number = data.get("schema") if isinstance(data, dict) else None
    if isinstance(number, int) and number != SCHEMA:
        raise RequestError(f"schema {number}, not {SCHEMA}: use the kstep that wrote it", file)
    fault = jsonschema.exceptions.best_match(_validator().iter_errors(data))
    if fault is not None:
        what = " ".join(f"{fault.json_path}: {fault.message}".split())
        what = what if len(what) <= _MESSAGE else what[:_MESSAGE] + "..."
        raise RequestError(f"not results of schema {SCHEMA} ({what}): {mend}", file)

    run = {**data["run"], "argv": tuple(data["run"]["argv"])}
    return Record(
        file.parent,
        RunRecord(**run),
        ToolchainRecord(**data["toolchain"]),
        trees=(TreeRecord(**item) for item in data["trees"]),
        kernels=map(KernelRecord.from_json, data["kernels"]),
        sessions=(SessionRecord(**item) for item in data.get("sessions", [])),
        left_out=(LeftOut(**item) for item in data.get("left_out", [])),
        cells=map(CellRecord.from_json, data["cells"]),
    )


def _place(cell: Cell) -> tuple[str | None, ...]:
    """What a cell has in common with that of ``none``."""
    return cell.tree, cell.kconfig, cell.session, cell.case


def _line(record: CellRecord) -> str:
    return json.dumps(record.to_json(), allow_nan=False)


def _signature(word: str | None) -> Signature | None:
    return None if word is None else Signature(word)


@functools.cache
def _validator() -> jsonschema.Draft202012Validator:
    schema = Path(__file__).with_name("results.schema.json")
    return jsonschema.Draft202012Validator(json.loads(schema.read_text("utf-8")))


def _array(items: Iterable[str]) -> str:
    """Join texts that are JSON to an array, one a line, so that files can be compared."""
    return "[" + ",".join(f"\n  {item}" for item in items) + "]"
