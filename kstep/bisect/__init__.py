# SPDX-License-Identifier: GPL-2.0-only
"""Which commit broke a session: git bisect run, with a kernel booted at each step."""
