# SPDX-License-Identifier: GPL-2.0-only
"""kdb: its commands, and what it prints when the kernel stops.

The formats are those of kernel/debug/kdb/kdb_main.c and kdb_bp.c.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from kstep.base.errors import MachineryError
from kstep.base.outcome import KernelFault, Signature
from kstep.console.console import Editor, SilenceError
from kstep.console.message import MESSAGE, MESSAGE_LINE, uncut, without

if TYPE_CHECKING:
    from collections.abc import Callable

    from kstep.console.console import Console

T = TypeVar("T")

# kdb waits for input after its prompt, so a prompt is the last thing on the line. The output of
# `env` and of a macro's commands looks like one: PROMPT=[%d]kdb>, [dumpall]kdb>.
PROMPT = re.compile(
    rb"(?:\[%b(?P<cpu>\d+)%b%b|(?<![]=]))(?P<kind>%b|%b)%b\Z"
    % (MESSAGE, MESSAGE, uncut(b"]"), uncut(b"kdb"), uncut(b"more"), uncut(b"> "))
)
ENTERING = re.compile(
    rb"Entering kdb \(current=0x(?P<task>[0-9a-f]+), pid (?P<pid>\d+)\) "
    rb"(?:on processor (?P<cpu>\d+) )?"
    rb"(?:Oops: [^\n]*\n)?"
    rb"(?:due to )?(?P<reason>[^@\r\n]*?)(?: @ 0x(?P<pc>[0-9a-f]+))?\s*\r?\n"
)
# Parts of that text, of which a faulty line spares most; and the prompt that follows the text.
PARTS = (b"Entering", b"kdb (", b"(current=0x", b", pid ", b"on processor ", b"due to ", b"kdb> ")
# kdb_read() in kdb_io.c: Down, at the last line of the history, redraws the line.
EDITOR = Editor(
    enter=b"\r",
    redraw=b"\x0e",
    lead=re.compile(rb"\r(?:\[\d+\])?kdb> "),
    erase=b"\b",
    others=re.compile(MESSAGE_LINE),
    entered=re.compile(rb"Entering|kdb \(|due to|SS trap"),
)
TERMINAL = b"^N"  # how a terminal, with ECHOCTL, echoes the redraw key
BREAKPOINT = re.compile(
    r"BP #(?P<number>\d+) at 0x(?P<address>[0-9a-f]{16})(?![0-9a-f])(?: \((?P<symbol>[\w.]+)\))?"
)
REGISTER = re.compile(
    r"\b(?P<name>x\d+|sp|pc|pstate): (?P<value>(?<=pstate: )[0-9a-f]{8}|[0-9a-f]{16})(?!\S)"
)
# A line of `rd` that lost no byte: a burst may join two values into one that looks correct.
_ONE = r"(?:(?:x\d+|sp|pc): [0-9a-f]{16}|(?:pstate|fpsr|fpcr): [0-9a-f]{8}|v\d+: \?\?)"
WHOLE_LINE = re.compile(rf"{_ONE}(?:  {_ONE})*")
SYMBOL = re.compile(r"^\S+ = 0x(?P<address>[0-9a-f]{16}) \(", re.MULTILINE)
PER_CPU = re.compile(r"^ *0 0x(?P<address>[0-9a-f]{16}) ", re.MULTILINE)
TASK = re.compile(
    r"^0x[0-9a-f]+ +(?P<pid>\d+) +(?P<parent>\d+) .* 0x[0-9a-f]+ [ *](?P<name>.*)$", re.MULTILINE
)
FRAME = re.compile(r"^ +(?P<symbol>[\w.]+)\+0x[0-9a-f]+/0x[0-9a-f]+", re.MULTILINE)
REFUSED = re.compile(r"diag: -\d+: (?P<why>.*)|Unknown kdb command: (?P<what>.*)")
UNKNOWN = re.compile(rb"Unknown kdb command: '(?P<what>[^\r\n]*)'\r?\n")

MEMORY = re.compile(r"^[0-9a-f]+$", re.MULTILINE)

BREAKPOINT_HIT = "Breakpoint"
STEPPED = "SS trap"
KEYBOARD = "Keyboard Entry"
OOPS = "oops"  # followed by the registers
# kdb_local() in kdb_main.c; those that name a PC
NAMES_PC = (BREAKPOINT_HIT, STEPPED, OOPS, "NonMaskable Interrupt", "Recursion")
NAMES_NONE = (KEYBOARD, "KDB_ENTER()", "cpu switch", "System NonMaskable Interrupt")
DIGITS = 16  # of an address of the kernel's
REGISTERS = (*(f"x{number}" for number in range(31)), "sp", "pc", "pstate")
# Commands that change nothing, and so can be repeated.
READS = re.compile(r"(?:rd|md\w*|bt\w?|ps|bl|per_cpu|pid|env|lsmod)(?: |$)")

ACTS = re.compile(r"(?:bp|bc|bd|be|set)(?: |$)")  # whose answers are not needed
# A number that is too short or too long: a repeated digit may be lost or doubled in both readings.
ODD = re.compile(r"\b(?:0x)?(?:[0-9a-f]{9,15}|[0-9a-f]{17,})\b")
ANSWER = 5.0  # seconds within which kdb answers a command, before the time scale
READINGS = 8  # readings, at most, until two agree


@dataclass(frozen=True)
class Stop:
    """Why and where the kernel stopped: ``pc`` is None if kdb names none.

    ``task`` is the address of the running task's task_struct.
    """

    reason: str
    pc: int | None
    pid: int
    cpu: int
    task: int = 0  # 0 if the line lost it; then pid and cpu are unknown too

    @classmethod
    def parse(cls, text: bytes) -> Stop | None:
        """Return the last stop that kdb announced in ``text``, None if it announced none."""
        found = list(ENTERING.finditer(without(text)))
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

    @classmethod
    def damaged(cls, text: bytes) -> Stop | None:
        """Return what is still known of a stop whose text the line damaged.

        That is its reason, if that differs from one of kdb's by one character at most; ``pc`` is
        None, and the rest unknown. None without a reason, or if a spurious Enter made two stops.
        """
        plain = without(text)
        if _announced(plain) > 1:
            return None
        found = [
            reason
            for reasons, form in ((NAMES_PC, "to {} @ "), (NAMES_NONE, "to {}"))
            for reason in reasons
            for _ in _nearly(form.format(reason)).finditer(plain)
        ]
        return cls(found[0], None, 0, 0) if len(found) == 1 else None

    def is_whole(self, text: bytes) -> bool:
        """Whether the text has this stop exactly once, in kdb's form, and ends with it."""
        plain = without(text)
        (*earlier, last) = ENTERING.finditer(plain)
        digits = {len(last[name]) for name in ("task", "pc") if last[name] is not None}
        return (
            not earlier
            and (self.reason == OOPS or not plain[last.end() :].strip())
            and _announced(plain) == 1
            and digits == {DIGITS}
            and self.reason in (NAMES_NONE if self.pc is None else NAMES_PC)
        )


def _announced(text: bytes) -> int:
    """Count the stops that a text announces, even if a faulty line damaged a part of each."""
    return max(map(text.count, PARTS))


def _nearly(words: str) -> re.Pattern[bytes]:
    """Return the pattern of words with one character lost, doubled or changed."""
    return re.compile(
        b"|".join(
            re.escape(words[:n].encode()) + b".{0,2}" + re.escape(words[n + 1 :].encode())
            for n in range(len(words))
        )
    )


@dataclass(frozen=True)
class Breakpoint:
    """A breakpoint that is set: the debugger's number of it, and the address."""

    number: int
    address: int


@dataclass(frozen=True)
class Task:
    """A task of the kernel, as ``ps`` prints it."""

    pid: int
    parent: int
    name: str


def _breakpoint(match: re.Match[str]) -> Breakpoint:
    return Breakpoint(int(match["number"]), int(match["address"], 16))


class CommandRefusedError(MachineryError):
    """kdb refused a command, so the command is wrong; the message is what kdb printed."""


class Kdb:
    """The debugger at the other end of a console, used at its prompt.

    ``scale`` multiplies every timeout. ``require_prompt`` is called with what is to be typed, and
    raises if kdb is not at its prompt.
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
        self._entered = b""

    def command(self, line: str) -> str:
        """Send a command; return what kdb prints up to its next prompt.

        A pager that stops the output is answered. Raises KernelFault ``hang`` if no prompt
        follows, CommandRefusedError if kdb refuses the command. On a faulty line, a command that
        changes nothing is repeated until two readings agree.
        """
        if self._console.trusted or not READS.match(line):
            if not ACTS.match(line):
                self._console.read_once = f"the answer to {line!r}"
            return self._command(line)
        return self._agreed(line, lambda text: None if ODD.search(text) else text)

    def _command(self, line: str) -> str:
        text = self._ask(line)
        if match := REFUSED.search(text):
            raise CommandRefusedError(f"kdb: {line}: {match['why'] or match['what']}".strip())
        return text

    def refusal(self, line: str) -> str:
        """Send a command; return why kdb refuses it, "" if it does not."""
        match = REFUSED.search(self._ask(line))
        return "" if match is None else (match["why"] or match["what"]).strip()

    def press(self, keys: bytes, until: re.Pattern[bytes] = PROMPT) -> re.Match[bytes]:
        """Send keys unchanged; return the match of ``until``, by default a prompt.

        What was printed before it is at the beginning of the match's string.
        """
        self._require_prompt(keys.decode(errors="replace"))
        self._entered = b""
        self._console.read_once = f"the answer to {keys!r}"
        self._console.send(keys)
        return self._expect(until, f"answer to {keys!r}")

    def taken(self, keys: bytes) -> str:
        """Type keys that form no command, and Enter; return the line that kdb read.

        Keys that move the cursor redraw the prompt, so a prompt does not mark the end.
        """
        line = self.press(keys + b"\r", UNKNOWN)["what"].decode(errors="replace")
        self._expect(PROMPT, "prompt")
        return line

    # -- a faulty line

    def enter(self, line: str) -> None:
        """Type a line, and Enter, without waiting for the answer.

        Raises MachineryError ``console-lost`` if a spurious Enter has made a step.
        """
        self._console.catch_up()
        if not self._console.trusted and EDITOR.entered.search(self._console.heard):
            raise MachineryError(
                f"Enter arrived twice: kdb stopped again before {line!r} was typed",
                Signature.CONSOLE_LOST,
            )
        # A blank at the end, because doubling it unseen, after the echo, changes nothing.
        self._console.forget()
        # Not after an empty line, which repeats the last command, nor in the pattern of `| grep`.
        pads = not self._console.trusted and line and "|" not in line
        padded = f"{line} " if pads else line
        self._entered = padded.encode()
        self._type()

    def _type(self) -> None:
        try:
            self._console.type(self._entered, EDITOR, self._console.deadline(ANSWER * self._scale))
        except SilenceError as error:
            if TERMINAL in error.heard:
                raise MachineryError(
                    f"{self._entered.decode()!r} ran before Enter was sent: the guest's terminal"
                    " has the line, not kdb",
                    Signature.CONSOLE_LOST,
                ) from error
            raise KernelFault(Signature.HANG, f"kdb: {error}") from error

    def look(self) -> None:
        """Have kdb, which is silent, redraw its line, so that its prompt is printed again.

        If that shows that Enter was lost, the command is typed again.
        """
        if self._console.awaits_enter(self._entered, EDITOR):
            self._console.forget()
            self._type()

    def _agreed(self, line: str, read: Callable[[str], T | None]) -> T:
        """Run a command that changes nothing, and return its answer as parsed by ``read``.

        ``read`` returns None if it cannot parse; on a faulty line two readings must agree.
        """
        found: list[T] = []
        text = ""
        for _ in range(1 if self._console.trusted else READINGS):
            text = self._command(line)
            reading = read(text)
            if reading is None:
                self._console.doubts += 1
                continue
            if self._console.trusted or reading in found:
                return reading
            self._console.doubts += bool(found)
            found.append(reading)
        if self._console.trusted:
            raise MachineryError(f"kdb: {line}: cannot read the answer {text!r}")
        raise MachineryError(
            f"kdb: {line}: no two of {READINGS} readings agree; the last is {text!r}",
            Signature.CONSOLE_LOST,
        )

    def _ask(self, line: str) -> str:
        """Run a command. On a faulty line, a refusal counts if two are the same."""
        text = self._ask_once(line)
        for _ in range(READINGS):
            refused = REFUSED.search(text)
            if self._console.trusted or refused is None:
                break
            text = self._ask_once(line)
            if (again := REFUSED.search(text)) and again[0] == refused[0]:
                break
            self._console.doubts += 1
        return text

    def _ask_once(self, line: str) -> str:
        self._require_prompt(line)
        self.enter(line)
        text = b""
        while True:
            match = self._expect(PROMPT, f"answer to {line!r}")
            text += match.string[: match.start()]
            if match["kind"].startswith(b"kdb"):
                break
            self._console.send(b" ")
        said = text.decode(errors="replace").replace("\r", "")
        # On a faulty line the echo has been read already.
        return said.partition("\n")[2] if self._console.trusted else said.removeprefix("\n")

    def _expect(self, pattern: re.Pattern[bytes], what: str) -> re.Match[bytes]:
        deadline = self._console.deadline(ANSWER * self._scale)
        try:
            return self._console.expect(pattern, what, deadline, self.look)
        except SilenceError as error:
            raise KernelFault(Signature.HANG, f"kdb: {error}") from error

    def prepare(self) -> None:
        """Turn the pager off for this boot."""
        self.command("set LINES 10000")

    def breakpoint(self, location: str | int) -> Breakpoint:
        """Set a breakpoint (``bp``) on a function, or at an address."""
        where = location if isinstance(location, str) else f"{location:#x}"
        text = self.command(f"bp {where}")
        if self._console.trusted:
            match = BREAKPOINT.search(without(text.encode()).decode())
            if match is None:
                raise MachineryError(f"kdb: bp {where}: cannot read the answer {text!r}")
            return _breakpoint(match)

        def read(listed: str) -> Breakpoint | None:
            found = [
                _breakpoint(match)
                for match in BREAKPOINT.finditer(listed)
                if match["symbol"] == location or int(match["address"], 16) == location
            ]
            return found[0] if len(found) == 1 else None

        return self._agreed("bl", read)

    def clear(self, breakpoint_: Breakpoint) -> None:
        """Remove a breakpoint (``bc``)."""
        self.command(f"bc {breakpoint_.number}")

    def address(self, symbol: str) -> int:
        """Return the address of a symbol (its name alone)."""
        return self._address(SYMBOL, symbol)

    def per_cpu_address(self, symbol: str) -> int:
        """Return the address of a per-CPU variable on processor 0."""
        return self._address(PER_CPU, f"per_cpu {symbol}")

    def _address(self, pattern: re.Pattern[str], line: str) -> int:
        def read(text: str) -> int | None:
            match = pattern.search(text)
            return None if match is None else int(match["address"], 16)

        return self._agreed(line, read)

    def read(self, address: int | str, size: int) -> bytes | None:
        """Read memory (``mdr``) at an address or a symbol; None if nothing is mapped there."""

        def read(text: str) -> bytes | None:
            match = MEMORY.search(text)
            if match is not None and len(match[0]) == 2 * size:
                return bytes.fromhex(match[0])
            return b"" if "Bad address" in text else None

        where = address if isinstance(address, str) else f"{address:#x}"
        return self._agreed(f"mdr {where} {size}", read) or None

    def tasks(self) -> list[Task]:
        """Return the tasks that kdb's ``ps`` shows, which leaves out sleeping kernel threads."""
        text = self.command("ps")
        return [Task(int(m["pid"]), int(m["parent"]), m["name"]) for m in TASK.finditer(text)]

    def backtrace(self, pid: int) -> list[str]:
        """Return the functions that a task is in, the innermost first (``btp``)."""
        return [match["symbol"] for match in FRAME.finditer(self.command(f"btp {pid}"))]

    def registers(self) -> dict[str, int]:
        """Return x0 to x30, sp, pc and pstate of the stopped context (``rd``).

        On a faulty line, each value is one on which two readings agree.
        """
        return self._registers(agree=2)

    def glance(self) -> dict[str, int]:
        """Return the same from one reading, in which digits may be wrong."""
        return self._registers(agree=1)

    def register(self, name: str) -> int:
        """Return one of these registers."""
        return self.registers()[name]

    def _registers(self, agree: int) -> dict[str, int]:
        seen: dict[str, Counter[int]] = {name: Counter() for name in REGISTERS}
        times = 1 if self._console.trusted else agree
        for reading in range(READINGS):
            text = without(self._command("rd").encode()).decode()
            if not self._console.trusted:
                text = "\n".join(filter(WHOLE_LINE.fullmatch, text.splitlines()))
            for name, value in {
                (match["name"], int(match["value"], 16)) for match in REGISTER.finditer(text)
            }:
                if name in seen:
                    seen[name][value] += 1
            found = {
                name: value
                for name, counts in seen.items()
                for value, n in counts.most_common(1)
                if n >= times
            }
            if len(found) == len(REGISTERS):
                self._console.doubts += reading >= times
                return found
            if self._console.trusted:
                break
        missing = ", ".join(name for name in REGISTERS if name not in found)
        if self._console.trusted:
            raise MachineryError(f"kdb: rd: {missing} cannot be read in {text!r}")
        raise MachineryError(
            f"kdb: rd: no two of {READINGS} readings agree on {missing}", Signature.CONSOLE_LOST
        )

    def resume(self) -> None:
        """Let the kernel continue (``go``), without waiting for any output."""
        self.enter("go")

    def resume_step(self, command: str = "ss") -> None:
        """Let the kernel run one instruction (``ss``), without waiting for the stop.

        After a step, an empty command does the same.
        """
        self.enter(command)
