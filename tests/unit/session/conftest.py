# SPDX-License-Identifier: GPL-2.0-only
"""Waits that are as short as a test may wait."""

from __future__ import annotations

import pytest

from kstep.console import console
from kstep.session import dialogue


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait no longer than a test may if nothing comes."""
    monkeypatch.setattr(console, "LOOK", 0.05)
    monkeypatch.setattr(dialogue, "SPLAT_TEXT", 0.2)
