# SPDX-License-Identifier: GPL-2.0-only
"""Measurements of kstep itself, as ratios within one run, because hosts are noisy."""
