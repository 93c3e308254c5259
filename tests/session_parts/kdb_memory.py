# SPDX-License-Identifier: GPL-2.0-only
"""Checks of kdb's commands for memory, registers and addresses.

They compare with what QEMU reads at the same addresses, without the kernel, and System.map.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from kstep.console.kdb import REGISTER
from kstep.session.checks import checks, must, must_be

if TYPE_CHECKING:
    from kstep.console.kdb import Kdb
    from kstep.session.target import Target

LINE = re.compile(
    r"^(?:phys )?0x(?P<address>[0-9a-f]{16}) (?P<words>(?:[0-9a-f]+ )+)", re.MULTILINE
)
SUPPRESSED = re.compile(r"^0x(?P<first>[0-9a-f]{16})-0x(?P<last>[0-9a-f]{16}) zero suppressed")
REGISTERS = (*(f"x{number}" for number in range(31)), "sp", "pc", "pstate")
# arch/arm64/include/asm/memory.h: the last 2 MiB are a guard in all versions and configurations.
# The end of the linear map is none: with KASAN the shadow lies there.
UNMAPPED = 0xFFFF_FFFF_FFE0_0000
# init/version.c: text that nothing writes. It begins anywhere: clang aligns no array of characters.
CONSTANT = "linux_banner"
SCRATCH = "sys_tz"  # kernel/time/time.c: eight bytes that only settimeofday(2) writes
ARGUMENTS = (0x1234, 0x5678_9ABC, 77)


def shown(text: str, width: int) -> dict[int, int]:
    """Read what `md` printed: words of ``width`` bytes by their address."""
    words = {}
    for line in LINE.finditer(text):
        for number, word in enumerate(line["words"].split()):
            words[int(line["address"], 16) + number * width] = int(word, 16)
    return words


def true(target: Target, start: int, count: int, width: int) -> dict[int, int]:
    """Read ``count`` words over QEMU; the first is at ``start``, or holds it, as in `md`."""
    start &= -width
    data = target.read(start, count * width)
    return {
        start + at: int.from_bytes(data[at : at + width], "little")
        for at in range(0, count * width, width)
    }


def word_at(target: Target, address: int, size: int = 8) -> int:
    """Read one word over QEMU."""
    return int.from_bytes(target.read(address, size), "little")


def md_widths(target: Target) -> None:
    """`mdWcN` shows N words of W bytes, with all digits; other widths are refused."""
    with target.in_kdb() as kdb:
        start = kdb.address(CONSTANT)
        for width in (1, 2, 4, 8):
            for count in (1, 4, 16):
                text = kdb.command(f"md{width}c{count} {CONSTANT}")
                must_be(shown(text, width), true(target, start, count, width), f"md{width}c{count}")
                digits = {len(word) for line in LINE.finditer(text) for word in line[2].split()}
                must_be(digits, {2 * width}, f"the digits of a word of md{width}c{count}")
        for width in (3, 5, 6, 7, 9):
            must("BYTESPERWORD" in kdb.refusal(f"md{width}c1 {CONSTANT}"), f"kdb accepts md{width}")
        must(kdb.refusal(f"md10c1 {CONSTANT}") != "", "kdb accepts md10c1")


def md_goes_on(target: Target) -> None:
    """`md` shows as many lines as asked; a bare `md` or Enter continues."""
    with target.in_kdb() as kdb:
        constant = kdb.address(CONSTANT)
        start = constant & -8
        must_be(shown(kdb.command(f"md {start + 3:#x} 3"), 8), true(target, start, 6, 8), "md")
        must_be(shown(kdb.command("md"), 8), true(target, start + 48, 6, 8), "md again")
        must_be(shown(kdb.command(""), 8), true(target, start + 96, 6, 8), "md by Enter")
        decimal = kdb.command(f"md4c2 {CONSTANT} 1 10")
        must(
            f" {word_at(target, constant & -4, 4)} " in decimal, f"md in decimal shows {decimal!r}"
        )


def md_of_zeros(target: Target) -> None:
    """`md` omits lines of zeros, says which, and continues after them."""
    with target.in_kdb() as kdb:
        start = kdb.address("empty_zero_page")  # arch/arm64/mm/mmu.c: 4 KiB of zeros
        text = kdb.command(f"md8c512 {start:#x}")
        words = shown(text, 8)
        omitted = [SUPPRESSED.match(line) for line in text.splitlines()]
        spans = [(int(m["first"], 16), int(m["last"], 16)) for m in omitted if m]
        covered = len(words) * 8 + sum(last + 1 - first for first, last in spans)
        must(bool(spans) and not any(words.values()), "md shows zeros as something else")
        must_be(covered, 4096, "the bytes shown or omitted")


def md_of_nothing(target: Target) -> None:
    """`md` of an unmapped address shows no words, and kdb still works."""
    with target.in_kdb() as kdb:
        for address in (0, UNMAPPED):
            text = kdb.command(f"md8c2 {address:#x}")
            must("Bad address" in text and not shown(text, 8), f"md {address:#x} shows {text!r}")


def mdr_mds_mdp(target: Target) -> None:
    """`mdr` shows bytes in order, `mds` names pointers, `mdp` reads physical addresses."""
    with target.in_kdb() as kdb:
        start = kdb.address(CONSTANT)
        must_be(kdb.command(f"mdr {CONSTANT} 33").strip(), target.read(start, 33).hex(), "mdr")
        physical = start - word_at(target, kdb.address("kimage_voffset"))
        shown_there = shown(kdb.command(f"mdp {physical:#x} 2"), 8)
        data = true(target, start, 4, 8)
        must_be(list(shown_there.values()), list(data.values()), "mdp")
        table = kdb.address("sys_call_table")
        text = kdb.command("mds sys_call_table 8")
        for line, pointer in zip(
            text.splitlines(), true(target, table, 8, 8).values(), strict=True
        ):
            name = target.symbols.locate(pointer).symbol
            named = line.split()[2].split("+")[0]
            must(
                f"{pointer:016x}" in line and pointer == target.symbols.by_name.get(named),
                f"mds shows {line!r} for {name}",
            )


def mm_writes(target: Target) -> None:
    """`mmW` writes W bytes and no more; the kernel sees them."""
    pattern = bytes.fromhex("a1a2a3a4a5a6a7a8")
    with target.in_kdb() as kdb:
        start = kdb.address(SCRATCH)
        before = target.read(start, 8)
        for width in (8, 4, 2, 1):
            kdb.command(f"mm {start:#x} {int.from_bytes(pattern, 'little'):#x}")
            must_be(target.read(start, 8), pattern, "the memory after mm")
            value = 0x1B2C_3D4E_5F60_7182 & (1 << 8 * width) - 1
            kdb.command(f"mm{width} {start:#x} {value:#x}")
            whole = value.to_bytes(width, "little") + pattern[width:]
            must_be(target.read(start, 8), whole, f"the memory after mm{width}")
        kdb.command(f"mm4 {start:#x} 90")
        summary = kdb.command("summary")
        must("tz_minuteswest 90\n" in summary, f"mm4 {SCRATCH} 90 does not show in summary")
        kdb.command(f"mm {start:#x} {int.from_bytes(before, 'little'):#x}")
        must_be(target.read(start, 8), before, "the memory after the last mm")


def mm_refused(target: Target) -> None:
    """`mm` of an unmapped address, or into text, changes nothing, and kdb still works."""
    with target.in_kdb() as kdb:
        must(kdb.refusal("mm8 0x10 5") != "", "mm accepts address 0x10")
        text = target.symbols.address("vfs_mkdir")
        before = target.read(text, 4)
        must(kdb.refusal(f"mm4 {text:#x} 0") != "", "mm accepts read-only text")
        must_be(target.read(text, 4), before, "the text after mm")


def symbols(target: Target) -> None:
    """A symbol, with or without an offset, is translated to its address, and back."""
    with target.in_kdb() as kdb:
        for name in ("vfs_mkdir", "get_avenrun", "chrdev_open"):
            address = target.symbols.address(name)
            must_be(kdb.address(name), address, name)
            must_be(kdb.address(f"{name}+0x10"), address + 0x10, f"{name}+0x10")
            text = kdb.command(f"{address + 8:#x}")
            must(f"({name}+0x8)" in text, f"{address + 8:#x} is shown as {text!r}")


def per_cpu(target: Target) -> None:
    """`per_cpu` shows the CPU's copy of a variable."""
    with target.in_kdb() as kdb:
        variable = kdb.address("kstat")
        offset = word_at(target, kdb.address("__per_cpu_offset"))
        address = (variable + offset) % (1 << 64)
        must_be(kdb.per_cpu_address("kstat"), address, "the address of kstat")
        for width in (8, 4):
            word = kdb.command(f"per_cpu kstat {width} 0").split()[2]
            must_be(word, f"{word_at(target, address, width):0{2 * width}x}", f"kstat, {width}")


def stop_in_call(target: Target, kdb: Kdb, name: str) -> None:
    """Check that the stop is in the system call of the trigger."""
    registers = kdb.registers()
    must_be(registers["pc"], target.symbols.address(name), "pc")
    user = true(target, registers["x0"], 3, 8)  # arch/arm64/include/asm/syscall_wrapper.h
    must_be(tuple(user.values()), ARGUMENTS, "the system call's arguments behind x0")


def rd(target: Target) -> None:
    """`rd` shows the registers that the exception saved."""
    kdb = target.kdb
    arguments = " ".join(map(str, ARGUMENTS))
    with target.stopped_at("__arm64_sys_getitimer", f"syscall getitimer 1 {arguments} || true"):
        stop_in_call(target, kdb, "__arm64_sys_getitimer")
        saved = word_at(target, kdb.address("kdb_current_regs"))
        data = true(target, saved, len(REGISTERS), 8)  # struct user_pt_regs
        text = kdb.command("rd")
        printed = {each["name"]: int(each["value"], 16) for each in REGISTER.finditer(text)}
        must_be(printed, dict(zip(REGISTERS, data.values(), strict=True)), "the registers")


def rm(target: Target) -> None:
    """`rm` sets a register, and the kernel uses the new value.

    pc is set to the return address and x0 to 42, so a system call returns 42 at once.
    """
    kdb = target.kdb
    with target.stopped_at("__arm64_sys_getitimer", "syscall getitimer 1 1 2 3") as stop:
        before = kdb.registers()
        wanted = before | {"x0": 42, "pc": before["x30"]}
        kdb.command("rm x0 42")
        kdb.command(f"rm %pc {before['x30']:#x}")
        must_be(kdb.registers(), wanted, "the registers after rm")
        must(kdb.refusal("rm nothing 5") != "", "rm accepts an unknown register")
        must(kdb.refusal("rm x0 gibberish") != "", "rm accepts a value that is not a number")
    said = stop.answer.text
    must("getitimer: 42 ok" in said, f"the system call printed {said!r}, not 42")


CHECKS = checks(
    md_widths,
    md_goes_on,
    md_of_zeros,
    md_of_nothing,
    mdr_mds_mdp,
    mm_writes,
    mm_refused,
    symbols,
    per_cpu,
    rd,
    rm,
)
