# SPDX-License-Identifier: GPL-2.0-only
"""Machines that boot a kernel, and what each of them can do."""
