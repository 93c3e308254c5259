# SPDX-License-Identifier: GPL-2.0-only
"""What QEMU itself executes between two stops of kgdb, which no kernel can tell otherwise.

QEMU's TCG loads a plugin, ``recorder.c`` beside this file, which writes to a file of the
machine's folder; it is compiled by the toolchain whose QEMU loads it.
"""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from kstep.base import temporary
from kstep.base.errors import MachineryError
from kstep.image.symbols import Symbols
from kstep.machine.execution import Execution, Interruption
from kstep.toolchain import CommandError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kstep.toolchain import Toolchain

SOURCE = Path(__file__).with_name("recorder.c")
PLUGIN = "recorder.so"
# Of arch/arm64/kernel/entry.S, kernel/debug/debug_core.c and arch/arm64/mm/fault.c.
ADDRESSES = {"vectors": "vectors", "stop": "kgdb_handle_exception", "abort": "do_mem_abort"}
VERSION = re.compile(r"version (\d+)\.(\d+)")
# The plugin interface by QEMU's version (QEMU_PLUGIN_VERSION in include/qemu/qemu-plugin.h); an
# older one is still accepted later, up to what QEMU_PLUGIN_MIN_VERSION says.
INTERFACES = (((9, 1), 3), ((9, 0), 2), ((0, 0), 1))


@dataclass
class Recorder:
    """The plugin of one machine, in its folder ``scratch``."""

    scratch: Path
    symbols: Symbols
    _read: int = field(default=0, init=False)

    @classmethod
    def put(cls, scratch: Path, system_map: Path, toolchain: Toolchain) -> Recorder:
        """Put the plugin for the toolchain's QEMU there; MachineryError if it does not compile."""
        (scratch / PLUGIN).write_bytes(_compiled(toolchain))
        toolchain.own(scratch / PLUGIN)
        return cls(scratch, Symbols.load(system_map))

    @property
    def argv(self) -> list[str]:
        """QEMU's options."""
        addresses = "".join(
            f",{name}={self.symbols.address(symbol):x}" for name, symbol in ADDRESSES.items()
        )
        return ["-plugin", f"{self.scratch}/{PLUGIN},record={self._file}{addresses}"]

    def execution(self, cpu: int) -> Execution:
        """Return what ``cpu`` did from the last resume to the stop where it is now.

        Raises MachineryError if the record does not end with that.
        """
        with self._file.open("rb") as record:
            record.seek(self._read)
            new = record.read()
            self._read = record.tell()
        return parse(new.decode("ascii").splitlines(), cpu)

    @property
    def _file(self) -> Path:
        return self.scratch / "executed"


@lru_cache(maxsize=1)
def _compiled(toolchain: Toolchain) -> bytes:
    """Compile the plugin, once for the machines of a worker."""
    with temporary.folder() as name:
        folder = toolchain.own(Path(name))
        shutil.copyfile(SOURCE, folder / SOURCE.name)
        found = VERSION.search(toolchain.text(["qemu-system-aarch64", "--version"]))
        version = (int(found[1]), int(found[2])) if found else (0, 0)
        interface = next(number for since, number in INTERFACES if version >= since)
        argv = ["gcc", "-O2", "-shared", "-fPIC", f"-DAPI={interface}"]
        argv += ["-o", str(folder / PLUGIN), str(folder / SOURCE.name)]
        try:
            toolchain.run(argv, cwd=folder, writable=[folder])
        except CommandError as error:
            raise MachineryError(
                "QEMU's plugin does not compile", details=error.details[-8:]
            ) from error
        return (folder / PLUGIN).read_bytes()


def parse(lines: Iterable[str], cpu: int) -> Execution:
    """Read the last resume and stop of a CPU from the lines of a record, see recorder.c."""
    events: list[int | Interruption] | None = None
    found: Execution | None = None
    whole, vector = True, 0
    for line in lines:
        number, word, *value = line.split(" ")
        if int(number) != cpu:
            continue
        if word == "go":
            events, found, whole = [], None, True
        elif events is None:
            continue
        elif word == "at":
            events.append(int(value[0], 16))
        elif word == "in":
            vector = int(value[0], 16)
            events.append(Interruption(vector, None))
        elif word == "out":
            events[-1] = Interruption(vector, int(value[0]), value[1] == "abort")
        elif word == "more":
            whole = False
        else:
            found = Execution(tuple(events), int(value[0]), whole)
            events = None
    if found is None:
        raise MachineryError(f"QEMU's record of CPU {cpu} has no resume and stop")
    return found
