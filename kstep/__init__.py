# SPDX-License-Identifier: GPL-2.0-only
"""kstep: does single-stepping an arm64 kernel work, and what else did a patch change?

The modules, in the order in which data goes through them:

- what is asked: series (from a thread or a history; diff), matrix, tree, version, kconfig,
  session, expectation, plan; request looks them up
- what it takes: toolchain (with apt, debian, accel), patched, kernel, initramfs; cache keeps
  them, preparation gets them
- a booted kernel: machine (or board), monitor, console, shell, kdb, gdb (with relay), complaint,
  symbols, backtrace; target joins them
- what a step should do: oracle, path (with loop), effect, daif, call
- what came of it: runner, outcome, record, lines, verdict, rate; merge joins runs
- reports, from the record alone: the package report
- by hand: the package hand
- verification is the main job; bisect, hand and bench use the same parts; doctor looks around
"""

__version__ = "0.1.0"
