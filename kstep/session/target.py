# SPDX-License-Identifier: GPL-2.0-only
"""A booted kernel under the debugger: the verbs that sessions are written in.

The guest's shell and kdb speak on one line, so whoever listens may hear either: a stop,
or the end of the command that runs.
"""

from __future__ import annotations

import re
import struct
import time
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import replace
from itertools import count
from typing import IO, TYPE_CHECKING

from kstep.arm64.branch import decode, is_brk
from kstep.base.deadline import Deadline
from kstep.base.errors import MachineryError
from kstep.base.outcome import KernelFault, Signature
from kstep.console.console import SilenceError
from kstep.console.gdb import Gdb
from kstep.console.kdb import (
    BREAKPOINT_HIT,
    KEYBOARD,
    PROMPT,
    STEPPED,
    Breakpoint,
    CommandRefusedError,
    Kdb,
    Stop,
)
from kstep.console.relay import BACK_TO_KDB, Relay
from kstep.console.shell import Answer, Command, WayUp
from kstep.console.splat import Ear, unexpected_steps
from kstep.judge import backtrace
from kstep.judge.call import Call
from kstep.judge.registers import Watch
from kstep.judge.stepper import Path, Tally
from kstep.judge.text import Text
from kstep.machine.qemu import BOOT
from kstep.results.transcript import Transcript

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path as Folder

    from kstep.image.symbols import Place, Symbols
    from kstep.judge.stepper import Step
    from kstep.machine.interface import Machine

WAIT = 10.0  # seconds for a command of the guest, or a stop, before the time scale
SWITCHED = re.compile(rb"\$3#33\r?\n")  # kdb's last words, kdb_kgdb() in kdb_main.c
# What sysrq_handle_dbg() says, in kernel/debug/debug_core.c.
WAITS_FOR_GDB = re.compile(rb"KGDB or \$3#33 for KDB\r?\n")
ANNOUNCED = 2.0  # seconds within which it is said, where it is
NOBODY = b"\xff" * 4
READS_ON = 0.3  # seconds within which the shell has turned to its next line
TICKS = 0.005  # seconds: some periods of a 1000 Hz timer
FURTHER = 500  # steps within which some function returns
AGAIN = 3  # times that `go` is given to a breakpoint that hits again
COMPLAINT_ENDS = re.compile(rb"---\[ end (trace|Kernel panic)|kdb> \Z")
COMPLAINT_TEXT = 2.0  # seconds for the rest of a complaint
FLOOD = 2.0  # seconds for which unexpected steps are counted
NOTHING = re.compile(rb"(?!)")
TALK = 'while :; do echo t""ock; sleep 0.02; done'

_numbers = count(1)


class Target:
    """One cell's conversation with a booted kernel.

    Every verb raises KernelFault where the kernel did wrong, and MachineryError where we
    or the machine did. ``metrics`` is what the cell reports; into ``folder`` goes what gdb
    was told and said.
    """

    def __init__(
        self,
        machine: Machine,
        symbols: Symbols,
        trace: IO[str] | None = None,
        folder: Folder | None = None,
    ) -> None:
        self._machine = machine
        self._folder = folder
        self._gdb_logs = count(1)
        self._console = machine.console
        self.symbols = self._symbols = symbols
        self.read = machine.read  # memory past the kernel and kdb, as the CPU maps it
        self.read_physical = machine.read_physical
        self._trace = trace
        self._text = Text(machine)
        self._command: Command | None = None
        self._kdb_is_here = True
        self._stop: Stop | None = None
        self._registers: dict[str, int] = {}
        self.kdb = Kdb(self._console, machine.scale)
        self.metrics: dict[str, float] = {}
        self._tally = Tally()
        self._ear = Ear()
        self._console.on_text = self._ear.hear

    # -- the guest's shell

    def run(self, command: str, seconds: float = WAIT) -> Answer:
        """Run a command in the guest; its status must be 0."""
        with self.running(command, seconds) as ended:
            pass
        return ended[0]

    @contextmanager
    def running(self, command: str, seconds: float = WAIT) -> Iterator[list[Answer]]:
        """Have a command run while the block talks to kdb; afterwards it must end well.

        The list that is yielded holds the answer once the block is left.
        """
        self._start(command)
        answers: list[Answer] = []
        yield answers
        heard = self._end(command, seconds)
        if heard.status:
            raise KernelFault(
                Signature.WRONG_RESULT,
                f"the command {command!r} ended with status {heard.status}:"
                f" {heard.heard.strip()[-200:] or 'it said nothing'}",
            )
        answers.append(heard)

    @contextmanager
    def coming_up(self) -> Iterator[Stop]:
        """Talk to kdb, which has stopped the boot, in the block; then the guest must come up.

        For hardware that ``waits``. Raises KernelFault ``missed-hits`` where nothing stopped it.
        """
        stop = Stop.parse(self._machine.stopped)
        if stop is None:
            raise KernelFault(Signature.MISSED_HITS, "the kernel came up and waited for nobody")
        self._command = WayUp()
        self._stop = stop
        yield stop
        self._end("boot", BOOT)

    def ask(self, command: str, seconds: float = WAIT) -> Answer:
        """Run a command in the guest, to whatever status."""
        self._start(command)
        return self._end(command, seconds)

    def _end(self, command: str, seconds: float) -> Answer:
        heard = self._listen(f"end of the command {command!r}", seconds)
        if isinstance(heard, Stop):
            raise self._unexpected(heard)
        return heard

    def _start(self, command: str) -> None:
        self._command = Command(command, next(_numbers))
        self._console.send(self._command.line)

    @contextmanager
    def excusing(self, *complaints: str) -> Iterator[dict[str, int]]:
        """Let the kernel complain in the block, in lines that have these parts.

        How often each was made is in the dictionary once the block is left.
        """
        heard = dict.fromkeys(complaints, 0)
        self._ear.provoked |= {complaint.encode(): 0 for complaint in complaints}
        yield heard
        heard |= {each: self._ear.provoked.pop(each.encode()) for each in complaints}

    @contextmanager
    def provoking(self, *complaints: str) -> Iterator[None]:
        """Bring about complaints, each known by a part of its line, in the block.

        Raises KernelFault ``wrong-result`` where one is not made, or made more than once.
        """
        with self.excusing(*complaints) as heard:
            yield
        for complaint in complaints:
            if (times := heard[complaint]) != 1:
                raise KernelFault(
                    Signature.WRONG_RESULT,
                    f"the kernel says {complaint!r} {times} times, not once",
                )

    def await_line(self, part: str) -> None:
        """Wait until the guest has said a line that ends in ``part``."""
        pattern = re.compile(re.escape(part.encode()) + rb"\r?\n")
        try:
            self._console.expect(pattern, part, Deadline.after(WAIT * self._machine.scale))
        except SilenceError as error:
            raise KernelFault(Signature.HANG, f"the guest says {error}") from error

    def must_tick(self) -> None:
        """Ask the guest whether the timer's tick still moves its clock.

        A few ticks are enough and two seconds are long: how fast they come says more
        about this machine than about the kernel.
        """
        self.run("ticks 2000 5")

    # -- kdb

    @contextmanager
    def in_kdb(self, then: str = "") -> Iterator[Kdb]:
        """Enter kdb by sysrq-g for the block, and let the guest go on after it.

        What the guest is to do ``then`` is typed before, so nothing comes between.
        """
        with self.running("echo g > /proc/sysrq-trigger" + (f" && {then}" if then else "")):
            self.expect_stop(KEYBOARD)
            yield self.kdb
            self.go()

    def version(self) -> tuple[int, int]:
        """Return the kernel's version as the guest tells it, such as (6, 1)."""
        said = self.run("uname -r").text
        found = re.search(r"^(\d+)\.(\d+)", said, re.MULTILINE)
        if found is None:
            raise MachineryError(f"uname names no version: {said!r}")
        return int(found[1]), int(found[2])

    def known(self, *functions: str) -> str:
        """Return the first of these names that this kernel has a function of.

        For one that was called otherwise in other versions.
        """
        for name in functions:
            if name in self._symbols:
                return name
        raise MachineryError(f"this kernel has no function {' or '.join(functions)}")

    def find(self, function: str, wanted: Callable[[int], bool]) -> int:
        """Return the address of the first instruction of a function that is ``wanted``."""
        for address in self._symbols.span(function):
            if wanted(self._text.word(address)):
                return address
        raise MachineryError(f"{function} has no instruction of the kind that is looked for")

    def must_show_stack(self, shown: str, registers: Mapping[str, int]) -> None:
        """Hold a printed backtrace against the stack in memory, from ``pc`` and ``x29`` on.

        Raises KernelFault ``wrong-result`` where a frame is missing or another one.
        """
        stack = backtrace.recorded(registers["pc"], registers["x29"], self.read)
        if fault := backtrace.disagreement(backtrace.printed(shown), stack, self._symbols):
            raise KernelFault(Signature.WRONG_RESULT, f"the backtrace is not the stack: {fault}")

    def successors(self, address: int) -> frozenset[int]:
        """Return where the instruction at an address leads, with the registers as they are."""
        return decode(self._text.word(address), address).successors(self.kdb.registers())

    def fixup(self, address: int) -> int | None:
        """Return where the kernel goes on after a fault at an address that it foresaw.

        None where it did not. Its table is sorted, and has both as distances from where they
        stand, from 5.16 on with a type beside them (include/asm-generic/extable.h and
        arch/arm64/include/asm/extable.h); up to then what comes next is out of the function's
        line, in a section of its own.
        """
        begin = self.kdb.address("__start___ex_table")
        table = self.read(begin, self.kdb.address("__stop___ex_table") - begin)
        for entry in (struct.Struct("<ii4x"), struct.Struct("<ii")):
            if len(table) % entry.size:
                continue
            places = range(begin, begin + len(table), entry.size)
            found = {
                at + int(fault): at + 4 + int(goes_on)
                for at, (fault, goes_on) in zip(places, entry.iter_unpack(table), strict=True)
            }
            if list(found) == sorted(found):
                return found.get(address)
        raise MachineryError("the kernel's table of foreseen faults is in no known form")

    def place(self, stop: Stop) -> Place:
        """Return where a stop is."""
        assert stop.pc is not None  # noqa: S101 -- breakpoints and steps name their PC
        return self._symbols.place(stop.pc)

    @contextmanager
    def without_kgdboc(self) -> Iterator[None]:
        """Take kgdb off the serial line for the block: a prompt of kdb's is not for us."""
        self.run("echo > /sys/module/kgdboc/parameters/kgdboc")
        self._kdb_is_here = False
        yield
        self._kdb_is_here = True
        self.run("echo ttyAMA0 > /sys/module/kgdboc/parameters/kgdboc")

    def go(self) -> None:
        """Let the kernel run on (``go``)."""
        self._text.forget()
        self.kdb.resume()

    def expect_breakpoint(self, breakpoint_: Breakpoint) -> Stop:
        """Wait until a breakpoint is hit."""
        return self.expect_stop(BREAKPOINT_HIT, breakpoint_.address)

    def call(self) -> Call:
        """Take note of the call that a breakpoint on a function stopped at (``rd``)."""
        return Call(self._here(), self.kdb)

    def stop_in(
        self, places: Sequence[str | int], trigger: str, seconds: float = WAIT
    ) -> Stop | Answer:
        """Set breakpoints, run a command, and return the first stop, whoever reached it.

        The command's end where it ended and none was reached. For functions of which it is
        not known that only the trigger reaches them. Raises CommandRefusedError where kdb
        takes none of the breakpoints.
        """
        self._start("echo g > /proc/sysrq-trigger")
        self.expect_stop(KEYBOARD)
        addresses = self._breakpoints(places)
        self.go()
        heard = self._listen("end of the way out of kdb", WAIT)
        if isinstance(heard, Answer):
            heard = self._stop_of_its_own(heard)
        if isinstance(heard, Answer):
            self._start(trigger)
            heard = self._listen(f"stop and no end of the command {trigger!r}", seconds)
        if isinstance(heard, Answer):
            heard = self._stop_of_its_own(heard)
        if isinstance(heard, Answer):
            return heard
        if heard.reason != BREAKPOINT_HIT or heard.pc not in addresses:
            raise self._unexpected(heard)
        self._stop = heard
        self.wait_for_pending_tick()
        return heard

    def _stop_of_its_own(self, answer: Answer) -> Stop | Answer:
        """Listen for a stop after a command's end: the shell's own, or one in the background."""
        try:
            return self._listen("stop after the command's end", READS_ON)
        except KernelFault as fault:
            if fault.signature is not Signature.HANG:
                raise
            return answer

    def _breakpoints(self, places: Sequence[str | int]) -> set[int]:
        addresses: set[int] = set()
        refused: CommandRefusedError | None = None
        for place in places:
            try:
                addresses.add(self.kdb.breakpoint(place).address)
            except CommandRefusedError as error:
                refused = error
        if refused is not None and not addresses:
            raise refused
        return addresses

    def break_in(self) -> None:
        """Enter kdb by BREAK and g on the line, whatever the guest is at."""
        self._machine.send_break()
        self._console.send(b"g")
        heard = self._listen("stop after BREAK and g", WAIT)
        if isinstance(heard, Answer):  # the command ended just then
            heard = self._listen("stop after BREAK and g", WAIT)
        if isinstance(heard, Answer) or heard.reason != KEYBOARD:
            raise MachineryError(f"BREAK and g do not lead into kdb, but to {heard}")
        self._stop = heard
        self.wait_for_pending_tick()

    @contextmanager
    def broken_in(self) -> Iterator[None]:
        """Stop the guest by BREAK and g for the block, and let it go on after it.

        It talks meanwhile, so that neither BREAK nor what is typed next falls amid another
        line. kgdb polls the serial port and clears what its interrupt is raised by
        (pl011_quiesce_irqs() in drivers/tty/serial/amba-pl011.c), so the driver, interrupted
        itself, would not hear of what is typed before it goes on.
        """
        self.run(f"{TALK} & talk=$!")
        self.await_line("tock")
        self.break_in()
        yield
        self.go()
        self.await_line("tock")
        self.run("kill $talk; wait")

    def crash(self, command: str, reason: str) -> Stop:
        """Run a command from which there is no way back, and wait for the stop that it comes to."""
        self._command = None
        self._console.send(command.encode() + b"\n")
        return self.expect_stop(reason)

    def reboot(self) -> None:
        """Have kdb reboot the machine (``reboot``), which must do so."""
        if not self._machine.resets(
            lambda: self._console.send(b"reboot\r"), WAIT * self._machine.scale
        ):
            raise KernelFault(Signature.HANG, "kdb reboots, and the machine is not reset")

    def steps(self, count: int, gdb: Gdb | None = None) -> Iterator[Step]:
        """Single-step up to ``count`` times from where the kernel stopped: ``ss``, or ``stepi``.

        Ends sooner where the path returns to user space.
        """
        path = Path(
            self._resumed(),
            self.step_unjudged if gdb is None else gdb.step_instruction,
            gdb or self.kdb,
            self._text,
            self._symbols,
            self._trace,
            self._tally,
        )
        try:
            for step in path.steps(count):
                self._stop = step.stop
                yield step
        finally:
            self.metrics.update(self._tally.metrics)

    def _resumed(self) -> Stop:
        """Return the last stop, with where the kernel goes on from.

        That is behind a breakpoint which is the kernel's own, as sysrq-g's, of which kdb names
        no PC (kgdb_arch_update_addr() in arch/arm64/kernel/kgdb.c).
        """
        assert self._stop is not None  # noqa: S101 -- a script that steps before a stop is wrong
        if self._stop.pc is not None:
            return self._stop
        pc = self.kdb.registers()["pc"]
        return replace(self._stop, pc=pc + 4 if is_brk(self._text.word(pc)) else pc)

    def steps_to_a_return(self, count: int) -> Iterator[Step]:
        """Single-step ``count`` times, and on to the next return from a function.

        For whoever says `go` then: elsewhere the preemption count may have been read and not
        yet been written back, which `go` has lowered meanwhile (see Step.returned), and the
        kernel complains that it is `scheduling while atomic`.
        """
        for step in self.steps(count + FURTHER):
            yield step
            if step.number >= count and step.returned:
                return

    def watch_registers(self) -> Watch:
        """Hold the registers against the steps that follow, from where the kernel stopped."""
        return Watch(self.kdb, self._text, self._machine.read)

    def step_unjudged(self, command: str = "ss") -> Stop:
        """Single-step (``ss``) once, and return where the kernel stopped."""
        self.kdb.resume_step(command)
        try:
            heard = self._listen("stop after a step", WAIT)
        except KernelFault as fault:
            if fault.signature is Signature.HANG:
                raise KernelFault(
                    Signature.RUNAWAY, f"the step from {self._here()} never came back"
                ) from fault
            raise
        if isinstance(heard, Answer):
            raise KernelFault(
                Signature.RUNAWAY,
                f"the step from {self._here()} never came back: the guest ran on,"
                f" and the command ended with status {heard.status}",
            )
        if heard.pc is None:
            raise KernelFault(
                Signature.OFF_ORDER, f"the step from {self._here()} ended in {heard.reason!r}"
            )
        self._stop = heard
        return heard

    # -- gdb

    @contextmanager
    def in_gdb(self, *, detach: bool = False, waits: bool = False) -> Iterator[Gdb]:
        """Go from kdb to gdb for the block, which is left with the kernel stopped.

        Afterwards kdb has it, stopped; or with ``detach`` it runs, and kgdb's next stop is
        for a gdb, that comes with ``waits``: see expect_wait_for_gdb().
        """
        with (
            self._gdb_log() as log,
            self.line_for_gdb(switch=not waits, back=not detach) as relay,
            self.gdb_at(relay, log) as gdb,
        ):
            gdb.connect(self._machine.toolchain.inside(relay.pty))
            yield gdb
            if detach:
                self._text.forget()
                gdb.detach()
            else:
                gdb.disconnect()

    @contextmanager
    def line_for_gdb(self, *, switch: bool = True, back: bool = True) -> Iterator[Relay]:
        """Switch kgdb from kdb to gdb's protocol for the block (``kgdb``), and back after it.

        gdb connects to the relay's pty, and leaves the kernel stopped (``disconnect``): not
        at a breakpoint of its own, which kdb_stub() takes for an oops, so that `go` is to be
        said twice (kernel/debug/kdb/kdb_debugger.c). Without ``back`` it is left to gdb, and
        without ``switch`` it speaks the protocol already.
        """
        if switch:
            self.switch_to_gdb()
        with Relay(self._machine.serial, self._console) as relay:
            yield relay
        if not back:
            return
        self._text.forget()
        self._console.send(BACK_TO_KDB)
        stop = self._listen("kdb after gdb", WAIT)
        if isinstance(stop, Answer):
            raise KernelFault(
                Signature.RUNAWAY, "the guest runs where it was stopped when gdb disconnected"
            )
        self._stop = stop

    def switch_to_gdb(self) -> None:
        """Have kgdb speak gdb's protocol instead of kdb (``kgdb``)."""
        self._console.send(b"kgdb\r")
        try:
            self._console.expect(
                SWITCHED, "word that gdb may come", Deadline.after(WAIT * self._machine.scale)
            )
        except SilenceError as error:
            raise KernelFault(Signature.HANG, f"kdb gives {error}") from error

    def expect_wait_for_gdb(self, active: int) -> None:
        """Wait until sysrq-g has stopped a kernel whose last debugger was a gdb, now gone.

        It says so; but from 7.0 on by a thread, which is stopped as well, so what counts in the
        end is ``kgdb_active``, at the address ``active``: the number of the processor that is
        in kgdb, or -1.
        """
        with suppress(SilenceError):
            self._console.expect(
                WAITS_FOR_GDB, "word of it", Deadline.after(ANNOUNCED * self._machine.scale)
            )
            return
        if self.read(active, 4) == NOBODY:
            raise KernelFault(Signature.HANG, "sysrq-g does not stop the kernel")

    def _gdb_log(self) -> AbstractContextManager[Transcript | None]:
        if self._folder is None:
            return nullcontext()
        number = next(self._gdb_logs)
        name = "gdb.log" if number == 1 else f"gdb-{number}.log"
        return Transcript(self._folder / name, self._machine.began)

    def gdb_at(self, relay: Relay, log: Transcript | None = None) -> Gdb:
        """Return a gdb, not started, that may use a relay."""

        def look() -> None:
            relay.require_sound()
            self._console.catch_up()

        return Gdb(
            self._machine.toolchain,
            self._machine.kernel.vmlinux,
            scale=self._machine.scale,
            lines=[relay.pty],
            kernel_runs=lambda: relay.running,
            look=look,
            alive=self._machine.require_alive,
            log=log,
        )

    @contextmanager
    def in_gdbstub(self, step_mask: int) -> Iterator[Gdb]:
        """Have gdb on QEMU's own stub for the block, which is left with the kernel running.

        ``step_mask`` is that of "Advanced debugging options" in QEMU's manual.
        """
        machine = self._machine

        with (
            self._gdb_log() as log,
            Gdb(
                machine.toolchain,
                machine.kernel.vmlinux,
                scale=machine.scale,
                readable=[machine.gdbstub.parent],
                look=self._console.catch_up,
                alive=machine.require_alive,
                log=log,
            ) as gdb,
        ):
            gdb.connect(machine.gdbstub)
            if '"OK"' not in gdb.type(f"maintenance packet Qqemu.sstep={step_mask:#x}"):
                offered = " ".join(gdb.type("maintenance packet qqemu.sstepbits").split())
                raise MachineryError(f"QEMU's gdbstub has no step mask {step_mask:#x}: {offered}")
            yield gdb

    def expect_breakpoint_in_gdb(self, gdb: Gdb, breakpoint_: Breakpoint) -> None:
        """Wait until gdb sees a breakpoint hit."""
        what = f"stop at {self._symbols.place(breakpoint_.address)}"
        try:
            stop = gdb.wait(what)
        except KernelFault as fault:
            heard = self._listen("end of the command", 0)
            if fault.signature is Signature.HANG and isinstance(heard, Answer):
                raise KernelFault(
                    Signature.MISSED_HITS,
                    f"the command ended with status {heard.status} and gdb saw no {what}",
                ) from fault
            raise
        self._text.forget()
        if stop.reason != BREAKPOINT_HIT or stop.pc != breakpoint_.address:
            assert stop.pc is not None  # noqa: S101 -- gdb always names it
            raise KernelFault(
                Signature.OFF_ORDER,
                f"gdb sees {stop.reason} at {self._symbols.place(stop.pc)}, not a hit of"
                f" {self._symbols.place(breakpoint_.address)}",
            )
        self._stop = stop
        self.wait_for_pending_tick()

    # -- what is heard

    def _listen(self, what: str, seconds: float) -> Stop | Answer:
        """Wait for a stop, or for the end of the command that runs."""
        ends = [] if self._command is None else [self._command.end]
        pattern = b"|".join([*ends, PROMPT.pattern] if self._kdb_is_here else ends)
        deadline = Deadline.after(seconds * self._machine.scale)
        text = b""
        while True:
            try:
                match = self._console.expect(re.compile(pattern), what, deadline)
            except SilenceError as error:
                self._ear.hear_end()
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
            return stop

    def expect_stop(self, reason: str, pc: int | None = None) -> Stop:
        """Wait for a stop, for a reason and at an address that are kdb's own."""
        what = f"stop for {reason}"
        heard = self._listen(what if pc is None else f"{what} at {self._symbols.place(pc)}", WAIT)
        if isinstance(heard, Answer):
            raise KernelFault(
                Signature.MISSED_HITS,
                f"the command ended with status {heard.status} and there was no {what}"
                + ("" if pc is None else f" at {self._symbols.place(pc)}"),
            )
        if heard.reason != reason or heard.pc != pc:
            raise self._unexpected(heard)
        self._stop = heard
        if pc is not None:
            self._registers = self.kdb.registers()
        self.wait_for_pending_tick()
        return heard

    def wait_for_pending_tick(self) -> None:
        """Stay stopped for some ticks, as a person would: the timer's interrupt is then due.

        Otherwise it would depend on how fast this machine types whether the next
        instruction meets one.
        """
        time.sleep(TICKS)

    def _unexpected(self, stop: Stop) -> KernelFault:
        """Say what a stop that nobody waited for is."""
        where = "nowhere" if stop.pc is None else str(self._symbols.place(stop.pc))
        if stop.reason == STEPPED:
            return KernelFault(
                Signature.STEP_FLOOD, f"a step that nobody asked for stops at {where}"
            )
        if stop.reason != BREAKPOINT_HIT or self._stop is None:
            return KernelFault(Signature.OFF_ORDER, f"kdb is entered at {where}: {stop.reason}")
        if not self._registers or stop.pc != self._registers["pc"]:
            return KernelFault(Signature.OFF_ORDER, f"an unknown breakpoint is hit at {where}")
        if self.kdb.registers() != self._registers:
            return KernelFault(
                Signature.DOUBLE_HITS, f"{where} is hit again, with other registers than before"
            )
        hits, later = 0, ""
        try:
            for _ in range(AGAIN):
                self.wait_for_pending_tick()
                self.go()
                heard = self._listen("breakpoint or the command's end", WAIT)
                if isinstance(heard, Answer) or heard.pc != stop.pc:
                    break
                hits += 1
        except KernelFault as fault:
            later = f"; then: {fault}"
        return KernelFault(
            Signature.REHIT,
            f"{where} is hit again with the same registers, so without being reached again;"
            f" `go` given {AGAIN} times more hits it {hits} times more{later}",
        )

    def _here(self) -> str:
        if self._stop is None or self._stop.pc is None:
            return "an unknown place"
        return str(self._symbols.place(self._stop.pc))

    def hear_out(self, fault: KernelFault) -> KernelFault:
        """Let a complaint's remaining text come into the transcript; return the fault.

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
            if count_ := unexpected_steps(heard):
                self.metrics["unexpected_steps"] = count_
                return KernelFault(fault.signature, f"{fault}: {count_} in {FLOOD:g} s")
        if fault.signature in (Signature.SPLAT, Signature.PANIC):
            with suppress(SilenceError, MachineryError):
                self._console.expect(COMPLAINT_ENDS, "its end", Deadline.after(COMPLAINT_TEXT))
        return fault
