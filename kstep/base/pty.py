# SPDX-License-Identifier: GPL-2.0-only
"""A pseudo terminal, opened for a program that has its other end, wherever that runs."""

from __future__ import annotations

import os
import pty
import tty
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from contextlib import ExitStack


@dataclass(frozen=True)
class Pty:
    """``near`` is the descriptor of our end, ``path`` the name of the other."""

    near: int
    path: Path

    @classmethod
    def open(cls, stack: ExitStack, *, raw: bool = True) -> Pty:
        """Open one that is closed with ``stack``; ``raw`` passes every byte on as it is.

        The other end is held open as well, so that it outlives whoever opens and closes it.
        """
        near, far = pty.openpty()
        stack.callback(os.close, near)
        stack.callback(os.close, far)
        if raw:
            tty.setraw(far)
        return cls(near, Path(os.ttyname(far)))
