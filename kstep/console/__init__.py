# SPDX-License-Identifier: GPL-2.0-only
"""A serial line and what is spoken on it: the guest's shell, kdb, gdb."""
