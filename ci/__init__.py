# SPDX-License-Identifier: GPL-2.0-only
"""The jobs of CI: matrix.yaml lists them, the modules format them for GitHub."""
