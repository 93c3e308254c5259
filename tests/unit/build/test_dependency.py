# SPDX-License-Identifier: GPL-2.0-only
"""Which objects a change of a header leaves as they are, from what kbuild says of each."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from kstep.build import dependency
from kstep.build.dependency import Objects, Version

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

BEFORE = b"struct regs;\nvoid step_enable(struct regs *regs);\nint step_init(void);\n"
AFTER = BEFORE.replace(b"int", b"void step_rewind(struct regs *regs);\nint")
HEADER, OTHER = "include/step.h", "include/other.h"
SOURCE_TIME, OBJECT_TIME, ALTERED = 100, 200, 300  # nanoseconds


class Kernel:
    """A source, and the objects that were made of it before the header changed."""

    def __init__(self, folder: Path) -> None:
        self.source, self.objects = folder / "source", folder / "obj"
        self.before = {HEADER: Version(BEFORE, SOURCE_TIME)}
        self.put(HEADER, AFTER, ALTERED)
        self.put(OTHER, b"int other(void);\n")

    def put(self, name: str, content: bytes, time: int = SOURCE_TIME) -> Path:
        """Write a file of the source."""
        path = self.source / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        os.utime(path, ns=(time, time))
        return path

    def made(
        self,
        name: str,
        content: bytes,
        needs: Iterable[str] = (HEADER, OTHER),
        *,
        command: str = "gcc -D__KERNEL__ -c",
        saved: str = "",
        optional: Iterable[str] = (),
        time: int = OBJECT_TIME,
    ) -> Path:
        """Compile a file, and record it as kbuild does."""
        source = self.put(name, content)
        made = (self.objects / name).with_suffix(".o")
        called = made.relative_to(self.objects)
        made.parent.mkdir(parents=True, exist_ok=True)
        made.write_bytes(b"object")
        os.utime(made, ns=(time, time))
        lines = [f"  {self.source / each} \\\n" for each in needs]
        lines += [f"    $(wildcard {each}) \\\n" for each in optional]
        made.with_name(f".{made.name}.cmd").write_text(
            f"{saved}cmd_{called} := {command} -o {called}\n\nsource_{called} := {source}\n\n"
            f"deps_{called} := \\\n{''.join(lines)}\n{called}: $(deps_{called})\n\n"
            f"$(deps_{called}):\n"
        )
        return made

    def unaffected(self) -> list[Path]:
        """Return the objects that need not be compiled."""
        return Objects(self.objects, self.objects, self.source).unaffected(self.before)


@pytest.fixture
def kernel(tmp_path: Path) -> Kernel:
    """Return a source with a declaration more than its objects know."""
    return Kernel(tmp_path)


def test_who_mentions_no_name_is_left_as_it_is(kernel: Kernel) -> None:
    idle = kernel.made("a.c", b"step_enable(0);")
    newer = kernel.made("kernel/b.c", b"", saved="saved")
    kernel.made("kernel/c.c", b"step_rewind(0);")
    kernel.made("kernel/d.c", b"step_init();")  # on another line
    kernel.made("kernel/e.c", b"", needs=[OTHER])  # make knows
    assert kernel.unaffected() == [idle, newer]


@pytest.mark.parametrize(
    "text",
    [
        b"/* step_rewind */",
        b"step_\\\nrewind(0);",
        b"step_\\ \t\r\nrewind(0);",
        b"#define F(x) step_##x\nF(rewind)",
        b"F(step, _, re, wind)",
        b'asm("bl step_rewind");',
    ],
)
def test_a_name_is_found_however_it_is_written(kernel: Kernel, text: bytes) -> None:
    kernel.made("a.c", text)
    assert kernel.unaffected() == []


def test_a_name_is_found_in_whatever_is_included(kernel: Kernel) -> None:
    kernel.put(OTHER, b"#define REWIND step_rewind\n")
    kernel.made("a.c", b"REWIND(0);")
    assert kernel.unaffected() == []


def test_a_name_is_found_in_the_other_header_that_changed(kernel: Kernel) -> None:
    more = b"struct regs;\nvoid g(struct regs *regs);\n"
    kernel.put(OTHER, more + b"void step_rewind(struct regs *regs);\n", ALTERED)
    kernel.before[OTHER] = Version(more, SOURCE_TIME)
    kernel.made("a.c", b"")
    assert kernel.unaffected() == []
    kernel.put(OTHER, more + b"void h(struct regs *regs);\n", ALTERED)
    assert len(kernel.unaffected()) == 1


def test_a_name_is_found_in_the_command(kernel: Kernel) -> None:
    kernel.made("a.c", b"F(0);", command="gcc -D__KERNEL__ -DF=step_rewind")
    assert kernel.unaffected() == []


def test_what_is_not_the_kernel_s_c_is_compiled(kernel: Kernel) -> None:
    kernel.made("a.S", b"")
    kernel.made("b.c", b"", command="gcc -c")
    kernel.made("c.c", b"").with_name(".c.o.cmd").write_text("")
    kernel.made("d.c", b"").with_name(".d.o.cmd").unlink()
    kernel.made("e.c", b"").unlink()
    assert kernel.unaffected() == []


def test_an_object_that_was_not_up_to_date_is_compiled(kernel: Kernel) -> None:
    """Before the header changed: it, its source, another file or an option was newer."""
    kernel.made("a.c", b"", time=SOURCE_TIME)
    kernel.made("b.c", b"")
    kernel.put("b.c", b"", ALTERED)
    kernel.put("include/newer.h", b"", ALTERED)
    kernel.made("c.c", b"", needs=[HEADER, "include/newer.h"])
    kernel.made("d.c", b"", needs=[HEADER, "include/missing.h"])
    option = kernel.objects / "include/config/X"
    option.parent.mkdir(parents=True)
    option.touch()
    kernel.made("e.c", b"", optional=["include/config/X"])
    fine = kernel.made("f.c", b"", optional=["include/config/Y"])
    assert kernel.unaffected() == [fine]
    kernel.before[HEADER] = Version(BEFORE, OBJECT_TIME)
    assert kernel.unaffected() == []


@pytest.mark.parametrize("after", [b"int step_init(void);\n", AFTER + b"int x;\n", None, BEFORE])
def test_another_change_is_make_s(kernel: Kernel, after: bytes | None) -> None:
    kernel.made("a.c", b"")
    if after is None:
        (kernel.source / HEADER).unlink()
    else:
        kernel.put(HEADER, after, ALTERED)
    assert kernel.unaffected() == []


def test_a_header_that_is_new_is_make_s(kernel: Kernel) -> None:
    kernel.made("a.c", b"")
    kernel.before[HEADER] = Version(None, 0)
    assert kernel.unaffected() == []


def test_a_copy_of_the_objects_is_looked_at_as_its_commands_see_it(kernel: Kernel) -> None:
    made = kernel.made("a.c", b"", optional=[f"{kernel.objects}/include/config/X"])
    option = kernel.objects / "include/config/X"
    option.parent.mkdir(parents=True)
    option.touch()
    copy = kernel.objects.with_name("copy")
    called = kernel.objects
    called.rename(copy)
    objects = Objects(copy, called, kernel.source)
    assert objects.unaffected(kernel.before) == []
    (copy / "include/config/X").unlink()
    there = Objects(copy, called, kernel.source).unaffected(kernel.before)
    assert there == [copy / made.relative_to(called)]


def test_what_is_marked_is_newer_than_what_it_is_made_of(kernel: Kernel) -> None:
    made = kernel.made("a.c", b"")
    assert dependency.mark([made]) == 1
    assert made.stat().st_mtime_ns > ALTERED
    assert made.read_bytes() == b"object"


def test_what_may_not_be_written_is_left_to_make(
    kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_path: Path) -> None:
        raise PermissionError

    made = kernel.made("a.c", b"")
    monkeypatch.setattr(os, "utime", refuse)
    assert dependency.mark([made]) == 0
