# SPDX-License-Identifier: GPL-2.0-only
"""The files of a run: each is written and read by one module here."""
