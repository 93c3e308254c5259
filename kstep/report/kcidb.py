# SPDX-License-Identifier: GPL-2.0-only
"""kcidb.json: the run in the format in which kernel CI systems exchange results.

A checkout for each variant, with the build of each kconfig and compiler, and a test for each cell.
The status is what the kernel did, even if it was expected: the reader's own rules decide whether a
fault is known (``misc`` has the expectation). Nothing is sent anywhere.
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import TYPE_CHECKING, Any

from kstep.base.outcome import Outcome
from kstep.report import command, story
from kstep.report.grid import columns
from kstep.results.printable import printable

if TYPE_CHECKING:
    from kstep.results.cell import Cell, CellRecord
    from kstep.results.provenance import KernelRecord
    from kstep.results.record import Record

ORIGIN = "kstep"
EXCERPT = 16384  # characters, the most that the schema allows
WORD = re.compile(r"[^a-zA-Z0-9_-]")  # not allowed in a path of KCIDB
STATUS = {Outcome.PASS: "PASS", Outcome.FAIL: "FAIL", Outcome.ERROR: "MISS"}


def kcidb(record: Record) -> str:
    """Return kcidb.json, to write in UTF-8."""
    kernels = {kernel.column: kernel for kernel in record.kernels}
    report: dict[str, Any] = {"version": {"major": 5, "minor": 3}}
    checkouts: dict[str, dict[str, Any]] = {}
    builds: list[dict[str, Any]] = []
    tests: list[dict[str, Any]] = []
    for column, cells in columns(record).items():
        checkout = _checkout(record, cells[0].cell, kernels.get(column))
        checkouts.setdefault(checkout["id"], checkout)
        builds.append(_build(record, cells[0].cell, checkout["id"], kernels.get(column)))
        tests += [_test(record, each, builds[-1]["id"]) for each in cells]
    report |= {"checkouts": list(checkouts.values()), "builds": builds, "tests": tests}
    return json.dumps(_clean(report), indent=1, ensure_ascii=False) + "\n"


def _checkout(record: Record, cell: Cell, kernel: KernelRecord | None) -> dict[str, Any]:
    tree = next((each for each in record.trees if each.id == cell.tree), None)
    found: dict[str, Any] = {
        "id": _id(record, cell.tree, cell.variant),
        "origin": ORIGIN,
        "tree_name": cell.tree,
        "comment": f"{tree.version if tree else cell.tree}, variant {cell.variant}",
        "start_time": record.run.started,
    }
    if kernel is not None:
        applied = [patch.sha256 for patch in kernel.patches if patch.action == "applied"]
        hashes = "".join(f"{sha256}\n" for sha256 in applied)
        found["patchset_hash"] = hashlib.sha256(hashes.encode()).hexdigest() if applied else ""
        patches = {patch.id: [patch.action, patch.sha256] for patch in kernel.patches}
        found |= {"valid": True, "misc": {"patches": patches}}
    if tree is not None and tree.sha256:
        found["misc"] = {**found.get("misc", {}), "source_sha256": tree.sha256}
    return found


def _build(
    record: Record, cell: Cell, checkout: str, kernel: KernelRecord | None
) -> dict[str, Any]:
    found: dict[str, Any] = {
        "id": _id(record, *cell.setup.parts, cell.variant),
        "checkout_id": checkout,
        "origin": ORIGIN,
        "architecture": "aarch64",
        "config_name": cell.kconfig,
        "compiler": record.toolchain_of(cell.setup).gcc,
    }
    if kernel is None:
        return {**found, "status": "ERROR"}
    return {
        **found,
        "status": "PASS",
        "duration": kernel.build_seconds,
        "misc": {
            "image_sha256": kernel.image_sha256,
            "vmlinux_sha256": kernel.vmlinux_sha256,
            "config_sha256": kernel.config_sha256,
        },
    }


def _test(record: Record, each: CellRecord, build: str) -> dict[str, Any]:
    cell = each.cell
    names = [cell.session] if cell.case is None else [cell.session, cell.case]
    repeat = str(cell.repeat)
    return {
        "id": _id(record, *cell.setup.parts, cell.variant, cell.name, repeat),
        "build_id": build,
        "origin": ORIGIN,
        "environment": {
            "comment": f"{record.toolchain_of(cell.setup).qemu},"
            f" {record.run.host.get('accel', 'tcg')}",
            "compatible": ["linux,dummy-virt"],
        },
        "path": ".".join(
            [ORIGIN, *(re.sub(r"[^a-zA-Z0-9_-]", "_", name) or "_" for name in names)]
        ),
        "comment": story.happened(each),
        "log_excerpt": "\n".join(record.tail(each))[-EXCERPT:],
        "status": STATUS[each.outcome],
        "duration": each.seconds,
        "misc": {
            "signature": each.signature,
            "expected": each.wanted,
            "matched": each.matched,
            "repeat": cell.repeat,
            "metrics": dict(each.metrics),
            "command": command.narrowed(record, cell),
        },
    }


def _id(record: Record, *names: str) -> str:
    return ":".join([ORIGIN, "/".join([record.run.started, record.run.id, *names])])


def _clean(value: Any) -> Any:  # noqa: ANN401 -- any JSON value
    """Make every text printable: the schema forbids NUL, and UTF-8 forbids lone surrogates."""
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, dict):
        return {printable(str(key)): _clean(item) for key, item in value.items()}
    return [_clean(item) for item in value] if isinstance(value, list) else value
