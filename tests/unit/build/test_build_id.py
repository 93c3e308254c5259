# SPDX-License-Identifier: GPL-2.0-only
"""The build ID of an image and of its vmlinux, which have one each in a real kernel's place."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from kstep.build import build_id
from kstep.build.build_id import HEAD

if TYPE_CHECKING:
    from pathlib import Path

MAP = """\
ffff800008000000 T _text
ffff800008000040 R __start_notes
ffff800008000080 R __stop_notes
"""
OTHER = HEAD + b"v" * 20  # the vdso's


def made(folder: Path, content: bytes, debug: bytes, symbols: str = MAP) -> tuple[bytes, bytes]:
    """Return image and vmlinux, with the ID that ld gave them, after it was replaced."""
    note = HEAD + (debug * 20)[:20]
    image = OTHER.ljust(0x40, b".") + note.ljust(0x40, b".") + content
    paths = [folder / name for name in ("Image", "vmlinux", "System.map")]
    paths[0].write_bytes(image)
    paths[1].write_bytes(b"ELF" + image + debug)
    paths[2].write_text(symbols)
    build_id.replace(*paths)
    return paths[0].read_bytes(), paths[1].read_bytes()


def test_it_is_of_what_is_booted(tmp_path: Path) -> None:
    """And the same in both files; the one of something else stays."""
    image, linked = made(tmp_path, b"code", b"one")
    assert made(tmp_path, b"code", b"two")[0] == image
    assert made(tmp_path, b"core", b"one")[0][:0x80] != image[:0x80]
    assert linked == b"ELF" + image + b"one"
    assert image.startswith(OTHER)
    assert b"oneone" not in image


@pytest.mark.parametrize(
    ("symbols", "content"),
    [
        ("", b"code"),
        (MAP.replace("80 R", "50 R"), b"code"),
        (MAP.replace("08000040", "18000040"), b"code"),
        (MAP.replace("__start", "start"), b"code"),
        (MAP, HEAD + b"oneoneoneoneoneoneon"),
    ],
)
def test_a_kernel_that_is_otherwise_stays_as_it_is(
    tmp_path: Path, symbols: str, content: bytes
) -> None:
    image, linked = made(tmp_path, content, b"one", symbols)
    assert (b"oneoneoneoneoneoneon" in image, b"oneoneoneoneoneoneon" in linked) == (True, True)
