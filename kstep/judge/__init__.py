# SPDX-License-Identifier: GPL-2.0-only
"""Checks of a step: program order, registers, memory, masks, progress."""
