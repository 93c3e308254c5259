# SPDX-License-Identifier: GPL-2.0-only
"""What a built kernel tells of itself: symbols and debug information."""
