# SPDX-License-Identifier: GPL-2.0-only
"""From a request to a record: what is planned, prepared, run and expected."""
