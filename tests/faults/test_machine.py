# SPDX-License-Identifier: GPL-2.0-only
"""QEMU killed, stopped or ending at any byte that it prints: no verdict, nothing left."""

from __future__ import annotations

import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from kstep.base.outcome import Outcome, Signature
from kstep.machine import supply
from kstep.machine.qemu import QemuMachine
from kstep.run import runner
from kstep.session import dialogue, taint
from tests.faults import emulator
from tests.faults.place import CASES, NO_VERDICT, Place
from tests.faults.seed import seeds

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterator

    from kstep.run.boot import Result

LENGTH = 800  # bytes that a machine prints in a whole boot are 750; beyond: it does not end


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    """Give a place for boots in this process; nothing of them may be left in it."""
    made = Place(tmp_path)
    monkeypatch.setenv("PATH", made.path)
    monkeypatch.setenv("TMPDIR", str(made.tmp))
    monkeypatch.setattr(tempfile, "tempdir", str(made.tmp))
    open_before, threads = set(Path("/proc/self/fd").iterdir()), threading.active_count()
    yield made
    assert set(Path("/proc/self/fd").iterdir()) == open_before
    assert threading.active_count() == threads
    assert not [pid for pid in made.machines if Path(f"/proc/{pid}").exists()]
    assert list(made.tmp.iterdir()) == []


def run(place: Place) -> list[Result]:
    """Run three cells; no result may speak against the kernel, which is good."""
    (place.folder / "out").mkdir(exist_ok=True)
    results = list(runner.run(place.boot(*CASES), place.toolchain, place.folder / "out"))
    for result in results:
        assert result.outcome is Outcome.PASS or result.signature in NO_VERDICT, result
        for earlier in result.earlier:
            assert earlier.signature in NO_VERDICT, result
    return results


def came_to(results: list[Result]) -> str:
    """Say what the cells came to, and in how many machines."""
    once = sorted({str(each.signature) for result in results for each in result.earlier})
    ends = sorted({str(each.signature or each.outcome) for each in results})
    return ", ".join([*ends, *(f"{word} once" for word in once)])


@seeds(120, sample=4)
@pytest.mark.parametrize("how", ["kill", "exit"])
def test_a_machine_that_ends(
    place: Place, injected: Callable[[str, str], None], chance: random.Random, how: str, seed: int
) -> None:
    """Before the guest is up, in a cell, between two; the second time too, now and then."""
    faults = [{"after": chance.randrange(LENGTH), "how": how}]
    if seed % 4 == 3:
        faults.append({"after": chance.randrange(LENGTH), "how": how})
    place.plan(*faults)
    results = run(place)
    if len(faults) == 1:
        assert {each.outcome for each in results} == {Outcome.PASS}, results
        for earlier in (earlier for each in results for earlier in each.earlier):
            assert earlier.signature is Signature.MACHINE_DIED
            assert earlier.message.startswith("QEMU ended")
    injected(f"QEMU ends ({how})", came_to(results))
    place.plan()
    assert {each.outcome for each in run(place)} == {Outcome.PASS}


@seeds(50, sample=1)
def test_a_machine_that_is_stopped(
    place: Place,
    injected: Callable[[str, str], None],
    chance: random.Random,
    monkeypatch: pytest.MonkeyPatch,
    seed: int,  # noqa: ARG001 -- is in the test's name, from which chance comes
) -> None:
    """As by SIGSTOP: it is silent, and that is no word about the kernel. All times are shorter."""
    for owner, name, value in (
        (supply, "EVERY", 0.1),
        (supply, "STARVED", 0.5),
        (dialogue, "WAIT", 1.5),
        (QemuMachine, "quiet", 1.5),
    ):
        monkeypatch.setattr(owner, name, value)
    place.plan({"after": chance.randrange(LENGTH), "how": "stop"})
    results = run(place)
    assert {each.outcome for each in results} == {Outcome.PASS}, results
    for earlier in (earlier for each in results for earlier in each.earlier):
        assert earlier.signature is Signature.INFRASTRUCTURE
        assert earlier.message.startswith("the host gave the machine no CPU time")
    injected("QEMU stopped", came_to(results))
    place.plan()
    assert {each.outcome for each in run(place)} == {Outcome.PASS}


def test_the_emulator_knows_what_it_is_asked() -> None:
    """Or each cell would get a machine of its own, and nothing would be met between two."""
    assert taint.COMMAND.encode() == emulator.TAINT


def test_three_cells_share_a_machine(place: Place) -> None:
    assert {each.outcome for each in run(place)} == {Outcome.PASS}
    assert len(place.machines) == 1
    said = [path.read_text() for path in (place.folder / "out").rglob("console.log")]
    assert LENGTH * 0.8 < sum(map(len, said)) < LENGTH * 3  # with times and what was sent
