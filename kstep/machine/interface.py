# SPDX-License-Identifier: GPL-2.0-only
"""The interface of a machine: one boot of a kernel, with a serial line to it."""

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
    from kstep.machine.execution import Execution
    from kstep.machine.hardware import Hardware
    from kstep.results.transcript import Transcript
    from kstep.toolchain import Toolchain


class UnmappedError(MachineryError):
    """An address is not mapped in the guest."""


class Machine(AbstractContextManager["Machine"], ABC):
    """One boot: entered, booted, used through ``console``, and always ended.

    ``serial`` is the descriptor of its serial line. ``boot_seconds`` runs from ``began``
    (time.monotonic()) until the guest prints that it is ready. ``scale`` stretches every timeout.
    ``stopped`` is the output up to the stop if the boot waits for a debugger. ``toolchain`` has
    the gdb that debugs it.

    A method that needs a capability raises MachineryError if ``offer`` does not have it.
    """

    chunk: int  # bytes of memory to read at once, for best speed
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
        """Its capabilities."""

    @property
    @abstractmethod
    def longest_boot(self) -> float:
        """Seconds after which a boot has failed."""

    @property
    def by_hand(self) -> str:
        """A shell script that boots the same machine by hand; "" if that is impossible."""
        return ""

    @abstractmethod
    def boot(self, transcript: Transcript | None = None) -> None:
        """Wait until the guest accepts commands, or waits for a debugger if its hardware says so.

        Raises boot.BootFault if it does not come up and the kernel printed why, MachineryError
        ``no-boot`` if the kernel did not.
        """

    @abstractmethod
    def require_alive(self) -> None:
        """Raise MachineryError if the machine is known to be gone."""

    @abstractmethod
    def read(self, address: int, size: int) -> bytes:
        """Read memory at a virtual address, in the mapping of the stopped CPU.

        Raises UnmappedError if it is not mapped. Without MEMORY_WITHOUT_KDB, kdb must have the
        line.
        """

    @property
    def shares_memory(self) -> bool:
        """Whether a read takes microseconds."""
        return False

    def shortage(self) -> str:
        """Return how the machine lacked CPU time recently, so that its silence means nothing.

        "" if it did not, or if that is unknown.
        """
        return ""

    @property
    def missed(self) -> float:
        """Seconds so far for which the machine would have run and was not let; 0 if unknown."""
        return 0.0

    # -- capabilities of some machines

    def read_physical(self, address: int, size: int) -> bytes:  # noqa: ARG002 -- of others
        """Read memory at a physical address, while the CPU runs or is stopped."""
        raise self._cannot(Capability.PHYSICAL_MEMORY)

    def send_break(self) -> None:
        """Send a BREAK on the serial line."""
        raise self._cannot(Capability.BREAK)

    def resets(self, cause: Callable[[], None], seconds: float) -> bool:  # noqa: ARG002 -- of others
        """Call ``cause``; whether the guest resets the machine within ``seconds``."""
        raise self._cannot(Capability.VISIBLE_RESET)

    def executed(self) -> AbstractContextManager[set[int]]:
        """Collect what the guest executes in the block; the set is filled at its end."""
        raise self._cannot(Capability.EXECUTION_LOG)

    def execution(self, cpu: int) -> Execution:  # noqa: ARG002 -- of others
        """Return what ``cpu`` executed from the last resume to the stop where it is now."""
        raise self._cannot(Capability.EXECUTION_RECORD)

    def open_gdbstub(self) -> Path:
        """Return the socket of the machine's own gdbstub, ready for a gdb."""
        raise self._cannot(Capability.GDBSTUB)

    def _cannot(self, capability: Capability) -> MachineryError:
        return MachineryError(f"{self.offer.name}: {self.offer.lack(capability)}")
