# SPDX-License-Identifier: GPL-2.0-only
"""Which objects do not depend on what a variant changes in the headers that they include.

make compiles every object that includes a changed header. If the change is one of declarations
(``build.declaration``), an object that cannot name any of them is the same with and without.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from kstep.build import declaration

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from kstep.build.declaration import Effect

# What scripts/basic/fixdep.c and if_changed_dep of scripts/Kbuild.include write for an object;
# savedcmd_ since v6.3.
COMMAND = re.compile(r"(?:saved)?cmd_(?P<object>\S+\.o) := (?P<command>.*)")
SOURCE = re.compile(r"^source_\S+ := (?P<source>\S+\.c)$", re.MULTILINE)
OTHERS = re.compile(r"^deps_\S+ := \\\n(?P<lines>(?:  .*\\\n)*)$", re.MULTILINE)
OPTIONAL = re.compile(r"\$\(wildcard (?P<path>\S+)\)")
KERNEL = "-D__KERNEL__"  # and not a program of the host's
WORD = re.compile(rb"\w+")
SPLICE = re.compile(rb"\\[ \t]*\r?\n")
PIECES = 4  # of which ## may make a name


@dataclass(frozen=True)
class Version:
    """What a file of the source was when objects were made; no content if there was none."""

    content: bytes | None
    time: int  # of its last change, in nanoseconds


@dataclass
class Objects:
    """The objects in folder ``real``, made of ``source``; commands call the folder ``called``."""

    real: Path
    called: Path
    source: Path
    _times: dict[str, int | None] = field(default_factory=dict)
    _fragments: dict[str, frozenset[str]] = field(default_factory=dict)

    def unaffected(self, before: Mapping[str, Version]) -> list[Path]:
        """Return the objects that only a changed declaration makes older than what they include.

        ``before`` are the files of the source, relative to it, that may have changed since the
        objects were made. Nothing is written.
        """
        effects: dict[str, Effect] = {}
        for name, version in before.items():
            path = self.source / name
            if version.content is None or not path.is_file() or not name.endswith(".h"):
                continue
            after = path.read_bytes()
            if after == version.content:
                continue
            if (effect := declaration.effect(version.content, after)) is not None:
                effects[str(path)] = effect
        if not effects:
            return []
        was = {str(self.source / name): version.time for name, version in before.items()}
        every = "\n".join(n for each in effects.values() for n in each.names | each.lines)
        return [
            found
            for record in sorted(self.real.rglob(".*.o.cmd"))
            if (found := self._unaffected(record.read_text("latin-1"), effects, was, every))
        ]

    def _unaffected(
        self,
        record: str,
        effects: Mapping[str, Effect],
        was: Mapping[str, int],
        every: str,
    ) -> Path | None:
        """Return the object that a record is of; None if it is affected, or in doubt."""
        command, source = COMMAND.match(record), SOURCE.search(record)
        others = OTHERS.search(record)
        if command is None or source is None or others is None or KERNEL not in command["command"]:
            return None
        path = self.real / command["object"]
        made = self._time(str(path))
        files = [source["source"], *_paths(others["lines"])]
        changed = [each for each in files if each in effects]
        if made is None or not changed:
            return None
        rest: list[str] = []
        for each in files:
            is_optional = OPTIONAL.fullmatch(each)
            called = is_optional["path"] if is_optional else each
            time = was[called] if called in effects else self._time(called)
            if (time is None and not is_optional) or (time is not None and time >= made):
                return None
            if not is_optional and called not in effects:
                rest.append(called)
        fragments = {word for word in re.findall(r"\w+", command["command"]) if word in every}
        fragments = fragments.union(*(self._fragments_of(each, every) for each in rest))
        for header in changed:
            others_changed = (self._fragments_of(each, every) for each in changed if each != header)
            there = fragments.union(*others_changed)
            effect = effects[header]
            if effect.lines & there or any(_can_be_made(name, there) for name in effect.names):
                return None
        return path

    def _time(self, called: str) -> int | None:
        if called not in self._times:
            try:
                self._times[called] = self._path(called).stat().st_mtime_ns
            except OSError:
                self._times[called] = None
        return self._times[called]

    def _path(self, called: str) -> Path:
        path = self.called / called
        if path.is_relative_to(self.called):
            return self.real / path.relative_to(self.called)
        return path

    def _fragments_of(self, called: str, every: str) -> frozenset[str]:
        """Return the words of a file that are in the names that matter."""
        if called not in self._fragments:
            content = SPLICE.sub(b"", self._path(called).read_bytes())
            words = {word.decode("latin-1") for word in set(WORD.findall(content))}
            self._fragments[called] = frozenset(word for word in words if word in every)
        return self._fragments[called]


def _paths(lines: str) -> Iterator[str]:
    for line in lines.splitlines():
        yield line.removesuffix("\\").strip()


def _can_be_made(name: str, words: Iterable[str]) -> bool:
    """Whether a name is one of the words, or up to PIECES of them one behind the other."""
    inside = [word for word in words if word in name]
    ends = {0}
    for _ in range(PIECES):
        ends = {end + len(word) for end in ends for word in inside if name.startswith(word, end)}
        if len(name) in ends:
            return True
    return False


def mark(paths: Iterable[Path]) -> int:
    """Tell make that objects are up to date; return how many, if they may be written."""
    count = 0
    for path in paths:
        try:
            os.utime(path)
        except PermissionError:
            break
        count += 1
    return count
