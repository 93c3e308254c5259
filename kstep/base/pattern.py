# SPDX-License-Identifier: GPL-2.0-only
"""Patterns in what is typed: ``*`` stands for any characters, ``?`` for any one.

Brackets mean nothing here, unlike in fnmatch: a case stands in brackets.
"""

from __future__ import annotations

import re

WILDCARDS = {"*": ".*", "?": "."}


def is_pattern(text: str) -> bool:
    """Whether a text has a wildcard."""
    return any(each in text for each in WILDCARDS)


def matches(pattern: str, name: str) -> bool:
    """Whether a pattern stands for a name, the whole of it."""
    parts = (WILDCARDS.get(each) or re.escape(each) for each in pattern)
    return bool(re.fullmatch("".join(parts), name, re.DOTALL))
