# SPDX-License-Identifier: GPL-2.0-only
"""Calls a function again and again, in a thread of its own, while a block runs."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@contextmanager
def repeated(action: Callable[[], bool], every: float) -> Iterator[None]:
    """Call ``action`` every so many seconds, until the block ends or it returns False.

    It is not running any more when the block has ended.
    """
    over = threading.Event()

    def repeat() -> None:
        while not over.wait(every) and action():
            pass

    thread = threading.Thread(target=repeat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
