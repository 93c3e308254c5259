# SPDX-License-Identifier: GPL-2.0-only
"""What holds for all tests: how long an example takes says nothing about kstep."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("kstep", deadline=None)
settings.load_profile("kstep")
