# SPDX-License-Identifier: GPL-2.0-only
"""From a request to a record: what is planned, prepared, run and expected.

A boot is data. A scheduler, of which local is one, has runner run each boot somewhere and gives
the results to verification, which records them.
"""
