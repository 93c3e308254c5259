# SPDX-License-Identifier: GPL-2.0-only
"""Machines that boot a kernel, and the capabilities of each."""
