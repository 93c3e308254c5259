# SPDX-License-Identifier: GPL-2.0-only
"""A socket for programs that come and go, coupled with a line that must stay connected.

A virtio port whose other end is disconnected reads as ended, and QEMU then forgets it
(port_fops_read() in drivers/char/virtio_console.c); so gdb cannot have the port itself.
"""

from __future__ import annotations

import os
import select
import socket
import threading
from contextlib import AbstractContextManager, suppress
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

CHUNK = 1 << 16  # bytes a read


class Coupling(AbstractContextManager["Coupling"]):
    """A socket at ``path``; one visitor at a time has the descriptor ``line``.

    What comes on the line while nobody visits is dropped.
    """

    def __init__(self, path: Path, line: int) -> None:
        self._line = line
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(str(path))
        self._socket.listen(1)
        self._end, self._ends = os.pipe()
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        os.close(self._ends)
        self._thread.join()
        os.close(self._end)
        self._socket.close()

    def _serve(self) -> None:
        while True:
            ready = _readable(self._socket.fileno(), self._line, self._end)
            if self._end in ready:
                return
            if self._line in ready:
                os.read(self._line, CHUNK)
            if self._socket.fileno() in ready:
                visitor, _ = self._socket.accept()
                with visitor, suppress(OSError):  # it has gone in the middle of an answer
                    self._couple(visitor)

    def _couple(self, visitor: socket.socket) -> None:
        while True:
            ready = _readable(visitor.fileno(), self._line, self._end)
            if self._end in ready:
                return
            if self._line in ready:
                visitor.sendall(os.read(self._line, CHUNK))
            if visitor.fileno() in ready:
                data = visitor.recv(CHUNK)
                if not data:
                    return
                while data:
                    data = data[os.write(self._line, data) :]


def _readable(*descriptors: int) -> list[int]:
    """Wait until one of some descriptors can be read; return those that can."""
    return select.select(descriptors, [], [])[0]
