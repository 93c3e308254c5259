# SPDX-License-Identifier: GPL-2.0-only
"""What can be seen of a kernel: successors, the stack, its exception table."""

from __future__ import annotations

import struct

import pytest

from kstep.base.errors import MachineryError
from kstep.base.outcome import KernelFault, Signature
from kstep.console.kdb import Stop
from tests.unit.farend import MadeUp, booted
from tests.unit.session.conversations import NOP, F, G, made_up


def test_where_an_instruction_leads() -> None:
    with booted(made_up()) as target, target.in_kdb():
        assert target.successors(F) == {F + 4}


def test_a_backtrace_is_held_against_the_stack() -> None:
    record, back = 0xFFFF_0000_0000_8000, G + 4
    words = {record: 0, record + 4: 0, record + 8: back & 0xFFFF_FFFF, record + 12: back >> 32}
    registers = {"pc": F + 4, "x29": record}
    with booted(MadeUp(symbols={"f": F, "g": G}, words=words)) as target:
        target.must_show_stack(" f+0x4/0x8\n g+0x4/0x8\n", registers)
        with pytest.raises(KernelFault, match="it ends before g") as fault:
            target.must_show_stack(" f+0x4/0x8\n", registers)
    assert fault.value.signature is Signature.WRONG_RESULT


def test_a_function_is_known_by_one_of_its_names() -> None:
    with booted(made_up()) as target:
        assert target.known("h", "g", "f") == "g"
        with pytest.raises(MachineryError, match="no function h or i"):
            target.known("h", "i")


def test_a_copy_that_the_compiler_made_is_that_function() -> None:
    kernel = MadeUp(symbols={"f.constprop.0": F, "f.cold": G}, words={})
    with booted(kernel) as target:
        assert target.known("f") == "f.constprop.0"


def test_a_call_is_found_by_whom_it_calls() -> None:
    kernel = made_up()
    kernel.words = {F: NOP, F + 4: 0x9400_0000 | (G - F - 4) // 4}  # bl g
    kernel.symbols["h"] = F + 8
    with booted(kernel) as target:
        assert target.find_call("f", "g") == F + 4
        with pytest.raises(MachineryError, match="f does not call h"):
            target.find_call("f", "h")


def test_an_instruction_is_found_by_what_it_is() -> None:
    kernel = made_up()
    kernel.symbols["h"] = G + 8  # where g ends
    kernel.words |= {G: NOP, G + 4: NOP}
    with booted(kernel) as target:
        assert target.find("f", lambda word: word != NOP) == F + 8
        with pytest.raises(MachineryError, match="g has no instruction of the requested kind"):
            target.find("g", lambda word: word == 1)


def test_a_stop_without_a_place_has_none() -> None:
    with booted(made_up()) as target, pytest.raises(MachineryError, match="Keyboard Entry"):
        target.locate(Stop("Keyboard Entry", None, 1, 0))


TABLE = 0xFFFF_8000_0900_0000


@pytest.mark.parametrize("entry", ["<ii", "<iiI"], ids=["up to 5.15", "from 5.16 on"])
def test_where_the_kernel_goes_on_after_a_fault(entry: str) -> None:
    """Both addresses stand as distances from where they are kept."""
    size = struct.calcsize(entry)
    data = b""
    for number, (fault, goes_on) in enumerate([(F, G), (F + 4, G + 4)]):
        at = TABLE + number * size
        fields = (fault - at, goes_on - at - 4, 7)
        data += struct.pack(entry, *fields[: len(entry) - 1])
    kernel = made_up()
    kernel.words |= {
        TABLE + n: int.from_bytes(data[n : n + 4], "little") for n in range(0, len(data), 4)
    }
    for name, address in (("start", TABLE), ("stop", TABLE + len(data))):
        symbol = f"__{name}___ex_table"
        kernel.answers[symbol] = f"{symbol} = {address:#x} ({symbol})\n"
    with booted(kernel) as target, target.in_kdb():
        assert [target.fixup(each) for each in (F, F + 4, F + 8)] == [G, G + 4, None]
