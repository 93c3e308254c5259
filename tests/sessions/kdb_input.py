# SPDX-License-Identifier: GPL-2.0-only
"""Does kdb read what is typed, and show its complete output?

Claim: a debugging patch must not break kdb's console: line editing, history, completion, and
the pager with its search (kernel/debug/kdb/kdb_io.c). kgdbtest tests the same through a
terminal emulator.

Measured: raw keys are sent, and kdb's "Unknown kdb command" message shows which line it read;
symbols are compared with /proc/kallsyms, and pages with the same output without a pager.

Refuted by a line that differs from what was typed, a symbol or a line that is missing
(`wrong-result`), or no prompt (`hang`).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from kstep.console.kdb import UNKNOWN
from kstep.session.checks import checks, must, must_be
from kstep.session.session import session

if TYPE_CHECKING:
    from kstep.console.kdb import Kdb
    from kstep.session.checks import Check
    from kstep.session.target import Target

UP, DOWN, RIGHT, LEFT = (b"\x1b[%c" % key for key in b"ABCD")
HOME, DELETE, END = (b"\x1b[%c~" % key for key in b"134")
LONGEST = 198  # CMD_BUFLEN less a newline and a null byte (kernel/debug/kdb/kdb_main.c)
HISTORY = 32  # KDB_CMD_HISTORY_COUNT
LINES = 24  # a page, if LINES is not set
FOUND = re.compile(
    r"\n(?P<count>\d+) symbols are found\.(?P<more>[^\n]*\n[^\n]*\.)?\n(?P<names>.*)\n"
)


def must_take(kdb: Kdb, keys: bytes, *lines: str) -> None:
    """Type keys; kdb must read one of the lines."""
    taken = kdb.taken(keys)
    must(taken in lines, f"kdb reads {keys!r} as {taken!r}, not {lines[0]!r}")


def editing(target: Target) -> None:
    """Cursor keys move in the line; Backspace and Delete remove characters."""
    with target.in_kdb() as kdb:
        for keys, line in (
            (b"zx" + LEFT + b"y", "zyx"),
            (b"zx" + LEFT + b"y" + RIGHT + b"w", "zyxw"),
            (b"yx" + LEFT * 5 + b"z" + END + b"w", "zyxw"),
            (b"yx" + HOME + b"z" + RIGHT * 5 + b"w", "zyxw"),
            (b"zyEx" + LEFT * 2 + DELETE, "zyx"),
            (b"zyx" + DELETE, "zyx"),
            (b"zyE\x08x", "zyx"),
            (b"zyEx" + LEFT + b"\x08", "zyx"),
            (b"zyE\x7fx", "zyx"),
            (b"\x08\x08zyx", "zyx"),
            (b"\x01z\x05y\x02\x06x", "zyx"),  # the control characters for the cursor keys
        ):
            must_take(kdb, keys, line)


def unknown_keys(target: Target) -> None:
    """Unknown escape sequences and control characters do not change the line."""
    with target.in_kdb() as kdb:
        must_take(kdb, b"zy\x1bxx", "zyxx", "zyx")  # the key after ESC may count or not
        must_take(kdb, b"wv\x1b[]u", "wvu")
        must_take(kdb, b"ts\x1b[1]r", "tsr")
        must_take(kdb, b"zy\x07\x0c\x19x", "zyx")


def line_ends(target: Target) -> None:
    """CR LF ends one line, not two."""
    with target.in_kdb() as kdb:
        kdb.command("md8c1 linux_banner")
        text = kdb.press(b"zyx\r\n", UNKNOWN).string + kdb.press(b"wvu\r", UNKNOWN).string
        kdb.press(b"")
        must_be(text.count(b"Unknown kdb command"), 2, "the lines that end with CR LF")
        must(b"\n0x" not in text, "the LF of CR LF repeats a command")


def bare_lf(target: Target) -> None:
    """LF alone ends a line as CR does since 6.5 (1ed0555850cd); before, kdb drops it."""
    ends = target.version() >= (6, 5)
    with target.in_kdb() as kdb:
        if not ends:
            must_take(kdb, b"z\ny\nx\n", "zyx")
            return
        for line in (b"zyx", b"wvu"):
            must_be(kdb.press(line + b"\n", UNKNOWN)["what"], line, "the line that ends with LF")
            kdb.press(b"")
        shown = [kdb.press(keys).string for keys in (b"md8c1 linux_banner\n", b"\n")]
        must(all(b"\n0x" in each for each in shown), f"LF does not repeat a command: {shown!r}")


def history(target: Target) -> None:
    """The cursor keys recall earlier lines, as many as the history holds."""
    with target.in_kdb() as kdb:
        for number in range(HISTORY + 8):
            must_take(kdb, b"zyx%d" % number, f"zyx{number}")
        last = HISTORY + 7
        must_take(kdb, UP, f"zyx{last}")  # which is then the last line itself
        must_take(kdb, UP * 3, f"zyx{last - 1}")
        must_take(kdb, UP * 4 + DOWN, f"zyx{last}")
        must_take(kdb, UP + b"\x08w" + LEFT + b"v", f"zyx{str(last)[:-1]}vw")
        oldest = kdb.taken(UP * (HISTORY + 20))
        must(re.fullmatch(r"zyx\d+", oldest) is not None, f"the oldest line is {oldest!r}")
        must_take(kdb, b"wvu", "wvu")


def too_long(target: Target) -> None:
    """Characters beyond the longest line are dropped, wherever the cursor is."""
    full = b"x" * LONGEST
    with target.in_kdb() as kdb:
        must_take(kdb, full, full.decode())
        must_take(kdb, full + b"yyy", full.decode())
        must_take(kdb, full + LEFT * 3 + b"yyy", full.decode())
        must_take(kdb, full + HOME + b"yyy", full.decode())
        must_take(kdb, full + HOME + DELETE * 3 + b"yyyzzz", "yyy" + "x" * (LONGEST - 3))
        must_take(kdb, b"z" * 1000, "z" * LONGEST)
        many = " ".join(["z"] * 25)
        must("too many arguments" in kdb.press(many.encode() + b"\r").string.decode(), many)


def completion(target: Target) -> None:
    """Tab completes a symbol as far as it is unique, even if the line is almost full."""
    with target.in_kdb() as kdb:
        must_take(kdb, b"xxxx kdb_prom\t", "xxxx kdb_prompt_str")
        must_take(kdb, b"xxxx kdb_prom\tz", "xxxx kdb_prompt_strz")
        must_take(kdb, b"xxxx no_such_symbol\t", "xxxx no_such_symbol")
        must_take(
            kdb, b"xxxx kdb_prom yyyy" + HOME + RIGHT * 13 + b"\t", "xxxx kdb_prompt_str yyyy"
        )
        start = b"xxxx kdb_prom "
        rest = b"y" * (LONGEST - len(start))
        full = (start + rest).decode()
        must_take(kdb, start + rest + HOME + RIGHT * 13 + b"\t", full)


def completion_cut(target: Target) -> None:
    """If Tab finds too little room, it fills the line and writes no further.

    Before 6.10, and the stable releases of that time, it wrote past the end of the buffer.
    """
    word, more = "kdb_prom", "pt_str"
    with target.in_kdb() as kdb:
        for room in range(len(more)):
            line = f"{'x' * (LONGEST - room - len(word) - 1)} {word}"
            cut = line + more[:room]
            for keys in (b"\t", b"\t" + b"z" * 9, b"\t" * 3, LEFT + RIGHT + b"\t"):
                must_take(kdb, line.encode() + keys, cut)
            head, tail = f"xxxx {word}", " " + "y" * (LONGEST - room - len(word) - 6)
            keys = (head + tail).encode() + HOME + RIGHT * len(head) + b"\t"
            must_take(kdb, keys, head + more[:room] + tail)
        must_take(kdb, b"wvu", "wvu")


def choices(target: Target) -> None:
    """A second Tab shows the matching symbols of /proc/kallsyms."""
    said = target.run("cut -d' ' -f3 /proc/kallsyms | grep ^kdb_b").text
    names = sorted(name.split("\t")[0] for name in said.split() if name.startswith("kdb_b"))
    every = int(target.run("wc -l < /proc/kallsyms").text)
    with_t = int(target.run("cut -d' ' -f3 /proc/kallsyms | grep -c ^t").text)
    with target.in_kdb() as kdb:
        found = _found(kdb, b"zyx kdb_b\t\t\r")
        must_be(int(found["count"]), len(names), "the symbols that begin with kdb_b")
        must_be(sorted(found["names"].split()), names, "the symbols that begin with kdb_b")
        found = _found(kdb, b"\t\tzyx\r")
        must_be(int(found["count"]), every, "all symbols")
        must_be(len(found["names"].removesuffix("...").split()), 30, "the symbols shown, DTABCOUNT")
        found = _found(kdb, b"zyx q r s t\t\t\r")
        must_be(int(found["count"]), with_t, "the symbols that begin with t, the last word")


def _found(kdb: Kdb, keys: bytes) -> re.Match[str]:
    said = kdb.press(keys, UNKNOWN).string.decode().replace("\r", "")
    kdb.press(b"")
    match = FOUND.search(said)
    must(match is not None, f"{keys!r} shows no symbols: {said!r}")
    assert match is not None
    return match


def pages(kdb: Kdb, line: str, keys: bytes) -> list[str]:
    """Send a command, and a key at each page; return the pages, without the command's echo."""
    found = []
    match = kdb.press(line.encode() + b"\r")
    while True:
        text = match.string[: match.start()].decode(errors="replace").replace("\r", "")
        found.append(text)
        if match["kind"] == b"kdb":
            found[0] = found[0].partition("\n")[2]
            return found
        match = kdb.press(keys)


def rows(text: str) -> int:
    """Count the rows of a terminal of 80 columns, as kdb does."""
    return sum(1 + len(line) // 81 for line in text.splitlines())


def pager(target: Target) -> None:
    """A space shows the next page, Enter the next line; nothing is lost, no page is too long."""
    with target.in_kdb() as kdb:
        for command in ("help", "dmesg 100"):
            whole = kdb.command(command)
            for size in (LINES, 10):
                kdb.command(f"set LINES={size}")
                shown = pages(kdb, command, b" ")
                must_be("".join(shown), whole, f"{command} in pages of {size}")
                must(len(shown) > 1, f"{command} is not shown in pages of {size} lines")
                for page in shown[:-1]:
                    must(size - 4 <= rows(page) <= size, f"a page of {size} lines is {page!r}")
        kdb.command(f"set LINES={LINES}")
        first, *others = pages(kdb, "dmesg 40", b"\r")
        must(rows(first) > LINES / 2, f"the first page has {rows(first)} rows")
        must_be({len(page.splitlines()) for page in others[:-1]}, {1}, "the lines per Enter")


def pager_ended(target: Target) -> None:
    """`q` ends a command, and Enter does not repeat it then; other keys do nothing."""
    with target.in_kdb() as kdb:
        whole = kdb.command("dmesg")
        first = kdb.press(b"dmesg\r")
        must_be(first["kind"], b"more", "the prompt after dmesg")
        page = kdb.press(b"x")
        must(page["kind"] == b"more" and b"Only 'q'" in page.string, "x ends the pager")
        seen = first.string[: first.start()] + page.string[: page.start()]
        lines = seen.decode().replace("\r", "").splitlines()[1:]
        lines = [line for line in lines if line and not line.startswith("Only 'q'")]
        must_be(lines, whole.splitlines()[: len(lines)], "the lines before and after x")
        last = kdb.press(b"q")
        must_be((last["kind"], last.string[: last.start()].strip()), (b"kdb", b""), "after q")
        again = kdb.press(b"\r")
        must_be(again.string[: again.start()].strip(), b"", "what Enter shows after q")
        must_be(kdb.command("dmesg"), whole, "dmesg afterwards")


def pager_search(target: Target) -> None:
    """`/` continues at the first line that matches, and nothing after it is lost."""
    with target.in_kdb() as kdb:
        whole = kdb.command("dmesg").splitlines()
        times = [line.partition("]")[0] for line in whole]
        number = next(n for n in range(60, len(whole)) if times.count(times[n]) == 1)
        kdb.press(b"dmesg\r")
        match = kdb.press(b"/" + times[number].partition("[")[2].encode() + b"\r")
        said = match.string[: match.start()]
        while match["kind"] == b"more":
            match = kdb.press(b" ")
            said += match.string[: match.start()]
        found = said.decode().replace("\r", "").splitlines()
        found = [line for line in found if line.startswith("<")]
        must_be(found, whole[number:], "the lines from the match to the end")


CHECKS = checks(
    editing,
    unknown_keys,
    line_ends,
    bare_lf,
    history,
    too_long,
    completion,
    completion_cut,
    choices,
    pager,
    pager_ended,
    pager_search,
)


@session(
    claim="kdb reads what is typed and shows its complete output.",
    cases=CHECKS,
    area="kdb and gdb",
)
def kdb_input(target: Target, check: Check) -> None:
    """Run one check."""
    check.run(target)
