# SPDX-License-Identifier: GPL-2.0-only
"""The order in which kernels are built."""

from __future__ import annotations

import itertools

from kstep.run import preparation


def test_kernels_that_differ_little_are_built_one_after_another() -> None:
    header, file = {"sched.h": b"x"}, {"entry.c": b"x"}
    wanted = [{}, file, {**file, "b.c": b"x"}, {**file, **header, "b.c": b"x"}, header]
    found = [preparation._distance(one, other) for one, other in itertools.pairwise(wanted)]
    assert found == [1, 1, 1, 2]
    assert preparation._distance({"a": None}, {}) == 1
    assert preparation._distance({"a": None}, {"a": b""}) == 1
    assert preparation._distance({"a": b"1"}, {"a": b"1"}) == 0
