# SPDX-License-Identifier: GPL-2.0-only
"""Messages of the kernel, which may stand anywhere in what others print on the same line.

A message may come between any two characters of a program's output, of an echo or of a prompt,
since all of them write to the UART as it has room.
"""

from __future__ import annotations

import re

# With CONFIG_PRINTK_TIME, each line of one; and who it is from, with CONFIG_PRINTK_CALLER.
MESSAGE_LINE = rb"\[ *\d+\.\d+\](?:\[ *[CT]\d+\])? [^\n]*\n"
MESSAGE = rb"(?:%b)*" % MESSAGE_LINE
_MESSAGES = re.compile(MESSAGE_LINE)


def uncut(words: bytes) -> bytes:
    """Return the pattern of ``words``, with messages wherever they may come."""
    return b"".join(re.escape(words[n : n + 1]) + MESSAGE for n in range(len(words)))


def some(character: bytes) -> bytes:
    """Return the pattern of some characters of a kind, with messages likewise."""
    return rb"(?:%b%b)+" % (character, MESSAGE)


def without(text: bytes) -> bytes:
    """Return a text without the messages in it."""
    return _MESSAGES.sub(b"", text)
