# SPDX-License-Identifier: GPL-2.0-only
"""By hand, on the machine that the sessions use: a console, gdb, one walk through a function.

terminal is the user's own; shell connects it to the machine's console, debugger to a gdb on its
kernel, and guest writes what an external machine must boot. walk steps one function: stop_point
finds where it can be stopped, callers and inlined what to name instead, and detour what ran
instead.
"""
