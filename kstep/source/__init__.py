# SPDX-License-Identifier: GPL-2.0-only
"""Kernel sources, patch series, and the variants of a source that a series makes."""
