# SPDX-License-Identifier: GPL-2.0-only
"""The addresses where a function can be stopped; if none, why, and what to name instead."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from kstep.base.errors import RequestError
from kstep.hand.callers import callers
from kstep.hand.detour import shortened
from kstep.hand.inlined import copies

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kstep.build.kernel import Kernel
    from kstep.image.symbols import Symbols
    from kstep.toolchain import Toolchain

NAME = re.compile(r"[A-Za-z_][\w.$]*")
MOST_BREAKPOINTS = 16  # KDB_MAXBPT of include/linux/kdb.h

# Text that cannot hold a breakpoint, by the symbols around it: kernel/kprobes.c and
# arch/arm64/kernel/probes/kprobes.c, whose list kgdb uses too (CONFIG_KGDB_HONOUR_BLOCKLIST).
BLOCKED = {
    "entry": "exception entry and exit, .entry.text",
    "irqentry": "interrupt entry, .irqentry.text",
    "noinstr": "code that must not be instrumented, .noinstr.text",
    "kprobes": "the code that handles breakpoints, .kprobes.text",
    "idmap": "code that runs without the MMU, .idmap.text",
    "hyp": "hypervisor code, .hyp.text",
}


def find(function: str, kernel: Kernel, symbols: Symbols, toolchain: Toolchain) -> tuple[int, ...]:
    """Return the first address of each function of this name; static functions may share one.

    Raises RequestError if there is none that can hold a breakpoint.
    """
    if not NAME.fullmatch(function):
        raise RequestError(f"function {function!r}: not a function name; give only the name")
    if function not in symbols:
        why = _why_absent(function, kernel, symbols, toolchain)
        raise RequestError(f"function {function}: {why}")
    found = symbols.all_named(function)
    if found[0] in range(symbols.address("_sinittext"), symbols.address("_einittext")):
        raise RequestError(
            f"function {function}: in .init.text, which is freed before the guest is up;"
            " name one that runs later"
        )
    if len(found) > MOST_BREAKPOINTS:
        raise RequestError(
            f"function {function}: {len(found)} functions have this name and kdb has"
            f" {MOST_BREAKPOINTS} breakpoints; name one that calls it"
        )
    return found


def _why_absent(function: str, kernel: Kernel, symbols: Symbols, toolchain: Toolchain) -> str:
    if made := [name for name in symbols.by_name if name.startswith(f"{function}.")]:
        return f"the compiler renamed it to {shortened(made)}; name that"
    inlined = {symbols.locate(a).symbol: None for a in copies(kernel, function, toolchain)}
    if inlined:
        return f"inlined into {shortened(list(inlined))}; name a function that it is inlined into"
    near = shortened(symbols.like(function)) or "none"
    return (
        "this kernel has no function of that name (not configured, a macro, or not a function);"
        f" similar names: {near}"
    )


def why_refused(stop_points: Sequence[int], kernel: Kernel, symbols: Symbols, said: str) -> str:
    """Say why kdb refuses a breakpoint on a function that exists; ``said`` is kdb's message."""
    section = next(
        (why for name, why in BLOCKED.items() if _within(symbols, name, stop_points[0])), None
    )
    why = section or "marked with NOKPROBE_SYMBOL or __kprobes"
    calling = callers(kernel, symbols, stop_points)
    fix = (
        f"name one that calls it: {shortened(calling)}" if calling else "nothing calls it directly"
    )
    return f"on the blocklist of kprobes and kgdb ({said}): {why}; {fix}"


def _within(symbols: Symbols, section: str, address: int) -> bool:
    begin, end = f"__{section}_text_start", f"__{section}_text_end"
    if begin not in symbols or end not in symbols:
        return False
    return symbols.address(begin) <= address < symbols.address(end)
