# SPDX-License-Identifier: GPL-2.0-only
"""The jobs of a CI run, in the format of GitHub's ``strategy.matrix``."""

from __future__ import annotations

import heapq
import json
import re
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from kstep.base.document import nearest
from kstep.base.errors import RequestError
from kstep.build import kconfig
from kstep.cluster.forecast import Load
from kstep.results.cell import cell_name
from kstep.session import seconds, selection
from kstep.source import series, variant

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ROOT = Path(__file__).parents[1]
FILE = Path(__file__).with_name("matrix.yaml")
SESSIONS, KCONFIGS = ROOT / "tests/sessions", ROOT / kconfig.FOLDER
SERIES = ("v5", "v6")  # what verify runs if no series is named
UNKNOWN = 10.0  # seconds of a session that was not measured; most take less
MOST = 64  # shards; GitHub allows 256 jobs of one matrix


def matrix(kind: str, shards: int = 1) -> str:
    """Return the matrix ``kind`` of matrix.yaml, as one line of JSON.

    ``name`` is the tree, the kconfig, the tools that are not the usual ones and an item's own name,
    in characters that are allowed in a file name and an artifact name; what is empty has verify's
    default. With ``shards`` each job is split into so many, as far as it has sessions, which take
    about as long as each other; their names end in the number of the shard.
    """
    if not 1 <= shards <= MOST:
        raise RequestError(f"--shards {shards}: must be between 1 and {MOST}")
    kinds = yaml.safe_load(FILE.read_text("utf-8"))
    if kind not in kinds:
        raise RequestError(f'ci/{FILE.name} has no matrix "{kind}"; {nearest(kind, kinds)}')
    jobs = [part for job in _jobs(kinds[kind]) for part in _split(job, shards)]
    return json.dumps({"include": jobs}, separators=(",", ":"))


def _jobs(asked: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    usual = [{"kconfig": name} for name in asked["kconfigs"]]
    for item in (*usual, *asked.get("also", [])):
        for tree in item.get("trees", asked["trees"]):
            own = [item[name] for name in ("compiler", "suite", "name") if name in item]
            yield {
                "name": re.sub(r"[^a-z0-9.]+", "-", "-".join([tree, item["kconfig"], *own])),
                "tree": tree,
                "kconfig": item["kconfig"],
                "compiler": item.get("compiler", "gcc"),
                "suite": item.get("suite", ""),
                "variants": ",".join(item.get("variants", [])),
                "sessions": ",".join(item.get("sessions", [])),
                "repeat": item.get("repeat", asked["repeat"]),
            }


def load(kind: str) -> Load:
    """Return what a matrix runs: its kernels, and the cells of each by the time that they took."""
    usual = seconds.load(SESSIONS)
    each_series = [series.load(name, ROOT) for name in SERIES]
    parts = []
    for job in json.loads(matrix(kind))["include"]:
        selected = selection.select(SESSIONS, _names(job["sessions"])).sessions
        times = [
            [usual.get(cell_name(script.name, case), UNKNOWN) for case in script.case_names]
            for script in selected
        ]
        kernels = len(variant.select(each_series, _names(job["variants"]), ""))
        parts.append(Load.matrix(1, kernels, times, job["repeat"]))
    return Load.all(parts)


def _names(text: str) -> list[str]:
    return text.split(",") if text else []


def _split(job: dict[str, Any], shards: int) -> list[dict[str, Any]]:
    """Split a job's sessions into shards, by the time that they took when they were measured."""
    if shards == 1:
        return [job]
    selected = selection.select(SESSIONS, _names(job["sessions"])).sessions
    config = kconfig.load(job["kconfig"], KCONFIGS)
    usual = seconds.load(SESSIONS)
    times = {
        each.name: seconds.of(each, usual) or UNKNOWN
        for each in selected
        if not any(map(config.surely_lacks, each.needs))
    }
    return [
        {**job, "name": f"{job['name']}-{number}", "sessions": ",".join(part)}
        for number, part in enumerate(balanced(times, shards), 1)
    ]


def balanced(times: Mapping[str, float], parts: int) -> list[list[str]]:
    """Split names into parts whose times are about equal; none of them is empty.

    The longest first, each to the part that is the shortest by then: at most a third longer than
    the best that there is (Graham, 1969).
    """
    heap: list[tuple[float, int, list[str]]] = [(0.0, n, []) for n in range(parts)]
    for name in sorted(times, key=lambda each: (-times[each], each)):
        total, number, part = heap[0]
        heapq.heapreplace(heap, (total + times[name], number, [*part, name]))
    return [sorted(part) for _, _, part in sorted(heap, key=itemgetter(1)) if part]
