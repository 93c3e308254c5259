# SPDX-License-Identifier: GPL-2.0-only
"""Builds two kernels of a source of four files: ``python -m tests.faults.build FOLDER``.

The status is a command's: 3 if the machinery failed, with one line about it.
"""

from __future__ import annotations

import sys
from pathlib import Path

from kstep.base.errors import MachineryError
from tests.unit.build.test_builder import WITH_A, Work


def main(folder: Path) -> int:
    """Build them, one after the other."""
    work = Work(folder)
    try:
        work.build()
        work.build(WITH_A)
    except (MachineryError, OSError) as error:
        print(f"{type(error).__name__}: {error}")  # noqa: T201 -- the answer
        return MachineryError.status
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
