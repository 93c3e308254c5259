# SPDX-License-Identifier: GPL-2.0-only
"""Messages of the kernel, which may appear anywhere in what others print on the same line.

A message may appear between any two characters of a program's output, of an echo or of a prompt,
because all of them write to the UART when it has room.
"""

from __future__ import annotations

import re

# Each line of one, with CONFIG_PRINTK_TIME, and the caller if CONFIG_PRINTK_CALLER is set.
MESSAGE_LINE = rb"\[ *\d+\.\d+\](?:\[ *[CT]\d+\])? [^\n]*\n"
MESSAGE = rb"(?:%b)*" % MESSAGE_LINE
_MESSAGES = re.compile(MESSAGE_LINE)


def uncut(words: bytes) -> bytes:
    """Return the pattern of ``words``, with messages anywhere in between."""
    return b"".join(re.escape(words[n : n + 1]) + MESSAGE for n in range(len(words)))


def some(character: bytes) -> bytes:
    """Return the pattern of one or more characters of a kind, with messages in between."""
    return rb"(?:%b%b)+" % (character, MESSAGE)


def without(text: bytes) -> bytes:
    """Return a text without the messages in it."""
    return _MESSAGES.sub(b"", text)
