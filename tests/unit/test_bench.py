# SPDX-License-Identifier: GPL-2.0-only
"""What bench makes of what it measures: figures, bounds, and bench.json."""

from __future__ import annotations

import itertools
import json
import os
import re
import subprocess
import threading
import time
import tty
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest

from kstep import report
from kstep.base.errors import MachineryError
from kstep.base.progress import Progress
from kstep.bench import boot, command, kernels, measurement, records, stepping
from kstep.bench.figure import Bench, Figure
from kstep.bench.page import page
from kstep.build.kconfig import Kconfig
from kstep.build.kernel import Kernel
from kstep.results.record import Record
from kstep.run.building import Built
from kstep.source.patched import PatchedTree
from kstep.source.tree import Tree
from kstep.source.variant import Variant

if TYPE_CHECKING:
    from kstep.bench.kernels import Build
    from kstep.console.gdb import Gdb
    from kstep.run.preparation import Prepared
    from kstep.session.target import Target

RATES = {"plain": 2000.0, "driver": 1960.0, "judged": 1820.0, "gdb": 50.04, "gdbstub": 900.0}
WALKED = stepping.Walks(
    {100: 0.0006, 1000: 0.0005, 10_000: 0.0005, 100_000: 0.00051}, long_over_short=1.02, megabytes=6
)
COSTS = {100: 0.0004, 1000: 0.0004, 10_000: 0.0004, 100_000: 0.00042}
SLOWEST = kernels.SOURCE
ROOT = Path(__file__).parents[2]


def kernel(seconds: float) -> Kernel:
    """Return a kernel that took so many seconds to build."""
    return Kernel("k", Path(), True, "", "", "", seconds, 0)  # noqa: FBT003 -- cached


def built(kernel: Kernel | MachineryError, patches: int = 0, header: bytes = b"") -> Built:
    """Return a kernel with so many patches, or why it could not be built."""
    files: dict[str, bytes | None] = {"a.c": b"%d" % patches, "a.h": header}
    sources = PatchedTree(files, frozenset(), {}, {}, "")
    variant = Variant("v", "s", tuple("12"[:patches])), sources
    tree = Tree("debian:6.1", "6.1", "", Path())
    return Built(tree, Kconfig("base", {}), (variant,), kernel)


def prepared(*builds: float | MachineryError) -> Prepared:
    """Return kernels that took so many seconds to build, or could not be."""
    made = (each if isinstance(each, MachineryError) else kernel(each) for each in builds)
    return cast("Prepared", SimpleNamespace(built=tuple(map(built, made))))


def measured(monkeypatch: pytest.MonkeyPatch, *builds: float, **rates: float) -> Bench:
    """Measure with given rates, where a machine would be stepped."""
    monkeypatch.setattr(stepping, "rates", lambda _prepared, _kernel: {**RATES, **rates})
    monkeypatch.setattr(stepping, "walks", lambda _prepared, _kernel, _progress: WALKED)
    monkeypatch.setattr(records, "further_cell", {measurement.RUNS: COSTS}.__getitem__)
    monkeypatch.setattr(records, "reports", {measurement.REPORTED: 7.5}.__getitem__)
    monkeypatch.setattr(boot, "boot_over_qemu", lambda _prepared, _kernel: 1.05)
    monkeypatch.setattr(command, "listing_over_import", {ROOT: 2.25}.__getitem__)
    made = prepared(*builds)

    def again(build: Build) -> Prepared:
        build([])
        return made

    with Progress() as progress:
        return measurement.measure(made, again, ROOT, Path(), progress)


def test_the_kernel_with_all_patches_is_stepped() -> None:
    made = [built(kernel(1.0), patches) for patches in (0, 2, 1)]
    assert measurement._whole(made) is made[1]


def test_figures_are_ratios(monkeypatch: pytest.MonkeyPatch) -> None:
    found = measured(monkeypatch, 400.0, 3.0, 8.0, 2.0)
    assert found.figures["driver_over_plain"].value == pytest.approx(0.98)
    assert found.figures[SLOWEST].value == pytest.approx(0.02)
    assert all(figure.met for figure in found.figures.values())


@pytest.mark.parametrize(
    ("driver", "slowest", "met"), [(1939.0, 12.0, [False, True]), (1940.0, 12.1, [True, False])]
)
def test_a_bound_is_kept_up_to_itself(
    monkeypatch: pytest.MonkeyPatch, driver: float, slowest: float, met: list[bool]
) -> None:
    found = measured(monkeypatch, 400.0, slowest, driver=driver)
    assert [found.figures[name].met for name in ("driver_over_plain", SLOWEST)] == met


# -- kernels


def test_a_variant_that_takes_as_long_as_all_is_no_fault_of_ours() -> None:
    figure = kernels.variants_over_first(prepared(400.0, 400.0).built)[SLOWEST]
    assert (figure.value, figure.met) == (1.0, False)


def test_one_kernel_is_compared_with_none() -> None:
    assert kernels.variants_over_first(prepared(400.0).built) == {}


def test_a_variant_that_differs_by_a_header_has_its_own_bound() -> None:
    """From the one that is built before it; the first of all may be built later."""
    headers = ((4.0, b""), (100.0, b""), (14.0, b"more"), (2.0, b"more"), (5.0, b""))
    found = kernels.variants_over_first([built(kernel(s), 0, h) for s, h in headers])
    assert {name: each.value for name, each in found.items()} == {
        kernels.SOURCE: pytest.approx(0.04),
        kernels.HEADER: pytest.approx(0.14),
    }
    assert [found[name].met for name in (kernels.SOURCE, kernels.HEADER)] == [False, True]


def test_what_is_built_again_though_nothing_changed_is_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = Kernel("k", Path(), False, "", "", "", 1.0, 7)  # noqa: FBT003 -- not cached

    def build(families: object) -> list[Built]:
        assert families == []
        time.sleep(0.05)
        return []

    monkeypatch.setattr(kernels, "build_here", build)

    def again(build: Build) -> Prepared:
        build([])
        return cast("Prepared", SimpleNamespace(built=[built(kernel(5.0)), built(made)]))

    found = kernels.if_nothing_changed(again)
    assert found["objects_compiled_if_nothing_changed"] == Figure(7, 0, least=False)
    assert 0.05 < found["seconds_of_kernels_if_nothing_changed"].value < 1


def test_a_command_is_compared_with_an_interpreter(tmp_path: Path) -> None:
    inv = tmp_path / "inv"
    inv.write_text('#!/bin/sh\ntest "$1" = --list && sleep 0.5\n')
    inv.chmod(0o755)
    assert command.listing_over_import(tmp_path) > 0.5
    inv.write_text("#!/bin/sh\nexit 1\n")
    with pytest.raises(subprocess.CalledProcessError):
        command.listing_over_import(tmp_path)


# -- the file


def test_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """As DESIGN has it, with the rates beside."""
    found = json.loads(json.dumps(measured(monkeypatch, 300.0, 5.0).to_json()))
    assert 0 <= found["figures"].pop("seconds_of_kernels_if_nothing_changed")["value"] < 1
    assert found == {
        "figures": {
            "driver_over_plain": {"value": 0.98, "bound": 0.97, "met": True},
            "judged_over_plain": {"value": 0.91, "bound": 0.9, "met": True},
            "judged_over_gdb": {"value": 36.3709, "bound": 22, "met": True},
            SLOWEST: {"value": 0.0167, "bound": 0.03, "met": True},
            "objects_compiled_if_nothing_changed": {"value": 0, "bound": 0, "met": True},
            "listing_over_import": {"value": 2.25, "bound": 2.5, "met": True},
            "boot_over_qemu": {"value": 1.05, "bound": 1.1, "met": True},
            "step_of_a_long_walk_over_a_short_one": {"value": 1.02, "bound": 1.05, "met": True},
            "megabytes_more_on_a_long_walk": {"value": 6.0, "bound": 30, "met": True},
            "further_cell_in_a_long_run_over_a_short_one": {
                "value": 1.05,
                "bound": 1.1,
                "met": True,
            },
            "seconds_of_reports_of_10000_cells": {"value": 7.5, "bound": 10, "met": True},
        },
        "growth": {
            "step": {"100": 0.0006, "1000": 0.0005, "10000": 0.0005, "100000": 0.00051},
            "further_cell": {"100": 0.0004, "1000": 0.0004, "10000": 0.0004, "100000": 0.00042},
        },
        "rates": {**RATES, "gdb": 50.0},
        "missing": {},
    }


def test_the_page(monkeypatch: pytest.MonkeyPatch) -> None:
    """It has every figure and a curve of what grows; nothing of it runs, or is fetched."""
    found = measured(monkeypatch, 400.0, 3.0, driver=100.0)
    drawn = page(Bench(found.figures, found.rates, found.growth, {"peer": "<none>"}), "today")
    assert all(name in drawn for name in (*found.figures, "today", "peer: &lt;none&gt;"))
    assert drawn.count("<svg") == len(found.growth) == 2
    assert drawn.count("not met") == 1
    assert "<script" not in drawn
    assert not re.search(r"(?:src|href)=\W*http", drawn)
    assert "<svg" not in page(Bench({}, {}, {}, {}), "today")


def test_a_further_cell_is_measured_with_its_share_of_the_file(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Writing all is due once for a quarter more cells: its cost is shared out among these."""
    found = records.further_cell([40, 80])
    assert list(found) == [40, 80]
    assert all(0 < each < 1 for each in found.values())
    write = Record.write

    def slowly(record: Record) -> None:
        write(record)
        time.sleep(0.2)

    monkeypatch.setattr(Record, "write", slowly)
    assert 0.2 / 10 < records.further_cell([40])[40] < 0.2


def test_reports_are_drawn_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = []
    monkeypatch.setattr(report, "write", lambda record: drawn.append(len(record.cells)))
    assert records.reports(30) < 10
    assert drawn == [30]


def test_a_bound_has_a_side() -> None:
    assert Figure(1.0, 0.9, least=True).met
    assert not Figure(1.0, 0.9, least=False).met


def test_a_kernel_that_does_not_build_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is booted."""
    monkeypatch.delattr(stepping, "rates")
    made = prepared(400.0, MachineryError("it does not compile"))
    with Progress() as progress, pytest.raises(MachineryError, match="compile"):
        measurement.measure(made, lambda _build: made, ROOT, Path(), progress)


# -- the ways of stepping


def test_plain_steps_wait_for_each_prompt() -> None:
    """What a step says may come in pieces, and the prompt in two."""
    near, far = os.openpty()
    tty.setraw(far)
    typed: list[bytes] = []

    def kdb() -> None:
        for _ in range(stepping.STEPS):
            typed.append(os.read(far, 99))
            os.write(far, b"ss\r\nat 0xffff kdb")
            os.write(far, b"> ")

    thread = threading.Thread(target=kdb)
    thread.start()
    stepping._plain(near)
    thread.join()
    assert typed == [b"ss\r"] * stepping.STEPS
    os.close(near)
    os.close(far)


def test_the_rate_of_gdb_is_that_of_a_usual_round(monkeypatch: pytest.MonkeyPatch) -> None:
    """One round in which the machine did something else makes no difference."""
    steps = itertools.count()
    stamps = itertools.count()
    took = [0.5] * (stepping.ROUNDS - 1) + [60.0]

    def clock() -> float:
        number = next(stamps)
        return sum(took[: (number + 1) // 2])

    monkeypatch.setattr(time, "perf_counter", clock)
    gdb = SimpleNamespace(step_instruction=lambda: next(steps))
    assert stepping._by_gdb(cast("Gdb", gdb)) == stepping.GDB_STEPS / 0.5
    assert next(steps) == stepping.ROUNDS * stepping.GDB_STEPS


def test_judged_steps_are_judged() -> None:
    judged: list[int] = []

    def steps(count: int) -> list[SimpleNamespace]:
        return [
            SimpleNamespace(must_follow_program_order=lambda n=n: judged.append(n))
            for n in range(count)
        ]

    stepping._judged(cast("Target", SimpleNamespace(steps=steps)))
    assert judged == list(range(stepping.STEPS))
