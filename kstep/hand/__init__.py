# SPDX-License-Identifier: GPL-2.0-only
"""By hand, on the machine that the sessions have: a console, gdb, one walk through a function.

terminal is the user's own; shell gives them the machine's console, debugger a gdb on its
kernel, and guest writes what an external machine must boot. walk steps one function: stop_point
finds where it can be stopped, callers and inlined know what to name instead, and detour what
ran instead.
"""
