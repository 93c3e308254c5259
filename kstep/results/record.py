# SPDX-License-Identifier: GPL-2.0-only
"""The record of a run: ``results.json``, from which every report is made.

The file's form is schema 1, in ``results.schema.json`` beside this module. During a run the
journal (see ``journal``) is ahead of the file, so a reader reads both.
"""

from __future__ import annotations

import fcntl
import functools
import json
import os
import time
from collections import Counter, defaultdict
from contextlib import contextmanager
from dataclasses import asdict, fields, replace
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

import jsonschema

from kstep.base import temporary
from kstep.base.errors import MachineryError, RequestError
from kstep.base.outcome import Outcome
from kstep.results import journal
from kstep.results.cell import BASE, Cell, CellRecord
from kstep.results.journal import Journal
from kstep.results.packed import Packed
from kstep.results.provenance import (
    KernelRecord,
    LeftOut,
    RunRecord,
    SeriesRecord,
    SessionRecord,
    ToolchainRecord,
    TreeRecord,
)
from kstep.results.request import Asked
from kstep.results.setup import COMPILER
from kstep.results.transcript import tail
from kstep.results.verdict import verdict

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from kstep.results.setup import Setup

SCHEMA = 1
FILE = "results.json"

HELD = '"held_against": '  # in the JSON of a cell
SHARE = 4  # the file is rewritten when there is a quarter more to write
_MESSAGE = 160  # characters of a validator's message


_Row = tuple[str | None, ...]
_Ending = tuple[Outcome, bool]  # how a cell of none ended, and whether at boot


class Record:
    """The results of one run, kept in the folder ``folder``.

    Every ``add`` appends a line to the journal, which is on the disk when it returns: no cell is
    lost when kstep is killed, or the power is cut. The file is rewritten each time the record
    has grown by a quarter, and by ``write``; so a cell costs the same however many there are.
    It is written beside the old one and renamed into place, so it is always valid. Threads may
    share a record.
    ``toolchains`` has one for each compiler and suite, in the order in which they were asked for.
    ``request`` is None in merged runs, and in those of an older kstep.
    ``inputs`` are what the results depend on, by name, as hashes or versions.
    ``is_ahead`` is whether it has more than the file, because kstep was killed.
    """

    def __init__(
        self,
        folder: Path,
        run: RunRecord,
        toolchain: ToolchainRecord,
        *,
        toolchains: Iterable[ToolchainRecord] = (),
        request: Asked | None = None,
        inputs: Mapping[str, str] | None = None,
        series: Iterable[SeriesRecord] = (),
        trees: Iterable[TreeRecord] = (),
        kernels: Iterable[KernelRecord] = (),
        sessions: Iterable[SessionRecord] = (),
        left_out: Iterable[LeftOut] = (),
        cells: Iterable[CellRecord] = (),
    ) -> None:
        self.folder = folder
        self.run = run
        self.toolchains = tuple(toolchains) or (toolchain,)
        self.request = request
        self.inputs = dict(inputs or {})
        self.series = {each.name: each for each in series}
        self.sessions = {each.name: each for each in sessions}
        self.left_out = tuple(left_out)
        self._opened = time.monotonic() - run.seconds
        self._lock = Lock()
        self._trees = {tree.id: tree for tree in trees}
        self._kernels = {each.column: each for each in kernels}
        self.is_ahead = False
        self._journal = Journal(folder)
        self._due = 0  # the file is next written when there are so many cells
        self._bases: dict[_Row, Counter[_Ending]] = defaultdict(Counter)
        self._unpacked: list[CellRecord] = []
        self._cells = Packed()
        for record in cells:
            self._learn(record)
            self._cells.put(record)

    @property
    def toolchain(self) -> ToolchainRecord:
        """The first of the toolchains."""
        return self.toolchains[0]

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
        """In the order in which they finished, each made anew: keep the list, or see at_hand()."""
        return self._unpacked or [self._compared(record) for record in self._cells.values()]

    @contextmanager
    def at_hand(self) -> Iterator[None]:
        """Hold the cells unpacked in the block, in which none is added; a page reads them often.

        They take about ten times the memory then.
        """
        self._unpacked = self.cells
        try:
            yield
        finally:
            self._unpacked = []

    def cell(self, cell: Cell) -> CellRecord | None:
        """Return the result of a cell; None if it has none."""
        record = self._cells.get(cell)
        return None if record is None else self._compared(record)

    def outcomes(self) -> Iterator[tuple[Cell, Outcome]]:
        """Each cell and its outcome, in the order in which they finished; this costs little."""
        return self._cells.outcomes()

    def add_tree(self, tree: TreeRecord) -> None:
        """Keep ``tree`` and write; it replaces one with the same id."""
        with self._lock:
            self._trees[tree.id] = tree
            self._write()

    def add_kernel(self, kernel: KernelRecord) -> None:
        """Keep ``kernel`` and write; it replaces one of the same variant."""
        with self._lock:
            self._kernels[kernel.column] = kernel
            self._write()

    def add(self, record: CellRecord) -> None:
        """Keep the result of a cell; it replaces an earlier one of the same cell.

        Raises ValueError or TypeError if JSON cannot hold ``metrics``, and MachineryError if
        the journal cannot be written; then nothing has changed.
        """
        with self._lock:
            self._journal.append(_line(record))
            self._learn(record)
            self._cells.put(record)
            if len(self._cells) >= self._due:
                self._write()

    def _learn(self, record: CellRecord) -> None:
        """Count the results of ``none``, with which cells that are ``held`` are compared."""
        if record.cell.variant == BASE:
            endings = self._bases[_row(record.cell)]
            if (former := self._cells.get(record.cell)) is not None:
                endings[_ending(former)] -= 1
            endings[_ending(record)] += 1

    def _base(self, row: _Row) -> tuple[Outcome | None, bool]:
        """Return the outcome of ``none``, the worst of its repeats, and whether it died at boot."""
        seen = {ending for ending, count in self._bases[row].items() if count}
        outcomes = {outcome for outcome, _ in seen} - {Outcome.ERROR}
        worst = Outcome.FAIL if Outcome.FAIL in outcomes else next(iter(outcomes), None)
        return worst, any(died for _, died in seen)

    def _compared(self, record: CellRecord) -> CellRecord:
        """Add the outcome of ``none`` to a cell that is compared with that."""
        if not record.held:
            return record
        base, died = self._base(_row(record.cell))
        return replace(record, base=base, base_died_at_boot=died)

    def _line(self, line: str) -> str:
        """Return a cell's JSON as it is now: whether one that is ``held`` matches may change."""
        if HELD not in line:
            return line
        return _line(self._compared(CellRecord.from_json(json.loads(line))))

    def write(self) -> None:
        """Write the file, with ``seconds`` up to now: at the beginning of a run, and its end."""
        with self._lock:
            self._write()

    def toolchain_of(self, setup: Setup) -> ToolchainRecord:
        """Return what built and booted the kernels of a setup."""
        for each in self.toolchains:
            if (each.compiler, each.suite) == (setup.compiler, setup.suite):
                return each
        return self.toolchain

    def path(self, record: CellRecord, name: str) -> Path | None:
        """Return the path of a file of a cell; None if the file does not exist.

        results.json may be somebody else's, so a path that leads out of the run is None too.
        """
        if name not in record.files:
            return None
        below, _, last = record.files[name].rpartition("/")
        try:
            path = _real(self.folder / below) / last
            path = path.resolve() if path.is_symlink() else path
            inside = path.is_relative_to(_real(self.folder)) and path.is_file()
        except (OSError, ValueError):
            return None
        return path if inside else None

    def tail(self, record: CellRecord, lines: int = 40) -> list[str]:
        """Read the last lines of a cell's console; nothing if there is no log."""
        path = self.path(record, "console_log")
        return [] if path is None else tail(path, lines)

    def _write(self) -> None:
        self.run = replace(self.run, seconds=round(time.monotonic() - self._opened, 3))
        request = None if self.request is None else json.dumps(self.request.to_json())
        parts: dict[str, Iterable[str]] = {
            "schema": [str(SCHEMA)],
            "run": [json.dumps(asdict(self.run))],
            **({} if request is None else {"request": [request]}),
            **({"inputs": [json.dumps(self.inputs)]} if self.inputs else {}),
            "toolchain": [json.dumps(asdict(self.toolchain))],
            **(
                {"toolchains": _array(json.dumps(asdict(each)) for each in self.toolchains)}
                if len(self.toolchains) > 1
                else {}
            ),
            **(
                {"series": _array(json.dumps(asdict(each)) for each in self.series.values())}
                if self.series
                else {}
            ),
            "trees": _array(json.dumps(asdict(tree)) for tree in self._trees.values()),
            "kernels": _array(json.dumps(asdict(kernel)) for kernel in self._kernels.values()),
            "sessions": _array(json.dumps(asdict(each)) for each in self.sessions.values()),
            "cells": _array(map(self._line, self._cells.lines())),
            "verdict": [json.dumps(verdict(map(self._compared, self._cells.values())))],
        }
        if self.left_out:
            parts["left_out"] = _array(json.dumps(asdict(each)) for each in self.left_out)
        path = self.folder / FILE
        try:
            temporary.replace(path, _object(parts), synced=True)
        except OSError as error:
            raise MachineryError(f"{path}: cannot be written: {error.strerror}") from error
        self.is_ahead = False
        count = len(self._cells)
        self._due = count + max(1, count // SHARE)


@functools.lru_cache(maxsize=8)  # the files of a cell are in one folder
def _real(folder: Path) -> Path:
    return folder.resolve()


@contextmanager
def hold(folder: Path) -> Iterator[None]:
    """Lock a run's folder; the lock is released when this kstep ends, however it does.

    Raises RequestError if another kstep has it.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RequestError(f"{folder}: still running; wait for its end, or stop it") from None
        yield
    finally:
        os.close(descriptor)


def load(path: Path) -> Record:
    """Read a run, from its folder or its results.json; nothing is written.

    What only the journal has is included. Raises RequestError unless it is a results.json of
    schema 1, and a journal of such cells.
    """
    file = path / FILE if path.is_dir() else path
    fix = "name a run's folder, as ./inv verify wrote it"
    try:
        data = json.loads(file.read_text("utf-8"))
    except OSError as error:
        raise RequestError(f"cannot be read ({error.strerror}): {fix}", file) from error
    except json.JSONDecodeError as error:
        raise RequestError(f"not JSON ({error.msg}): {fix}", file, error.lineno) from error
    except (ValueError, RecursionError) as error:
        raise RequestError(f"not JSON: {fix}", file) from error
    # Other faults in a file of another schema do not matter.
    number = data.get("schema") if isinstance(data, dict) else None
    if isinstance(number, int) and number != SCHEMA:
        raise RequestError(f"schema {number}, not {SCHEMA}: use the kstep that wrote it", file)
    if what := _fault("results", data):
        raise RequestError(f"not results of schema {SCHEMA} ({what}): {fix}", file)

    run = {**data["run"], "argv": tuple(data["run"]["argv"])}
    written = {_key(item): item for item in data["cells"]}
    cells = {**written, **_journaled(written, file)}
    record = Record(
        file.parent,
        RunRecord(**run),
        ToolchainRecord(**data["toolchain"]),
        toolchains=(ToolchainRecord(**item) for item in data.get("toolchains", [])),
        request=Asked.from_json(data["request"]) if "request" in data else None,
        inputs=data.get("inputs"),
        series=map(SeriesRecord.from_json, data.get("series", [])),
        trees=(TreeRecord(**item) for item in data["trees"]),
        kernels=map(KernelRecord.from_json, data["kernels"]),
        sessions=(SessionRecord(**item) for item in data.get("sessions", [])),
        left_out=(LeftOut(**item) for item in data.get("left_out", [])),
        cells=map(CellRecord.from_json, cells.values()),
    )
    record.is_ahead = len(cells) > len(written)
    return record


def _journaled(written: Mapping[str, dict[str, Any]], file: Path) -> dict[str, dict[str, Any]]:
    """Read the cells of the journal beside a results.json, except those that it has too."""
    found: dict[str, dict[str, Any]] = {}
    for number, item in journal.read(file.parent) if file.name == FILE else ():
        key = _key(item)
        if found.get(key, written.get(key)) != item:
            if what := _fault("cell", item):
                raise RequestError(
                    f"not a cell of schema {SCHEMA} ({what}); remove the line",
                    file.with_name(journal.FILE),
                    number,
                )
            found[key] = item
    return found


def _key(item: Mapping[str, Any]) -> str:
    """Name the cell that an item of JSON is about, whether valid or not."""
    usual = {"compiler": COMPILER, "suite": ""}  # old runs have neither
    return json.dumps([item.get(each.name, usual.get(each.name)) for each in fields(Cell)])


def _row(cell: Cell) -> _Row:
    """What a cell has in common with its counterpart in ``none``."""
    return *cell.setup.parts, cell.session, cell.case


def _ending(record: CellRecord) -> _Ending:
    return record.outcome, record.died_at_boot


def _line(record: CellRecord) -> str:
    return json.dumps(record.to_json(), allow_nan=False)


def _fault(kind: str, data: object) -> str:
    """Return what is wrong with a value of a kind of the schema; "" if it is valid."""
    fault = jsonschema.exceptions.best_match(_validator(kind).iter_errors(data))
    if fault is None:
        return ""
    what = " ".join(f"{fault.json_path}: {fault.message}".split())
    return what if len(what) <= _MESSAGE else what[:_MESSAGE] + "..."


@functools.cache
def _validator(kind: str) -> jsonschema.Draft202012Validator:
    schema = json.loads(Path(__file__).with_name("results.schema.json").read_text("utf-8"))
    return jsonschema.Draft202012Validator({**schema, "$ref": f"#/$defs/{kind}"})


def _array(items: Iterable[str]) -> Iterator[str]:
    """Join JSON texts into an array, one per line, so that files can be compared."""
    before = "["
    for item in items:
        yield f"{before}\n  {item}"
        before = ","
    yield "[]" if before == "[" else "]"


def _object(parts: Mapping[str, Iterable[str]]) -> Iterator[str]:
    """Join JSON texts, each in pieces, into an object: a long run's is not in memory as a whole."""
    before = "{"
    for key, pieces in parts.items():
        yield f'{before}"{key}": '
        yield from pieces
        before = ",\n"
    yield "}\n"
