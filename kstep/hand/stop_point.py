# SPDX-License-Identifier: GPL-2.0-only
"""Where a function can be stopped, and if it cannot, why not and what to name instead."""

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

# Text that holds no breakpoint, by the symbols around it: kernel/kprobes.c and
# arch/arm64/kernel/probes/kprobes.c, whose list is kgdb's too (CONFIG_KGDB_HONOUR_BLOCKLIST).
BLOCKED = {
    "entry": "the way into and out of exceptions, .entry.text",
    "irqentry": "the way into interrupts, .irqentry.text",
    "noinstr": "code that may not be instrumented, .noinstr.text",
    "kprobes": "what handles breakpoints itself, .kprobes.text",
    "idmap": "code that runs without the MMU, .idmap.text",
    "hyp": "the hypervisor's, .hyp.text",
}


def find(function: str, kernel: Kernel, symbols: Symbols, toolchain: Toolchain) -> tuple[int, ...]:
    """Return the first address of each function of this name; static ones may share it.

    Raises RequestError where there is none that a breakpoint can be set on.
    """
    if not NAME.fullmatch(function):
        raise RequestError(f"function {function!r}: no function has such a name; give a name alone")
    if function not in symbols:
        why = _why_absent(function, kernel, symbols, toolchain)
        raise RequestError(f"function {function}: {why}")
    found = symbols.all_named(function)
    if found[0] in range(symbols.address("_sinittext"), symbols.address("_einittext")):
        raise RequestError(
            f"function {function}: it is in .init.text, which is freed before the guest is up;"
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
        return f"the compiler made {shortened(made)} of it; name that"
    inlined = {symbols.place(a).symbol: None for a in copies(kernel, function, toolchain)}
    if inlined:
        return f"it is inlined into {shortened(list(inlined))}; name what it is inlined into"
    near = shortened(symbols.like(function)) or "none"
    return (
        "this kernel has none of that name (not configured, a macro, or no function);"
        f" the nearest names: {near}"
    )


def why_refused(stop_points: Sequence[int], kernel: Kernel, symbols: Symbols, said: str) -> str:
    """Say why kdb sets no breakpoint on a function that is there; ``said`` is what it says."""
    section = next(
        (why for name, why in BLOCKED.items() if _within(symbols, name, stop_points[0])), None
    )
    why = section or "it is marked so (NOKPROBE_SYMBOL or __kprobes)"
    calling = callers(kernel, symbols, stop_points)
    mend = (
        f"name one that calls it: {shortened(calling)}" if calling else "nothing calls it directly"
    )
    return f"it is on the block list of kprobes and kgdb ({said}): {why}; {mend}"


def _within(symbols: Symbols, section: str, address: int) -> bool:
    begin, end = f"__{section}_text_start", f"__{section}_text_end"
    if begin not in symbols or end not in symbols:
        return False
    return symbols.address(begin) <= address < symbols.address(end)
