# SPDX-License-Identifier: GPL-2.0-only
"""The build ID of a kernel: a hash of what is booted, not of the debug information too.

ld hashes all sections (--build-id=sha1). gcc's location lists may differ by a few bytes if a
header that an object includes has a prototype more, though the object's code is the same; so ld's
ID depends on which variant the objects were compiled for, and nothing else of the image does.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

HEAD = b"\x04\0\0\0\x14\0\0\0\x03\0\0\0GNU\0"  # of a note: 20 bytes, NT_GNU_BUILD_ID
NOTE = re.compile(HEAD + rb"(?P<id>.{20})", re.DOTALL)
SYMBOL = r"^(?P<address>[0-9a-f]{{16}}) \w {}$"


def replace(image: Path, vmlinux: Path, system_map: Path) -> None:
    """Give both files the ID; a kernel that has none, or not where it should be, stays as it is."""
    symbols = system_map.read_text("latin-1")
    addresses = [
        re.search(SYMBOL.format(name), symbols, re.MULTILINE)
        for name in ("_text", "__start_notes", "__stop_notes")
    ]
    content = bytearray(image.read_bytes())
    text, start, stop = (int(found["address"], 16) if found else 0 for found in addresses)
    found = NOTE.search(content, start - text, stop - text) if text < start < stop else None
    if found is None:
        return
    note, (begin, end) = found.group(), found.span("id")
    content[begin:end] = bytes(end - begin)
    content[begin:end] = hashlib.sha1(content, usedforsecurity=False).digest()
    linked = vmlinux.read_bytes()
    if linked.count(note) != 1:
        return
    vmlinux.write_bytes(linked.replace(note, HEAD + content[begin:end]))
    image.write_bytes(content)
