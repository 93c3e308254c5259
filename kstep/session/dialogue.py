# SPDX-License-Identifier: GPL-2.0-only
"""The serial line as a conversation, and who has the word in it.

The guest's shell and kdb speak on one line, so whoever listens may hear either: a stop,
or the end of the command that runs.
"""

from __future__ import annotations

import re
import time
from contextlib import contextmanager, suppress
from enum import Enum
from functools import cached_property
from itertools import count
from typing import TYPE_CHECKING

from kstep.base.deadline import Deadline
from kstep.base.errors import MachineryError
from kstep.base.outcome import KernelFault, Signature
from kstep.console.console import SilenceError
from kstep.console.kdb import PROMPT, Kdb, Stop
from kstep.console.shell import Answer, Command
from kstep.console.splat import SplatDetector, unexpected_steps

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kstep.machine.interface import Machine

WAIT = 10.0  # seconds for a command of the guest, or a stop, before the time scale
TICKS = 0.005  # seconds: some periods of a 1000 Hz timer
SPLAT_ENDS = re.compile(rb"---\[ end (trace|Kernel panic)|kdb> \Z")
SPLAT_TEXT = 2.0  # seconds for the rest of a splat
FLOOD = 2.0  # seconds for which unexpected steps are counted
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
        # Who has stopped the guest, or has its line; a boot that waits is stopped in kdb.
        self._debugger: State | None = State.KDB if machine.hardware.waits else None
        self._kgdboc = True
        self._crashed = False
        self.has_excused = False
        self._splats = SplatDetector()
        self._console.on_text = self._splats.feed

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
        typed = Command(command, next(_numbers))
        self.expect_end_of(typed)
        self._console.send(typed.line)

    def expect_end_of(self, command: Command) -> None:
        """Take for what runs a command that has been typed, or the boot."""
        self._command = command

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

    def listen(self, what: str, seconds: float = WAIT) -> Stop | Answer:
        """Wait for a stop, or for the end of the command that runs."""
        ends = [] if self._command is None else [self._command.end]
        pattern = b"|".join([*ends, PROMPT.pattern] if self._kgdboc else ends)
        deadline = Deadline.after(seconds * self._machine.scale)
        text = b""
        while True:
            try:
                match = self._console.expect(re.compile(pattern), what, deadline)
            except SilenceError as error:
                self._splats.finish()
                raise KernelFault(Signature.HANG, str(error)) from error
            groups = match.groupdict()
            if groups.get("status") is not None and self._command is not None:
                answer, self._command = self._command.answer(match), None
                return answer
            text += match.string[: match.start()]
            if groups["kind"] == b"more":
                self._console.send(b" ")
                continue
            stop = Stop.parse(text)
            if stop is None:
                raise MachineryError(f"kdb prompts and does not say why: {text[-200:]!r}")
            self._debugger = State.KDB
            return stop

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
