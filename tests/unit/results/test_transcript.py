# SPDX-License-Identifier: GPL-2.0-only
"""The console of a cell: every byte written down, and read back as a person saw it."""

from __future__ import annotations

import itertools
import re
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from kstep.results.printable import printable
from kstep.results.transcript import Transcript, tail
from tests.unit.results.material import read_back

if TYPE_CHECKING:
    import pytest


@given(st.lists(st.tuples(st.sampled_from("<>"), st.binary())))
def test_a_transcript_gives_back_every_byte(said: list[tuple[str, bytes]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "console.log"
        with Transcript(path, time.monotonic()) as transcript:
            for direction, data in said:
                transcript.add(direction, data)
        rows = read_back(path)

    def joined(pairs: list[tuple[str, bytes]]) -> list[tuple[str, bytes]]:
        groups = itertools.groupby(pairs, key=lambda pair: pair[0])
        whole = [(direction, b"".join(data for _, data in group)) for direction, group in groups]
        return [(direction, data) for direction, data in whole if data]

    spoken = [pair for pair in said if pair[1]]
    assert joined([(direction, data) for _, direction, data in rows]) == joined(spoken)
    assert [time for time, _, _ in rows] == sorted(time for time, _, _ in rows)


def test_a_transcript_has_a_record_a_line_and_hides_no_control_character(tmp_path: Path) -> None:
    with Transcript(tmp_path / "log", time.monotonic()) as transcript:
        transcript.add("<", b'a "b"\r\n\x1b[0m\\\n')
    texts = [line.split(" ", 2)[2] for line in (tmp_path / "log").read_text().splitlines()]
    assert texts == [r'"a \"b\"\r\n"', r'"\x1b[0m\\\n"']


CONSOLE = r"""
0.100000 < "[    0.0] Booting\r\n[    0"
0.110000 < ".1] \x1b[1mLinux\x1b[m \"6.1\"\r\n"
0.500000 < "[0]kdb> "
0.600000 > "ss\r"
0.610000 < "ss\r\r\nback\\slash\x07\r\n"
what is this
0.7 < "cut off in the mid"""


def test_tail(tmp_path: Path) -> None:
    (tmp_path / "console.log").write_text(CONSOLE.lstrip())
    assert tail(tmp_path / "console.log", 40) == [
        "[    0.0] Booting",
        '[    0.1] Linux "6.1"',
        "[0]kdb>",
        "> ss",
        "ss",
        r"back\slash\x07",
        "what is this",
        '0.7 < "cut off in the mid',
    ]
    assert tail(tmp_path / "console.log", 2) == ["what is this", '0.7 < "cut off in the mid']


def test_tail_of_a_long_log_begins_with_a_whole_record(tmp_path: Path) -> None:
    lines = (f'{number}.0 < "line {number}\\r\\n"\n' for number in range(20_000))
    (tmp_path / "console.log").write_text("".join(lines))
    last = tail(tmp_path / "console.log", 1_000_000)
    assert last[-1] == "line 19999"
    assert 1000 < len(last) < 20_000
    assert all(re.fullmatch(r"line \d+", line) for line in last)


@given(st.binary(max_size=200))
def test_tail_takes_any_bytes(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "console.log"
    path.write_bytes(content)
    for line in tail(path, 40):
        assert line == printable(line)
        assert "\n" not in line
