# SPDX-License-Identifier: GPL-2.0-only
"""A serial line and its protocols: the guest's shell, kdb, gdb."""
