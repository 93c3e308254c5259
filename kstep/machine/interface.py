# SPDX-License-Identifier: GPL-2.0-only
"""What a machine is: one boot of a kernel, with a serial line to it."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from contextlib import AbstractContextManager, ExitStack
from typing import TYPE_CHECKING

from kstep.base.errors import MachineryError
from kstep.machine.capability import Capability

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import TracebackType

    from kstep.build.kernel import Kernel
    from kstep.console.console import Console
    from kstep.machine.capability import Offer
    from kstep.machine.hardware import Hardware
    from kstep.results.transcript import Transcript
    from kstep.toolchain import Toolchain


class UnmappedError(MachineryError):
    """The guest has nothing at an address."""


class Machine(AbstractContextManager["Machine"], ABC):
    """One boot: entered, booted, spoken to by ``console``, and always ended.

    ``serial`` is the descriptor of its serial line. ``boot_seconds`` runs from ``began``
    (time.monotonic()) to the guest's word that it is ready. ``scale`` stretches every
    timeout. ``stopped`` is what was said up to where the boot waits for a debugger.
    ``toolchain`` has the gdb that debugs it.

    What not every machine can do raises MachineryError unless ``offer`` has it.
    """

    chunk: int  # bytes of memory that are best read at once
    console: Console
    serial: int

    def __init__(self, kernel: Kernel, hardware: Hardware, toolchain: Toolchain) -> None:
        self.kernel = kernel
        self.hardware = hardware
        self.toolchain = toolchain
        self.boot_seconds = 0.0
        self.scale = 1.0
        self.stopped = b""
        self.began = time.monotonic()
        self._stack = ExitStack()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    @property
    @abstractmethod
    def offer(self) -> Offer:
        """What it can do."""

    @property
    @abstractmethod
    def longest_boot(self) -> float:
        """Seconds after which a boot has failed."""

    @property
    def by_hand(self) -> str:
        """A shell script that boots the same by hand; "" if there is no such thing."""
        return ""

    @abstractmethod
    def boot(self, transcript: Transcript | None = None) -> None:
        """Wait until the guest takes commands, or waits for a debugger if its hardware says so.

        Raises boot.BootFault if it does not come up and the kernel said why, MachineryError
        ``no-boot`` if it did not.
        """

    @abstractmethod
    def require_alive(self) -> None:
        """Raise MachineryError if the machine is known to be gone."""

    @abstractmethod
    def read(self, address: int, size: int) -> bytes:
        """Read memory at a virtual address, as the CPU that is stopped maps it.

        Raises UnmappedError if it maps nothing there. Without MEMORY_WITHOUT_KDB, kdb must
        have the line.
        """

    def shortage(self) -> str:
        """Say how the machine lacked CPU time of late, so that its silence says nothing.

        "" if it did not, or nobody can tell.
        """
        return ""

    # -- what some machines can do

    def read_physical(self, address: int, size: int) -> bytes:  # noqa: ARG002 -- of others
        """Read memory at a physical address, whatever the CPU runs."""
        raise self._cannot(Capability.PHYSICAL_MEMORY)

    def send_break(self) -> None:
        """Send a BREAK on the serial line."""
        raise self._cannot(Capability.BREAK)

    def resets(self, cause: Callable[[], None], seconds: float) -> bool:  # noqa: ARG002 -- of others
        """Whether the guest resets the machine within ``seconds`` of what is to cause it."""
        raise self._cannot(Capability.VISIBLE_RESET)

    def executed(self) -> AbstractContextManager[set[int]]:
        """Collect what the guest executes in the block; the set is filled when it is left."""
        raise self._cannot(Capability.EXECUTION_LOG)

    @property
    def gdbstub(self) -> Path:
        """The socket at which the machine's own gdbstub waits for a gdb."""
        raise self._cannot(Capability.GDBSTUB)

    def _cannot(self, capability: Capability) -> MachineryError:
        return MachineryError(f"{self.offer.name}: {self.offer.lack(capability)}")
