# SPDX-License-Identifier: GPL-2.0-only
"""The serial line as a conversation, and who has the word in it.

The guest's shell and kdb speak on one line, so whoever listens may hear either: a stop,
or the end of the command that runs.
"""

from __future__ import annotations

import re
import time
from contextlib import contextmanager, suppress
from dataclasses import replace
from enum import Enum
from functools import cached_property
from itertools import count
from typing import TYPE_CHECKING

from kstep.base.deadline import Deadline
from kstep.base.errors import MachineryError
from kstep.base.outcome import KernelFault, Signature
from kstep.console import shell
from kstep.console.console import SilenceError
from kstep.console.kdb import NAMES_PC, PROMPT, Kdb, Stop
from kstep.console.shell import Command, CommandResult
from kstep.console.splat import SplatDetector, unexpected_steps

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kstep.machine.interface import Machine

WAIT = 10.0  # seconds for a command of the guest, or a stop, before the time scale
TICKS = 0.005  # seconds: some periods of a 1000 Hz timer
SPLAT_ENDS = re.compile(rb"---\[ end (trace|Kernel panic)|kdb> \Z")
SPLAT_TEXT = 2.0  # seconds for the rest of a splat
FLOOD = 2.0  # seconds for which unexpected steps are counted
CERTAIN = (Signature.SPLAT, Signature.PANIC, Signature.STEP_FLOOD)  # what the kernel says itself
NOTHING = re.compile(rb"(?!)")

_numbers = count(1)


class State(Enum):
    """Where the guest is, as far as the line tells."""

    SHELL = "at the shell"
    RUNNING = "running a command"
    KDB = "stopped in kdb"
    GDB = "in gdb's hands"
    OFF_LINE = "without kgdboc"
    GONE = "gone, crashed or rebooted"


class Dialogue:
    """What is said on a machine's line, and in which state that leaves the guest.

    A verb that is used in a state that it is not for is a mistake of the script: it raises
    MachineryError, because what came of it would be no verdict on the kernel. ``metrics`` gets
    the number of unexpected steps. ``has_excused`` is whether excusing() was used.
    """

    def __init__(self, machine: Machine, metrics: dict[str, float]) -> None:
        self._machine = machine
        self._console = machine.console
        self._metrics = metrics
        self._command: Command | None = None
        self._looks = 0  # times that silence was answered by asking
        self._ends: list[CommandResult] = []  # of the command, as they were heard
        self._known: Stop | None = None  # the last one
        # Who has stopped the guest, or has its line; a boot that waits is stopped in kdb.
        self._debugger: State | None = State.KDB if machine.hardware.waits else None
        self._kgdboc = True
        self._crashed = False
        self.has_excused = False
        self._splats = SplatDetector()
        self._console.on_text = self._splats.feed
        self._console.doubts, self._console.read_once = 0, ""

    @property
    def line_trusted(self) -> bool:
        """Whether the line says what was said, so that nothing need be read again."""
        return self._console.trusted

    def require_certain(self, fault: KernelFault) -> None:
        """Raise MachineryError if a fault may be the line's.

        So it may if the line was seen to lie in this conversation, and something that cannot be
        read again was read on it. A splat cannot be made of anything else by a few bytes.
        """
        if self._console.trusted or fault.signature in CERTAIN:
            return
        if self._console.read_once and self._console.doubts:
            raise MachineryError(
                f"{fault}; but the line got {self._console.doubts} things wrong, and"
                f" {self._console.read_once} was read only once",
                Signature.CONSOLE_LOST,
            ) from fault

    # -- the state

    @property
    def state(self) -> State:
        """Where the guest is."""
        if self._debugger is not None:
            return self._debugger
        if self._crashed:
            return State.GONE
        if not self._kgdboc:
            return State.OFF_LINE
        return State.SHELL if self._command is None else State.RUNNING

    def require(self, verb: str, *states: State) -> None:
        """Raise MachineryError unless the guest is in one of the states that a verb is for."""
        if self.state not in states:
            needed = " or ".join(state.value for state in State if state in states)
            raise MachineryError(
                f"{verb}: the guest is {self.state.value}, and must be {needed};"
                " the script is wrong, not the kernel"
            )

    def hand_to_gdb(self) -> None:
        """Take note that gdb has the kernel now."""
        self._debugger = State.GDB

    def release(self) -> None:
        """Take note that no debugger has the kernel any more."""
        self._debugger = None

    def give_up(self) -> None:
        """Take note that the kernel does not come back, and with it no command."""
        self._crashed = True
        self._debugger = self._command = None

    @contextmanager
    def off_line(self) -> Iterator[None]:
        """Take kgdb for off the serial line in the block: a prompt of kdb's is not for us."""
        self._kgdboc = False
        yield
        self._kgdboc = True

    # -- what is said

    @cached_property
    def kdb(self) -> Kdb:
        """kdb, which must be at its prompt when it is spoken to.

        Made when it is first used, for the time scale is known only when the guest is up.
        """
        return Kdb(
            self._console,
            self._machine.scale,
            lambda line: self.require(f"kdb's {line!r}", State.KDB),
        )

    def start(self, command: str) -> None:
        """Have the shell run a command. gdb may have let the guest run, so it may be there."""
        verb = f"running {command!r}"
        self.require(verb, State.SHELL, State.OFF_LINE, State.GDB)
        if self._command is not None:
            raise MachineryError(f"{verb}: the command {self._command.text!r} still runs")
        typed = Command(command, next(_numbers), keeps=not self._console.trusted)
        self.expect_end_of(typed)
        if not self._console.trusted:
            self._console.forget()
        self._type(typed.line)

    def _type(self, line: bytes, *, harmless: bool = False) -> None:
        """Type a line of the shell's."""
        deadline = Deadline.after(WAIT * self._machine.scale)
        try:
            self._console.type(line, shell.EDITOR, deadline, harmless=harmless)
        except SilenceError as error:
            raise KernelFault(Signature.HANG, f"the guest's terminal gives {error}") from error

    def expect_end_of(self, command: Command) -> None:
        """Take for what runs a command that has been typed, or the boot."""
        self._command = command
        self._looks = 0

    def send_off(self, command: str) -> None:
        """Have the shell run a command of which no end is waited for."""
        self._type(command.encode())

    def resume(self) -> None:
        """Let the kernel run on (``go``)."""
        self.require("go", State.KDB)
        self.kdb.resume()
        self._debugger = None

    def resume_step(self, command: str) -> None:
        """Let the kernel run one instruction (``ss``)."""
        self.require("step", State.KDB)
        self.kdb.resume_step(command)
        self._debugger = None

    def send(self, data: bytes) -> None:
        """Type something that is no command of the shell, nor of kdb."""
        self._console.send(data)

    def send_break(self) -> None:
        """Send BREAK and g, by which kdb is entered whatever the guest is at."""
        self._machine.send_break()
        self._console.send(b"g")

    # -- what is heard

    def listen(self, what: str, seconds: float = WAIT) -> Stop | CommandResult:
        """Wait for a stop, or for the end of the command that runs."""
        deadline = Deadline.after(seconds * self._machine.scale)
        text = b""
        while True:
            ends = [] if self._command is None else [self._command.end]
            pattern = b"|".join([*ends, PROMPT.pattern] if self._kgdboc else ends)
            try:
                match = self._console.expect(re.compile(pattern), what, deadline, self._look)
            except SilenceError as error:
                self._splats.finish()
                raise KernelFault(Signature.HANG, str(error)) from error
            groups = match.groupdict()
            if groups.get("status") is not None and self._command is not None:
                if (answer := self._answer(match)) is not None:
                    return answer
                continue
            text += match.string[: match.start()]
            if groups["kind"].startswith(b"m"):
                self._console.send(b" ")
                continue
            self._debugger = State.KDB
            stop = self._stop(text)
            self._known = stop
            return stop

    def overhear(self, seconds: float) -> Stop | CommandResult | None:
        """Listen for as long, where it is well that nothing comes: then None."""
        try:
            return self.listen("stop or the command's end", seconds)
        except KernelFault as fault:
            if fault.signature is not Signature.HANG:
                raise
            return None

    # -- a line that may lie

    def _look(self) -> None:
        """Ask who is there, where nobody says anything: the terminal of a guest that runs, or kdb.

        Whoever is there draws its line anew. What was entered is typed again if Enter was lost, and
        so is what has the end of a command said, if that was lost: the shell reads it then.
        """
        line = b"" if self._command is None else self._command.line
        waits = self._console.awaits_enter(line, shell.EDITOR)
        if waits is None:
            if self._kgdboc:
                self.kdb.look()
        elif waits:
            self._console.forget()
            self._type(line)
        elif self._command is not None:
            self._looks += 1
            if self._looks > 1 and self._looks & (self._looks - 1) == 0:
                # Ever more rarely, for the shell may be busy.
                self._type(self._command.again, harmless=True)

    def _answer(self, match: re.Match[bytes]) -> CommandResult | None:
        """Return the end of the command; None if it is to be heard once more.

        Where the line may lie, the end is said twice. One that condemns must be heard twice alike.
        """
        assert self._command is not None  # noqa: S101 -- its end is what was matched
        answer = self._command.answer(match)
        if self._command.keeps:
            self._ends.append(answer)
            if answer.status and [each.status for each in self._ends].count(answer.status) == 1:
                return None
            shell.hear_out(self._console, asked_again=self._looks > 1)
        answer = replace(answer, heard=(self._ends or [answer])[0].heard)
        said = f"what {self._command.text!r} printed"
        self._command, self._ends = None, []

        def note() -> None:
            self._console.read_once = said

        return replace(answer, on_use=note)

    def _stop(self, text: bytes) -> Stop:
        """Return the stop that a text tells of; what the line lost of it is read again."""
        stop = Stop.parse(text)
        if self._console.trusted:
            if stop is None:
                raise MachineryError(f"kdb prompts and does not say why: {text[-200:]!r}")
            return stop
        if stop is not None and stop.is_whole(text):
            return stop
        self._console.doubts += 1
        stop = Stop.damaged(text)
        if stop is None:
            raise MachineryError(
                f"kdb stopped, and why is lost, or Enter came twice: {text[-200:]!r}",
                Signature.CONSOLE_LOST,
            )
        pc = self.kdb.registers()["pc"] if stop.reason in NAMES_PC else None
        known = self._known or stop
        return replace(stop, pc=pc, pid=known.pid, cpu=known.cpu, task=known.task)

    def listen_for(self, pattern: re.Pattern[bytes], what: str, seconds: float = WAIT) -> None:
        """Wait for words; raises SilenceError where they do not come."""
        self._console.expect(pattern, what, Deadline.after(seconds * self._machine.scale))

    def await_line(self, part: str) -> None:
        """Wait until the guest has said a line that ends in ``part``."""
        self.require("await_line", State.SHELL, State.RUNNING, State.OFF_LINE, State.GONE)
        pattern = re.compile(re.escape(part.encode()) + rb"\r?\n")
        try:
            self.listen_for(pattern, part)
        except SilenceError as error:
            raise KernelFault(Signature.HANG, f"the guest says {error}") from error

    def wait_for_pending_tick(self) -> None:
        """Stay stopped for some ticks, as a person would: the timer's interrupt is then due.

        Otherwise it would depend on how fast this machine types whether the next
        instruction meets one.
        """
        time.sleep(TICKS)

    # -- splats

    @contextmanager
    def excusing(self, *splats: str) -> Iterator[dict[str, int]]:
        """Let the kernel complain in the block, in lines that have these parts.

        How often each was made is in the dictionary once the block is left.
        """
        heard = dict.fromkeys(splats, 0)
        self.has_excused = True
        self._splats.provoked |= {splat.encode(): 0 for splat in splats}
        yield heard
        heard |= {each: self._splats.provoked.pop(each.encode()) for each in splats}

    @contextmanager
    def provoking(self, *splats: str) -> Iterator[None]:
        """Bring about splats, each known by a part of its line, in the block.

        Raises KernelFault ``wrong-result`` where one is not made, or made more than once.
        """
        with self.excusing(*splats) as heard:
            yield
        for splat in splats:
            if (times := heard[splat]) != 1:
                raise KernelFault(
                    Signature.WRONG_RESULT,
                    f"the kernel says {splat!r} {times} times, not once",
                )

    def drain(self, fault: KernelFault) -> KernelFault:
        """Let a splat's remaining text come into the transcript; return the fault.

        One of unexpected steps is listened to for longer, and says how many there were.
        """
        self._console.on_text = None
        if fault.signature is Signature.STEP_FLOOD:
            heard = b""
            try:
                self._console.expect(NOTHING, "nothing", Deadline.after(FLOOD))
            except SilenceError as error:
                heard = error.heard
            except MachineryError:
                return fault
            if steps := unexpected_steps(heard):
                self._metrics["unexpected_steps"] = steps
                return KernelFault(fault.signature, f"{fault}: {steps} in {FLOOD:g} s")
        if fault.signature in (Signature.SPLAT, Signature.PANIC):
            with suppress(SilenceError, MachineryError):
                self._console.expect(SPLAT_ENDS, "its end", Deadline.after(SPLAT_TEXT))
        return fault
