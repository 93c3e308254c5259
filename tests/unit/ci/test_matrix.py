# SPDX-License-Identifier: GPL-2.0-only
"""The jobs of a CI run: trees and configurations that there are."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from ci.matrix import UNKNOWN, balanced, matrix
from kstep.base.errors import RequestError
from kstep.build import kconfig
from kstep.run import request
from kstep.session import seconds, session
from kstep.session.session import BY_NIGHT
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
        asked = request.look_up(
            ROOT,
            series_specs=["v5", "v6"],
            tree_specs=[job["tree"]],
            kconfig_names=[job["kconfig"]],
            compiler_names=[job["compiler"]],
            suite_names=[job["suite"]] if job["suite"] else [],
            variant_names=[name for name in job["variants"].split(",") if name],
        )
        assert [each.name for each in asked.kconfigs] == [job["kconfig"]]
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
    settled = {
        each.name for each in SESSIONS.values() if not each.unsettled or each.unsettled == BY_NIGHT
    }
    assert all(names == settled for names in run.values())


def test_by_night_other_tools_and_configurations_are_run_too() -> None:
    """Configurations on the versions that they are for."""
    jobs = json.loads(matrix("nightly"))["include"]
    ours = {"rt", "kasan", "debug", "pages64k", "clang-hardened"}
    assert ours <= {job["kconfig"] for job in jobs}
    assert {job["compiler"] for job in jobs} == {"gcc", "clang"}
    assert {"", "trixie", "sid"} == {job["suite"] for job in jobs}
    for job in jobs:
        config = kconfig.load(job["kconfig"], KCONFIGS)
        version = job["tree"].removeprefix("debian:")
        every = frozenset(line.name for line in config.lines)
        config.require_known(f"{version}.1", every)


@pytest.mark.parametrize(("kind", "shards"), [("slim", 2), ("slim", 5), ("nightly", 3)])
def test_shards_have_all_that_the_whole_job_has_once(kind: str, shards: int) -> None:
    whole = {job["name"]: job for job in json.loads(matrix(kind))["include"]}
    parts: dict[str, list[str]] = {name: [] for name in whole}
    for part in json.loads(matrix(kind, shards))["include"]:
        of, _, number = part["name"].rpartition("-")
        assert 1 <= int(number) <= shards
        assert {**part, "name": of, "sessions": ""} == {**whole[of], "sessions": ""}
        parts[of] += part["sessions"].split(",")
    for name, job in whole.items():
        config = kconfig.load(job["kconfig"], KCONFIGS)
        asked = job["sessions"].split(",") if job["sessions"] else []
        assert sorted(parts[name]) == sorted(
            each.name
            for each in SESSIONS.values()
            if each.name in asked or not (asked or each.unsettled)
            if not any(map(config.surely_lacks, each.needs))
        )


def test_shards_take_about_as_long_as_each_other() -> None:
    usual = seconds.load(ROOT / "tests/sessions")
    times = []
    for part in json.loads(matrix("slim", 4))["include"]:
        known = (seconds.of(SESSIONS[name], usual) for name in part["sessions"].split(","))
        times.append(sum(each or UNKNOWN for each in known))
    assert max(times) < 1.1 * min(times)


def test_there_are_no_empty_shards() -> None:
    assert balanced({"a": 1.0, "b": 9.0}, 5) == [["b"], ["a"]]


@pytest.mark.parametrize("shards", [0, -1, 65])
def test_a_number_of_shards_that_cannot_be_is_refused(shards: int) -> None:
    with pytest.raises(RequestError, match=rf"^--shards {shards}: must be between 1 and 64$"):
        matrix("slim", shards)


def test_another_one_is_refused() -> None:
    with pytest.raises(RequestError, match=r'no matrix "nightlie"; did you mean "nightly"\?'):
        matrix("nightlie")
