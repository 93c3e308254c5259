# SPDX-License-Identifier: GPL-2.0-only
"""What CI runs, and when: matrix.yaml says it, the modules tell it to GitHub."""
