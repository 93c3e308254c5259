# SPDX-License-Identifier: GPL-2.0-only
"""Declarations that a variant adds to a header or takes out of it, and what they may affect.

An object that includes the header and mentions none of the names is the same with and without
them. That is claimed only of changes that consist of whole prototypes, comments and blank lines,
parsed so that whatever is unusual counts as doubt: anybody's patch may be read here. Lines move
too, so the names of what stands on another line than before are among them: an inline function
may use ``__LINE__``, and debug information has the lines of functions that an object uses, and of
all variables. A name that is put together by ``##`` is ``build.dependency``'s to find.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from itertools import takewhile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

LARGEST = 1 << 18  # bytes of a header that is parsed
MOST_DIFFER = 100  # items between the first and the last that differ
LONGEST = 500  # characters of a declaration that is parsed

SPLICE = "\0"  # a newline behind a backslash
TOKEN = re.compile(
    r"""//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'|/\*|["'\n#{};/]|[^"'\n#{};/]+""",
    re.DOTALL,
)
UNUSUAL = re.compile(r"[^\n\t\x20-\xff]|\?\?|\\[ \t]+\n|[^\n]\Z")  # control characters, trigraphs
WORD = re.compile(r"\w+", re.ASCII)
OPTION = re.compile(rb"CONFIG_\w+")  # a header's are dependencies of its objects: fixdep.c
# What depends on where it stands, or is seen by all that follows.
PLACED = re.compile(r"__LINE__|__COUNTER__|_Pragma|^# ?(?:pragma|line|\d)")

PROTOTYPE = re.compile(
    r"(?:extern )?(?P<type>[\w *]*[ *])(?P<name>\w+) ?\((?P<parameters>[^()]*)\) ?;", re.ASCII
)
PARAMETER = re.compile(r"(?P<type>(?:\w+[ *]+)+)(?P<name>\w+)", re.ASCII)
HEAD = re.compile(r"static (?:__always_)?inline [\w *]*[ *](?P<name>\w+) ?\([^()]*\)", re.ASCII)
MACRO = re.compile(r"# ?(?:define|undef) (?P<name>\w+)", re.ASCII)
CONDITIONAL = re.compile(r"# ?(?P<what>ifdef|ifndef|if|elif|else|endif)\b", re.ASCII)
INCLUDE = re.compile(r"# ?include\b")
INTEGERS = re.compile(
    r"(?:const )?(?:void(?= \*)|(?:(?:un)?signed )?char|unsigned|(?:unsigned )?(?:short|int|long"
    r"|long long))(?: \*)*"
)
NO_NAMES = frozenset(("void", "char", "short", "int", "long", "signed", "unsigned", "const"))

Branch = tuple[int, int]  # the number of a conditional, and of its part


class Doubt(Exception):  # noqa: N818 -- it is no error
    """What is read is not what this module is sure of."""


@dataclass(frozen=True)
class Item:
    """A directive, a declaration or a definition, and in which conditionals it stands.

    ``text`` has no comments, and one space for any number; ``head`` is what is before a brace,
    ``lines`` has the line of each of its tokens.
    """

    text: str
    head: str
    lines: tuple[int, ...]
    within: tuple[Branch, ...]

    @property
    def is_directive(self) -> bool:
        """Whether it is the preprocessor's."""
        return self.text.startswith("#")


@dataclass(frozen=True)
class Effect:
    """The names on which a change of a header may have an effect.

    Who uses one of ``names`` may be compiled to something else; ``lines`` are of declarations
    that stand on another line, which is seen in debug information alone.
    """

    names: frozenset[str]
    lines: frozenset[str]


def effect(before: bytes, after: bytes) -> Effect | None:
    """Return what a change of a header may affect; None if in doubt."""
    if max(len(before), len(after)) > LARGEST:
        return None
    if Counter(OPTION.findall(before)) != Counter(OPTION.findall(after)):
        return None
    try:
        return _effect(_items(before), _items(after))
    except Doubt:
        return None


def _effect(before: Sequence[Item], after: Sequence[Item]) -> Effect:
    names: set[str] = set()
    settled: list[Item] = []
    moved: list[Item] = []
    for kind, a, b, c, d in _differences(before, after):
        if kind == "equal":
            for was, now in zip(before[a:b], after[c:d], strict=True):
                (settled if was.lines == now.lines else moved).append(now)
        else:
            names.update(_changed(before, number) for number in range(a, b))
            names.update(_changed(after, number) for number in range(c, d))
    lines = set()
    for each in moved:
        if (match := _prototype(each)) is not None:
            lines.add(match["name"])
        elif not each.is_directive:
            names.add(_inline(each))
    # Who uses a macro need not mention what the macro mentions.
    macros = {m["name"]: each for each in moved if (m := MACRO.match(each.text))}
    while further := {n for n, each in macros.items() if (names | lines) & _words(each)} - names:
        names |= further
    if any((names | lines) & _words(each) for each in settled):
        raise Doubt
    return Effect(frozenset(names), frozenset(lines - names))


def _differences(
    before: Sequence[Item], after: Sequence[Item]
) -> Iterator[tuple[str, int, int, int, int]]:
    """Yield what SequenceMatcher.get_opcodes() does, quickly also for a header made to be slow."""
    texts = [each.text for each in before], [each.text for each in after]
    first = _common(*texts)
    last = _common(texts[0][first:][::-1], texts[1][first:][::-1])
    one, other = (each[first : len(each) - last] for each in texts)
    if max(len(one), len(other)) > MOST_DIFFER:
        raise Doubt
    yield "equal", 0, first, 0, first
    for kind, a, b, c, d in SequenceMatcher(None, one, other, autojunk=False).get_opcodes():
        yield kind, first + a, first + b, first + c, first + d
    yield "equal", len(before) - last, len(before), len(after) - last, len(after)


def _common(one: Sequence[str], other: Sequence[str]) -> int:
    """Return how many items two headers begin with."""
    pairs = zip(one, other, strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


def _words(item: Item) -> set[str]:
    return set(WORD.findall(item.text))


def _inline(item: Item) -> str:
    """Return the name of an inline function, by which alone other code reaches it."""
    head = HEAD.fullmatch(item.head) if len(item.head) <= LONGEST else None
    if head is None or "#" in item.text:
        raise Doubt
    return head["name"]


def _changed(items: Sequence[Item], number: int) -> str:
    """Return the name of a declaration that one of two headers has.

    It must be as valid as those before it, in every file that includes the header: made of types
    and names that they have, where nothing in between changes what these mean.
    """
    item = items[number]
    match = _prototype(item)
    if match is None or "[" in item.text:
        raise Doubt
    proved = _Proved()
    for each in items[:number]:
        if INCLUDE.match(each.text):
            proved = _Proved()
        elif each.within == item.within[: len(each.within)]:
            proved.learn(each)
    macros = {m["name"] for each in items if (m := MACRO.match(each.text))}
    if _words(item) & macros or not proved.covers(match):
        raise Doubt
    return match["name"]


@dataclass
class _Proved:
    """The types and the names of parameters of which declarations have been made."""

    types: set[str] = field(default_factory=set)
    names: set[str] = field(default_factory=lambda: {""})

    def learn(self, item: Item) -> None:
        if (match := _prototype(item)) is not None:
            parameters = _parameters(match)
            self.types.update((_spaced(match["type"]), *(kind for kind, _ in parameters)))
            self.names.update(name for _, name in parameters)

    def covers(self, match: re.Match[str]) -> bool:
        """Whether a declaration is made of them and of the language's own integers."""
        result, parameters = _spaced(match["type"]), _parameters(match)
        named = [name for _, name in parameters if name]
        kinds = [kind for kind, _ in parameters]
        if parameters == [("void", "")]:
            kinds = []
        if kinds[1:] and kinds[-1] == "...":
            kinds = kinds[:-1]
        return (
            (result == "void" or self._has(result))
            and all(map(self._has, kinds))
            and self.names.issuperset(named)
            and len(named) == len(set(named))
        )

    def _has(self, kind: str) -> bool:
        return kind not in {"void", "..."} and (
            kind in self.types or INTEGERS.fullmatch(kind) is not None
        )


def _spaced(kind: str) -> str:
    return " ".join(kind.replace("*", " * ").split())


def _parameters(match: re.Match[str]) -> list[tuple[str, str]]:
    """Return type and name of each parameter; the name is empty if there is none, or in doubt."""
    found = []
    for text in match["parameters"].split(","):
        each = PARAMETER.fullmatch(text.strip())
        is_tag = each is not None and each["type"].split()[-1] in {"struct", "union", "enum"}
        if each is None or is_tag or each["name"] in NO_NAMES:
            found.append((_spaced(text), ""))
        else:
            found.append((_spaced(each["type"]), each["name"]))
    return found


def _prototype(item: Item) -> re.Match[str] | None:
    match = PROTOTYPE.fullmatch(item.text) if len(item.text) <= LONGEST else None
    return None if match is None or "typedef" in _words(item) else match


def _items(content: bytes) -> list[Item]:
    """Split a header; raises Doubt for one that a compiler might split otherwise."""
    text = content.decode("latin-1")
    if UNUSUAL.search(text):
        raise Doubt
    return _Scanner().scan(TOKEN.findall(text.replace("\\\n", SPLICE)))


class _Scanner:
    """Reads the tokens of a header; ``outer`` is the declaration that a directive stands in."""

    def __init__(self) -> None:
        self.items: list[Item] = []
        self.conditionals: list[tuple[Branch, int]] = []  # and the depth of braces at each
        self.number = self.depth = 0
        self.line = 1
        self.fresh = True  # only blanks so far on this line
        self._begin()

    def _begin(self) -> None:
        self.text = self.head = ""
        self.outer: str | None = None
        self.lines: list[int] = []
        self.within = self._within()

    def _within(self) -> tuple[Branch, ...]:
        return tuple(branch for branch, _ in self.conditionals)

    def scan(self, tokens: Iterable[str]) -> list[Item]:
        for piece in tokens:
            if piece.startswith(("//", "/*")) and piece != "/*":
                self.text += " "
            elif piece == "\n":
                self._end_line()
            elif not piece.isascii() or piece in {"/*", '"', "'"}:
                raise Doubt
            elif piece == "#" and self.fresh:
                self._begin_directive()
            else:
                self._add(piece)
            self.line += piece.count("\n") + piece.count(SPLICE)
        if self.conditionals or self.text.strip():
            raise Doubt
        return self.items

    def _begin_directive(self) -> None:
        if not self.text.strip():
            self._begin()
        self.outer, self.text = self.text, "#"
        self.lines.append(self.line)
        self.fresh = False

    def _end_line(self) -> None:
        self.fresh = True
        if self.outer is None:
            self.text += " "
            return
        text = " ".join(self.text.replace(SPLICE, "").split())
        if PLACED.search(text) or (SPLICE in self.text and ("/*" in text or "//" in text)):
            raise Doubt
        self._count(text)
        if self.outer.strip():
            self.text = f"{self.outer} {text} "
            self.outer = None
        else:
            self.items.append(Item(text, "", tuple(self.lines), self.within))
            self._begin()

    def _count(self, directive: str) -> None:
        match = CONDITIONAL.match(directive)
        if match is None:
            return
        part = 0
        if match["what"].startswith("if"):
            self.number += 1
            number = self.number
        else:
            if not self.conditionals or self.conditionals[-1][1] != self.depth:
                raise Doubt
            (number, part), _ = self.conditionals.pop()
        if match["what"] != "endif":
            self.conditionals.append(((number, part + 1), self.depth))

    def _add(self, piece: str) -> None:
        if self.outer is None:
            if SPLICE in piece:
                raise Doubt
            if not self.text.strip():
                if not piece.strip():
                    return
                self._begin()
        if piece.strip():
            self.fresh = False
            self.lines.append(self.line)
        if piece[0] in "\"'":  # its blanks count
            piece = piece.replace(" ", "\1").replace("\t", "\2")
        self.text += piece
        if self.outer is None and piece in {"{", "}", ";"}:
            self._end_item(piece)

    def _end_item(self, piece: str) -> None:
        if piece == "{":
            self.head = self.head if self.depth else " ".join(self.text[:-1].split())
            self.depth += 1
            return
        self.depth -= piece == "}"
        if self.depth < 0:
            raise Doubt
        is_whole = piece == ";" or self.head.endswith(")")  # or a function's end
        if self.depth or not is_whole:
            return
        text = " ".join(self.text.split())
        if PLACED.search(text) or self.within != self._within():
            raise Doubt
        self.items.append(Item(text, self.head, tuple(self.lines), self.within))
        self._begin()
