# SPDX-License-Identifier: GPL-2.0-only
"""Where the files of a run are, relative to the run's folder."""

from __future__ import annotations

import hashlib
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kstep.results.cell import Cell
    from kstep.results.setup import Setup


EARLIER = "earlier"  # in a cell's folder: that of the try before
HOST_LOG = "host.log"  # the console of the emulated host, if there is no verdict
QEMU_SCRIPT = "qemu.sh"  # in a cell's folder: boots its machine by hand

_COMPONENT = 160  # characters of a folder's name; file systems allow 255 bytes


def cell_folder(cell: Cell) -> PurePosixPath:
    """Where the files of a cell are, relative to the run's folder.

    ``cells/<tree>/<kconfig>[/<compiler>][/<suite>]/<variant>/<session>[/<case>]/<repeat>``, each
    one component: a colon is written ``=``, a slash ``,`` and any other special character
    ``%XX``. No two cells share a folder: no variant has the name of a compiler or a suite. (The
    upload-artifact action refuses names with a colon.)
    """
    names = [cell.session] if cell.case is None else [cell.session, cell.case]
    above = kernel_folder(cell.setup, cell.variant)
    return above.joinpath(*map(_component, names), str(cell.repeat))


def kernel_folder(setup: Setup, variant: str) -> PurePosixPath:
    """Where the cells of a kernel are, relative to the run's folder."""
    return PurePosixPath("cells", *map(_component, (*setup.parts, variant)))


def lines_file(setup: Setup, variant: str) -> str:
    """Where the source lines of a kernel's addresses are, relative to the run's folder."""
    return str(kernel_folder(setup, variant) / "lines.json")


def _component(name: str) -> str:
    """``name`` as one component of a path, one to one."""
    plain = "".join(map(_path_character, name)).replace(".", "%2E", name.startswith(".")) or "%"
    if len(plain) <= _COMPONENT:
        return plain
    digest = hashlib.sha256(plain.encode()).hexdigest()[:32]
    return f"{plain[:_COMPONENT]}~{digest}"  # no shorter name holds a ~


def _path_character(character: str) -> str:
    if character in ":/":
        return "=" if character == ":" else ","
    if character.isascii() and (character.isalnum() or character in "._+-"):
        return character
    return "".join(f"%{byte:02X}" for byte in character.encode("utf-8", "surrogatepass"))
