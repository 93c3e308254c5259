# SPDX-License-Identifier: GPL-2.0-only
"""What steps must have done: order, registers, memory, masks, progress."""
