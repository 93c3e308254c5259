# SPDX-License-Identifier: GPL-2.0-only
"""What a change of a header may affect, for usual headers and for those made to mislead."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from kstep.build.declaration import LARGEST, Effect, effect

HEADER = """\
/* SPDX-License-Identifier: GPL-2.0 */
#ifndef __ASM_STEP_H
#define __ASM_STEP_H
#include <linux/types.h>
struct regs;
struct hook {
	int (*fn)(struct regs *regs);
#ifdef CONFIG_X
	int x;
#endif
};
#ifndef __ASSEMBLY__
#define ACTIVE() step_active()
void step_enable(struct regs *regs);
extern int __must_check step_level;
int step_active(void);
@
#ifdef CONFIG_HW
int step_again(struct regs *regs);
#else
static inline int step_again(struct regs *regs)
{
	return 0;
}
#endif
void step_init(void);
#endif
#endif
"""
NEW = "void step_rewind(struct regs *regs);"
BEHIND = {"step_init"}


def header(*lines: str, at: str = "@", of: str = HEADER) -> bytes:
    """Return the header with some lines where the mark is, or behind another line."""
    mark = "\n".join(lines) + "\n" if lines else ""
    text = of.replace(f"{at}\n", mark if at == "@" else f"{at}\n{mark}", 1)
    return text.replace("@\n", "").encode()


def changed(*lines: str, at: str = "@", of: str = HEADER) -> Effect | None:
    """Return what lines affect; taking them out must affect the same."""
    found = effect(header(of=of), header(*lines, at=at, of=of))
    assert effect(header(*lines, at=at, of=of), header(of=of)) == found
    return found


def test_a_prototype_and_what_stands_behind_it() -> None:
    found = changed(NEW)
    assert found == Effect(frozenset({"step_rewind", "step_again"}), frozenset({"step_init"}))


def test_nothing_moves_if_a_line_goes_and_one_comes() -> None:
    before, after = header("void step_old(struct regs *regs);"), header(NEW)
    assert effect(before, after) == Effect(frozenset({"step_old", "step_rewind"}), frozenset())


@pytest.mark.parametrize(
    "line",
    [
        "/* a comment\n   of lines */",
        "",
        "// one more",
        "/* void f(int); */",
        "/* \" ' */",
    ],
)
def test_a_comment_moves_what_is_behind_it(line: str) -> None:
    found = changed(line)
    assert found == Effect(frozenset({"step_again"}), frozenset({"step_init"}))


@pytest.mark.parametrize(
    "line",
    [
        "int step_two(void); int step_three(void);",
        "extern int step_rewind(struct regs *, unsigned long);",
        "int step_two(const char *, struct regs *regs, ...);",
        "void\nstep_rewind(struct regs *\n\t    regs);",
    ],
)
def test_other_declarations(line: str) -> None:
    found = changed(line)
    assert found is not None
    assert found.names >= set(re.findall(r"step_\w+", line))


DOUBTFUL = {
    "a type that nobody has used": "void f(struct other *regs);",
    "a name of a parameter that may be a macro": "void f(int current);",
    "a type that may not be known here": "u64 f(void);",
    "a result that is not one": "regs f(void);",
    "no prototype": "void f();",
    "void among others": "void f(void, int);",
    "void with a name": "void f(void regs);",
    "dots alone": "void f(...);",
    "the same name twice": "void f(int regs, int regs);",
    "a variable, which is in all debug information": "extern unsigned long f;",
    "no type": "f(void);",
    "types that cannot be together": "long char f(void);",
    "an attribute": "void f(void) __attribute__((noreturn));",
    "an attribute by a macro": "__cold void f(void);",
    "an array": "extern int f[2];",
    "a name in assembler": 'int f(void) __asm__("g");',
    "a definition": "int f;",
    "an inline function": "static inline int f(void) { return 0; }",
    "a macro": "#define f 1",
    "the end of a conditional": "#endif\n#ifdef __x",
    "an include": "#include <linux/sched.h>",
    "a structure": "struct f { int a; };",
    "a forward declaration": "struct f;",
    "a type's name": "typedef int f(void);",
    "a macro that declares": "DECLARE_F(f);",
    "a macro's use before": "DECLARE_F(f)\nvoid g(struct regs *regs);",
    "a pragma": "#pragma GCC optimize(0)",
    "a line's number": "#line 7",
    "an assertion": '_Static_assert(1, "");',
    "an option in a comment": "/* CONFIG_Y */",
    "a comment without end": "/* ",
    "a string without end": '"',
    "a splice": "int f(void);\\\nint g(void);",
    "a splice with a blank": "// \\ \nint f(void);",
    "a trigraph": "// ??/\nint f(void);",
    "a carriage return": "int f(void);\r",
    "another alphabet": "int \xe4(void);",
    "a name that is in front": "void step_active(void);",
    "a name that is in a structure": "int fn(struct regs *regs);",
    "braces without end": "{",
    "braces without beginning": "}",
}


@pytest.mark.parametrize("line", DOUBTFUL.values(), ids=DOUBTFUL)
def test_in_doubt_all_is_compiled(line: str) -> None:
    assert changed(line) is None


PLACES = {
    "in a structure": "struct hook {",
    "in a macro": "#define X \\",
    "in a function": "{",
    "where no type has been used yet": "#define __ASM_STEP_H",
    "in an alternative": "#else",
}


@pytest.mark.parametrize("at", PLACES.values(), ids=PLACES)
def test_a_place_that_is_not_sure(at: str) -> None:
    of = HEADER.replace("@\n", "#define X \\\n\t2\n@\n")
    assert changed(NEW, at=at, of=of) is None or at == "#else"
    assert at != "#else" or changed("void f(struct hook *hook);", at=at, of=of) is None


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("return 0;", "return __LINE__;"),
        ("return 0;\n", "return 0;\n#ifdef X\n#endif\n"),
        ("static inline int step_again", "static int step_again"),
        ("static inline int step_again", "DEFINE(x) static inline int step_again"),
        ("void step_init(void);", "DEFINE_STEP(init);"),
        ("void step_init(void);", "struct again { int a; };"),
        ("void step_init(void);", "enum { AGAIN };"),
        ("void step_init(void);", "#pragma once"),
        ("void step_init(void);", "extern int step_init;"),
        ("step_active()", "step_init()"),
        ("#include <linux/types.h>", "#define regs other"),
        ("void step_enable(struct regs *regs);\n", ""),
        ("@\n", "#include <x.h>\n@\n"),
    ],
)
def test_a_header_that_is_not_sure(old: str, new: str) -> None:
    assert HEADER.count(old) == 1
    assert changed(NEW, of=HEADER.replace(old, new)) is None


def test_a_macro_stands_for_what_it_mentions() -> None:
    of = HEADER.replace("void step_init(void);\n", "#define AGAIN step_again\n#define B AGAIN\n")
    found = changed(NEW, of=of)
    assert found == Effect(frozenset({"step_rewind", "step_again", "AGAIN", "B"}), frozenset())


def test_blanks_in_a_string_count() -> None:
    one, two = (
        HEADER.replace("@\n", f'#define S "a{blanks}b"\n').encode() for blanks in (" ", "  ")
    )
    assert effect(one, two) is None


def test_a_line_that_moves_within_a_function_moves() -> None:
    """Though the function begins and ends where it did."""
    one, two = (
        HEADER.replace("@\n", "")
        .replace("int step_again(struct regs *regs);\n", "")
        .replace("{\n\treturn 0;\n}", body)
        .encode()
        for body in ("{\n\n\treturn 0;\n}", "{\n\treturn 0;\n\n}")
    )
    assert effect(one, two) == Effect(frozenset({"step_again"}), frozenset())


def test_a_header_may_be_too_large() -> None:
    assert effect(b"//" + b"x" * LARGEST + b"\n", b"") is None


def test_a_header_may_be_made_to_be_slow() -> None:
    many = b"int f(void);\n" * 18_000
    began = time.monotonic()
    assert effect(many, b"int g(void);\n" + many) == Effect(frozenset({"g"}), frozenset({"f"}))
    assert effect(many, many.replace(b"f", b"g")) is None
    assert effect(b"int f(" * 40_000 + b"\n", b"\n") is None
    assert effect(b"int * " * 40_000 + b";\n", b"int " * 60_000 + b"f(void);\n") is None
    assert time.monotonic() - began < 30


# -- what the compiler makes of it

GCC = shutil.which("gcc")
PARTS = (
    *(NEW, "int step_two(struct regs *regs, ...);", "extern long step_count;", "struct regs;", ""),
    *("/* a comment\n   of lines */", "#define LINE() __builtin_trap()", "#define TWO step_two"),
    "static inline int step_again(struct regs *regs)\n{\n\treturn regs ? 1 : 2;\n}",
    "static inline int where(void)\n{\n\treturn HERE;\n}",
    "static inline int twice(struct regs *regs)\n{\n\treturn step_again(regs) + TWO(regs);\n}",
    *("#ifdef A\nint step_old(struct regs *regs);\n#endif", "struct hook { int a, b; };"),
    *("enum level { LOW, HIGH };", "typedef int level_t;", "int step_old(struct regs *regs);"),
    *(
        "void step_enable(struct regs *regs);",
        "#undef TWO",
        "#define regs regs",
        "#ifdef A",
        "#else",
    ),
    *("#endif", "void f(struct other *o);", "static int counted(void) { return __COUNTER__; }"),
)
USES = (
    *("step_rewind(0);", "step_two(0);", "n += step_count;", "step_again(0);", "n += where();"),
    *("n += twice(0);", "step_old(0);", "n += sizeof(struct hook);", "n += HIGH;", "TWO(0);"),
    *("level_t l = 1; n += l;", "step_enable(0);", "n += PASTE(wh, ere)();", "n += 1;"),
)
FIRST = ("struct regs;", "void step_enable(struct regs *regs);")


@pytest.mark.skipif(GCC is None, reason="no gcc here")
@settings(max_examples=150, deadline=None)
@given(
    parts=some.lists(some.sampled_from(PARTS), max_size=7),
    change=some.sampled_from(PARTS),
    where=some.integers(0, 7),
    uses=some.lists(some.sampled_from(USES), max_size=2),
    flags=some.sampled_from(((), ("-DA",), ("-Werror",))),
)
def test_an_object_that_is_not_affected_is_the_same(
    parts: list[str], change: str, where: int, uses: list[str], flags: tuple[str, ...]
) -> None:
    """With its debug information; and if the one does not compile, the other does not either."""
    with_it = [*FIRST, *parts[:where], change, *parts[where:]]
    before, after = ("\n".join((*each, "")) for each in ((*FIRST, *parts), with_it))
    found = effect(before.encode(), after.encode())
    program = (
        f'#define HERE __LINE__\n#define PASTE(a, b) a ## b\n#include "h.h"\nint n;\n'
        f"void run(void)\n{{\n\t{' '.join(uses)}\n}}\n"
    )
    words = set(re.findall(r"\w+", program.replace("PASTE(wh, ere)", "where")))
    if found is None or words & (found.names | found.lines):
        return
    assert _compiled(before, program, flags) == _compiled(after, program, flags)


def _compiled(header: str, program: str, flags: tuple[str, ...]) -> bytes | None:
    with tempfile.TemporaryDirectory() as folder:
        for name, text in (("h.h", header), ("a.c", program)):
            (Path(folder) / name).write_text(text)
        options = ("-std=gnu11", "-g", "-O2", "-Werror=implicit-function-declaration", *flags)
        argv = ["gcc", *options, f"-ffile-prefix-map={folder}=.", "-c", "a.c"]
        done = subprocess.run(argv, cwd=folder, check=False, capture_output=True)
        return None if done.returncode else (Path(folder) / "a.o").read_bytes()
