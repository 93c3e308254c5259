# SPDX-License-Identifier: GPL-2.0-only
"""What bench makes of what it measures: figures, bounds, and bench.json."""

from __future__ import annotations

import itertools
import json
import os
import threading
import time
import tty
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest

from kstep import bench, report
from kstep.base.errors import MachineryError
from kstep.base.progress import Progress
from kstep.bench import Bench, Figure
from kstep.build.kconfig import Kconfig
from kstep.build.kernel import Kernel
from kstep.results.record import Record
from kstep.run.building import Built
from kstep.source.tree import Tree
from kstep.source.variant import Variant

if TYPE_CHECKING:
    from kstep.console.gdb import Gdb
    from kstep.run.preparation import Prepared
    from kstep.session.target import Target
    from kstep.source.patched import PatchedTree

RATES = {"plain": 2000.0, "driver": 1960.0, "judged": 1820.0, "gdb": 50.04, "gdbstub": 900.0}
WALKED = {1000: bench.Walked(0.0005, 90.0), 100_000: bench.Walked(0.00051, 96.0)}


COSTS = {100: 0.0004, 100_000: 0.00042}
SLOWEST = "slowest_variant_over_full_build"


def kernel(seconds: float) -> Kernel:
    """Return a kernel that took so many seconds to build."""
    return Kernel("k", Path(), True, "", "", "", seconds, 0)  # noqa: FBT003 -- cached


def built(kernel: Kernel | MachineryError, patches: int = 0) -> Built:
    """Return a kernel with so many patches, or why it could not be built."""
    variant = Variant("v", "s", tuple("12"[:patches])), cast("PatchedTree", None)
    tree = Tree("debian:6.1", "6.1", "", Path())
    return Built(tree, Kconfig("base", {}), (variant,), kernel)


def prepared(*builds: float | MachineryError) -> Prepared:
    """Return kernels that took so many seconds to build, or could not be."""
    kernels = (each if isinstance(each, MachineryError) else kernel(each) for each in builds)
    return cast("Prepared", SimpleNamespace(built=tuple(map(built, kernels))))


def measured(monkeypatch: pytest.MonkeyPatch, *builds: float, **rates: float) -> Bench:
    """Measure with given rates, where a machine would be stepped."""
    monkeypatch.setattr(bench, "_rates", lambda _prepared, _kernel: {**RATES, **rates})
    monkeypatch.setattr(bench, "_walked", lambda _prepared, _kernel, _progress: WALKED)
    monkeypatch.setattr(bench, "further_cell", COSTS.__getitem__)
    monkeypatch.setattr(bench, "reports", {bench.REPORTED: 7.5}.__getitem__)
    with Progress() as progress:
        return bench.measure(prepared(*builds), progress)


def test_the_kernel_with_all_patches_is_stepped() -> None:
    kernels = [built(kernel(1.0), patches) for patches in (0, 2, 1)]
    assert bench._whole(kernels) is kernels[1]


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


def test_a_variant_that_takes_as_long_as_all_is_no_fault_of_ours(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    figure = measured(monkeypatch, 400.0, 400.0).figures[SLOWEST]
    assert (figure.value, figure.met) == (1.0, False)


def test_one_kernel_is_compared_with_none(monkeypatch: pytest.MonkeyPatch) -> None:
    assert SLOWEST not in measured(monkeypatch, 400.0).figures


def test_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """As DESIGN has it, with the rates beside."""
    found = json.loads(json.dumps(measured(monkeypatch, 300.0, 5.0).to_json()))
    assert found == {
        "figures": {
            "driver_over_plain": {"value": 0.98, "bound": 0.97, "met": True},
            "judged_over_plain": {"value": 0.91, "bound": 0.9, "met": True},
            "judged_over_gdb": {"value": 36.3709, "bound": 22, "met": True},
            SLOWEST: {"value": 0.0167, "bound": 0.03, "met": True},
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
            "step": {"1000": 0.0005, "100000": 0.00051},
            "further_cell": {"100": 0.0004, "100000": 0.00042},
        },
        "rates": {**RATES, "gdb": 50.0},
    }


def test_a_further_cell_is_measured_with_its_share_of_the_file(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Writing all is due once for a quarter more cells: its cost is shared out among these."""
    assert 0 < bench.further_cell(40) < 1
    write = Record.write

    def slowly(record: Record) -> None:
        write(record)
        time.sleep(1)

    monkeypatch.setattr(Record, "write", slowly)
    assert 1 / 10 < bench.further_cell(40) < 1


def test_reports_are_drawn_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = []
    monkeypatch.setattr(report, "write", lambda record: drawn.append(len(record.cells)))
    assert bench.reports(30) < 10
    assert drawn == [30]


def test_a_bound_has_a_side() -> None:
    assert Figure(1.0, 0.9, least=True).met
    assert not Figure(1.0, 0.9, least=False).met


def test_a_kernel_that_does_not_build_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is booted."""
    monkeypatch.delattr(bench, "_rates")
    with Progress() as progress, pytest.raises(MachineryError):
        bench.measure(prepared(400.0, MachineryError("it does not compile")), progress)


# -- the ways of stepping


def test_plain_steps_wait_for_each_prompt() -> None:
    """What a step says may come in pieces, and the prompt in two."""
    near, far = os.openpty()
    tty.setraw(far)
    typed: list[bytes] = []

    def kdb() -> None:
        for _ in range(bench.STEPS):
            typed.append(os.read(far, 99))
            os.write(far, b"ss\r\nat 0xffff kdb")
            os.write(far, b"> ")

    thread = threading.Thread(target=kdb)
    thread.start()
    bench._plain(near)
    thread.join()
    assert typed == [b"ss\r"] * bench.STEPS
    os.close(near)
    os.close(far)


def test_the_rate_of_gdb_is_that_of_a_usual_round(monkeypatch: pytest.MonkeyPatch) -> None:
    """One round in which the machine did something else makes no difference."""
    steps = itertools.count()
    stamps = itertools.count()
    took = [0.5] * (bench.ROUNDS - 1) + [60.0]

    def clock() -> float:
        number = next(stamps)
        return sum(took[: (number + 1) // 2])

    monkeypatch.setattr(time, "perf_counter", clock)
    gdb = SimpleNamespace(step_instruction=lambda: next(steps))
    assert bench._by_gdb(cast("Gdb", gdb)) == bench.GDB_STEPS / 0.5
    assert next(steps) == bench.ROUNDS * bench.GDB_STEPS


def test_judged_steps_are_judged() -> None:
    judged: list[int] = []

    def steps(count: int) -> list[SimpleNamespace]:
        return [
            SimpleNamespace(must_follow_program_order=lambda n=n: judged.append(n))
            for n in range(count)
        ]

    bench._judged(cast("Target", SimpleNamespace(steps=steps)))
    assert judged == list(range(bench.STEPS))
