# SPDX-License-Identifier: GPL-2.0-only
"""Sessions: the scripts, and the booted kernel that they talk to."""
