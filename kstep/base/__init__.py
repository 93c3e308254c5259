# SPDX-License-Identifier: GPL-2.0-only
"""What everything stands on: errors, outcomes, deadlines, documents, progress, the cache."""
