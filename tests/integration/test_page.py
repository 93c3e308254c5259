# SPDX-License-Identifier: GPL-2.0-only
"""report.html in a browser without a network: what is drawn, and what a keyboard reaches."""

from __future__ import annotations

import re
import shutil
import time
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, expect, sync_playwright

from kstep.base.progress import Progress
from kstep.report.compare import compare
from kstep.report.compare_page import compare_page
from kstep.report.page import page
from kstep.toolchain import apt
from tests.unit.report.material import INTERRUPTED, WALKED, a_run, long_path, stepped, steps_of
from tests.unit.results.material import a_cell, a_record

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from kstep.results.record import Record

NAMES = ("/usr/bin/chromium", "chromium", "chromium-browser", "google-chrome")
ARGS = [
    "--no-sandbox",  # which root may not have
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PHONE, DESK = 390, 1280  # pixels
SCHEMES = ("light", "dark")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Start the installed Chromium, or Debian's."""
    if not any(map(shutil.which, NAMES)):
        with Progress() as progress:
            apt.install(["chromium"], progress)
    found = next(filter(None, map(shutil.which, NAMES)))
    with sync_playwright() as started:
        running = started.chromium.launch(executable_path=found, args=ARGS)
        yield running
        running.close()


@pytest.fixture
def said() -> list[str]:
    """Collect the errors of a page."""
    return []


def show(
    browser: Browser,
    record: Record,
    said: list[str],
    *,
    width: int = DESK,
    scheme: str = "light",
) -> Page:
    """Open the report of a run; any network request is refused, and fails the test."""
    file = record.folder / "report.html"
    file.write_text(page(record), "utf-8")
    opened = browser.new_page(
        viewport={"width": width, "height": 900},
        color_scheme="dark" if scheme == "dark" else "light",
    )

    def hear(message: ConsoleMessage) -> None:
        said.append(message.text)

    opened.on("console", hear)
    opened.on("pageerror", lambda error: said.append(str(error)))
    opened.on("requestfailed", lambda request: said.append(request.url))
    opened.route("http*://**", lambda route: route.abort())
    opened.goto(file.as_uri())
    return opened


@pytest.mark.parametrize("width", [PHONE, DESK])
@pytest.mark.parametrize("scheme", SCHEMES)
def test_every_cell_opens_and_fits(
    browser: Browser, tmp_path: Path, said: list[str], width: int, scheme: str
) -> None:
    opened = show(browser, a_run(tmp_path), said, width=width, scheme=scheme)
    for cell in opened.locator("details.cell > summary").all():
        cell.click()
    expect(opened.locator(".canvas svg")).to_have_count(2)
    for below in opened.locator("details.listing > summary, details.aslist > summary").all():
        below.click()
    assert opened.evaluate("document.documentElement.scrollWidth") <= width
    back = opened.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (int(back.split("(")[1].split(",")[0]) < 128) == (scheme == "dark")
    assert said == []


def test_the_picture_says_where_the_path_left(
    browser: Browser, tmp_path: Path, said: list[str]
) -> None:
    opened = show(browser, a_run(tmp_path), said)
    opened.locator("details.cell.known > summary").click()
    canvas = opened.locator("details.cell.known .canvas")
    assert canvas.get_attribute("aria-label") == (
        "4 steps through 2 functions; left program order at step 1"
    )
    opened.wait_for_selector("details.cell.known .canvas svg")
    labels = canvas.locator("text").all_text_contents()
    assert {"get_avenrun", "el1_interrupt"} <= set(labels)
    assert canvas.locator("g.mark-symbol path").count() == 1
    here = opened.locator("details.cell.known output").inner_text()
    assert here.startswith("step 1")
    assert "adrp x3" in here
    assert "went to el1_interrupt+0x1c" in here
    key = opened.locator("details.cell.known .key").inner_text()
    assert "in an interrupt" in key
    assert "left program order" in key
    assert said == []


def test_pointer_and_keyboard_tell_a_step(
    browser: Browser, tmp_path: Path, said: list[str]
) -> None:
    opened = show(browser, a_run(tmp_path), said)
    opened.locator("details.cell.pass:has(.walk) > summary").focus()
    opened.keyboard.press("Enter")
    here = opened.locator("details.cell.pass output")
    svg = opened.locator("details.cell.pass .canvas svg")
    svg.wait_for()
    assert "fs/namei.c:4143" in here.inner_text()
    slider = opened.locator("details.cell.pass input[type=range]")
    expect(slider).to_have_css("margin-left", re.compile("[1-9]"))  # drawn to its end
    box = svg.bounding_box()
    assert box is not None
    svg.hover(position={"x": box["width"] - 12, "y": 10})
    expect(here).to_contain_text(re.compile("step [78]|end"))
    slider.focus()
    opened.keyboard.press("Home")
    for _ in range(3):
        opened.keyboard.press("ArrowRight")
    assert here.inner_text().startswith("step 4")
    assert "vfs_mkdir+0xc" in here.inner_text()
    opened.keyboard.press("End")
    assert here.inner_text().startswith("end")
    assert said == []


def test_a_mark_leads_to_its_open_cell(browser: Browser, tmp_path: Path, said: list[str]) -> None:
    opened = show(browser, a_run(tmp_path), said)
    opened.locator(".grid").get_by_role("link", name="hang!").click()
    body = opened.locator("details.cell.wrong[open] .body")
    assert "no answer" in body.inner_text()
    assert body.evaluate("box => box.getBoundingClientRect().top") < 900


def test_the_map_is_one_stop_and_the_arrows_lead_through_it(
    browser: Browser, tmp_path: Path, said: list[str]
) -> None:
    opened = show(browser, a_run(tmp_path), said)
    stops = opened.locator('.map td > a[tabindex="0"]')
    expect(stops).to_have_count(1)
    expect(stops).to_have_class("wrong")
    opened.locator(".map a[title^='kgdbts, none']").focus()

    def after(key: str) -> str | None:
        opened.keyboard.press(key)
        return opened.locator(":focus").get_attribute("title")

    assert after("ArrowRight") == "step-in-order[up_read], none: (stuck)"
    assert after("ArrowRight") == "step-in-order[up_read], none: (stuck)"  # the last
    assert after("ArrowDown") == "step-in-order[up_read], v5/1: pass"
    assert after("ArrowLeft") == "kgdbts, v5/1: hang!"
    expect(stops).to_have_count(1)
    opened.keyboard.press("Enter")
    expect(opened.locator("details.cell.wrong[open] .body")).to_contain_text("no answer")
    assert said == []


def test_two_variants_side_by_side_show_what_differs_first(
    browser: Browser, tmp_path: Path, said: list[str]
) -> None:
    opened = show(browser, a_run(tmp_path), said)
    opened.get_by_text("Compare two variants").click()
    opened.get_by_label("second variant").select_option("v5/1")
    headings = opened.locator(".choice h4")
    expect(headings).to_have_text(
        ["fails with v5/1, not with none: 1", "fails with none, not with v5/1: 1"]
    )
    opened.get_by_label("second variant").select_option("none")
    expect(headings).to_have_count(0)
    expect(opened.locator(".choice")).to_contain_text("2 of 2 tests are the same on both.")
    assert said == []


def test_two_runs_side_by_side_lead_into_both_reports(
    browser: Browser, tmp_path: Path, said: list[str]
) -> None:
    runs = [tmp_path / "a", tmp_path / "b"]
    records = []
    for folder, seen in zip(runs, ("pass", "stuck"), strict=True):
        folder.mkdir()
        records.append(a_record(folder, a_cell("v5/1", seen=seen, message=f"seen {seen}")))
        show(browser, records[-1], said).close()
    before, after = records
    file = tmp_path / "compare.html"
    file.write_text(compare_page(before, after, compare(before, after), tmp_path), "utf-8")
    opened = browser.new_page(viewport={"width": PHONE, "height": 900})
    opened.goto(file.as_uri())
    assert opened.evaluate("document.documentElement.scrollWidth") <= PHONE
    expect(opened.locator("h1")).to_have_text("1 test worse, none better; 1 compared.")
    opened.get_by_role("link", name="stuck").click()
    expect(opened.locator("details.cell[open] .told")).to_have_text("seen stuck")
    assert "/b/report.html" in opened.url


def test_only_what_is_not_as_expected(browser: Browser, tmp_path: Path, said: list[str]) -> None:
    opened = show(browser, a_run(tmp_path), said)
    opened.get_by_label("only what is not as expected").check()
    shown = [cell for cell in opened.locator("details.cell").all() if cell.is_visible()]
    assert len(shown) == 3


def test_rates_are_drawn_with_their_intervals(
    browser: Browser, tmp_path: Path, said: list[str]
) -> None:
    cells = [
        a_cell(variant, seen=seen, repeat=n)
        for variant, passed in (("none", 0), ("v5/1", 4))
        for n, seen in enumerate(["pass"] * passed + ["stuck"] * (5 - passed), 1)
    ]
    opened = show(browser, a_record(tmp_path, *cells), said)
    opened.wait_for_selector(".rates svg")
    texts = opened.locator(".rates svg text").all_text_contents()
    assert {"none", "v5/1", "0 of 5", "4 of 5"} <= set(texts)
    assert opened.locator(".rates g.mark-symbol path").count() == 2
    assert said == []


def test_a_rate_is_drawn_against_the_time_of_a_step(
    browser: Browser, tmp_path: Path, said: list[str]
) -> None:
    cells = [
        a_cell(
            variant,
            f"rate[d{dilation}]",
            metrics={
                "percent": percent,
                "percent_at_least": max(0.0, percent - 5),
                "percent_at_most": percent + 5,
                "step_us": 1580 / dilation,
                "period_us": period,
            },
        )
        for variant in ("none", "v5/1")
        for dilation, percent, period in ((4, 40.0, 1000.0), (8, 20.0, 1000.0), (32, 20.0, 250.0))
    ]
    opened = show(browser, a_record(tmp_path, *cells), said)
    opened.wait_for_selector(".rates svg")
    texts = opened.locator(".rates svg text").all_text_contents()
    assert {"none", "v5/1", "40%", "250", "1000"} <= set(texts)
    assert opened.locator(".rates svg > g g.mark-rule:not(.role-axis-grid) line").count() >= 6
    points = opened.locator(".rates svg g.mark-symbol.role-mark path").all()
    places = [each.get_attribute("transform") for each in points]
    assert len(places) == len(set(places)) == 6  # variants take as long, and are side by side
    assert said == []


def test_text_of_a_guest_runs_nothing(browser: Browser, tmp_path: Path, said: list[str]) -> None:
    evil = "<img src=x onerror=alert(1)><script>alert(2)</script>"
    steps = [{**step, "at": evil, "reason": evil, "in_order": False} for step in steps_of(WALKED)]
    cell = stepped(tmp_path, "x", steps, f'0.1 < "{evil}"\n', seen="stuck", message=evil)
    opened = show(browser, a_record(tmp_path, cell), said)
    opened.on("dialog", lambda dialog: said.append(dialog.message))
    opened.locator("details.cell > summary").click()
    opened.wait_for_selector(".canvas svg")
    for below in opened.locator("details.listing > summary, details.aslist > summary").all():
        below.click()
    assert opened.locator("img").count() == 0
    assert said == []


def test_ten_thousand_steps(browser: Browser, tmp_path: Path, said: list[str]) -> None:
    """Measured: half a second for the picture; the machine may be busy."""
    cell = stepped(tmp_path, "x", [*long_path(9_996), *steps_of(INTERRUPTED)], wanted="pass")
    opened = show(browser, a_record(tmp_path, cell), said)
    began = time.monotonic()
    opened.locator("details.cell > summary").click()
    opened.wait_for_selector(".canvas svg")
    opened.get_by_label("steps around the cursor").check()
    for below in opened.locator("details.listing > summary, details.aslist > summary").all():
        below.click()
    lines = opened.locator("pre.steps").inner_text().splitlines()
    assert time.monotonic() - began < 30
    assert len(lines) == 10_002
    assert lines[0].split()[:3] == ["path", "1,", "step"]
    counts = opened.locator(".listing td.count").all_inner_texts()
    assert sum(int(count) for count in counts if count.isdigit()) == 10_000
    assert said == []
