# SPDX-License-Identifier: GPL-2.0-only
"""The jobs of a CI run: trees and configurations that there are."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from ci.matrix import matrix
from kstep import kconfig, tree
from kstep.errors import RequestError

KCONFIGS = Path(__file__).parents[3] / "kconfigs"


@pytest.mark.parametrize("kind", ["slim", "nightly"])
def test_every_job_names_what_there_is(kind: str) -> None:
    text = matrix(kind)
    assert "\n" not in text
    jobs = json.loads(text)["include"]
    for job in jobs:
        assert tree.parse(job["tree"]).kind == "debian"
        assert kconfig.load(job["kconfig"], KCONFIGS).name == job["kconfig"]
        assert job["repeat"] >= 1
        assert re.fullmatch(r"[a-z0-9.-]+", job["name"])
    assert len({job["name"] for job in jobs}) == len(jobs)


def test_the_slim_one_is_part_of_the_nightly_one() -> None:
    slim, nightly = (
        {job["name"] for job in json.loads(matrix(k))["include"]} for k in ("slim", "nightly")
    )
    assert slim < nightly


def test_another_one_is_refused() -> None:
    with pytest.raises(RequestError, match=r'"nightlie" .* did you mean "nightly"\?'):
        matrix("nightlie")
