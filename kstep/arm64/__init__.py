# SPDX-License-Identifier: GPL-2.0-only
"""The architecture: what an instruction does, and where exceptions are entered."""
