# SPDX-License-Identifier: GPL-2.0-only
"""kstep: does single-stepping an arm64 kernel work, and what else did a patch change?

The packages, lowest first. Each imports only from those before it, which a contract in
pyproject.toml checks; docs/design.md follows a patch through them.

- base: errors, outcomes, deadlines, the cache; results: the files of a run
- toolchain: where compiler, emulator and gdb run; source: trees, series, variants
- console: the serial line and its dialects (kdb, gdb, shell); build: makes a kernel from a source;
  image: a built kernel's symbols and lines; machine: boots it
- arm64: the effect of an instruction; judge: checks a step
- report: draws the record; session: what the scripts use
- run: from a request to a record; bisect and hand: other uses of the same parts
- bench measures kstep, doctor checks the host
"""

__version__ = "0.1.0"
