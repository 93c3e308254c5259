# SPDX-License-Identifier: GPL-2.0-only
"""results.json: written, read again, and refused where it is another."""

from __future__ import annotations

import errno
import json
import os
import re
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from kstep.base import temporary
from kstep.base.errors import MachineryError, RequestError
from kstep.base.outcome import Outcome, Signature
from kstep.results import journal
from kstep.results import record as records
from kstep.results.cell import Try
from kstep.results.provenance import LeftOut, TreeRecord
from kstep.results.record import Record, load
from tests.unit.results.material import a_cell, a_record

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kstep.results.cell import CellRecord

ROOT = Path(__file__).parents[3]


def validate(path: Path) -> dict[str, Any]:
    """Load a results.json, which raises where it is not valid; answer what JSON it holds."""
    load(path)
    data: dict[str, Any] = json.loads((path / "results.json").read_text("utf-8"))
    return data


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize(
    ("none", "seen", "matched"),
    [
        (["pass"], "pass", True),
        (["pass"], "stuck", False),
        (["stuck"], "pass", True),
        (["stuck"], "stuck", True),
        (["stuck"], "panic", True),
        (["stuck"], "no-boot", False),
        (["pass", "stuck"], "stuck", True),
        (["no-boot"], "stuck", False),
        (["no-boot"], "pass", True),
        ([], "stuck", False),
    ],
)
def test_what_nobody_described_is_held_against_none(
    tmp_path: Path,
    none: list[str],
    seen: str,
    late: bool,  # noqa: FBT001 -- a row
    matched: bool,  # noqa: FBT001 -- likewise
) -> None:
    """Whichever comes first, and also when the file is read again."""
    measure = [a_cell("none", seen=word, held=True, repeat=n) for n, word in enumerate(none, 1)]
    judged_cell = a_cell("mine/1", seen=seen, held=True)
    other = a_cell("mine/1", "kgdbts", seen="stuck", held=True)
    record = a_record(tmp_path, *([] if late else measure))
    record.write()
    for each in (judged_cell, other, *(measure if late else [])):
        record.add(each)
    record.write()
    data = validate(tmp_path)
    for cells in (record.cells, load(tmp_path).cells):
        found = {each.cell: each for each in cells}
        assert found[judged_cell.cell].matched is matched
        assert not found[other.cell].matched
        for each in measure:
            assert found[each.cell].matched is (each.outcome is not Outcome.ERROR)
    assert {each["held_against"] for each in data["cells"]} == {"none"}
    assert [each["matched"] for each in data["cells"] if each["variant"] != "none"] == [
        matched,
        False,
    ]


def test_a_described_cell_is_not_held_against_none(tmp_path: Path) -> None:
    record = a_record(tmp_path, a_cell("none", seen="stuck"), a_cell("v6/1", seen="stuck"))
    assert [each.matched for each in record.cells] == [False, False]


def test_what_was_left_out_is_kept(tmp_path: Path) -> None:
    record = a_record(tmp_path)
    record.left_out = (LeftOut("debian:6.1", "mine/2", "it needs 1"),)
    record.write()
    (left_out,) = validate(tmp_path)["left_out"]
    assert left_out["why"] == "it needs 1"
    assert load(tmp_path).left_out == record.left_out


def test_the_file_holds_exactly_what_the_design_names(tmp_path: Path) -> None:
    record = a_record(tmp_path)
    record.add(a_cell("none", seen="stuck", wanted="stuck", metrics={"steps": 300}))
    record.add(a_cell("v5/1", files={"console_log": "cells/x/console.log"}))
    data = validate(tmp_path)
    assert list(data) == [
        "schema",
        "run",
        "request",
        "toolchain",
        "trees",
        "kernels",
        "sessions",
        "cells",
        "verdict",
    ]
    assert data["schema"] == 1
    assert data["run"]["host"] == {"cores": 2}
    (kernel,) = data["kernels"]
    assert kernel["patches"][-1] == {
        "id": "v5/2",
        "sha256": "5e" * 32,
        "action": "reverted",
        "port": None,
    }
    stuck, _ = data["cells"]
    assert stuck == {
        "tree": "debian:6.1",
        "kconfig": "base",
        "variant": "none",
        "session": "step-in-order",
        "case": "up_read",
        "repeat": 1,
        "compiler": "gcc",
        "suite": "",
        "outcome": "fail",
        "signature": "stuck",
        "expected": {"outcome": "fail", "signature": "stuck"},
        "matched": True,
        "message": "",
        "seconds": 1.5,
        "boot_seconds": 4.0,
        "metrics": {"steps": 300},
        "files": {},
    }
    assert data["verdict"] == {
        "debian:6.1/base/v5/1": {
            "fixed": ["step-in-order[up_read]"],
            "regressed": [],
            "unchanged": [],
        }
    }


def test_it_is_valid_from_the_beginning_and_after_every_addition(tmp_path: Path) -> None:
    record = a_record(tmp_path)
    record.write()
    assert validate(tmp_path)["cells"] == []
    record.add_tree(TreeRecord("path:/linux", "6.12", None))
    record.add_kernel(replace(record.kernels[0], variant="v5/2", same_as="none"))
    record.add(a_cell())
    data = validate(tmp_path)
    assert [tree["id"] for tree in data["trees"]] == ["debian:6.1", "path:/linux"]
    assert [kernel["same_as"] for kernel in data["kernels"]] == [None, "none"]
    assert len(data["cells"]) == 1
    assert {file.name for file in tmp_path.iterdir()} == {"results.json", "cells.jsonl"}


def test_a_cell_that_ran_again_takes_the_place_of_the_former(tmp_path: Path) -> None:
    record = a_record(tmp_path)
    record.add(a_cell(seen="no-boot"))
    record.add(a_cell(seen="pass"))
    record.write()
    assert [cell["outcome"] for cell in validate(tmp_path)["cells"]] == ["pass"]


def test_a_loaded_record_is_the_one_that_was_written(tmp_path: Path) -> None:
    record = a_record(tmp_path)
    record.add(a_cell("none", seen="no-boot", wanted="stuck", message="line\n\x1b[1m \ud800 é |"))
    record.add(a_cell("v6/1+2", "perf", repeat=20, metrics={"steps": 3, "rate": 0.5}))
    for path in (tmp_path, tmp_path / "results.json"):
        again = load(path)
        assert again.run == record.run
        assert again.toolchain == record.toolchain
        assert again.request == record.request
        assert again.trees == record.trees
        assert again.kernels == record.kernels
        assert again.sessions == record.sessions
        assert again.cells == record.cells
        assert again.folder == tmp_path


def test_the_seconds_of_a_run_that_goes_on_add_up(tmp_path: Path) -> None:
    record = a_record(tmp_path)
    record.run = replace(record.run, seconds=100.0)
    again = Record(tmp_path, record.run, record.toolchain)
    again.write()
    assert 100 <= again.run.seconds < 160


def test_a_metric_that_json_cannot_hold_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    record = a_record(tmp_path, a_cell())
    record.write()
    before = (tmp_path / "results.json").read_bytes()
    with pytest.raises(ValueError, match="JSON"):
        record.add(a_cell("v5/1", metrics={"steps_per_second": float("nan")}))
    assert (tmp_path / "results.json").read_bytes() == before


def test_a_folder_that_cannot_be_written_is_said_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(MachineryError, match=r"results\.json: cannot be written: .+") as raised:
        a_record(tmp_path / "gone").write()
    assert "\n" not in str(raised.value)


KILLED = """
import sys, pathlib
from tests.unit.results.material import a_cell, a_record
record = a_record(pathlib.Path(sys.argv[1]))
for repeat in range(1, 1_000_000):
    record.add(a_cell(repeat=repeat))
    print(repeat, flush=True)
"""


def test_no_finished_cell_is_lost_when_kstep_is_killed(tmp_path: Path) -> None:
    writer = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(tmp_path)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert writer.stdout is not None
    for line in writer.stdout:
        if int(line) == 40:
            break
    writer.send_signal(signal.SIGKILL)
    finished = 40 + len(writer.stdout.readlines())
    writer.wait()
    validate(tmp_path)
    assert len(load(tmp_path).cells) in {finished, finished + 1}


def test_a_further_cell_is_a_line_however_many_there_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file is written as often as the number of cells grows by a quarter."""
    written = 0
    replace_file = temporary.replace

    def count(path: Path, text: Iterable[str], *, synced: bool) -> None:
        nonlocal written
        text = list(text)
        written += sum(map(len, text))
        replace_file(path, text, synced=synced)

    monkeypatch.setattr(temporary, "replace", count)
    monkeypatch.setattr(os, "fdatasync", lambda _file: None)
    record = a_record(tmp_path)
    record.write()
    for number in range(500):
        record.add(a_cell(("none", "v5/1")[number % 2], repeat=number + 1))
    journal = (tmp_path / "cells.jsonl").stat().st_size
    assert len((tmp_path / "cells.jsonl").read_text().splitlines()) == 500
    assert written < 6 * journal
    kept = len(validate(tmp_path)["cells"])
    assert 500 / 1.26 < kept < 500
    assert len(load(tmp_path).cells) == 500
    record.write()
    assert len(validate(tmp_path)["cells"]) == 500
    assert load(tmp_path).cells == record.cells


def test_of_held_cells_none_is_looked_at_again_but_where_the_file_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = a_record(tmp_path)
    for number in range(1, 51):
        record.add(a_cell("mine/1", seen="stuck", held=True, repeat=number))
    record.add(a_cell("none", seen="stuck", held=True))
    assert all(each.matched for each in record.cells)
    put: list[CellRecord] = []
    line = records._line

    def note(cell: CellRecord) -> str:
        put.append(cell)
        return line(cell)

    monkeypatch.setattr(records, "_line", note)
    for number in range(2, 50):
        record.add(a_cell("none", seen="stuck", held=True, repeat=number))
    assert len(put) < 6 * 98  # the file is written as the record grows by a quarter
    # One that ran again: no repeat of none fails any more, so all are worse than it.
    for number in range(1, 50):
        record.add(a_cell("none", held=True, repeat=number))
    assert not any(each.matched for each in record.cells if each.cell.variant == "mine/1")
    assert load(tmp_path).cells == record.cells


@pytest.mark.parametrize(
    ("none", "seen", "matched"),
    [("stuck", "panic", False), ("panic", "panic", True), ("panic", "stuck", True)],
)
def test_a_death_at_boot_is_worse_than_another_failure(
    tmp_path: Path,
    none: str,
    seen: str,
    matched: bool,  # noqa: FBT001 -- a row
) -> None:
    record = a_record(tmp_path)
    for variant, word in (("none", none), ("mine/1", seen)):
        died = word == "panic"
        record.add(a_cell(variant, seen=word, held=True, died_at_boot=died))
    for cells in (record.cells, load(tmp_path).cells):
        assert [each.matched for each in cells] == [True, matched]


# -- the journal


def lines_of(path: Path) -> list[str]:
    """Read the lines of a run's journal."""
    return (path / "cells.jsonl").read_text().splitlines()


@pytest.mark.parametrize(
    "torn", ['{"tree": "debi', '{"tree": "debian:6.1"', "\0\0\0", "\0\0\n", "[1]\n"]
)
def test_a_torn_last_line_is_dropped_and_the_next_is_a_line_of_its_own(
    tmp_path: Path, torn: str
) -> None:
    """The power was cut while it was written."""
    record = a_record(tmp_path)
    record.write()
    for number in (1, 2):
        record.add(a_cell(repeat=number))
    with (tmp_path / "cells.jsonl").open("a") as stream:
        stream.write(torn)
    again = load(tmp_path)
    assert [each.cell.repeat for each in again.cells] == [1, 2]
    again.add(a_cell(repeat=3))
    assert len(lines_of(tmp_path)) == 3
    assert [each.cell.repeat for each in load(tmp_path).cells] == [1, 2, 3]


def test_a_torn_only_line_is_dropped(tmp_path: Path) -> None:
    record = a_record(tmp_path)
    record.write()
    (tmp_path / "cells.jsonl").write_text('{"tree')
    record.add(a_cell())
    assert len(lines_of(tmp_path)) == 1
    assert load(tmp_path).cells == record.cells


@pytest.mark.parametrize(
    ("line", "what"),
    [("garbage", "not a cell's result"), ('{"tree": "x"}', "not a cell of schema 1 .*kconfig")],
)
def test_another_broken_line_is_named(tmp_path: Path, line: str, what: str) -> None:
    record = a_record(tmp_path, a_cell())
    record.write()
    record.add(a_cell(repeat=2))
    good = lines_of(tmp_path)
    (tmp_path / "cells.jsonl").write_text("\n".join([*good, line, *good]) + "\n")
    with pytest.raises(RequestError, match=rf"cells\.jsonl:2: {what}.*; remove the line"):
        load(tmp_path)


def test_the_later_line_of_a_cell_counts(tmp_path: Path) -> None:
    record = a_record(tmp_path)
    record.write()
    record.add(a_cell(seen="no-boot"))
    record.add(a_cell(repeat=2))
    record.add(a_cell(seen="stuck"))
    assert len(lines_of(tmp_path)) == 3
    assert [each.seen for each in load(tmp_path).cells] == ["stuck", "pass"]


def test_a_file_that_was_left_behind_is_told(tmp_path: Path) -> None:
    record = a_record(tmp_path, a_cell())
    record.write()
    assert not load(tmp_path).is_ahead
    journal.Journal(tmp_path).append(records._line(a_cell(repeat=2)))
    behind = load(tmp_path)
    before = behind.is_ahead
    behind.write()
    assert (before, behind.is_ahead, load(tmp_path).is_ahead) == (True, False, False)
    assert len(validate(tmp_path)["cells"]) == 2


def test_a_file_by_another_name_has_no_journal(tmp_path: Path) -> None:
    record = a_record(tmp_path, a_cell())
    record.write()
    (tmp_path / "results.json").rename(tmp_path / "before.json")
    record.add(a_cell(repeat=2))
    assert len(load(tmp_path / "before.json").cells) == 1


def test_a_full_disk_leaves_the_journal_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = a_record(tmp_path)
    record.write()
    record.add(a_cell())
    before = (tmp_path / "cells.jsonl").read_bytes()

    def full(_file: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fdatasync", full)
        with pytest.raises(MachineryError, match=r"cells\.jsonl: cannot be written: No space"):
            record.add(a_cell(repeat=2))
    assert (tmp_path / "cells.jsonl").read_bytes() == before
    assert len(record.cells) == 1


def test_earlier_tries_are_kept(tmp_path: Path) -> None:
    first = Try(Outcome.ERROR, Signature.MACHINE_DIED, "QEMU ended", 3.5, 2.0, {"trace": "x"})
    record = a_record(tmp_path)
    record.add(a_cell(earlier=(first,)))
    (cell,) = validate(tmp_path)["cells"]
    assert cell["earlier"] == [
        {
            "outcome": "error",
            "signature": "machine-died",
            "message": "QEMU ended",
            "seconds": 3.5,
            "boot_seconds": 2.0,
            "files": {"trace": "x"},
        }
    ]
    assert load(tmp_path).cells == record.cells


def test_inputs_are_kept(tmp_path: Path) -> None:
    record = a_record(tmp_path)
    record.inputs = {"patch v6/1": "4d" * 32}
    record.write()
    assert validate(tmp_path)["inputs"] == record.inputs
    assert load(tmp_path).inputs == record.inputs


def test_what_has_finished_is_not_put_into_words_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file is written with every cell; what that costs must not grow with their square."""
    put = 0

    def count(cell: CellRecord) -> str:
        nonlocal put
        put += 1
        return line(cell)

    line = records._line
    monkeypatch.setattr(records, "_line", count)
    record = a_record(tmp_path)
    for number in range(100):
        record.add(a_cell(("none", "v5/1")[number % 2], repeat=number + 1))
    assert put <= 2 * 100  # once for the journal, once to keep
    record.write()
    assert len(validate(tmp_path)["cells"]) == 100


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "not JSON"),
        ('{"schema": 1,\n\n "run": ', r":3: not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[]", "not results of schema 1"),
        ("{}", "not results of schema 1"),
        ('{"schema": 2}', "schema 2, not 1: use the kstep that wrote it"),
        ('{"schema": "1"}', "not results of schema 1"),
    ],
)
def test_another_file_is_refused_in_one_line(tmp_path: Path, text: str, what: str) -> None:
    (tmp_path / "results.json").write_text(text)
    with pytest.raises(RequestError, match=what) as raised:
        load(tmp_path)
    assert str(raised.value).startswith(str(tmp_path / "results.json"))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("where", "value"),
    [
        (("cells", 0, "outcome"), "passed"),
        (("cells", 0, "signature"), "sticky"),
        (("cells", 0, "colour"), "red"),
        (("cells", 0, "repeat"), 0),
        (("run", "argv"), "verify"),
        (("kernels", 0, "patches", 0, "action"), "tried"),
        (("request", "repeat"), 0),
        (("request", "series"), "v6"),
        (("request", "colour"), "red"),
        (("run", "host", "merged"), [{"request": {}}]),
        (("more",), 1),
    ],
)
def test_a_wrong_value_is_named(tmp_path: Path, where: tuple[Any, ...], value: object) -> None:
    a_record(tmp_path, a_cell()).write()
    data = validate(tmp_path)
    place: Any = data
    for key in where[:-1]:
        place = place[key]
    place[where[-1]] = value
    (tmp_path / "results.json").write_text(json.dumps(data))
    with pytest.raises(RequestError, match=re.escape(str(where[-1]))):
        load(tmp_path)


def test_a_run_of_before_there_were_sessions_is_read(tmp_path: Path) -> None:
    a_record(tmp_path, a_cell()).write()
    data = validate(tmp_path)
    del data["sessions"]
    (tmp_path / "results.json").write_text(json.dumps(data))
    assert load(tmp_path).sessions == {}


def test_a_run_of_before_requests_were_kept_is_read(tmp_path: Path) -> None:
    a_record(tmp_path, a_cell()).write()
    data = validate(tmp_path)
    del data["request"]
    (tmp_path / "results.json").write_text(json.dumps(data))
    again = load(tmp_path)
    assert again.request is None
    again.write()
    assert "request" not in validate(tmp_path)


def test_binary_and_missing_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "results.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RequestError, match="not JSON"):
        load(tmp_path)
    with pytest.raises(RequestError, match=r"nowhere: cannot be read \(No such file"):
        load(tmp_path / "nowhere")


def test_the_schema_knows_every_word() -> None:
    schema = json.loads((ROOT / "kstep/results/results.schema.json").read_text())
    assert set(schema["$defs"]["signature"]["enum"]) == {None, *Signature}
    assert set(schema["$defs"]["outcome"]["enum"]) == set(Outcome)


@pytest.mark.parametrize("name", ["gone.log", "../secret", "/etc/hostname", "", "a\0b", "run"])
def test_tail_is_empty_without_a_log_in_the_run(tmp_path: Path, name: str) -> None:
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "run" / "run").mkdir(parents=True)
    record = a_record(tmp_path / "run")
    assert record.tail(a_cell(files={"console_log": name})) == []
    assert record.tail(a_cell()) == []
