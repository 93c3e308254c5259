# SPDX-License-Identifier: GPL-2.0-only
"""What every package uses: errors, outcomes, deadlines, documents, progress, the cache."""
