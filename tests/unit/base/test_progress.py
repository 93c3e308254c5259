# SPDX-License-Identifier: GPL-2.0-only
"""What people who wait are shown, on a terminal and elsewhere."""

from __future__ import annotations

import io
import re
import time

import pytest
from rich.console import Console

from kstep.base.progress import Progress


def plain() -> tuple[io.StringIO, Progress]:
    """Return a display that goes to a file."""
    out = io.StringIO()
    return out, Progress(Console(file=out, width=40, highlight=False, soft_wrap=True))


class Screen(io.StringIO):
    """What is a terminal."""

    def isatty(self) -> bool:
        """Say so."""
        return True


def live() -> tuple[io.StringIO, Progress]:
    """Return a display on a terminal of 100 columns."""
    out = Screen()
    return out, Progress(Console(file=out, force_terminal=True, width=100, highlight=False))


def lines(out: io.StringIO) -> list[str]:
    """Return the lines, with figures that differ from run to run left out."""
    return [re.sub(r"\d+\.\d s", "T s", line) for line in out.getvalue().splitlines()]


@pytest.mark.parametrize("force", ["", "1"])
def test_elsewhere_a_task_is_two_lines(monkeypatch: pytest.MonkeyPatch, force: str) -> None:
    """Whoever forces colours, as CI does, has no terminal by that."""
    monkeypatch.setenv("FORCE_COLOR", force)
    out, progress = plain()
    with progress, progress.task("tree debian:6.1") as task:
        task.note("6.1.192")
    assert lines(out) == ["tree debian:6.1: …", "tree debian:6.1: done, T s"]
    assert "\x1b" not in out.getvalue()


def test_counts_and_failures_are_told() -> None:
    out, progress = plain()
    with progress:
        with progress.task("cells", 3, "cells") as task:
            task.advance()
            task.advance(2)
        task = progress.task("kernel", unit="objects").__enter__()
        task.advance(note="x.o")
        task.__exit__(ValueError, ValueError(), None)
    assert lines(out) == [
        "cells: 0 of 3 cells",
        "cells: done, 3 cells in T s",
        "kernel: …",
        "kernel: stopped after 1 objects in T s",
    ]


def test_a_long_task_speaks_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    out, progress = plain()
    with progress, progress.task("kernel", 4, "objects") as task:
        for _ in range(5):
            now += 10.0
            task.advance(note="x.o")
    assert out.getvalue().splitlines() == [
        "kernel: 0 of 4 objects",
        "kernel: 2 of 4 objects, 20 s, about 20 s left",
        "kernel: 4 of 4 objects, 40 s, about 0 s left",
        "kernel: done, 5 objects in 50.0 s",
    ]


def test_a_task_that_counts_nothing_says_what_is_at_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    out, progress = plain()
    with progress, progress.task("image", unit="steps") as task:
        now += 16.0
        task.note("Step 1/3 : FROM")
        now += 16.0
        task.advance()
    assert out.getvalue().splitlines()[1:3] == [
        "image: 16 s Step 1/3 : FROM",
        "image: 1 steps, 32 s",
    ]


@pytest.mark.parametrize("make", [plain, live])
def test_a_line_stays_one_whatever_is_in_it(make: object) -> None:
    """Cases stand in brackets, which rich takes for markup."""
    assert callable(make)
    out, progress = make()
    text = "skipped: step-in-order[vfs_mkdir] [/red] " + "x" * 60
    with progress:
        progress.say(text)
    assert text in out.getvalue().replace("\n", "")


def test_a_terminal_shows_the_case_at_hand() -> None:
    out, progress = live()
    with progress, progress.task("cells [/x]", 2, "cells") as task:
        task.advance(note="v6/1 step-in-order[vfs_mkdir]: pass")
        assert progress.live is not None
        progress.live.refresh()
    shown = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", out.getvalue())
    assert "step-in-order[vfs_mkdir]: pass" in shown
    assert "cells [/x]" in shown
    assert "1/2" in shown


def test_a_terminal_is_given_back_as_it_was() -> None:
    out, progress = live()
    with pytest.raises(ZeroDivisionError), progress, progress.task("kernel"):
        divmod(1, 0)
    assert progress.live is None
    assert out.getvalue().count("\x1b[?25h") == out.getvalue().count("\x1b[?25l") > 0  # the cursor
    assert "kernel: stopped after" in out.getvalue()


def test_an_estimate_that_was_too_low_grows() -> None:
    out, progress = plain()
    with progress, progress.task("kernel", 1, "objects") as task:
        task.advance(5)
        assert task._state().startswith("5 of 5 objects")
    assert "done, 5 objects" in out.getvalue()


def test_what_is_at_hand_is_named_on_a_terminal_with_its_time() -> None:
    out, progress = live()
    with progress, progress.task("cells", 3, "cells") as task:
        task.begin("v6/1 step-in-order[vfs_mkdir]")
        task.begin("none " + "x" * 200)
        assert progress.live is not None
        progress.live.refresh()
        task.end("v6/1 step-in-order[vfs_mkdir]")
        task.advance()
    shown = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", out.getvalue())
    assert re.search(r"now v6/1 step-in-order\[vfs_mkdir\]  \d s", shown)
    assert re.search(r"now none x+…  \d s", shown)
    assert all(len(line) <= 100 for line in re.split(r"[\r\n]", shown))


def test_what_came_so_far_is_shown_on_a_terminal_until_the_task_is_done() -> None:
    out, progress = live()
    asked: list[tuple[int, int]] = []

    def draw(width: int, height: int) -> str:
        asked.append((width, height))
        return "one of two passed"

    with progress:
        with progress.task("cells", 2, "cells") as task:
            task.show(draw)
            task.begin("none a")
            assert progress.live is not None
            progress.live.refresh()
            assert "one of two passed" in out.getvalue()
            task.show(draw)
        assert progress.live.below is None
    (width, height), (_, lower) = asked
    assert width == 100
    assert 0 < lower == height - 1  # what is at hand takes a line


def test_elsewhere_nothing_is_drawn() -> None:
    out, progress = plain()
    with progress, progress.task("cells", 2, "cells") as task:
        task.show(lambda *_: pytest.fail("drawn for nobody"))
    assert len(out.getvalue().splitlines()) == 2


def test_elsewhere_the_line_that_comes_now_and_then_names_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    out, progress = plain()
    with progress, progress.task("cells", 3, "cells") as task:
        task.begin("none a")
        task.begin("none b")
        task.end("none a")
        now += 20.0
        task.advance()
    assert out.getvalue().splitlines()[1] == (
        "cells: 1 of 3 cells, 20 s, about 40 s left; now none b"
    )


def test_no_color_is_honoured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    out, progress = live()
    with progress, progress.task("cells", 3, "cells") as task:
        task.advance()
        assert progress.live is not None
        progress.live.refresh()
    assert not re.search(r"\x1b\[[0-9;]*\b(3[0-7]|38|9[0-7])[;m]", out.getvalue())
