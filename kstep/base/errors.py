# SPDX-License-Identifier: GPL-2.0-only
"""The two kinds of error that end a command: the user's, and the machinery's.

A fault of the kernel is neither: it is an outcome (see ``outcome``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kstep.base.outcome import Signature

if TYPE_CHECKING:
    from pathlib import Path


class RequestError(Exception):
    """The request is wrong; exit status 2, with a message of one line.

    ``path`` and ``line`` (from 1) locate the error; the message ends with the fix.
    """

    status = 2

    def __init__(
        self, message: str, path: Path | str | None = None, line: int | None = None
    ) -> None:
        location = "" if path is None else f"{path}: " if line is None else f"{path}:{line}: "
        super().__init__(location + message)


class MachineryError(Exception):
    """kstep or the machine failed, so there is no verdict; exit status 3.

    ``signature`` is one of the four for ``error``; ``details`` are the relevant lines of a log.
    """

    status = 3

    def __init__(
        self,
        message: str,
        signature: Signature = Signature.INFRASTRUCTURE,
        details: tuple[str, ...] = (),
    ) -> None:
        super().__init__(message)
        self.signature = signature
        self.details = details
