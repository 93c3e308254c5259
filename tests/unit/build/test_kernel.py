# SPDX-License-Identifier: GPL-2.0-only
"""A variant's files in the source that is built: nothing touched in vain, the pristine never."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kstep.build import kernel
from kstep.build.kconfig import Kconfig
from kstep.source.patched import PatchedTree
from kstep.source.tree import Tree

if TYPE_CHECKING:
    from collections.abc import Mapping

FILES = {"Makefile": "all:\n", "init/main.c": "main\n", "scripts/run": "#!/bin/sh\n"}


def a_pristine(folder: Path) -> Path:
    """Make a source; scripts/run can be executed."""
    for name, text in FILES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o755 if name == "scripts/run" else 0o644)
        os.utime(path, (1, 1))
    return folder


def a_variant(files: Mapping[str, str | None], *executable: str) -> PatchedTree:
    """Make what a variant changes."""
    content = {name: None if text is None else text.encode() for name, text in files.items()}
    return PatchedTree(content, frozenset(executable), {}, {}, "")


def state(folder: Path) -> dict[str, tuple[str, bool]]:
    """Return every file's text, and whether it can be executed."""
    return {
        str(p.relative_to(folder)): (p.read_text(), bool(p.stat().st_mode & 0o100))
        for p in folder.rglob("*")
        if p.is_file()
    }


def stamps(folder: Path) -> dict[str, float]:
    """Return every file's time: what make goes by."""
    return {str(p.relative_to(folder)): p.stat().st_mtime for p in folder.rglob("*") if p.is_file()}


class Work:
    """A pristine source and the copy of it that is built."""

    def __init__(self, folder: Path) -> None:
        self.pristine = a_pristine(folder / "pristine")
        self.source = folder / "source"
        self.altered = folder / "altered.json"
        kernel._link(self.pristine, self.source)
        self.untouched = (state(self.pristine), stamps(self.pristine))

    def alter(self, files: Mapping[str, str | None], *executable: str) -> None:
        """Bring the copy to a variant; the pristine must not notice."""
        variant = a_variant(files, *executable)
        kernel._alter(self.pristine, self.source, variant, self.altered)
        assert (state(self.pristine), stamps(self.pristine)) == self.untouched

    def wanted(self, files: Mapping[str, str | None], *executable: str) -> dict[str, object]:
        """Say what the copy must be."""
        result: dict[str, object] = {**state(self.pristine)}
        for name, text in files.items():
            result.pop(name, None)
            if text is not None:
                result[name] = (text, name in executable)
        return result


@pytest.fixture
def work(tmp_path: Path) -> Work:
    """Return a copy to work on."""
    return Work(tmp_path)


def test_the_copy_costs_no_space(work: Work) -> None:
    assert state(work.source) == state(work.pristine)
    assert (work.source / "Makefile").stat().st_ino == (work.pristine / "Makefile").stat().st_ino


VARIANT = {"init/main.c": "changed\n", "kernel/new.c": "new\n", "Makefile": None}


def test_a_variant_is_made_and_taken_back(work: Work) -> None:
    work.alter(VARIANT)
    assert state(work.source) == work.wanted(VARIANT)
    work.alter({})
    assert state(work.source) == state(work.pristine)


def test_a_file_that_is_right_already_is_not_touched(work: Work) -> None:
    """Make would compile what depends on it."""
    work.alter(VARIANT)
    before = stamps(work.source)
    work.alter({**VARIANT, "scripts/run": "other\n"}, "scripts/run")
    changed = {name for name, at in stamps(work.source).items() if before.get(name) != at}
    assert changed == {"scripts/run"}


def test_what_is_changed_or_taken_back_is_newer_than_before(work: Work) -> None:
    """Make sees a file by its time; one that goes back must not go back in time too."""
    work.alter({"init/main.c": "changed\n"})
    os.utime(work.source / "init/main.c", (2, 2))
    work.alter({})
    assert (work.source / "init/main.c").stat().st_mtime > 2


def test_the_exec_bit_is_the_variants(work: Work) -> None:
    work.alter({"init/main.c": "run me\n", "new": "x", "scripts/run": "y"}, "init/main.c", "new")
    modes = {name: executable for name, (_, executable) in state(work.source).items()}
    assert modes == {"Makefile": False, "init/main.c": True, "new": True, "scripts/run": False}
    work.alter({})
    assert state(work.source) == state(work.pristine)


def test_a_variant_may_change_the_exec_bit_alone(work: Work) -> None:
    """Of the copy, not of the pristine file that it shares with it."""
    files = {"init/main.c": FILES["init/main.c"], "scripts/run": FILES["scripts/run"]}
    work.alter(files, "init/main.c")
    assert state(work.source) == work.wanted(files, "init/main.c")
    work.alter({})
    assert state(work.source) == state(work.pristine)


@pytest.mark.parametrize("after", range(8))
def test_what_was_cut_off_is_mended_by_the_next(
    after: int, work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever it was: between any two changes of the disk."""

    class PowerCutError(Exception):
        pass

    left = after

    def count(name: str) -> None:
        original = getattr(Path, name)

        def counted(self: Path, *args: object, **options: object) -> object:
            nonlocal left
            if left == 0:
                if name == "write_text":  # of a file that is written, a part may be there
                    original(self, str(args[0])[:3])
                raise PowerCutError
            left -= 1
            return original(self, *args, **options)

        monkeypatch.setattr(Path, name, counted)

    work.alter({"scripts/run": "first\n"})
    for name in ("write_text", "write_bytes", "replace", "unlink"):
        count(name)
    with pytest.raises(PowerCutError):
        work.alter(VARIANT)
    monkeypatch.undo()
    other = {"kernel/other.c": "other\n"}
    work.alter(other)
    found = {name: it for name, it in state(work.source).items() if not name.endswith(".kstep")}
    assert found == work.wanted(other)


names = st.sampled_from([*FILES, "new.c", "kernel/new.c"])
variants = st.tuples(
    st.dictionaries(names, st.none() | st.sampled_from(["a", "b", "main\n"])), st.sets(names)
)


@settings(max_examples=40)
@given(st.lists(variants, min_size=1, max_size=5))
def test_any_order_of_variants_comes_to_what_each_is(
    order: list[tuple[dict[str, str | None], set[str]]],
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        work = Work(Path(folder))
        for files, executable in order:
            own = {name for name in executable if files.get(name) is not None}
            work.alter(files, *own)
            assert state(work.source) == work.wanted(files, *own)
            assert json.loads(work.altered.read_text()) == sorted(files)


def test_a_copy_that_was_cut_off_is_made_anew(tmp_path: Path) -> None:
    pristine = a_pristine(tmp_path / "pristine")
    (tmp_path / "source.new").mkdir()
    (tmp_path / "source.new/half").write_text("")
    kernel._link(pristine, tmp_path / "source")
    assert state(tmp_path / "source") == state(pristine)


# -- keys


def test_all_that_goes_into_a_kernel_is_in_its_key(tmp_path: Path) -> None:
    tree = Tree("debian:6.1", "6.1.192", hashlib.sha256(b"x").hexdigest(), tmp_path)
    config = Kconfig("base", {"CONFIG_A": "y"})
    key = kernel.key(tree, config, "sources", "gcc 12; ld 2.40")
    assert key == kernel.key(tree, Kconfig("same", config.options), "sources", "gcc 12; ld 2.40")
    others = [
        kernel.key(Tree("debian:6.1", "6.1.192", "y", tmp_path), config, "sources", "gcc"),
        kernel.key(tree, Kconfig("base", {"CONFIG_A": "m"}), "sources", "gcc 12; ld 2.40"),
        kernel.key(tree, config, "other sources", "gcc 12; ld 2.40"),
        kernel.key(tree, config, "sources", "gcc 13; ld 2.40"),
    ]
    assert len({key, *others}) == 5


# -- what a build log says


SOURCE = Path("/cache/build/0123/source")
LOG = (
    "  CC      kernel/sched/core.o",
    "kernel/x.c: In function 'f':",
    "kernel/x.c:3:5: error: 'y' undeclared (first use in this function)",
    "make[2]: *** [scripts/Makefile.build:250: kernel/x.o] Error 1",
    "make[1]: *** [Makefile:2013: .] Error 2",
)


def test_the_lines_that_matter_are_the_errors() -> None:
    built = [line.replace("kernel/x.c", f"{SOURCE}/kernel/x.c") for line in LOG]
    assert kernel._errors(built, SOURCE) == LOG[2:]


def test_a_log_without_errors_is_shown_from_its_end() -> None:
    lines = tuple(f"  CC      {n}.o" for n in range(20))
    assert kernel._errors(lines, SOURCE) == lines[-8:]


def test_of_many_errors_the_first_are_shown() -> None:
    lines = tuple(f"x.c:{n}:1: error: nothing" for n in range(100))
    assert kernel._errors(lines, SOURCE) == lines[:8]


@pytest.mark.parametrize(
    ("line", "file"),
    [
        ("  CC      kernel/sched/core.o", "kernel/sched/core.o"),
        ("  AS      arch/arm64/kernel/entry.o", "arch/arm64/kernel/entry.o"),
        ("  HOSTCC  scripts/basic/fixdep", None),
        ("  LD      vmlinux", None),
        ("  CC [M]  fs/x.o", None),
        ("  CCLD    x", None),
    ],
)
def test_an_object_is_counted_when_it_is_compiled(line: str, file: str | None) -> None:
    match = kernel.COMPILED.match(line)
    assert (match and match[2]) == file
