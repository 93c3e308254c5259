# SPDX-License-Identifier: GPL-2.0-only
"""Commands of the guest's shell, and the stops that they lead to."""

from __future__ import annotations

import re
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from kstep.base.errors import MachineryError
from kstep.base.outcome import KernelFault, Signature
from kstep.console.kdb import BREAKPOINT_HIT, KEYBOARD, CommandRefusedError, Stop
from kstep.console.shell import TALK, CommandResult, WayUp
from kstep.session.dialogue import WAIT, State

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from kstep.console.kdb import Breakpoint, Kdb
    from kstep.machine.interface import Machine
    from kstep.session.dialogue import Dialogue
    from kstep.session.stops import Stops

SYSRQ_G = "echo g > /proc/sysrq-trigger"
# A command behind it. In braces, or of `a & b` only `a` would be behind it.
SYSRQ_G_THEN = SYSRQ_G + " && {{ {}; }}"
KGDBOC = "/sys/module/kgdboc/parameters/kgdboc"
NOT_FOUND = 127  # the shell's status for a command that it does not find
READS_ON = 0.3  # seconds within which the shell reads its next line


class StoppedAt:
    """A breakpoint that a command has reached, and the stop there.

    It is removed when the block is left, or by clear() before.
    """

    def __init__(self, kdb: Kdb, stops: Stops, breakpoint_: Breakpoint) -> None:
        self.breakpoint = breakpoint_
        self.stop = stops.expect_breakpoint(breakpoint_)
        self._kdb = kdb
        self._stops = stops
        self._is_set = True
        self._answer: CommandResult | None = None

    def times(self, number: int) -> Iterator[Stop]:
        """Yield the stop, then ``go`` to the next and yield that, until there were ``number``."""
        for further in reversed(range(number)):
            yield self.stop
            if further:
                self._stops.go()
                self.stop = self._stops.expect_breakpoint(self.breakpoint)

    def clear(self) -> None:
        """Remove the breakpoint (``bc``)."""
        if self._is_set:
            self._is_set = False
            self._kdb.clear(self.breakpoint)

    @property
    def answer(self) -> CommandResult:
        """The result of the command, after the block."""
        if self._answer is None:
            raise MachineryError("the result of a command that has not ended")
        return self._answer

    @answer.setter
    def answer(self, answer: CommandResult) -> None:
        self._answer = answer


class Commands:
    """Runs commands in the guest's shell."""

    def __init__(self, machine: Machine, dialogue: Dialogue, stops: Stops) -> None:
        self._machine = machine
        self._dialogue = dialogue
        self._stops = stops

    def run(self, command: str, seconds: float = WAIT) -> CommandResult:
        """Run a command in the guest; its status must be 0."""
        with self.running(command, seconds) as ended:
            pass
        return ended[0]

    def ask(self, command: str, seconds: float = WAIT) -> CommandResult:
        """Run a command in the guest; its status may be anything."""
        self._dialogue.start(command)
        return self._end(command, seconds)

    @contextmanager
    def running(self, command: str, seconds: float = WAIT) -> Iterator[list[CommandResult]]:
        """Have a command run while the block uses kdb; afterwards its status must be 0.

        After the block, the yielded list holds the result.
        """
        self._dialogue.start(command)
        answers: list[CommandResult] = []
        yield answers
        answer = self._end(command, seconds)
        if answer.status == NOT_FOUND and "not found" in answer.heard:
            raise MachineryError(
                f"the guest has no program for {command!r}: {answer.heard.strip()[-200:]};"
                " the script or the guest is wrong, not the kernel"
            )
        if answer.status:
            raise KernelFault(
                Signature.WRONG_RESULT,
                f"the command {command!r} ended with status {answer.status}:"
                f" {answer.heard.strip()[-200:] or 'no output'}",
            )
        answers.append(answer)

    def _end(self, command: str, seconds: float) -> CommandResult:
        what = f"end of the command {command!r}"
        self._dialogue.require(f"awaiting the {what}", State.RUNNING, State.OFF_LINE, State.GDB)
        heard = self._dialogue.listen(what, seconds)
        if isinstance(heard, Stop):
            raise self._stops.unexpected(heard)
        return heard

    def must_tick(self) -> None:
        """Check in the guest that the timer's tick still moves its clock.

        A few ticks within two seconds are enough: their rate depends more on this machine than
        on the kernel.
        """
        self.run("ticks 2000 5")

    def version(self) -> tuple[int, int]:
        """Return the kernel's version from the guest's uname, such as (6, 1)."""
        said = self.run("uname -r").text
        found = re.search(r"^(\d+)\.(\d+)", said, re.MULTILINE)
        if found is None:
            raise MachineryError(f"no version in the output of uname: {said!r}")
        return int(found[1]), int(found[2])

    # -- into kdb, and out of it

    @contextmanager
    def in_kdb(self, then: str = "") -> Iterator[Kdb]:
        """Enter kdb by sysrq-g for the block, and let the guest continue after it.

        The command ``then`` is typed before, so nothing runs in between.
        """
        self._dialogue.require("in_kdb", State.SHELL)
        with self.running(SYSRQ_G_THEN.format(then) if then else SYSRQ_G):
            self._stops.expect_stop(KEYBOARD)
            yield self._dialogue.kdb
            self._stops.go()

    @contextmanager
    def stopped_at(
        self, location: str | int, trigger: str, seconds: float = WAIT, *, at_once: bool = False
    ) -> Iterator[StoppedAt]:
        """Stop when a command reaches a function or an address, for the block; then continue.

        Set the breakpoint (``bp``), run the trigger, wait for the hit; after the block clear
        the breakpoint (``bc``), ``go``, and require status 0 of the trigger, which may take
        ``seconds`` to its end. With ``at_once`` the
        trigger is typed before kdb is entered, so nothing runs in between: for an address that
        others reach as well.
        """
        self._dialogue.require("stopped_at", State.SHELL)
        kdb = self._dialogue.kdb
        with ExitStack() as stack:
            if at_once:
                ended = stack.enter_context(self.running(SYSRQ_G_THEN.format(trigger), seconds))
                self._stops.expect_stop(KEYBOARD)
                point = kdb.breakpoint(location)
                self._stops.go()
            else:
                with self.in_kdb():
                    point = kdb.breakpoint(location)
                ended = stack.enter_context(self.running(trigger, seconds))
            stopped = StoppedAt(kdb, self._stops, point)
            yield stopped
            stopped.clear()
            self._stops.go()
        stopped.answer = ended[0]

    def stop_in(
        self, locations: Sequence[str | int], trigger: str, seconds: float = WAIT
    ) -> Stop | CommandResult:
        """Set breakpoints, run a command, and return the first stop, caused by any task.

        Returns the command's result if it ended without a stop. For functions that others than
        the trigger may reach. Raises CommandRefusedError if kdb refuses all of the breakpoints.
        """
        self._dialogue.require("stop_in", State.SHELL)
        self._dialogue.start(SYSRQ_G)
        self._stops.expect_stop(KEYBOARD)
        addresses = self._breakpoints(locations)
        self._stops.go()
        heard = self._dialogue.listen("end of the command that entered kdb")
        if isinstance(heard, CommandResult):
            heard = self._stop_of_its_own(heard)
        if isinstance(heard, CommandResult):
            self._dialogue.start(trigger)
            heard = self._dialogue.listen(f"stop and no end of the command {trigger!r}", seconds)
        if isinstance(heard, CommandResult):
            heard = self._stop_of_its_own(heard)
        if isinstance(heard, CommandResult):
            return heard
        if heard.reason != BREAKPOINT_HIT or heard.pc not in addresses:
            raise self._stops.unexpected(heard)
        self._stops.take(heard)
        return heard

    def _stop_of_its_own(self, answer: CommandResult) -> Stop | CommandResult:
        """Listen for a stop after a command's end: by the shell, or by a task in the background."""
        return self._dialogue.overhear(READS_ON) or answer

    def _breakpoints(self, locations: Sequence[str | int]) -> set[int]:
        addresses: set[int] = set()
        refused: CommandRefusedError | None = None
        for location in locations:
            try:
                addresses.add(self._dialogue.kdb.breakpoint(location).address)
            except CommandRefusedError as error:
                refused = error
        if refused is not None and not addresses:
            raise refused
        return addresses

    @contextmanager
    def broken_in(self) -> Iterator[None]:
        """Stop the guest by BREAK and g for the block, and let it continue after it.

        The guest prints before and after, so that BREAK and the next command are not sent too
        early. kgdb polls the serial port and clears the cause of its interrupt
        (pl011_quiesce_irqs() in drivers/tty/serial/amba-pl011.c), so the driver, which is itself
        interrupted, would miss what is typed before it continues.
        """
        self.run(f"{TALK} & talk=$!")
        self._dialogue.await_line("tock")
        self._stops.break_in()
        yield
        self._stops.go()
        self._dialogue.await_line("tock")
        self.run("kill $talk; wait")

    # -- around the boot and its end

    @contextmanager
    def coming_up(self) -> Iterator[Stop]:
        """Use kdb, which has stopped the boot, in the block; then the guest must come up.

        For hardware that ``waits``. Raises KernelFault ``missed-hits`` if nothing stopped it.
        """
        stop = Stop.parse(self._machine.stopped)
        if stop is None:
            raise KernelFault(
                Signature.MISSED_HITS, "the kernel came up without waiting for a debugger"
            )
        self._dialogue.require("coming_up", State.KDB, State.GDB)
        self._dialogue.expect_end_of(WayUp())
        self._stops.last = stop
        yield stop
        self._end("boot", self._machine.longest_boot)

    @contextmanager
    def without_kgdboc(self) -> Iterator[None]:
        """Take kgdb off the serial line for the block: prompts of kdb are ignored."""
        self._dialogue.require("without_kgdboc", State.SHELL)
        self.run(f"echo > {KGDBOC}")
        with self._dialogue.off_line():
            yield
        self.run(f"echo ttyAMA0 > {KGDBOC}")

    def reboot(self) -> None:
        """Have kdb reboot the machine (``reboot``), which must be reset."""
        self._dialogue.require("reboot", State.KDB)
        if not self._machine.resets(
            lambda: self._dialogue.send(b"reboot\r"), WAIT * self._machine.scale
        ):
            raise KernelFault(Signature.HANG, "kdb's reboot did not reset the machine")
        self._dialogue.give_up()
