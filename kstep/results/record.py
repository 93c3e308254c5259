# SPDX-License-Identifier: GPL-2.0-only
"""The one truth about a run: ``results.json``, from which every report is drawn.

The file's form is schema 1, in ``results.schema.json`` beside this module.
"""

from __future__ import annotations

import functools
import json
import time
from collections import defaultdict
from dataclasses import asdict, replace
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

import jsonschema

from kstep.base.errors import MachineryError, RequestError
from kstep.base.outcome import Outcome
from kstep.results.cell import BASE, CellRecord
from kstep.results.provenance import (
    KernelRecord,
    LeftOut,
    RunRecord,
    SessionRecord,
    ToolchainRecord,
    TreeRecord,
)
from kstep.results.request import Asked
from kstep.results.transcript import tail
from kstep.results.verdict import verdict

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kstep.results.cell import Cell

SCHEMA = 1
FILE = "results.json"

_MESSAGE = 160  # characters of a validator's message


class Record:
    """The results of one run, kept in the folder ``folder``.

    Every ``add`` writes the file anew beside the old one and renames it into place, so that
    it is valid at every moment and no finished cell is lost when kstep is killed. (It is not
    synced to the disk: a power cut is another matter.) Threads may share a record.
    ``request`` is None where several were merged, and in runs of before it was kept.
    """

    def __init__(
        self,
        folder: Path,
        run: RunRecord,
        toolchain: ToolchainRecord,
        *,
        request: Asked | None = None,
        trees: Iterable[TreeRecord] = (),
        kernels: Iterable[KernelRecord] = (),
        sessions: Iterable[SessionRecord] = (),
        left_out: Iterable[LeftOut] = (),
        cells: Iterable[CellRecord] = (),
    ) -> None:
        self.folder = folder
        self.run = run
        self.toolchain = toolchain
        self.request = request
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
                again += [each for each in others if each.held and _place(each.cell) == place]
            for each in map(self._based, again):
                if self._cells.get(each.cell) != each:
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
            **({} if self.request is None else {"request": json.dumps(self.request.to_json())}),
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
        request=Asked.from_json(data["request"]) if "request" in data else None,
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


@functools.cache
def _validator() -> jsonschema.Draft202012Validator:
    schema = Path(__file__).with_name("results.schema.json")
    return jsonschema.Draft202012Validator(json.loads(schema.read_text("utf-8")))


def _array(items: Iterable[str]) -> str:
    """Join texts that are JSON to an array, one a line, so that files can be compared."""
    return "[" + ",".join(f"\n  {item}" for item in items) + "]"
