# SPDX-License-Identifier: GPL-2.0-only
"""Patterns in selectors: ``*`` matches any characters, ``?`` any one.

Brackets are ordinary characters, unlike in fnmatch, because a case is written in brackets.
"""

from __future__ import annotations

import re

WILDCARDS = {"*": ".*", "?": "."}


def is_pattern(text: str) -> bool:
    """Whether a text has a wildcard."""
    return any(each in text for each in WILDCARDS)


def matches(pattern: str, name: str) -> bool:
    """Whether a pattern matches a whole name."""
    parts = (WILDCARDS.get(each) or re.escape(each) for each in pattern)
    return bool(re.fullmatch("".join(parts), name, re.DOTALL))
