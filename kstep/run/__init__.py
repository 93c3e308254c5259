# SPDX-License-Identifier: GPL-2.0-only
"""From a request to a record: what is planned, prepared, run and expected.

A boot is data. A scheduler, such as local, has runner run each boot somewhere and passes the
results to verification, which records them.
"""
