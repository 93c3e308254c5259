# SPDX-License-Identifier: GPL-2.0-only
"""The conversation on the serial line, and the state in which it leaves the guest.

The guest's shell and kdb share one line, so what is received may be from either: a stop, or
the end of the running command.
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
from kstep.console.console import NOTHING, SilenceError
from kstep.console.kdb import NAMES_PC, PROMPT, Kdb, Stop
from kstep.console.shell import Command, CommandResult
from kstep.console.splat import SplatDetector, unexpected_steps
from kstep.judge.context import Context

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kstep.judge.livelock import Debugger
    from kstep.machine.interface import Machine

WAIT = 10.0  # seconds for a command of the guest, or a stop, before the time scale
TICKS = 0.005  # seconds: several periods of a 1000 Hz timer
SPLAT_ENDS = re.compile(rb"---\[ end (trace|Kernel panic)|kdb> \Z")
SPLAT_TEXT = 2.0  # seconds for the rest of a splat
FLOOD = 2.0  # seconds for which unexpected steps are counted
CERTAIN = (Signature.SPLAT, Signature.PANIC, Signature.STEP_FLOOD)  # printed by the kernel itself

_numbers = count(1)


class State(Enum):
    """The state of the guest, as far as the serial line tells."""

    SHELL = "at the shell"
    RUNNING = "running a command"
    KDB = "stopped in kdb"
    GDB = "in gdb's hands"
    OFF_LINE = "without kgdboc"
    GONE = "gone, crashed or rebooted"


class Dialogue:
    """The conversation on a machine's serial line, and the state in which it leaves the guest.

    A verb used in the wrong state is a bug of the script: it raises MachineryError, because
    its result would not be a verdict on the kernel. ``metrics`` gets the number of unexpected
    steps.
    """

    def __init__(self, machine: Machine, metrics: dict[str, float]) -> None:
        self._machine = machine
        self._console = machine.console
        self._metrics = metrics
        self._command: Command | None = None
        self._typed = b""  # for the command: its line, or what has its end printed again
        self._looks = 0  # probes of a silent line
        self._ends: list[CommandResult] = []  # of the command, in the order received
        self._not_run = 0  # times that the shell said that it has not run the command
        self._known: Stop | None = None  # the last one
        # The debugger that has stopped the guest or uses its line; a boot that waits is in kdb.
        self._debugger: State | None = State.KDB if machine.hardware.waits else None
        self._kgdboc = True
        self._crashed = False
        self._excused = False
        self._splats = SplatDetector()
        self._console.on_text = self._splats.feed
        self._console.doubts, self._console.read_once = 0, ""

    @property
    def has_excused(self) -> bool:
        """Whether the kernel may have been tainted by splats that are no fault of its own."""
        return self._excused or self._splats.of_kgdb > 0

    @property
    def line_trusted(self) -> bool:
        """Whether the line delivers what was sent, so that nothing must be read again."""
        return self._console.trusted

    def require_certain(self, fault: KernelFault) -> None:
        """Raise MachineryError if the serial line may have caused a fault.

        That is possible if the line was seen to make errors in this conversation, and something
        was read that cannot be read again. A few wrong bytes cannot make a splat.
        """
        if self._console.trusted or fault.signature in CERTAIN:
            return
        if self._console.read_once and self._console.doubts:
            raise MachineryError(
                f"{fault}; but the serial line made {self._console.doubts} errors, and"
                f" {self._console.read_once} was read only once",
                Signature.CONSOLE_LOST,
            ) from fault

    # -- the state

    @property
    def state(self) -> State:
        """The state of the guest."""
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
        """Record that gdb has the kernel now."""
        self._debugger = State.GDB

    def release(self) -> None:
        """Record that no debugger has the kernel any more."""
        self._debugger = None

    def give_up(self) -> None:
        """Record that the kernel does not come back, so that no command will end."""
        self._crashed = True
        self._debugger = self._command = None

    @contextmanager
    def off_line(self) -> Iterator[None]:
        """Treat kgdb as off the serial line in the block: prompts of kdb are ignored."""
        self._kgdboc = False
        yield
        self._kgdboc = True

    # -- sending

    @cached_property
    def kdb(self) -> Kdb:
        """kdb, which must be at its prompt when it is used.

        Created at its first use, because the time scale is known only when the guest is up.
        """
        return Kdb(
            self._console,
            self._machine.scale,
            lambda line: self.require(f"kdb's {line!r}", State.KDB),
        )

    @cached_property
    def context(self) -> Debugger:
        """What tells the registers of the context in which kdb stopped: memory, or kdb itself."""
        return (Context.of(self._machine) if self._console.trusted else None) or self.kdb

    @property
    def running(self) -> str:
        """The command that the shell runs; "" if there is none."""
        return "" if self._command is None else self._command.text

    def start(self, command: str) -> None:
        """Have the shell run a command; under gdb too, which may have let the guest run."""
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
        """Type a command of the shell."""
        self._typed = line
        deadline = self._console.deadline(WAIT * self._machine.scale)
        try:
            self._console.type(line, shell.EDITOR, deadline, harmless=harmless)
        except SilenceError as error:
            raise KernelFault(Signature.HANG, f"the guest's terminal: {error}") from error

    def expect_end_of(self, command: Command) -> None:
        """Treat a command that has been typed, or the boot, as the one that runs."""
        self._command = command
        self._looks = self._not_run = 0

    def send_off(self, command: str) -> None:
        """Have the shell run a command without waiting for its end."""
        self._type(command.encode())

    def resume(self) -> None:
        """Let the kernel continue (``go``)."""
        self.require("go", State.KDB)
        self.kdb.resume()
        self._debugger = None

    def resume_step(self, command: str) -> None:
        """Let the kernel run one instruction (``ss``)."""
        self.require("step", State.KDB)
        self.kdb.resume_step(command)
        self._debugger = None

    def send(self, data: bytes) -> None:
        """Type something that is a command neither of the shell nor of kdb."""
        self._console.send(data)

    def send_break(self) -> None:
        """Send BREAK and g, which enter kdb whatever the guest is doing."""
        self._machine.send_break()
        self._console.send(b"g")

    # -- receiving

    def listen(self, what: str, seconds: float = WAIT) -> Stop | CommandResult:
        """Wait for a stop, or for the end of the running command."""
        deadline = self._console.deadline(seconds * self._machine.scale)
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
        """Listen for ``seconds``; None if there is neither a stop nor an end, which is fine."""
        try:
            return self.listen("stop or the command's end", seconds)
        except KernelFault as fault:
            if fault.signature is not Signature.HANG:
                raise
            return None

    # -- a faulty line

    def _look(self) -> None:
        """Probe a silent line: the terminal of a running guest or kdb, whichever is there.

        It redraws its line. The command is typed again if Enter was lost; if the end of a command
        was lost, the shell is asked to print it again.
        """
        line = b"" if self._command is None else self._typed
        waits = self._console.awaits_enter(line, shell.EDITOR)
        if waits is None:
            if self._kgdboc:
                self.kdb.look()
        elif waits:
            self._console.forget()
            self._type(line, harmless=self._command is not None and line == self._command.again)
        elif self._command is not None:
            self._looks += 1
            if self._looks > 1 and self._looks & (self._looks - 1) == 0:
                # At growing intervals, because the shell may be busy.
                self._type(self._command.again, harmless=True)

    def _answer(self, match: re.Match[bytes]) -> CommandResult | None:
        """Return the result of the command; None if its end must be received once more.

        On a faulty line, the end is printed twice; a status other than 0 must be received twice.
        Raises MachineryError ``console-lost`` if the shell says twice that it has not run it.
        """
        assert self._command is not None  # noqa: S101 -- its end is what was matched
        if self._command.keeps and not match["status"]:
            self._not_run += 1
            if self._not_run == 1:
                return None
            raise MachineryError(
                f"the shell did not run {self._command.text!r}: the serial line changed it on the"
                " way",
                Signature.CONSOLE_LOST,
            )
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
        """Return the stop that a text reports; what the line lost of it is read again."""
        stop = Stop.parse(text)
        if self._console.trusted:
            if stop is None:
                raise MachineryError(f"kdb's prompt without a reason for the stop: {text[-200:]!r}")
            return stop
        if stop is not None and stop.is_whole(text):
            return stop
        self._console.doubts += 1
        stop = Stop.damaged(text)
        if stop is None:
            raise MachineryError(
                f"kdb stopped, but the reason is lost, or Enter arrived twice: {text[-200:]!r}",
                Signature.CONSOLE_LOST,
            )
        pc = self.kdb.registers()["pc"] if stop.reason in NAMES_PC else None
        known = self._known or stop
        return replace(stop, pc=pc, pid=known.pid, cpu=known.cpu, task=known.task)

    def listen_for(self, pattern: re.Pattern[bytes], what: str, seconds: float = WAIT) -> None:
        """Wait for a pattern; raises SilenceError if it is not received in time."""
        self._console.expect(pattern, what, self._console.deadline(seconds * self._machine.scale))

    def await_line(self, part: str) -> None:
        """Wait until the guest has printed a line that ends in ``part``."""
        self.require("await_line", State.SHELL, State.RUNNING, State.OFF_LINE, State.GONE)
        pattern = re.compile(re.escape(part.encode()) + rb"\r?\n")
        try:
            self.listen_for(pattern, part)
        except SilenceError as error:
            raise KernelFault(Signature.HANG, f"the guest: {error}") from error

    def wait_for_pending_tick(self) -> None:
        """Stay stopped for some ticks, as a person would, so that a timer interrupt is pending.

        Otherwise the speed of this machine would decide whether the next instruction meets one.
        """
        time.sleep(TICKS)

    # -- splats

    @contextmanager
    def excusing(self, *splats: str) -> Iterator[dict[str, int]]:
        """Allow splats in the block whose lines contain these parts.

        After the block, the dictionary has how often each was printed.
        """
        heard = dict.fromkeys(splats, 0)
        self._excused = True
        self._splats.provoked |= {splat.encode(): 0 for splat in splats}
        yield heard
        heard |= {each: self._splats.provoked.pop(each.encode()) for each in splats}

    @contextmanager
    def provoking(self, *splats: str) -> Iterator[None]:
        """Cause splats in the block, each identified by a part of its line.

        Raises KernelFault ``wrong-result`` unless each is printed exactly once.
        """
        with self.excusing(*splats) as heard:
            yield
        for splat in splats:
            if (times := heard[splat]) != 1:
                raise KernelFault(
                    Signature.WRONG_RESULT,
                    f"the kernel printed {splat!r} {times} times, not once",
                )

    def drain(self, fault: KernelFault) -> KernelFault:
        """Receive a splat's remaining text into the transcript; return the fault.

        Unexpected steps are received for longer, and the fault tells how many there were.
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
