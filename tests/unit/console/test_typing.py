# SPDX-License-Identifier: GPL-2.0-only
"""What is typed on a line that may lie: it is entered once it is seen to have arrived."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from kstep.base.deadline import Deadline
from kstep.base.errors import MachineryError
from kstep.base.outcome import Signature
from kstep.console import console as consoles
from kstep.console import kdb, shell
from kstep.console.console import Console, SilenceError
from tests.unit.farend import Edited, line_to

if TYPE_CHECKING:
    from collections.abc import Callable

    from kstep.console.console import Editor

SOON = 5.0  # seconds
PROMPT = b"[0]kdb> "
MESSAGE = b"[   20.444695] ttyAMA ttyAMA0: 1 input overrun(s)\r\n"
Fault = tuple[int, bytes]  # which byte of all, and what becomes of it


@dataclass
class Faulty:
    """A reader of lines behind a line that gets some bytes wrong, each once."""

    editor: Editor
    to: tuple[Fault, ...] = ()
    back: tuple[Fault, ...] = ()
    entered: list[bytes] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._edited = Edited(self._take, lambda: PROMPT if self.editor is kdb.EDITOR else None)
        self._passed = {"to": 0, "back": 0}

    def _take(self, line: bytes) -> bytes:
        self.entered.append(line)
        return PROMPT if self.editor is kdb.EDITOR else b""

    def hear(self, typed: bytes) -> bytes:
        """Take what was typed, and return what is printed."""
        return self._through("back", self._edited.hear(self._through("to", typed)))

    def _through(self, way: str, data: bytes) -> bytes:
        said, first = b"", self._passed[way]
        self._passed[way] += len(data)
        faults = dict(self.to if way == "to" else self.back)
        for n in range(len(data)):
            said += faults.get(first + n, data[n : n + 1])
        return said


def typed(far: Faulty, line: bytes = b"bp set_fs_pwd ") -> Console:
    """Type a line to a far end; return the console that did."""
    with line_to(far) as console:
        console.trusted = False
        console.type(line, far.editor, Deadline.after(SOON))
        console.settle()
        return console


FAULTS: dict[str, tuple[tuple[Fault, ...], tuple[Fault, ...]]] = {
    "none": ((), ()),
    "lost on the way there": (((3, b""),), ()),
    "doubled on the way there": (((3, b"ss"),), ()),
    "changed on the way there": (((3, b"\x7f"),), ()),
    "lost on the way back": ((), ((3, b""),)),
    "the echo and what is drawn": ((), ((3, b""), (25, b"x"))),
    "a key that moves the cursor": (((4, b"\x0e"),), ()),
    "the key that draws": (((3, b""), (14, b"")), ()),
    "first, last and the erasing": (((0, b""), (13, b"y"), (15, b""), (16, b"")), ()),
    "a message amid the echo": ((), ((5, MESSAGE + b"t"),)),
}


@pytest.mark.parametrize("editor", [kdb.EDITOR, shell.EDITOR], ids=["kdb", "terminal"])
@pytest.mark.parametrize("fault", FAULTS)
def test_only_what_was_meant_is_entered_and_once(fault: str, editor: Editor) -> None:
    to, back = FAULTS[fault]
    far = Faulty(editor, to, back)
    typed(far)
    assert far.entered == [b"bp set_fs_pwd "]


@pytest.mark.parametrize("editor", [kdb.EDITOR, shell.EDITOR], ids=["kdb", "terminal"])
def test_a_line_that_never_arrives_is_named(editor: Editor) -> None:
    far = Faulty(editor)
    far._through = lambda way, data: data.replace(b"s", b"") if way == "to" else data  # type: ignore[method-assign]
    said = r"typed 'ss s', but the echo was '.*; Enter was not sent"
    with pytest.raises(MachineryError, match=said) as lost:
        typed(far, b"ss s ")
    assert lost.value.signature is Signature.CONSOLE_LOST
    assert far.entered == []


def test_nobody_is_there() -> None:
    class Silent:
        def hear(self, typed: bytes) -> bytes:
            return typed[:0]

    with line_to(Silent()) as console:
        console.trusted = False
        with pytest.raises(SilenceError, match="no echo of 'rd'"):
            console.type(b"rd ", kdb.EDITOR, Deadline.after(0.1))


def test_a_line_that_took_effect_before_enter() -> None:
    """A byte became Enter: what the first half did cannot be undone."""
    far = Faulty(shell.EDITOR, ((2, b"\n"),))
    with pytest.raises(MachineryError, match="the command ran before Enter") as lost:
        typed(far)
    assert lost.value.signature is Signature.CONSOLE_LOST


@pytest.mark.parametrize(
    ("held", "waits", "left"),
    [(b"ss ", True, b"ss "), (b"", False, b""), (b"\x98", False, b""), (b"ss x", True, b"ss x")],
)
def test_whether_a_line_awaits_enter_is_asked(held: bytes, waits: bool, left: bytes) -> None:  # noqa: FBT001 -- a parameter
    far = Faulty(kdb.EDITOR)
    far._edited.line = held
    with line_to(far) as console:
        console.trusted = False
        assert console.awaits_enter(b"ss ", kdb.EDITOR) is waits
        assert kdb.PROMPT.search(console.heard) or waits
    assert far._edited.line == left


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait no longer for an echo than a far end in this process needs."""
    monkeypatch.setattr(consoles, "SETTLED", 0.05)


def ask_in_vain(asked: list[int]) -> Callable[[], None]:
    """Make a question that nobody answers."""
    return lambda: asked.append(1)


def test_silence_is_believed_when_nobody_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consoles, "LOOK", 0.01)
    far = Faulty(kdb.EDITOR)
    for trusted, times in ((False, consoles.ASKS), (True, 0)):
        asked: list[int] = []
        with line_to(far) as console:
            console.trusted = trusted
            with pytest.raises(SilenceError):
                console.expect(kdb.PROMPT, "prompt", Deadline.after(0.05), ask_in_vain(asked))
        assert len(asked) == times


def test_characters_may_be_kept_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []
    monkeypatch.setattr("kstep.console.console.time.sleep", waited.append)
    far = Faulty(kdb.EDITOR)
    with line_to(far) as line:
        console = Console(line._fd, lambda: None, trusted=False, delay=0.005)
        console.type(b"ss ", kdb.EDITOR, Deadline.after(SOON))
        console.settle()
    assert far.entered == [b"ss "]
    assert waited == [0.005] * 2
