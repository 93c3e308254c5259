# SPDX-License-Identifier: GPL-2.0-only
"""A boot is data: it can be sent elsewhere, with the files that it names."""

from __future__ import annotations

import pickle
import shutil
from typing import TYPE_CHECKING

from kstep.base.outcome import Outcome
from kstep.run import runner
from tests.unit.fakeboot import Bench
from tests.unit.fakeqemu import FakeToolchain

if TYPE_CHECKING:
    from pathlib import Path


def test_a_boot_needs_nothing_but_what_it_names(tmp_path: Path) -> None:
    """Sent as bytes, its inputs copied by key; what it was made from is gone by then."""
    here, there = tmp_path / "here", tmp_path / "there"
    boot = Bench(here).boot("true", "panic")
    sent = pickle.dumps(boot)
    there.mkdir()
    paths = {}
    for each in boot.inputs:
        paths[each.path] = there / each.key
        (shutil.copytree if each.path.is_dir() else shutil.copy)(each.path, paths[each.path])
    shutil.rmtree(here)
    (there / "log").mkdir()
    (there / "run").mkdir()
    arrived = pickle.loads(sent).moved(paths)  # noqa: S301 -- our own
    results = list(runner.run(arrived, FakeToolchain(there / "log"), there / "run"))
    assert pickle.loads(pickle.dumps(results)) == results  # noqa: S301 -- likewise
    assert [result.outcome for result in results] == [Outcome.PASS, Outcome.FAIL]
    for result in results:
        for file in result.files.values():
            assert (there / "run" / file).is_file()


def test_a_key_stands_for_content(tmp_path: Path) -> None:
    one, other = Bench(tmp_path / "one"), Bench(tmp_path / "other")
    keys = [each.key for each in one.boot("true").inputs]
    assert keys == [each.key for each in other.boot("true").inputs]
    assert len(set(keys)) == 3
    other.initramfs.write_bytes(b"y")
    (other.sessions / "more.py").write_text("")
    changed = [each.key for each in other.boot("true").inputs]
    assert [a == b for a, b in zip(keys, changed, strict=True)] == [True, False, False]
