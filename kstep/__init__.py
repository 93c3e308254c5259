# SPDX-License-Identifier: GPL-2.0-only
"""kstep: does single-stepping an arm64 kernel work, and what else did a patch change?

The modules, in the order in which data goes through them: series, tree, kconfig,
toolchain, kernel, guest, plan, machine, console, symbols, kdb, oracle, effect,
session, runner, rate, verdict, record, and the reports drawn from it: junit, table, summary.
"""

__version__ = "0.1.0"
