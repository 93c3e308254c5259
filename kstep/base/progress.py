# SPDX-License-Identifier: GPL-2.0-only
"""Progress for people who wait: what is being done, how far it is, and the time left.

A terminal gets a live display, everything else plain lines.
"""

from __future__ import annotations

import time
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as LiveDisplay
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from types import TracebackType

    from rich.console import RenderableType

REST = 20.0  # times as long as drawing took until it is done again
PLAIN_EVERY = 15.0  # seconds between two lines about one task, without a terminal
SPARE = 4  # lines that stay free: for the cursor, and for more running items
TIMES = 10  # columns for the time since an item began


class Task(AbstractContextManager["Task"]):
    """One running task; ``total`` counts ``unit``, None if it is unknown."""

    def __init__(self, progress: Progress, title: str, total: int | None, unit: str) -> None:
        self.title = title
        self.unit = unit
        self._progress = progress
        self._total = total
        self._done = 0
        self._text = ""
        self._going: dict[str, float] = {}
        self._began = self._spoke = time.monotonic()
        self._live = progress.live.add_task(title, total=total, note="") if progress.live else None

    def __enter__(self) -> Self:
        self._say("…" if self._total is None else f"0 of {self._total} {self.unit}")
        return self

    def advance(self, count: int = 1, note: str = "") -> None:
        """Count ``count`` more as done."""
        self._done += count
        if self._total is not None and self._done > self._total:
            self._total = self._done  # an estimate that was too low
        self.note(note)

    def begin(self, name: str) -> None:
        """Show one of several running items, until its ``end``."""
        self._going[name] = time.monotonic()
        self._progress.going(self._going)

    def end(self, name: str) -> None:
        """Remove an item that has begun."""
        self._going.pop(name, None)
        self._progress.going(self._going)

    def show(self, draw: Callable[[int, int], RenderableType]) -> None:
        """Show the results so far below it, until it is done; only on a terminal.

        ``draw`` gets the number of columns and lines that fit, and is called once.
        """
        self._progress.show(draw)

    def note(self, text: str) -> None:
        """Show what is running."""
        self._text = text
        if self._progress.live is not None and self._live is not None:
            self._progress.live.update(
                self._live, completed=self._done, total=self._total, note=text[:40]
            )
        if time.monotonic() - self._spoke >= PLAIN_EVERY:
            self._say(self._state())

    def _state(self) -> str:
        spent = time.monotonic() - self._began
        if not self._done:
            return f"{spent:.0f} s {self._text}".rstrip()
        if self._total is None:
            return f"{self._done} {self.unit}, {spent:.0f} s"
        left = spent / self._done * (self._total - self._done)
        now = f"; now {', '.join(self._going)}" if self._going else ""
        counted = f"{self._done} of {self._total} {self.unit}"
        return f"{counted}, {spent:.0f} s, about {left:.0f} s left{now}"

    def _say(self, state: str) -> None:
        self._spoke = time.monotonic()
        if self._progress.live is None:
            self._progress.say(f"{self.title}: {state}")

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        spent = time.monotonic() - self._began
        self._progress.going({})
        self._progress.show(None)
        if self._progress.live is not None and self._live is not None:
            self._progress.live.remove_task(self._live)
        counted = f"{self._done} {self.unit} in " if self._done and self.unit else ""
        how = "done, " if kind is None else "stopped after "
        self._progress.say(f"{self.title}: {how}{counted}{spent:.1f} s")


class Display(LiveDisplay):
    """A line for each task, then one for each running item, then the results so far."""

    going: Mapping[str, float] = {}
    below: RenderableType | None = None

    def get_renderables(self) -> Iterable[RenderableType]:
        """Return what is shown; rich calls it at every refresh."""
        yield from super().get_renderables()
        now = time.monotonic()
        for name, began in list(self.going.items()):
            text = Text(f"  now {name}", "dim", overflow="ellipsis", no_wrap=True)
            text.truncate(max(0, self.console.width - TIMES), overflow="ellipsis")
            yield text.append(f"  {now - began:.0f} s")
        if self.below is not None:
            yield self.below


class Progress(AbstractContextManager["Progress"]):
    """Shows tasks and prints lines, both on standard error."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(stderr=True, highlight=False, soft_wrap=True)
        self.live: Display | None = None
        self._due = 0.0  # when something is drawn again

    def __enter__(self) -> Self:
        if self.console.file.isatty():  # rich also treats FORCE_COLOR as a terminal
            self.live = Display(
                SpinnerColumn(),
                TextColumn("{task.description}", markup=False),
                BarColumn(bar_width=20),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TimeRemainingColumn(),
                TextColumn("{task.fields[note]}", style="dim", markup=False),
                console=self.console,
                transient=True,
            )
            self.live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.live is not None:
            self.live.stop()
            self.live = None

    def say(self, text: str) -> None:
        """Print one line, which stays on the screen."""
        self.console.print(text, markup=False)

    def going(self, names: Mapping[str, float]) -> None:
        """Show the running items, with the time since each began; only on a terminal."""
        if self.live is not None:
            self.live.going = dict(names)

    def show(self, draw: Callable[[int, int], RenderableType] | None) -> None:
        """Show the result of ``draw`` below everything; see Task.show().

        What takes long to draw is drawn less often: a long run has much to show.
        """
        began = time.monotonic()
        if self.live is not None and (draw is None or began >= self._due):
            width, height = self.console.size
            room = height - len(self.live.tasks) - len(self.live.going) - SPARE
            self.live.below = None if draw is None or room < 1 else draw(width, room)
            now = time.monotonic()
            self._due = now + REST * (now - began)

    def task(self, title: str, total: int | None = None, unit: str = "") -> Task:
        """Begin a piece of work; use it as a context."""
        return Task(self, title, total, unit)
