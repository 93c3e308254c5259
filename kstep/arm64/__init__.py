# SPDX-License-Identifier: GPL-2.0-only
"""The architecture: the effect of an instruction, and the entry of exceptions."""
