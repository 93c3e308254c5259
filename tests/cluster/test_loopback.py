# SPDX-License-Identifier: GPL-2.0-only
"""A cluster on the loopback interface, which needs neither root nor certificates."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from kstep.base.outcome import Outcome
from tests.cluster.network import Loopback

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Loopback]:
    """Give a place; nothing runs yet."""
    made = Loopback(tmp_path)
    try:
        yield made
    finally:
        made.close()


def test_a_run_on_a_worker_of_this_host(cluster: Loopback) -> None:
    cluster.scheduler()
    cluster.worker("one", jobs=2, KSTEP_CLUSTER_INSECURE="")
    run = cluster.verify("does,short", repeat=2)
    assert run.wait() == 0, run.said
    assert "1 workers, 2 machines" in run.said
    cells = cluster.cells()
    assert len(cells) == 2 * 4 * 2
    assert {each.outcome for each in cells} == {Outcome.PASS}
    for each in cells:
        console = cluster.place.folder / "run" / each.files["console_log"]
        assert "KSTEP-END" in console.read_text()


def test_no_scheduler_is_told_in_a_line(cluster: Loopback) -> None:
    run = cluster.verify("short")
    assert run.wait() == 3
    (line,) = [line for line in run.said.splitlines() if line.startswith("kstep: ")]
    assert f"--scheduler {cluster.url}: no scheduler answers" in line
    assert "Traceback" not in run.said
