# SPDX-License-Identifier: GPL-2.0-only
"""A toolchain whose emulated host is a thread at the far end of its control port."""

from __future__ import annotations

import hashlib
import os
import select
import threading
from typing import TYPE_CHECKING

from kstep.build.emulated_host import HostImage
from kstep.toolchain import HostToolchain, Process

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


def image_in(folder: Path) -> HostImage:
    """Write an image of a host."""
    for name in ("Image", "initramfs.cpio.gz"):
        (folder / name).write_bytes(b"x")
    sha256 = hashlib.sha256(b"x").hexdigest()
    return HostImage(folder, "Debian bookworm", "6.1.0-57-arm64", "1:7.2", sha256, sha256)


class PlayedHost(Process):
    """What is at the far end of the control port; ``words`` answers what it is told."""

    def __init__(self, control: Path, log: Path, words: dict[str, str]) -> None:
        self.runs = True
        self._words = words
        self._far = os.open(control, os.O_RDWR | os.O_NOCTTY)
        log.write_text("[    1.6] Run /init as init process\ninit: hello\n")
        self.say(words.get("", "ready"))
        self._thread = threading.Thread(target=self._play, daemon=True)
        self._thread.start()

    def say(self, word: str) -> None:
        """Send a word, if it is one."""
        if word:
            os.write(self._far, f"{word}\n".encode())

    def _play(self) -> None:
        while self.runs:
            if select.select([self._far], [], [], 0.01)[0]:
                for word in os.read(self._far, 100).decode().split():
                    self.say(self._words.get(word, ""))

    def alive(self) -> bool:
        """Whether it plays on."""
        return self.runs

    def output(self) -> str:
        """Say what QEMU would."""
        return "qemu-system-aarch64: terminating\n"

    def kill(self) -> None:
        """End it."""
        self.runs = False
        self._thread.join()
        os.close(self._far)


class Played(HostToolchain):
    """A toolchain that starts played hosts."""

    def __init__(self, **words: str) -> None:
        super().__init__("test")
        self.words = {"end": "idle", **words}
        self.started: list[PlayedHost] = []
        self.argv: Sequence[str] = ()

    def spawn(
        self,
        argv: Sequence[str],
        *,
        readable: Sequence[Path] = (),
        writable: Sequence[Path] = (),
        lines: Sequence[Path] = (),
        devices: Sequence[Path] = (),
    ) -> Process:
        """Start one."""
        del readable, devices
        self.argv = argv
        self.started.append(PlayedHost(lines[0], writable[0] / "host.log", self.words))
        return self.started[-1]
