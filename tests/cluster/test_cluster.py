# SPDX-License-Identifier: GPL-2.0-only
"""A cluster with loss and delay, whose parts are lost: each cell results once, whoever dies."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from kstep.base.outcome import Outcome, Signature
from tests.cluster.network import Network, possible, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from kstep.results.cell import CellRecord

pytestmark = pytest.mark.skipif(bool(possible()), reason=possible())


SLOW = pytest.mark.nightly  # half a minute each, most of which is a start of Python


@pytest.fixture
def network(tmp_path: Path) -> Iterator[Network]:
    """Give namespaces with a scheduler."""
    made = Network(tmp_path)
    try:
        made.scheduler()
        yield made
    finally:
        made.close()


def became(title: str, cells: list[CellRecord]) -> None:
    """Print what became of each cell; ``pytest -s`` shows it."""
    print(f"\n{title}: {len(cells)} cells")  # noqa: T201 -- for the reader
    for each in cells:
        tried = "".join(f"; before: {earlier.message}" for earlier in each.earlier)
        message = f" {each.message}" if each.message else ""
        cell = each.cell
        print(f"  {cell.variant} {cell.name} #{cell.repeat}: {each.seen}{message}{tried}")  # noqa: T201


@SLOW
def test_kernels_are_shipped_once_and_results_come_back(network: Network) -> None:
    network.worker("one")
    network.worker("two")
    run = network.verify("does,short", repeat=6)
    assert run.wait() == 0, run.said
    cells = network.cells()
    became("loss of 1 % and a delay of 40 ms a round trip", cells)
    assert len(cells) == 2 * 4 * 6
    assert {each.outcome for each in cells} == {Outcome.PASS}
    for each in cells:
        console = network.place.folder / "run" / each.files["console_log"]
        assert "KSTEP-END" in console.read_text()
    # By the client to one of them, and by that to the other; never again.
    assert re.search(
        r"sent 2 kernels \(.*\), 2 scripts \(.*\), 2 guests \(.*\), 48 cells", run.said
    )


def test_a_worker_lost_in_a_boot(network: Network) -> None:
    """Killed while its machine runs: the cell is run elsewhere, and has that try as earlier."""
    network.worker("one")
    run = network.verify("lasts")
    wait_for(lambda: network.machines("one"))
    network.worker("two")
    lost = network.machines("one")
    (pid,) = network.dask("one")
    os.kill(pid, signal.SIGKILL)
    assert run.wait() == 0, run.said
    cells = network.cells()
    became("a worker killed in a boot", cells)
    assert [each.outcome for each in cells] == [Outcome.PASS] * 4
    (tried,) = [each for each in cells if each.earlier]
    assert tried.earlier[0].signature is Signature.INFRASTRUCTURE
    assert "connection lost" in tried.earlier[0].message
    wait_for(lambda: not [p for p in lost if os.path.exists(f"/proc/{p}")], 10)  # noqa: PTH110


def test_a_boot_that_kills_two_workers(network: Network) -> None:
    """It is given up and told, and the other boots are run."""
    network.worker("one")
    network.worker("two")
    run = network.verify("kills,short", repeat=1)
    assert run.wait() == 3, run.said
    cells = network.cells()
    became("a boot that kills its worker", cells)
    ends = {each.cell.name: each for each in cells if each.cell.variant == "none"}
    assert ends["short"].outcome is Outcome.PASS
    assert ends["kills[before]"].outcome is Outcome.PASS
    assert ends["kills[it]"].signature is Signature.INFRASTRUCTURE
    assert ends["kills[it]"].message.startswith("2 worker processes died in this boot: ")
    # In the cell that began last, as far as the lost worker could still tell.
    assert sum(len(each.earlier) for each in ends.values()) == 1
    assert ends["kills[after]"].message.startswith("not run: 2 worker processes died")


@SLOW
def test_a_worker_that_joins_late_and_a_slow_one(network: Network) -> None:
    """Both get boots, and the slow one does not hold up the others."""
    network.set("two", delay=0.15, loss=0.03)
    network.worker("two")
    run = network.verify("lasts,short", repeat=4)
    wait_for(lambda: network.journaled() >= 2)
    network.worker("one")
    wait_for(lambda: network.machines("one"))
    assert run.wait() == 0, run.said
    cells = network.cells()
    became("a worker that joins late, beside a slow one", cells)
    assert len(cells) == 2 * 3 * 4
    assert {each.outcome for each in cells} == {Outcome.PASS}


@SLOW
def test_a_scheduler_that_goes_and_comes_back(network: Network) -> None:
    network.worker("one")
    network.worker("two")
    run = network.verify("lasts,short", repeat=3)
    wait_for(lambda: network.journaled() >= 2)
    network.running[0].kill()
    network.running[0].wait()
    wait_for(lambda: "the scheduler is gone" in run.said)
    time.sleep(1)
    network.scheduler()
    assert run.wait() == 0, run.said
    cells = network.cells()
    became("a scheduler killed and started again", cells)
    assert len(cells) == 2 * 3 * 3
    assert {each.outcome for each in cells} == {Outcome.PASS}
    assert not [each for each in cells if each.earlier]  # which was no fault of the boots


@SLOW
def test_a_full_disk_on_a_worker(network: Network, tmp_path: Path) -> None:
    """It is filled during a boot: what it had is run elsewhere, and it gets nothing more."""
    small = tmp_path / "one"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "none", str(small)], check=True)
    try:
        network.worker("one", KSTEP_LEAST_FREE="8")
        run = network.verify("lasts,short", repeat=3)
        wait_for(lambda: network.machines("one"))
        (small / "filled").write_bytes(bytes(20 << 20))
        wait_for(lambda: "gets nothing for now" in run.said or network.journaled() >= 1)
        network.worker("two")
        assert run.wait() == 0, run.said
        cells = network.cells()
        became("a disk filled during a boot", cells)
        assert len(cells) == 2 * 3 * 3
        assert {each.outcome for each in cells} == {Outcome.PASS}
    finally:
        for each in network.running:
            each.kill()
            each.wait()
        subprocess.run(["umount", "-l", str(small)], check=True)


@SLOW
def test_two_clients_at_once(network: Network) -> None:
    network.worker("one")
    network.worker("two")
    runs = [
        network.verify("does,short", 4, name, at)
        for name, at in (("run", "client"), ("another", "other"))
    ]
    for run in runs:
        assert run.wait() == 0, run.said
    for name in ("run", "another"):
        cells = network.cells(name)
        became(f"two clients: {name}", cells)
        assert len(cells) == 2 * 4 * 4
        assert {each.outcome for each in cells} == {Outcome.PASS}


@SLOW
def test_a_client_that_is_killed_leaves_no_machine_and_is_resumed(network: Network) -> None:
    network.worker("one")
    run = network.verify("lasts", repeat=3)
    wait_for(lambda: network.journaled() >= 1)
    wait_for(lambda: network.machines("one"))
    run.kill()
    run.wait()
    wait_for(lambda: not network.machines("one"), 20)
    before = {each.cell: each.seconds for each in network.cells()}
    again = network.verify("lasts", 3, "run", "other", "resume")
    assert again.wait() == 0, again.said
    cells = network.cells()
    became("a client killed and resumed", cells)
    assert len(cells) == 2 * 2 * 3
    assert before.items() <= {each.cell: each.seconds for each in cells}.items()


@SLOW
def test_a_worker_lost_in_a_build(network: Network, tmp_path: Path) -> None:
    """Another one builds what is left, from the source that it is sent: the same kernels."""
    network.worker("one")
    run = network.build()
    objects = tmp_path / "one/cache/build"
    wait_for(lambda: list(objects.rglob("a.o")))
    network.worker("two")
    network.running[1].kill()
    assert run.wait() == 0, run.said
    assert "a worker was lost" in run.said, run.said
    print(f"\na worker killed in a build:\n{run.said}")  # noqa: T201 -- for the reader
    here = network.build("here")
    assert here.wait() == 0, here.said
    assert run.said.splitlines()[-1] == here.said.splitlines()[-1]


@SLOW
def test_a_worker_of_another_kstep_gets_nothing(network: Network) -> None:
    network.worker("one", KSTEP_TEST_QEMU="qemu of tomorrow")
    run = network.verify("short")
    wait_for(lambda: "gets nothing" in run.said)
    assert "has another QEMU, gdb or suite" in run.said
    network.worker("two")
    assert run.wait() == 0, run.said
    assert not (network.folder / "one/cache/shipped").exists()


@SLOW
def test_with_tls_only_who_has_a_certificate_gets_in(tmp_path: Path) -> None:
    made = Network(tmp_path)
    try:
        made.secure()
        made.scheduler()
        made.worker("one")
        run = made.verify("short")
        assert run.wait() == 0, run.said
        secure, made.certificates = made.certificates, None
        plain = made.verify("short", 1, "another", "other")
        assert plain.wait() == 3
        assert "no scheduler answers" in plain.said
        made.certificates = secure
        made.secure()  # of another authority
        strange = made.verify("short", 1, "third", "other")
        assert strange.wait() == 3
        assert "no scheduler answers" in strange.said
    finally:
        made.close()


@SLOW
def test_a_worker_that_is_cut_off(network: Network) -> None:
    """Nothing says that it is gone: dask's timeout of a connection, half a minute, decides."""
    network.worker("one")
    network.worker("two")
    run = network.verify("lasts", repeat=6)
    wait_for(lambda: network.machines("one"))
    network.set("one", delay=0, loss=1)
    assert run.wait() == 0, run.said
    cells = network.cells()
    became("a worker cut off", cells)
    assert len(cells) == 2 * 2 * 6
    assert {each.outcome for each in cells} == {Outcome.PASS}
