# SPDX-License-Identifier: GPL-2.0-only
"""The build ID of a kernel: a hash of what is booted, not of the debug information too.

ld hashes all sections (--build-id=sha1). gcc's location lists may differ by a few bytes if a
header that an object includes has a prototype more, though the object's code is the same; so ld's
ID depends on which variant the objects were compiled for, and nothing else of the image does.
"""

from __future__ import annotations

import hashlib
import mmap
import re
from typing import TYPE_CHECKING

from kstep.build import system_map

if TYPE_CHECKING:
    from pathlib import Path

HEAD = b"\x04\0\0\0\x14\0\0\0\x03\0\0\0GNU\0"  # of a note: 20 bytes, NT_GNU_BUILD_ID
NOTE = re.compile(HEAD + rb"(?P<id>.{20})", re.DOTALL)
SYMBOLS = "_text", "__start_notes", "__stop_notes"


def replace(image: Path, vmlinux: Path, symbols: Path) -> None:
    """Give both files the ID; ``symbols`` is their System.map.

    A kernel that has none, or not where it should be, stays as it is.
    """
    text, start, stop = (system_map.find(symbols, name) or 0 for name in SYMBOLS)
    content = bytearray(image.read_bytes())
    found = NOTE.search(content, start - text, stop - text) if text < start < stop else None
    if found is None:
        return
    note, (begin, end) = found.group(), found.span("id")
    content[begin:end] = bytes(end - begin)
    content[begin:end] = hashlib.sha1(content, usedforsecurity=False).digest()
    with vmlinux.open("r+b") as stream, mmap.mmap(stream.fileno(), 0) as linked:
        at = linked.find(note)
        if at < 0 or linked.find(note, at + 1) >= 0:
            return
        linked[at + len(HEAD) : at + len(note)] = content[begin:end]
    image.write_bytes(content)
