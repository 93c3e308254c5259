# SPDX-License-Identifier: GPL-2.0-only
"""Boots and builds on several machines, on dask.

A client, which is one more scheduler of boots (see kstep.run), gives them to workers. What they
read goes ahead as parcels, and what they say comes back as words.
"""
