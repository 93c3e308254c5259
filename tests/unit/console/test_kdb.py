# SPDX-License-Identifier: GPL-2.0-only
"""kdb's dialect, against what a real one printed and against one that is made up."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kstep.base.errors import MachineryError
from kstep.base.outcome import KernelFault, Signature
from kstep.console import kdb as dialect
from kstep.console.kdb import Breakpoint, CommandRefusedError, Kdb, Stop, Task
from tests.noise.noise import Noise
from tests.noise.simulation import Clock, SimulatedConsole
from tests.noise.terminal import Terminal
from tests.unit.farend import MORE, REGISTERS, MadeUp, byte_by_byte, line_to, pieces, whole

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PC = 0xFFFF_8000_0815_84C0
TASK = 0xFFFF_0000_00A1_1800


@contextmanager
def at_prompt(
    kernel: MadeUp, cut: Callable[[bytes], list[bytes]] = whole, *, packets: bool = False
) -> Iterator[Kdb]:
    """Return kdb at its prompt."""
    kernel.stopped = True
    with line_to(kernel, cut, packets=packets) as console:
        yield Kdb(console, scale=1.0)


def entering(rest: str, *, processor: str = "on processor 3 ") -> bytes:
    """Make the text of a stop."""
    return f"\r\nEntering kdb (current={TASK:#x}, pid 23) {processor}{rest}\r\n".encode()


# -- what kdb_main.c prints in kdb_local(), reason by reason


@pytest.mark.parametrize(
    ("text", "reason", "pc"),
    [
        (f"due to Breakpoint @ {PC:#x}", dialect.BREAKPOINT_HIT, PC),
        (f"due to SS trap @ {PC:#x}", dialect.STEPPED, PC),
        ("due to Keyboard Entry", dialect.KEYBOARD, None),
        ("due to KDB_ENTER()", "KDB_ENTER()", None),
        ("due to cpu switch", "cpu switch", None),
        ("due to System NonMaskable Interrupt", "System NonMaskable Interrupt", None),
        (f"due to NonMaskable Interrupt @ {PC:#x}", "NonMaskable Interrupt", PC),
        (f"due to Recursion @ {PC:#x}", "Recursion", PC),
        (f"Oops: (null)\r\ndue to oops @ {PC:#x}", "oops", PC),
    ],
)
@pytest.mark.parametrize("smp", [True, False], ids=["SMP", "UP"])
def test_a_stop_says_why_and_where(text: str, reason: str, pc: int | None, smp: bool) -> None:  # noqa: FBT001 -- a parameter
    said = b"[    0.3] sysrq: DEBUG\r\n" + entering(text, processor="on processor 3 " * smp)
    assert Stop.parse(said + b"[3]kdb> ") == Stop(reason, pc, 23, 3 * smp, TASK)


@pytest.mark.parametrize(
    "said", [b"", b"[0]kdb> ", b"Entering kdb (current=0xffff000000a11800, pid 23) on processor 0 "]
)
def test_no_stop_is_told_where_there_is_none(said: bytes) -> None:
    assert Stop.parse(said) is None


def test_of_several_stops_the_last_counts() -> None:
    said = entering("due to cpu switch") + b"[3]kdb> \r\n" + entering(f"due to SS trap @ {PC:#x}")
    assert Stop.parse(said) == Stop("SS trap", PC, 23, 3, TASK)


# -- commands


@pytest.mark.parametrize("smp", [True, False], ids=["SMP", "UP"])
@pytest.mark.parametrize("cut", [whole, byte_by_byte])
def test_the_commands_of_a_session(smp: bool, cut: Callable[[bytes], list[bytes]]) -> None:  # noqa: FBT001 -- a parameter
    kernel = MadeUp(
        symbols={"set_fs_pwd": PC},
        registers={"x0": 5, "x30": (1 << 64) - 1, "sp": 7, "pc": PC, "pstate": 0x40000005},
        smp=smp,
    )
    with at_prompt(kernel, cut) as kdb:
        kdb.prepare()
        point = kdb.breakpoint("set_fs_pwd")
        registers = kdb.registers()
        kdb.clear(point)
    assert point == Breakpoint(0, PC)
    assert registers == {name: kernel.registers.get(name, 0) for name in (*REGISTERS, "pstate")}
    assert kernel.typed == ["set LINES 10000", "bp set_fs_pwd", "rd", "bc 0"]


def test_on_a_faulty_line_a_register_is_one_of_all_read_twice() -> None:
    kernel = MadeUp(registers={"x3": 7})
    assert lying(kernel, []).register("x3") == 7
    assert kernel.typed == ["rd", "rd"]


def test_an_answer_has_neither_echo_nor_prompt() -> None:
    with at_prompt(MadeUp(answers={"env": "PROMPT=[%d]kdb> \nLINES=24\n"})) as kdb:
        assert kdb.command("env") == "PROMPT=[%d]kdb> \nLINES=24\n"


@pytest.mark.parametrize("smp", [True, False], ids=["SMP", "UP"])
def test_a_pager_is_sent_on(smp: bool) -> None:  # noqa: FBT001 -- a parameter
    kernel = MadeUp(answers={"dmesg": f"one\n{MORE}two\n{MORE}three\n"}, smp=smp)
    with at_prompt(kernel) as kdb:
        assert [line.split("> ")[-1] for line in kdb.command("dmesg").splitlines()] == [
            "one",
            "two",
            "three",
        ]
    assert kernel.typed == ["dmesg"]


@pytest.mark.parametrize(
    ("command", "why"),
    [
        ("bp no_such_function", "kdb: bp no_such_function: Illegal Numeric Value"),
        ("bph", "kdb: bph: 'bph'"),
    ],
)
def test_a_refusal_is_our_mistake(command: str, why: str) -> None:
    with at_prompt(MadeUp()) as kdb:
        with pytest.raises(CommandRefusedError) as error:
            kdb.command(command)
        assert kdb.command("rd"), "the prompt is there again"
    assert str(error.value) == why
    assert error.value.signature is Signature.INFRASTRUCTURE


@pytest.mark.parametrize(
    ("command", "why"),
    [("bp no_such_function", "Illegal Numeric Value"), ("bph", "'bph'"), ("rd", "")],
)
def test_a_refusal_that_is_wanted(command: str, why: str) -> None:
    with at_prompt(MadeUp()) as kdb:
        assert kdb.refusal(command) == why


@pytest.mark.parametrize("said", ["PROMPT=[%d]kdb> \n", "MOREPROMPT=more> \n", "[dumpall]kdb> x\n"])
def test_what_looks_like_a_prompt_is_none(said: str) -> None:
    """Wherever a read happens to end."""
    kernel = MadeUp(answers={"env": said})
    with at_prompt(kernel, byte_by_byte, packets=True) as kdb:
        assert kdb.command("env") == said
    assert kernel.typed == ["env"]


def test_keys_are_sent_as_they_are() -> None:
    kernel = MadeUp(answers={"help": f"one\n{MORE}two\n"})
    with at_prompt(kernel) as kdb:
        page = kdb.press(b"help\r")
        assert (page["kind"], page.string[: page.start()]) == (b"more", b"help\r\none\r\n")
        assert kdb.press(b" ")["kind"] == b"kdb"
        assert kdb.taken(b"no such") == "no such"


def test_an_answer_that_cannot_be_read_is_shown() -> None:
    with (
        at_prompt(MadeUp(answers={"bp x": "What?\n"})) as kdb,
        pytest.raises(MachineryError, match=r"bp x: cannot read the answer 'What\?\\n"),
    ):
        kdb.breakpoint("x")


def test_a_debugger_that_is_silent_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    class Silent:
        def hear(self, typed: bytes) -> bytes:
            return typed

    monkeypatch.setattr(dialect, "ANSWER", 0.1)
    with line_to(Silent()) as console, pytest.raises(KernelFault) as fault:
        Kdb(console, scale=2.0).command("rd")
    assert fault.value.signature is Signature.HANG
    assert str(fault.value) == "kdb: no answer to 'rd' within 0.2 s"


@given(
    st.lists(st.integers(0, (1 << 64) - 1), min_size=33, max_size=33),
    st.integers(0, (1 << 32) - 1),
    st.lists(st.integers(1, 90), min_size=1, max_size=10),
)
@settings(max_examples=40)
def test_registers_of_any_value_are_read(values: list[int], pstate: int, sizes: list[int]) -> None:
    wanted = {**dict(zip(REGISTERS, values, strict=True)), "pstate": pstate}
    with at_prompt(MadeUp(registers=dict(wanted)), pieces(sizes), packets=True) as kdb:
        assert kdb.registers() == wanted


PS = """\
21 sleeping system daemon (state [ims]) processes suppressed,
use 'ps A' to see all.
Task Addr               Pid   Parent [*] cpu State Thread             Command
0xffff800008368fc0        0        0  1    0   R  0xffff8000083697a0 *swapper/0
0xffff0000008c8000        1        0  0    0   S  0xffff0000008c87e0  init
0xffff000000a13000       25        1  0    0   S  0xffff000000a137e0  a name
"""
BTP = """\
Stack traceback for pid 25
0xffff000000a13000       25        1  0    0   S  0xffff000000a137e0  a name
Call trace:
 __switch_to+0xcc/0x130
 do_nanosleep.constprop.0+0x94/0x170
"""


def test_tasks_and_where_they_are() -> None:
    with at_prompt(MadeUp(answers={"ps": PS, "btp 25": BTP})) as kdb:
        assert kdb.tasks() == [Task(0, 0, "swapper/0"), Task(1, 0, "init"), Task(25, 1, "a name")]
        assert kdb.backtrace(25) == ["__switch_to", "do_nanosleep.constprop.0"]


# -- a line that may lie


WHOLE = entering(f"due to SS trap @ {PC:#x}")


def test_a_stop_is_whole_as_kdb_prints_it() -> None:
    stop = Stop.parse(WHOLE)
    assert stop is not None
    assert stop.is_whole(b"what came before\r\n" + WHOLE)
    assert stop.is_whole(WHOLE[:40] + b"[   20.444695] x: y\r\n" + WHOLE[40:])


@pytest.mark.parametrize("at", range(WHOLE.index(b"current="), len(WHOLE) - 2))
def test_a_stop_that_lost_a_byte_is_the_same_or_known_for_what_it_is(at: int) -> None:
    said = WHOLE[:at] + WHOLE[at + 1 :]
    stop = Stop.parse(said)
    if stop is not None and stop.is_whole(said):
        assert (stop.reason, stop.pc) == (dialect.STEPPED, PC)
    elif (rest := Stop.damaged(said)) is not None:
        assert (rest.reason, rest.pc) == (dialect.STEPPED, None)


@pytest.mark.parametrize("words", ["due to S trap @ ", "due to SS  trap @ ", "due to SS trxp @ "])
def test_why_a_stop_came_is_told_but_for_a_character(words: str) -> None:
    stop = Stop.damaged(entering(f"{words}{PC:#x}"))
    assert stop is not None
    assert stop.reason == dialect.STEPPED


@pytest.mark.parametrize("said", [b"", b"due to nothing @ 0x1\r\n", WHOLE * 2])
def test_what_does_not_tell_it_is_no_stop(said: bytes) -> None:
    """Two are one too many: an Enter that nobody sent has made a step."""
    assert Stop.damaged(said) is None
    stop = Stop.parse(said)
    assert stop is None or not stop.is_whole(said)


@pytest.mark.parametrize("at", range(len(WHOLE) - 3))
@pytest.mark.parametrize("prompt", [b"[0]kdb> \r\n\r\n", b""])
def test_two_stops_are_two_although_the_line_damaged_the_first(at: int, prompt: bytes) -> None:
    said = WHOLE[:at] + b"\xe0%[" + WHOLE[at + 3 :] + prompt + WHOLE
    stop = Stop.parse(said)
    assert stop is None or not stop.is_whole(said)
    assert Stop.damaged(said) is None


def lying(kernel: MadeUp, faults: list[tuple[bytes, bytes]]) -> Kdb:
    """Give kdb at the end of a line that gets each of these texts wrong, once."""
    kernel.stopped = True
    clock = Clock()

    class Lies(SimulatedConsole):
        def _take(self, data: bytes) -> None:
            for right, wrong in faults:
                if right in data:
                    faults.remove((right, wrong))
                    data = data.replace(right, wrong, 1)
                    break
            super()._take(data)

    return Kdb(Lies(Terminal(kernel), Noise(), Noise(), clock), scale=1.0)


def test_registers_are_as_two_readings_agree() -> None:
    kernel = MadeUp(registers={"x0": 0x5, "pc": PC})
    for wrong in (b"x0: 0000000000000015", b"x0: 000000000000005", b"x: 0000000000000005"):
        kdb = lying(kernel, [(b"x0: 0000000000000005", wrong)])
        assert kdb.registers()["x0"] == 5
        assert kdb._console.doubts


def test_values_that_a_burst_joined_are_not_read() -> None:
    """Found in conversation 53,203 of the simulation: the same burst in both readings."""
    kernel = MadeUp(registers={"x26": 0, "x27": 0x5, "pc": PC})
    right, wrong = b"0000\r\nx27: 0000000000000005", b"0027: 0000000000000005"
    kdb = lying(kernel, [(right, wrong), (right, wrong)])
    found = kdb.registers()
    assert (found["x26"], found["x27"]) == (0, 5)


def test_a_refusal_is_heard_twice() -> None:
    kernel = MadeUp(answers={"pid 1": "diag: -15: no\n", "ps": PS})
    kdb = lying(kernel, [(PS[:9].encode(), b"diag: -15: no\r\n")])
    with pytest.raises(CommandRefusedError):
        kdb.command("pid 1")
    assert kernel.typed == ["pid 1"] * 2
    assert len(kdb.tasks()) == 3


def test_memory_is_read_until_its_length_is_right() -> None:
    word = "00000000d65f03c0"
    kernel = MadeUp(answers={f"mdr {PC:#x} 8": f"{word}\n", "mdr 0x10 8": "Bad address 0x10\n"})
    kdb = lying(kernel, [(word.encode(), b"0000000d65f03c0")])
    assert kdb.read(PC, 8) == bytes.fromhex(word)
    assert kdb.read(0x10, 8) is None


def test_what_never_agrees_is_lost() -> None:
    kernel = MadeUp(answers={"ps": PS})
    kdb = lying(kernel, [(b"Parent", b"%d" % n) for n in range(9)])
    with pytest.raises(MachineryError, match="kdb: ps: no two of 8 readings agree") as error:
        kdb.tasks()
    assert error.value.signature is Signature.CONSOLE_LOST
