# SPDX-License-Identifier: GPL-2.0-only
"""The functions of a kernel and their addresses, from its System.map."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

TEXT = frozenset("tTwW")
# What clang adds to the name of a static function that it makes global with LTO; kallsyms leaves it
# out (cleanup_symbol_name() in kernel/kallsyms.c).
PROMOTED = ".llvm."


@dataclass(frozen=True)
class CodeAddress:
    """An address in a function, printed as ``symbol+0xoffset``."""

    address: int
    symbol: str
    offset: int

    def __str__(self) -> str:
        """Return the address in the format of kallsyms."""
        if not self.symbol:
            return f"{self.address:#x}"
        return self.symbol if not self.offset else f"{self.symbol}+{self.offset:#x}"


@dataclass(frozen=True)
class Symbols:
    """The functions of a kernel, by address and by name.

    ``addresses`` ascend; ``names`` has one name for each, ``by_name`` every name (memcpy and
    memmove are one function).
    """

    addresses: tuple[int, ...]
    names: tuple[str, ...]
    by_name: Mapping[str, int]

    @classmethod
    def load(cls, system_map: Path) -> Symbols:
        """Read a System.map; if an address has several names, ``names`` has the last global one."""
        shown: dict[int, str] = {}
        by_name: dict[str, int] = {}
        with system_map.open() as lines:
            for line in lines:
                text, kind, name = line.split()
                if kind not in TEXT:
                    continue
                name = name.partition(PROMOTED)[0]  # as kallsyms has it
                address = int(text, 16)
                by_name.setdefault(name, address)
                if address not in shown or kind.isupper():
                    shown[address] = name
        ordered = sorted(shown)
        return cls(tuple(ordered), tuple(shown[address] for address in ordered), by_name)

    def __contains__(self, name: str) -> bool:
        return name in self.by_name

    def address(self, name: str) -> int:
        """Return the address of a function; KeyError if there is none."""
        return self.by_name[name]

    def all_named(self, name: str) -> tuple[int, ...]:
        """Return the address of every function of this name; static functions may share one."""
        shown = (a for a, n in zip(self.addresses, self.names, strict=True) if n == name)
        return tuple(sorted({self.by_name[name], *shown}))

    def span(self, name: str) -> range:
        """Return the addresses of a function's instructions; KeyError if there is none."""
        start = self.address(name)
        following = bisect_right(self.addresses, start)
        end = self.addresses[following] if following < len(self.addresses) else start + 4
        return range(start, end, 4)

    def locate(self, address: int) -> CodeAddress:
        """Return the address with its function and offset."""
        index = bisect_right(self.addresses, address) - 1
        if index < 0:
            return CodeAddress(address, "", 0)
        return CodeAddress(address, self.names[index], address - self.addresses[index])

    def like(self, name: str) -> list[str]:
        """Return the functions whose names are most similar to ``name``."""
        return get_close_matches(name, self.by_name, n=3)
