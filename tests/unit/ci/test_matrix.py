# SPDX-License-Identifier: GPL-2.0-only
"""The jobs of a CI run: trees and configurations that there are."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from ci.matrix import matrix
from kstep.base.errors import RequestError
from kstep.build import kconfig
from kstep.session import session
from kstep.source import tree

ROOT = Path(__file__).parents[3]
KCONFIGS = ROOT / kconfig.FOLDER
SESSIONS = session.load(ROOT / "tests/sessions")


@pytest.mark.parametrize("kind", ["slim", "nightly"])
def test_every_job_names_what_there_is(kind: str) -> None:
    text = matrix(kind)
    assert "\n" not in text
    jobs = json.loads(text)["include"]
    for job in jobs:
        assert tree.parse(job["tree"]).kind == "debian"
        assert kconfig.load(job["kconfig"], KCONFIGS).name == job["kconfig"]
        assert job["repeat"] >= 1
        for name in filter(None, job["sessions"].split(",")):
            assert name in SESSIONS
        assert re.fullmatch(r"[a-z0-9.-]+", job["name"])
    assert len({job["name"] for job in jobs}) == len(jobs)


def test_the_slim_one_is_part_of_the_nightly_one() -> None:
    slim, nightly = (
        {job["name"] for job in json.loads(matrix(k))["include"]} for k in ("slim", "nightly")
    )
    assert slim < nightly


def test_by_night_every_settled_session_is_run_on_every_tree() -> None:
    jobs = json.loads(matrix("nightly"))["include"]
    run: dict[str, set[str]] = {job["tree"]: set() for job in jobs}
    for job in jobs:
        config = kconfig.load(job["kconfig"], KCONFIGS)
        run[job["tree"]] |= {
            each.name
            for each in SESSIONS.values()
            if each.name in job["sessions"].split(",") or not (job["sessions"] or each.unsettled)
            if not any(map(config.surely_lacks, each.needs))
        }
    settled = {each.name for each in SESSIONS.values() if not each.unsettled}
    assert all(names == settled for names in run.values())


def test_another_one_is_refused() -> None:
    with pytest.raises(RequestError, match=r'no matrix "nightlie"; did you mean "nightly"\?'):
        matrix("nightlie")
