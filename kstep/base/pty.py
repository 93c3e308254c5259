# SPDX-License-Identifier: GPL-2.0-only
"""A pseudo terminal, whose other end another program opens, in a container or not."""

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
    """``near`` is the descriptor of one end, ``path`` the name of the other."""

    near: int
    path: Path

    @classmethod
    def open(cls, stack: ExitStack, *, raw: bool = True) -> Pty:
        """Open one that is closed with ``stack``; ``raw`` passes every byte unchanged.

        The other end is held open too, so that it survives when a program closes it.
        """
        near, far = pty.openpty()
        stack.callback(os.close, near)
        stack.callback(os.close, far)
        if raw:
            tty.setraw(far)
        return cls(near, Path(os.ttyname(far)))
