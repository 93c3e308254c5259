# SPDX-License-Identifier: GPL-2.0-only
"""cover-letter.txt: for which series there is one, and what stands in it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from kstep.report.cover import cover
from kstep.results.provenance import PatchRecord, SeriesPatch, SeriesRecord
from tests.unit.results.material import a_cell, a_record

if TYPE_CHECKING:
    from pathlib import Path

V7 = SeriesRecord(
    "v7",
    "arm64: steps",
    "Steps do not work.\n\n  They do now.\n",
    (
        SeriesPatch("1", "one", {"": {"a.c": (3, 1)}}),
        SeriesPatch("2", "two", {"": {"a.c": (1, 0)}, "old/2.patch": {"long/b.c": (200, 100)}}),
    ),
)


def letter(
    folder: Path, series: SeriesRecord = V7, variant: str = "v7/1+2", port: str | None = None
) -> str:
    cells = [
        a_cell("none", "fixed", seen="stuck"),
        a_cell(variant, "fixed"),
        a_cell("none", "both", seen="stuck"),
        a_cell(variant, "both", seen="livelock", message="too many"),
    ]
    record = a_record(folder, *cells)
    patches = (PatchRecord("v7/1", "", "applied"), PatchRecord("v7/2", "", "applied", port))
    record.add_kernel(replace(record.kernels[0], variant=variant, patches=patches))
    record.series = {series.name: series}
    return cover(record)


def test_the_letter_has_the_text_the_results_the_subjects_and_the_files(tmp_path: Path) -> None:
    text = letter(tmp_path)
    places = ["Subject: [PATCH v7 0/2] arm64: steps\n\nSteps do not work.\n\n  They do now.\n\n"]
    places += ["1 of 2 tests pass", "fixes 1 of 2 failing", "breaks nothing"]
    places += ["both: livelock, without the series too: too many"]
    places += ["YOUR NAME (2):\n  one\n  two\n\n a.c | 5 ++++-\n"]
    places += [" 1 file changed, 4 insertions(+), 1 deletion(-)\n\n-- \n"]
    found = [text.index(place) for place in places]
    assert found == sorted(found)


def test_the_lines_are_those_of_the_port_that_was_used(tmp_path: Path) -> None:
    text = letter(tmp_path, port="old/2.patch")
    assert " a.c      |   4 +-\n" in text
    assert " 2 files changed, 203 insertions(+), 101 deletions(-)" in text
    assert max(map(len, text.splitlines())) <= 79


def test_only_a_whole_series_with_a_text_has_a_letter(tmp_path: Path) -> None:
    assert not letter(tmp_path, variant="v7/1")
    assert not letter(tmp_path, SeriesRecord("v7", "arm64: steps", None, V7.patches))


def test_a_series_that_is_no_revision_has_no_number(tmp_path: Path) -> None:
    named = SeriesRecord("steps", "arm64: steps", "Text.", V7.patches)
    assert letter(tmp_path, named, "steps/1+2").startswith("Subject: [PATCH 0/2] arm64: steps\n")
