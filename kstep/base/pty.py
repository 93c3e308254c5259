# SPDX-License-Identifier: GPL-2.0-only
"""A pseudo terminal, whose other end another program opens, in a container or not."""

from __future__ import annotations

import os
import pty
import termios
import tty
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from contextlib import ExitStack


@dataclass(frozen=True)
class Pty:
    """``near`` and ``far`` are the descriptors of its ends, ``path`` the name of the far one."""

    near: int
    far: int
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
        return cls(near, far, Path(os.ttyname(far)))

    def renew(self) -> None:
        """Make a raw one as it was when it was opened, after all who had it open have ended.

        What passes from one end to the other is moved by the kernel (flush_to_ldisc() in
        drivers/tty/tty_buffer.c): at the third call nothing is left that could arrive at an end.
        """
        for end in (self.far, self.near, self.far):
            termios.tcflush(end, termios.TCIOFLUSH)
        tty.setraw(self.far)
