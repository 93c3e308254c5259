# SPDX-License-Identifier: GPL-2.0-only
"""Text of a guest or a patch, made fit for any report."""

from __future__ import annotations

import re


def printable(text: str) -> str:
    r"""Make ``text`` fit for any report: invisible characters are escaped, such as ``\x1b``.

    Tabs and line ends stay. The result is legal in XML 1.0, and harmless to a terminal.
    """
    return _UNPRINTABLE.sub(_escaped, text.replace("\r\n", "\n"))


_UNPRINTABLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufdd0-\ufdef"
    + "".join(chr(plane + 0xFFFE) + chr(plane + 0xFFFF) for plane in range(0, 0x110000, 0x10000))
    + "]"
)


def _escaped(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code:02x}" if code <= 0xFF else f"\\u{code:04x}"  # noqa: PLR2004 -- two digits
