# SPDX-License-Identifier: GPL-2.0-only
"""What the pictures are drawn from, made of traces that real kernels left."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from kstep.report.picture import ELSEWHERE, IN_INTERRUPT, IN_ORDER, Pictures
from kstep.results.trace import Taken, read
from tests.unit.report.material import INTERRUPTED, WALKED, long_path


def drawn(*traces: list[Taken], lines: dict[int, str] | None = None) -> dict[str, Any]:
    """Draw traces; what comes out must be JSON."""
    pictures = Pictures()
    for number, trace in enumerate(traces):
        assert pictures.add(trace, lines or {}) == number
    data: dict[str, Any] = json.loads(json.dumps(pictures.data))
    return data


def places(data: dict[str, Any], path: int = 0) -> list[str]:
    """Name the places that a path stood at."""
    found = []
    for index in data["paths"][path]["at"]:
        function, offset, *_ = data["instructions"][index]
        found.append(data["functions"][function] + (f"+{offset:#x}" if offset else ""))
    return found


def test_a_path_is_every_place_it_stood_at() -> None:
    steps = read(WALKED)
    data = drawn(steps)
    assert places(data) == [step.at for step in steps] + [steps[-1].to_at]
    assert data["paths"][0]["begins"] == [0]
    assert data["paths"][0]["spans"] == [[0, IN_ORDER]]
    assert data["paths"][0]["left"] == []


def test_an_instruction_names_what_it_goes_to() -> None:
    texts = [row[2] for row in drawn(read(WALKED))["instructions"]]
    assert texts[0] == "stp x29, x30, [sp, #-0x40]!"
    assert "bl inode_permission" in texts
    assert "cbnz x1, vfs_mkdir+0x134" in texts  # a branch that was not taken


def test_source_lines_stand_beside() -> None:
    steps = read(WALKED)
    data = drawn(steps, lines={steps[0].pc: "fs/namei.c:4143"})
    assert data["lines"] == ["fs/namei.c:4143"]
    assert [row[3] for row in data["instructions"][:2]] == [0, -1]


def test_a_step_into_the_interrupt_leaves_program_order_there() -> None:
    (path,) = drawn(read(INTERRUPTED))["paths"]
    assert path["left"] == [[0, ""]]
    assert path["spans"] == [[0, IN_ORDER], [1, IN_INTERRUPT]]


def test_a_path_that_comes_back_is_in_program_order_again() -> None:
    steps = read(INTERRUPTED)
    home = steps[0].expected[0]
    steps[-1] = replace(steps[-1], to=home, to_at="get_avenrun+0x4")
    steps.append(replace(steps[-1], number=5, pc=home, at="get_avenrun+0x4", in_order=True))
    (path,) = drawn(steps)["paths"]
    assert path["spans"] == [[0, IN_ORDER], [1, IN_INTERRUPT], [4, IN_ORDER]]


def test_where_no_interrupt_is_it_is_elsewhere() -> None:
    steps = [replace(read(INTERRUPTED)[0], to_at="panic+0x10", reason="Breakpoint")]
    (path,) = drawn(steps)["paths"]
    assert path["spans"] == [[0, IN_ORDER], [1, ELSEWHERE]]
    assert path["left"] == [[0, "Breakpoint"]]


def test_a_cell_may_have_several_paths() -> None:
    steps = [*read(INTERRUPTED), *read(WALKED)]
    (path,) = drawn(steps)["paths"]
    assert path["begins"] == [0, 5]
    assert len(path["at"]) == len(steps) + 2
    assert path["spans"][-1] == [5, IN_ORDER]


def test_equal_paths_are_there_once() -> None:
    pictures = Pictures()
    numbers = [pictures.add(read(trace), {}) for trace in (WALKED, INTERRUPTED, WALKED)]
    assert numbers == [0, 1, 0]
    assert pictures.add([], {}) is None


def test_ten_thousand_steps_stay_short() -> None:
    pictures = Pictures()
    pictures.add([Taken.from_json(step) for step in long_path(10_000)], {})
    assert len(json.dumps(pictures.data, separators=(",", ":"))) < 50_000


def test_hostile_names_are_text() -> None:
    step = replace(read(WALKED)[0], at="</script>\x1b+0x4", to_at="+0xzz", word=0xFFFFFFFF)
    data = drawn([step])
    assert data["functions"] == ["</script>\\x1b", "+0xzz"]
    assert data["instructions"][0][2] == ".word 0xffffffff"


def test_what_was_executed_is_said_of_its_step() -> None:
    plain = long_path(2)
    events = [
        {"vector": "0x280", "instructions": 2904, "abort": False},
        {"pc": "0x1000"},
        {"vector": "0x200", "instructions": None, "abort": False},
    ]
    steps = [plain[0], {**plain[1], "executed": events}]
    pictures = Pictures()
    pictures.add([Taken.from_json(step) for step in steps], {})
    (path,) = json.loads(json.dumps(pictures.data))["paths"]
    assert path["executed"] == [[1, "executed 1 of its own, 2904 in 1 exception before"]]
