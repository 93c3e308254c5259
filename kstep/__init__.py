# SPDX-License-Identifier: GPL-2.0-only
"""kstep: does single-stepping an arm64 kernel work, and what else did a patch change?

The packages, ground first. Each imports only from those before it, which a contract in
pyproject.toml keeps so; docs/design.md walks a patch through them.

- base: errors, outcomes, deadlines, the cache; results: the files of a run
- toolchain: where compiler, emulator and gdb run; source: trees, series, what a variant is
- console: a serial line and what is spoken on it; build: from a source to a kernel;
  image: what a built kernel tells of itself; machine: what boots it
- arm64: what an instruction does; judge: what a step must have done
- report: what is drawn from a record; session: the scripts' booted kernel
- run: from a request to a record; bisect and hand: other ways to use the same parts
- bench measures kstep, doctor looks at the machine it is on
"""

__version__ = "0.1.0"
