# SPDX-License-Identifier: GPL-2.0-only
"""By hand, on the machine that the sessions have: a console, gdb, one walk through a function.

attended gives the booted machine to the user, by way of a terminal. walk steps one function;
stop_point finds where it can be stopped; callers and inlined know what to name instead, and
detour what ran instead.
"""
