# SPDX-License-Identifier: GPL-2.0-only
"""A built kernel's symbols and debug information."""
