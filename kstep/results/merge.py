# SPDX-License-Identifier: GPL-2.0-only
"""Merges runs of one request that was split among machines."""

from __future__ import annotations

import shutil
from dataclasses import asdict, replace
from itertools import product
from typing import TYPE_CHECKING, Any

from kstep.base.errors import RequestError
from kstep.results.provenance import RunRecord, ToolchainRecord
from kstep.results.record import Record
from kstep.results.request import Asked

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from kstep.results.cell import CellRecord

SCRIPT = "session"  # of a cell's files, the one that is not in the run's folder


def merge(runs: Sequence[Record], folder: Path) -> Record:
    """Write into ``folder`` a run with all the cells of ``runs``, and copies of their files.

    The run's ``host`` names under ``merged`` what each was made on. Raises RequestError
    if two have the same cell, or were made with different tools: then compare them.
    """
    if folder.exists():
        raise RequestError(f"--out {folder}: already exists; name a new folder")
    _require_alike(runs)
    first = min(runs, key=lambda each: each.run.started)
    toolchains = _toolchains(runs)
    record = Record(
        folder,
        RunRecord(
            id=folder.name,
            started=first.run.started,
            seconds=sum(each.run.seconds for each in runs),
            argv=_argv(runs),
            kstep_version=first.run.kstep_version,
            host={**_common([each.run.host for each in runs]), "merged": _origins(runs)},
        ),
        toolchains[0],
        toolchains=toolchains,
        request=_shared(runs),
        series=[series for each in runs for series in each.series.values()],
        trees=[tree for each in runs for tree in each.trees],
        kernels=[kernel for each in runs for kernel in each.kernels],
        sessions=[session for each in runs for session in each.sessions.values()],
        left_out=dict.fromkeys(one for each in runs for one in each.left_out),
        cells=[_moved(cell, n) for n, each in enumerate(runs, 1) for cell in each.cells],
    )
    folder.mkdir(parents=True)
    for number, each in enumerate(runs, 1):
        if (each.folder / "cells").is_dir():
            shutil.copytree(each.folder / "cells", folder / str(number) / "cells")
    record.write()
    return record


def requests(record: Record) -> list[Asked]:
    """Return what was asked for; for merged runs, by each of them.

    Runs of an older kstep, which did not keep requests, have none.
    """
    if record.request is not None:
        return [record.request]
    return list(_kept(record.run.host))


def _kept(host: Mapping[str, Any]) -> Iterator[Asked]:
    """Find the requests in the host of merged runs, which may have been merged before."""
    for origin in host.get("merged", []):
        if origin.get("request"):
            yield Asked.from_json(origin["request"])
        else:
            yield from _kept(origin.get("host", {}))


def _shared(runs: Sequence[Record]) -> Asked | None:
    """Return the request that all were made by, or are shards of; None if they differ."""
    requests_ = [each.request for each in runs]
    first = requests_[0]
    if first is None or None in requests_:
        return None
    asked = [each for each in requests_ if each is not None]
    if any(replace(each, sessions=first.sessions) != first for each in asked):
        return None
    if not all(each.sessions for each in asked):  # one of them had all
        return replace(first, sessions=())
    names = dict.fromkeys(name for each in asked for name in each.sessions)
    return replace(first, sessions=tuple(names))


def _require_alike(runs: Sequence[Record]) -> None:
    seen: dict[object, Record] = {}
    for each in runs:
        for cell in each.cells:
            other = seen.setdefault(cell.cell, each)
            if other is not each:
                raise RequestError(
                    f"{each.folder}: {cell.cell.column} {cell.cell.name} #{cell.cell.repeat} is"
                    f" in {other.folder} too; merge runs without common cells"
                )
        _require_same_tools(each, runs[0])
        if each.run.kstep_version != runs[0].run.kstep_version:
            raise RequestError(
                f"{each.folder}: made by another version of kstep than {runs[0].folder}"
            )


def _require_same_tools(run: Record, first: Record) -> None:
    """Raise RequestError if the tools of a suite, or of a compiler too, are not the same."""
    for mine, other in product(run.toolchains, first.toolchains):
        same_compiler = mine.compiler == other.compiler
        names = ("kind", *(["gcc"] if same_compiler else []), "qemu", "gdb")
        for name in names if mine.suite == other.suite else ():
            if getattr(mine, name) != getattr(other, name):
                raise RequestError(
                    f"{run.folder}: made with {name} {getattr(mine, name)}, {first.folder} with"
                    f" {getattr(other, name)}; use ./inv compare for such runs"
                )


def _toolchains(runs: Sequence[Record]) -> list[ToolchainRecord]:
    """Return each toolchain once; runs may have used several images of it."""
    found: dict[tuple[str, str], ToolchainRecord] = {}
    for each in (toolchain for run in runs for toolchain in run.toolchains):
        first = found.setdefault((each.compiler, each.suite), each)
        if first.image_digest != each.image_digest:
            found[each.compiler, each.suite] = replace(first, image_digest=None)
    return list(found.values())


def _moved(cell: CellRecord, number: int) -> CellRecord:
    def moved(files: Mapping[str, str]) -> dict[str, str]:
        return {
            name: path if name == SCRIPT else f"{number}/{path}" for name, path in files.items()
        }

    earlier = tuple(replace(each, files=moved(each.files)) for each in cell.earlier)
    return replace(cell, files=moved(cell.files), earlier=earlier)


def _argv(runs: Sequence[Record]) -> tuple[str, ...]:
    """Return the command that all were made by, or the names of the runs."""
    typed = {each.run.argv for each in runs}
    return typed.pop() if len(typed) == 1 else ("merge", ",".join(e.run.id for e in runs))


def _common(hosts: Sequence[object]) -> dict[str, object]:
    items = [host.items() for host in hosts if isinstance(host, dict)]
    return {key: value for key, value in items[0] if all((key, value) in each for each in items)}


def _origins(runs: Sequence[Record]) -> list[dict[str, object]]:
    return [
        {
            "id": each.run.id,
            "started": each.run.started,
            "argv": list(each.run.argv),
            "request": None if each.request is None else each.request.to_json(),
            "image_digest": asdict(each.toolchain)["image_digest"],
            "host": dict(each.run.host),
        }
        for each in runs
    ]
