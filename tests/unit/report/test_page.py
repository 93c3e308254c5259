# SPDX-License-Identifier: GPL-2.0-only
"""report.html as a parser reads it; a browser does so in tests/integration/test_page.py."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import time
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kstep.report.page import page
from tests.unit.report.material import WALKED, a_run, stepped, steps_of
from tests.unit.results.material import a_cell, a_record

if TYPE_CHECKING:
    from kstep.results.cell import CellRecord

NOWHERE = Path("/nonexistent")
VOID = {"meta", "input", "link", "br", "hr", "img"}


@pytest.fixture(autouse=True)
def _no_vega(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the library out, which is long and is nothing of ours."""
    monkeypatch.setattr("kstep.report.page.vega", lambda: "// vega")


class Read(HTMLParser):
    """A page taken apart: elements, texts, and whether every element is closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {}
        self.open: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element."""
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        """Close one: the last that was opened."""
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        """Note a text under its element."""
        if self.open:
            self.texts.setdefault(self.open[-1], []).append(data)


def test_the_verdict_stands_on_top_then_the_table_then_the_cells(tmp_path: Path) -> None:
    text = page(a_run(tmp_path))
    places = ["2 of 6 tests came out other", "Look first at", "<h3>v5/1</h3>"]
    places += ['class="map"', 'class="grid"', 'class="claim"']
    found = [text.index(place) for place in places]
    assert found == sorted(found)


def test_what_is_fixed_is_coloured_whatever_the_names_in_it_are() -> None:
    """Names come from others, and may look like the words around them."""
    cells = [a_cell("none", "nothing; breaks", "stuck"), a_cell("v5/1", "nothing; breaks")]
    text = " ".join(page(a_record(NOWHERE, *cells)).split())
    assert (
        '<summary><b class="pass">fixes 1 of 1 failing test</b>'
        ' <span class="share">nothing; breaks</span> </summary>'
    ) in text
    assert '<p class="none">breaks nothing: no test passes without it</p>' in text


def test_what_varies_stands_behind_the_verdict() -> None:
    cells = [a_cell(seen=("pass", "stuck")[n == 3], repeat=n) for n in range(1, 6)]
    cells += [a_cell("v5/1", repeat=n) for n in range(1, 6)]
    assert "passes 100% (57-100), unpatched 80% (38-96), p = 1." in page(a_record(NOWHERE, *cells))


def test_every_cell_is_in_the_map_with_a_letter_and_leads_to_its_detail(tmp_path: Path) -> None:
    text = page(a_run(tmp_path))
    above = text[text.index('class="map"') : text.index('class="choice"')]
    tiles = re.findall(r'<a href="#(\S+)" class="(\w+)" title="([^"]+)">(.)</a>', above)
    base = "cells/debian=6.1/base/"
    assert tiles[0] == (f"{base}none/kgdbts", "pass", "kgdbts, none: pass", "·")
    assert sorted(each for *_, each in tiles) == sorted("·s·R?H")
    assert (f"{base}v5,2/step-in-order/up_read", "wrong") in [each[:2] for each in tiles]
    assert "h = hang, r = rehit, s = stuck." in above
    for id_, *_ in tiles:
        assert text.count(f'id="{id_}"') == 1


def test_two_variants_can_be_chosen_to_be_compared(tmp_path: Path) -> None:
    (embedded,) = re.findall(r'id="data">(.*?)</script>', page(a_run(tmp_path)))
    (choice,) = json.loads(embedded)["choices"]
    assert choice["variants"] == ["none", "v5/1", "v5/2", "v5/1+2"]
    name, row, ids = choice["tests"][1]
    assert name == "step-in-order[up_read]"
    seen = [choice["seen"][index][0] for index in row]
    assert seen == ["fail", "pass", "fail", "error"]
    assert ids[1] == "cells/debian=6.1/base/v5,1/step-in-order/up_read"
    kgdbts, row, ids = choice["tests"][0]
    assert (kgdbts, row[2], ids[2]) == ("kgdbts", -1, None)


def test_areas_stand_over_the_map_and_over_the_table(tmp_path: Path) -> None:
    record = a_record(tmp_path, a_cell("none"), a_cell("none", "kgdbts"))
    own = record.sessions["step-in-order"]
    record.sessions["step-in-order"] = replace(own, area="steps")
    text = page(record)
    assert re.findall(r'<div class="panel".*?>\s*<h3>(.*?)</h3>', text) == ["steps", "other tests"]
    assert text.count('class="area"') == 1


def test_the_machine_of_a_cell_can_be_booted_by_hand(tmp_path: Path) -> None:
    (tmp_path / "qemu.sh").write_text("#!/bin/sh\nqemu-system-aarch64 -append 'a <b>\x1b'\n")
    cells = [a_cell(files={"qemu": "qemu.sh"}), a_cell("v5/1", files={"qemu": "gone.sh"})]
    text = page(a_record(tmp_path, *cells))
    assert text.count("boot its machine by hand") == 1
    assert "qemu-system-aarch64 -append &#39;a &lt;b&gt;\\x1b&#39;\n</pre>" in text
    assert '<a href="qemu.sh">' in text


def test_every_mark_leads_to_a_cell_and_every_id_is_there_once(tmp_path: Path) -> None:
    read = Read(page(a_run(tmp_path)))
    ids = [attributes["id"] for _, attributes in read.elements if "id" in attributes]
    links = [attributes["href"] or "" for tag, attributes in read.elements if tag == "a"]
    assert len(ids) == len(set(ids))
    inner = [link.removeprefix("#") for link in links if link.startswith("#")]
    assert len(inner) > 6
    assert set(inner) <= set(ids)
    for link in links:
        if not link.startswith("#"):
            assert (tmp_path / unquote(link)).is_file()


def test_a_cell_tells_all_that_is_known(tmp_path: Path) -> None:
    text = page(a_run(tmp_path))
    for what in (
        "A step goes to the next instruction.",
        "Claim: so.",
        "tests/sessions/step_in_order.py:34",
        "step 1 went to el1_interrupt+0x1c, and stays there",
        "stuck, as expected",
        "rate <b>301.5</b>",
        "./inv verify --series v5,v6 --tree debian:6.1 --kconfig base --variants none,v5/1 --",
        "[0]kdb&gt;",
        "&gt; ss",
        'href="none.jsonl"',
    ):
        assert what in text


def test_no_sign_is_colour_alone(tmp_path: Path) -> None:
    read = Read(page(a_run(tmp_path)))
    marks = {text for text in read.texts["span"] if text.strip()}
    assert {"(stuck)", "pass", "rehit!", "?boot", "hang!"} <= marks


def test_nothing_is_fetched_and_no_script_but_ours_runs(tmp_path: Path) -> None:
    text = page(a_run(tmp_path))
    read = Read(text)
    assert not {"link", "img", "iframe", "object", "embed"} & {tag for tag, _ in read.elements}
    assert not any("src" in attributes for _, attributes in read.elements)
    assert "@import" not in text
    assert "url(" not in text
    policy = next(
        attributes["content"] or ""
        for tag, attributes in read.elements
        if tag == "meta" and "http-equiv" in attributes
    )
    assert policy.startswith("default-src 'none';")
    assert "unsafe-eval" not in policy
    kinds = [attributes.get("type") for tag, attributes in read.elements if tag == "script"]
    scripts = [
        script for script, kind in zip(read.texts["script"], kinds, strict=True) if kind is None
    ]
    hashes = [base64.b64encode(hashlib.sha256(each.encode()).digest()) for each in scripts]
    assert re.findall(r"'sha256-(\S+)'", policy) == [each.decode() for each in hashes]


def test_whatever_else_was_heard_is_linked(tmp_path: Path) -> None:
    (tmp_path / "gdb-1.log").write_text("(gdb)")
    cell = a_cell(files={"gdb_1_log": "gdb-1.log", "gdb_2_log": "gone.log"})
    text = page(a_record(tmp_path, cell))
    assert '<a href="gdb-1.log">gdb-1.log</a>' in text
    assert "gone.log" not in text


def test_repeats_are_opened_one_by_one_and_have_a_rate() -> None:
    cells = [a_cell(seen=("pass", "stuck")[n == 3], repeat=n) for n in range(1, 6)]
    text = page(a_record(NOWHERE, *cells))
    assert "4 of 5 passed: 80% (38-96)" in text
    assert text.count('class="cell repeat') == 5
    (embedded,) = re.findall(r'id="data">(.*?)</script>', text)
    assert json.loads(embedded)["rates"] == [
        {
            "rows": [
                {
                    "case": "up_read",
                    "variant": "none",
                    "passes": 4,
                    "total": 5,
                    "low": 0.3755,
                    "high": 0.9638,
                }
            ]
        }
    ]


def test_cases_that_say_the_same_share_a_row(tmp_path: Path) -> None:
    cells = [a_cell("none", f"s[f{n}]") for n in range(5)]
    rows = re.findall(r'class="case">(.*?)</th>', page(a_record(tmp_path, *cells)))
    assert rows == ["all 5 cases"]
    cells[2] = a_cell("none", "s[f2]", seen="stuck")
    text = page(a_record(tmp_path, *cells))
    assert re.findall(r'class="case">(.*?)</th>', text) == ["f2", "the other 4 cases"]
    assert text.count('<details class="cell') == 5


def test_one_repeat_has_no_rate() -> None:
    assert 'data-rates="' not in page(a_record(NOWHERE, a_cell()))


def test_a_rate_by_the_time_of_a_step_has_a_curve() -> None:
    measured = {
        "percent": 20.0,
        "percent_at_least": 15.5,
        "percent_at_most": 25.1,
        "step_us": 197.5,
        "period_us": 1000.0,
    }
    whole = a_cell("v5/1", "rate[fast]", metrics=measured)
    without = a_cell("none", "rate[fast]", metrics={**measured, "step_us": 0})
    text = page(a_record(NOWHERE, whole, without))
    (embedded,) = re.findall(r'id="data">(.*?)</script>', text)
    (drawn,) = json.loads(embedded)["curves"]
    assert drawn["points"] == [
        {
            "case": "fast",
            "variant": "v5/1",
            "step": 197.5,
            "period": 1000.0,
            "share": 0.2,
            "low": 0.155,
            "high": 0.251,
        }
    ]
    assert 'data-curve="0"' in text
    assert 'data-curve="' not in page(a_record(NOWHERE, without))


def test_several_trees_are_told_apart() -> None:
    text = page(a_record(NOWHERE, a_cell(), a_cell(tree="path:/x"), a_cell("v5/1")))
    assert "<h3>debian:6.1/base/v5/1</h3>" in text
    assert text.count('class="grid"') == 2


def test_an_empty_run_can_be_drawn() -> None:
    assert "No test was run" in page(a_record(NOWHERE))


def test_files_that_are_gone_are_not_linked(tmp_path: Path) -> None:
    record = a_run(tmp_path)
    for file in tmp_path.iterdir():
        file.unlink()
    text = page(record)
    assert "console.log" not in text
    assert "trace.jsonl" not in text
    assert "data-path=" not in text


anything = st.text(st.characters()) | st.text(st.sampled_from("<>&\"'/!-\0\x1b\n{}%#script"))


@settings(max_examples=40)
@given(anything, anything)
def test_nothing_from_a_guest_is_markup(
    tmp_path_factory: pytest.TempPathFactory, text: str, name: str
) -> None:
    folder = tmp_path_factory.mktemp("hostile")

    def shape(text: str, name: str) -> list[tuple[str, list[str]]]:
        steps = [{**step, "at": f"f{text}", "reason": text} for step in steps_of(WALKED)[:2]]
        console = f"0.1 < {json.dumps(f'x{text}')}\n"
        cell: CellRecord = stepped(
            folder,
            "x",
            steps,
            console,
            variant=f"v5/{name}",
            name=f"s[{name}]",
            seen="stuck",
            message=f"seen: {text}",
            metrics={text: text},
        )
        drawn = page(a_record(folder, cell))
        drawn.encode("utf-8")
        assert not re.search("[\0-\x08\x0b-\x1f\x7f-\x9f]", drawn)
        return [(tag, sorted(attributes)) for tag, attributes in Read(drawn).elements]

    assert shape(text, name) == shape("x", "x")


def drawn(folder: Path, count: int) -> tuple[str, float]:
    """Draw a run of so many cells of 300 steps; give the page and the seconds of work."""
    steps = steps_of(WALKED, repeat=4)[:300]
    line = '0.1 < "a line of the console, as long as they are\\r\\n"\n'
    cells = []
    for number in range(count):
        own = [{**step, "n": n + 1} for n, step in enumerate(steps)]
        own[number % 300]["to_at"] = f"el1_interrupt+{4 * number:#x}"
        variant, case = ("none", "v5/1", "v6/1")[number % 3], f"f{number // 3}"
        cells.append(
            stepped(folder, f"c{number}", own, 90 * line, variant=variant, name=f"s[{case}]")
        )
    began = time.process_time()
    text = page(a_record(folder, *cells))
    return text, time.process_time() - began


def test_a_run_of_many_cells_of_300_steps_is_as_long_and_as_soon_drawn_as_it_has_cells(
    tmp_path: Path,
) -> None:
    """Four times the cells: up to four times the work, and 2 KB each."""
    drawn(tmp_path, 1)  # what is done once a process
    (few, once), (many, four_times) = (drawn(tmp_path, count) for count in (60, 240))
    assert four_times < 2 * 4 * once
    assert len(many) - len(few) < 180 * 3_000
