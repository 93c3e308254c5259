# SPDX-License-Identifier: GPL-2.0-only
"""What a build must not leave behind."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from kstep.build.leftover import harmful

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def objects(tmp_path: Path) -> Path:
    """A folder of objects as a good build leaves it: links within it and to its source."""
    made, source = tmp_path / "obj.apart", tmp_path / "source"
    (made / "kernel").mkdir(parents=True)
    source.mkdir()
    (source / "Makefile").touch()
    (made / "kernel/a.o").touch()
    (made / "vmlinux").touch()
    (made / "kernel/b.o").symlink_to("a.o")
    (made / "source").symlink_to(source)
    (made / "again").symlink_to(tmp_path / "obj/kernel/a.o")  # as the build has its folder
    return made


def found(objects: Path) -> str | None:
    """What is harmful in it."""
    parent = objects.parent
    inside = {parent / "obj": objects, parent / "source": parent / "source"}
    return harmful(objects, inside, ["vmlinux", "System.map"])


def test_a_good_build_leaves_nothing_harmful(objects: Path) -> None:
    assert found(objects) is None


@pytest.mark.parametrize("mode", [0o4755, 0o2755, 0o6711])
def test_a_program_with_the_rights_of_its_owner(mode: int, objects: Path) -> None:
    (objects / "kernel/sh").touch()
    (objects / "kernel/sh").chmod(mode)
    assert found(objects) == "kernel/sh, a program with the rights of its owner"


def test_a_folder_may_keep_its_group(objects: Path) -> None:
    (objects / "kernel").chmod(0o2755)
    assert found(objects) is None


@pytest.mark.parametrize("to", ["/etc/shadow", "../../secret", "../../obj-of-others/x", "/"])
def test_a_link_to_elsewhere(to: str, objects: Path) -> None:
    (objects / "kernel/link").symlink_to(to)
    assert found(objects) == f"kernel/link, a link to {to}"


def test_an_output_is_no_link_wherever_it_leads(objects: Path) -> None:
    (objects / "System.map").symlink_to("kernel/a.o")
    assert found(objects) == "System.map, a link to kernel/a.o"


def test_a_link_that_leads_to_itself(objects: Path) -> None:
    (objects / "round").symlink_to("round")
    assert found(objects) == "round, a link that leads nowhere"


def test_links_that_lead_to_each_other(objects: Path) -> None:
    (objects / "there").symlink_to("back")
    (objects / "back").symlink_to("there")
    assert found(objects) in {f"{each}, a link that leads nowhere" for each in ("there", "back")}


def test_what_is_no_file(objects: Path) -> None:
    os.mkfifo(objects / "fifo")
    assert found(objects) == "fifo, neither a file nor a folder"


def test_a_name_is_made_fit_for_a_terminal(objects: Path) -> None:
    (objects / "a\x1b[2J").symlink_to("/\x1b]0;owned\x07")
    assert found(objects) == r"a\x1b[2J, a link to /\x1b]0;owned\x07"
