# SPDX-License-Identifier: GPL-2.0-only
"""kdb: its commands, and what it prints when the kernel stops.

The formats are those of kernel/debug/kdb/kdb_main.c and kdb_bp.c.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kstep.base.deadline import Deadline
from kstep.base.errors import MachineryError
from kstep.base.outcome import KernelFault, Signature
from kstep.console.console import SilenceError

if TYPE_CHECKING:
    from collections.abc import Callable

    from kstep.console.console import Console

# kdb waits for input behind its prompt, so a prompt is the last thing on the line. What
# `env` and the commands of a macro show looks like one: PROMPT=[%d]kdb>, [dumpall]kdb>.
PROMPT = re.compile(rb"(?:\[(?P<cpu>\d+)\]|(?<![]=]))(?P<kind>kdb|more)> \Z")
ENTERING = re.compile(
    rb"Entering kdb \(current=0x(?P<task>[0-9a-f]+), pid (?P<pid>\d+)\) "
    rb"(?:on processor (?P<cpu>\d+) )?"
    rb"(?:Oops: [^\n]*\n)?"
    rb"(?:due to )?(?P<reason>[^@\r\n]*?)(?: @ 0x(?P<pc>[0-9a-f]+))?\s*\r?\n"
)
BREAKPOINT = re.compile(r"BP #(?P<number>\d+) at 0x(?P<address>[0-9a-f]+)")
REGISTER = re.compile(r"\b(?P<name>x\d+|sp|pc|pstate): (?P<value>[0-9a-f]+)")
SYMBOL = re.compile(r"^\S+ = 0x(?P<address>[0-9a-f]+) \(", re.MULTILINE)
PER_CPU = re.compile(r"^ *0 0x(?P<address>[0-9a-f]+) ", re.MULTILINE)
TASK = re.compile(
    r"^0x[0-9a-f]+ +(?P<pid>\d+) +(?P<parent>\d+) .* 0x[0-9a-f]+ [ *](?P<name>.*)$", re.MULTILINE
)
FRAME = re.compile(r"^ +(?P<symbol>[\w.]+)\+0x[0-9a-f]+/0x[0-9a-f]+", re.MULTILINE)
REFUSED = re.compile(r"diag: -\d+: (?P<why>.*)|Unknown kdb command: (?P<what>.*)")
UNKNOWN = re.compile(rb"Unknown kdb command: '(?P<what>[^\r\n]*)'\r?\n")

BREAKPOINT_HIT = "Breakpoint"
STEPPED = "SS trap"
KEYBOARD = "Keyboard Entry"

ANSWER = 5.0  # seconds within which kdb answers a command, before the time scale


@dataclass(frozen=True)
class Stop:
    """Why and where the kernel stopped: ``pc`` is None where kdb names none.

    ``task`` is the address of the task_struct of what was running.
    """

    reason: str
    pc: int | None
    pid: int
    cpu: int
    task: int = 0

    @classmethod
    def parse(cls, text: bytes) -> Stop | None:
        """Return the last stop that kdb announced in ``text``, None where it did not."""
        found = list(ENTERING.finditer(text))
        if not found:
            return None
        last = found[-1]
        pc = None if last["pc"] is None else int(last["pc"], 16)
        return cls(
            last["reason"].decode(errors="replace"),
            pc,
            int(last["pid"]),
            int(last["cpu"] or 0),
            int(last["task"], 16),
        )


@dataclass(frozen=True)
class Breakpoint:
    """A breakpoint that is set: kdb's number of it, and the address."""

    number: int
    address: int


@dataclass(frozen=True)
class Task:
    """A task of the kernel, as ``ps`` has it."""

    pid: int
    parent: int
    name: str


class CommandRefusedError(MachineryError):
    """kdb did not take a command, so we asked for the wrong thing; the message is what it said."""


class Kdb:
    """The debugger at the other end of a console, spoken to at its prompt.

    ``scale`` stretches every timeout. ``require_prompt`` is called with what is to be typed, and
    raises where kdb is not at its prompt.
    """

    def __init__(
        self,
        console: Console,
        scale: float,
        require_prompt: Callable[[str], None] = lambda _line: None,
    ) -> None:
        self._console = console
        self._scale = scale
        self._require_prompt = require_prompt

    def command(self, line: str) -> str:
        """Send a command; return what kdb prints up to its next prompt.

        A pager that stops the output is sent on. Raises KernelFault ``hang`` where no
        prompt comes back, CommandRefusedError where kdb says no.
        """
        text = self._ask(line)
        if match := REFUSED.search(text):
            raise CommandRefusedError(f"kdb: {line}: {match['why'] or match['what']}".strip())
        return text

    def refusal(self, line: str) -> str:
        """Send a command; return why kdb refuses it, "" where it does not."""
        match = REFUSED.search(self._ask(line))
        return "" if match is None else (match["why"] or match["what"]).strip()

    def press(self, keys: bytes, until: re.Pattern[bytes] = PROMPT) -> re.Match[bytes]:
        """Send keys just as they are; return the match of what comes then, a prompt's.

        What was printed before it is at the beginning of the match's string.
        """
        self._require_prompt(keys.decode(errors="replace"))
        self._console.send(keys)
        return self._expect(until, f"answer to {keys!r}")

    def taken(self, keys: bytes) -> str:
        """Type keys that make no command, and Enter; return the line that kdb took them for.

        Keys that move the cursor have the prompt drawn anew, so it is not what tells the end.
        """
        line = self.press(keys + b"\r", UNKNOWN)["what"].decode(errors="replace")
        self._expect(PROMPT, "prompt")
        return line

    def _ask(self, line: str) -> str:
        self._require_prompt(line)
        self._console.send(line.encode() + b"\r")
        text = b""
        while True:
            match = self._expect(PROMPT, f"answer to {line!r}")
            text += match.string[: match.start()]
            if match["kind"] == b"kdb":
                return text.decode(errors="replace").partition("\n")[2].replace("\r", "")
            self._console.send(b" ")

    def _expect(self, pattern: re.Pattern[bytes], what: str) -> re.Match[bytes]:
        try:
            return self._console.expect(pattern, what, Deadline.after(ANSWER * self._scale))
        except SilenceError as error:
            raise KernelFault(Signature.HANG, f"kdb gives {error}") from error

    def prepare(self) -> None:
        """Turn the pager off for this boot."""
        self.command("set LINES 10000")

    def breakpoint(self, place: str | int) -> Breakpoint:
        """Set a breakpoint (``bp``) on a function, or at an address."""
        where = place if isinstance(place, str) else f"{place:#x}"
        text = self.command(f"bp {where}")
        match = BREAKPOINT.search(text)
        if match is None:
            raise MachineryError(f"kdb: bp {where}: cannot read the answer {text!r}")
        return Breakpoint(int(match["number"]), int(match["address"], 16))

    def clear(self, breakpoint_: Breakpoint) -> None:
        """Remove a breakpoint (``bc``)."""
        self.command(f"bc {breakpoint_.number}")

    def address(self, symbol: str) -> int:
        """Return the address of a symbol (its name alone)."""
        return self._address(SYMBOL, symbol)

    def per_cpu_address(self, symbol: str) -> int:
        """Return the address of a variable that every processor has, on processor 0."""
        return self._address(PER_CPU, f"per_cpu {symbol}")

    def _address(self, pattern: re.Pattern[str], line: str) -> int:
        text = self.command(line)
        match = pattern.search(text)
        if match is None:
            raise MachineryError(f"kdb: {line}: cannot read the answer {text!r}")
        return int(match["address"], 16)

    def tasks(self) -> list[Task]:
        """Return the tasks that kdb's ``ps`` shows, which leaves out sleeping kernel threads."""
        text = self.command("ps")
        return [Task(int(m["pid"]), int(m["parent"]), m["name"]) for m in TASK.finditer(text)]

    def backtrace(self, pid: int) -> list[str]:
        """Return the functions that a task is in, the innermost first (``btp``)."""
        return [match["symbol"] for match in FRAME.finditer(self.command(f"btp {pid}"))]

    def registers(self) -> dict[str, int]:
        """Return x0 to x30, sp, pc and pstate of the stopped context (``rd``)."""
        text = self.command("rd")
        return {m["name"]: int(m["value"], 16) for m in REGISTER.finditer(text)}

    def resume(self) -> None:
        """Let the kernel run on (``go``); what it says next is for the guest to hear."""
        self._console.send(b"go\r")

    def resume_step(self, command: str = "ss") -> None:
        """Let the kernel run one instruction (``ss``); where it stops is to be heard.

        After one, an empty command does the same.
        """
        self._console.send(command.encode() + b"\r")
