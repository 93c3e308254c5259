# SPDX-License-Identifier: GPL-2.0-only
"""Kernel sources and patch series: where they come from, and what a variant of them is."""
