# SPDX-License-Identifier: GPL-2.0-only
"""The data for the pictures of stepped paths: small enough for 500 cells on one page.

Instructions are listed once, by function and offset, for all kernels; a path is a list of
instructions. Equal paths are listed once.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING

from kstep.arm64.entry import INTERRUPT
from kstep.results.printable import printable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from capstone import Cs

    from kstep.results.trace import Taken

IN_ORDER, IN_INTERRUPT, ELSEWHERE = range(3)  # states of a path; page.js uses the same numbers
ADDRESS = re.compile(r"#0x([0-9a-f]{9,16})\b")  # of the kernel: no immediate is so long
CONDITIONAL = re.compile(r"b\.|cbn?z|tbn?z")

Row = tuple[int, int, str, int]


@dataclass
class Pictures:
    """The data of all pictures, collected path by path; ``data`` is for the page.

    ``functions``, ``lines``: names. ``instructions``: index of the function, offset, text,
    index of the source line (-1: unknown). ``paths``: for each path ``at``, the indices of its
    instructions, one more than it has steps for each start; ``begins``, the positions of its
    starts; ``spans``, pairs of a position and the state from there: IN_ORDER, IN_INTERRUPT or
    ELSEWHERE; ``left``, the positions whose step left program order, with the reason of the stop
    if it is not the step itself; ``executed``, positions and what the emulator saw, if it was
    recorded.
    """

    functions: dict[str, int] = field(default_factory=dict)
    lines: dict[str, int] = field(default_factory=dict)
    instructions: dict[Row, int] = field(default_factory=dict)
    paths: dict[str, int] = field(default_factory=dict)
    _shapes: list[dict[str, object]] = field(default_factory=list)

    @property
    def data(self) -> dict[str, object]:
        """All of it, as JSON can hold it."""
        return {
            "functions": list(self.functions),
            "lines": list(self.lines),
            "instructions": [list(row) for row in self.instructions],
            "paths": self._shapes,
        }

    def add(self, steps: Sequence[Taken], lines: Mapping[int, str]) -> int | None:
        """Add the steps of a cell; return the number of their path, None without steps."""
        if not steps:
            return None
        names = _Names(steps)
        words = {step.pc: step.word for step in steps}
        at: list[int] = []
        begins: list[int] = []
        spans: list[tuple[int, int]] = []
        left: list[tuple[int, str]] = []
        executed: list[tuple[int, str]] = []
        excursion = _Excursion()
        for step, following in zip(steps, [*steps[1:], None], strict=True):
            if step.number == 1 or not at:
                begins.append(len(at))
                excursion.begin(spans, len(at))
            at.append(self._index(step.pc, step.at, words, lines, names))
            if step.executed:
                executed.append((len(at) - 1, step.executed))
            if not step.in_order:
                left.append((len(at) - 1, "" if step.reason == "SS trap" else step.reason))
            excursion.follow(step, spans, len(at))
            if following is None or following.number == 1:
                at.append(self._index(step.to, step.to_at, words, lines, names))
        shape: dict[str, object] = {"at": at, "begins": begins, "spans": spans, "left": left}
        if executed:
            shape["executed"] = executed
        number = self.paths.setdefault(repr(shape), len(self.paths))
        if number == len(self._shapes):
            self._shapes.append(shape)
        return number

    def _index(
        self,
        address: int,
        spot: str,
        words: Mapping[int, int],
        lines: Mapping[int, str],
        names: _Names,
    ) -> int:
        symbol, offset = _split(spot)
        text = _disassemble(words[address], address) if address in words else ""
        line = lines.get(address)
        row = (
            self.functions.setdefault(printable(symbol), len(self.functions)),
            offset,
            names.put_into(text, symbol, address - offset),
            -1 if line is None else self.lines.setdefault(printable(line), len(self.lines)),
        )
        return self.instructions.setdefault(row, len(self.instructions))


class _Excursion:
    """The state of a path: in program order, in an interrupt that it entered, or elsewhere."""

    def __init__(self) -> None:
        self._kind = IN_ORDER
        self._back: frozenset[int] = frozenset()  # where program order continues

    def begin(self, spans: list[tuple[int, int]], position: int) -> None:
        self._kind = IN_ORDER
        self._back = frozenset()
        spans.append((position, IN_ORDER))

    def follow(self, step: Taken, spans: list[tuple[int, int]], position: int) -> None:
        """Add the step that leads to ``position``."""
        kind = self._kind
        if step.to in self._back:
            kind, self._back = IN_ORDER, frozenset()
        elif not step.in_order:
            if kind == IN_ORDER:
                self._back = frozenset(step.expected)
            symbol, _ = _split(step.to_at)
            kind = IN_INTERRUPT if INTERRUPT.search(symbol) else max(kind, ELSEWHERE)
        if kind != self._kind:
            self._kind = kind
            spans.append((position, kind))


class _Names:
    """The names of addresses in a trace; it knows only functions that it reached."""

    def __init__(self, steps: Sequence[Taken]) -> None:
        self._exact = {step.to: step.to_at for step in steps} | {s.pc: s.at for s in steps}
        ends: dict[str, int] = {}
        starts: dict[str, int] = {}
        for address, spot in self._exact.items():
            symbol, offset = _split(spot)
            starts[symbol] = address - offset
            ends[symbol] = max(address, ends.get(symbol, 0))
        self._spans = [(starts[symbol], ends[symbol], symbol) for symbol in starts]

    def put_into(self, text: str, symbol: str, start: int) -> str:
        """Name the addresses in an instruction of a function that begins at ``start``.

        A conditional branch stays in its function, so its target always has a name.
        """

        def named(match: re.Match[str]) -> str:
            address = int(match[1], 16)
            if name := self._name(address):
                return name
            inside = CONDITIONAL.match(text) is not None and address >= start
            return printable(f"{symbol}+{address - start:#x}") if inside else match[0]

        return ADDRESS.sub(named, text)

    @cache  # noqa: B019 -- lives as long as one trace is read
    def _name(self, address: int) -> str | None:
        if address in self._exact:
            return printable(self._exact[address])
        for start, end, symbol in self._spans:
            if start <= address <= end:
                return printable(f"{symbol}+{address - start:#x}")
        return None


def _split(spot: str) -> tuple[str, int]:
    """Split ``symbol+0xoffset``; an address without a symbol is its own name."""
    symbol, _, offset = spot.rpartition("+0x")
    try:
        return (symbol, int(offset, 16)) if symbol else (spot, 0)
    except ValueError:
        return spot, 0


@cache
def _disassembler() -> Cs:
    from capstone import CS_ARCH_ARM64, CS_MODE_ARM, Cs  # noqa: PLC0415 -- only steps need it

    return Cs(CS_ARCH_ARM64, CS_MODE_ARM)


@cache
def _disassemble(word: int, pc: int) -> str:
    found = next(_disassembler().disasm(word.to_bytes(4, "little"), pc), None)
    return f".word {word:#010x}" if found is None else f"{found.mnemonic} {found.op_str}".strip()
