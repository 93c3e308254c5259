# SPDX-License-Identifier: GPL-2.0-only
"""Kernel configurations: fragments, and whether every option in them was really set."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kstep.errors import MachineryError, RequestError

if TYPE_CHECKING:
    from collections.abc import Mapping

OPTION = re.compile(r'^(?P<name>CONFIG_\w+)=(?P<value>"[^"]*"|[^\s"]+)\s*(#.*)?$')
UNSET = re.compile(r"^# (?P<name>CONFIG_\w+) is not set\s*(#.*)?$")
# A comment that was meant to be UNSET; Kconfig would pass over it without a word.
MISSPELT = re.compile(r"^#\s*CONFIG_\w+\s+is\s+not\s+set\b")
BASE = "base"


@dataclass(frozen=True)
class Kconfig:
    """A configuration: allnoconfig and these options on top, the later fragment winning.

    ``options`` maps CONFIG_X to its value as .config spells it; "n" means not set.
    """

    name: str
    options: Mapping[str, str]

    @property
    def fragment(self) -> str:
        """The options in the form that scripts/kconfig/merge_config.sh takes."""
        return "".join(
            f"# {name} is not set\n" if value == "n" else f"{name}={value}\n"
            for name, value in self.options.items()
        )

    @property
    def digest(self) -> str:
        """What the configuration asks for, as a hash."""
        return hashlib.sha256(self.fragment.encode()).hexdigest()

    def check(self, config: Path) -> None:
        """Raise where Kconfig dropped or changed an option that was asked for."""
        got = parse(config)
        wrong = [
            f"{name} is {got.get(name, 'n')}, not {value}"
            for name, value in self.options.items()
            if got.get(name, "n") != value
        ]
        if wrong:
            raise MachineryError(
                f"kconfig {self.name}: Kconfig did not take {len(wrong)} option(s) that were asked"
                f" for, for a dependency that is not met: {'; '.join(wrong)}"
            )


def parse(path: Path) -> dict[str, str]:
    """Read a fragment or a .config; a comment may stand behind an option."""
    options: dict[str, str] = {}
    for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1):
        match = OPTION.match(line) or UNSET.match(line)
        if match:
            options[match["name"]] = match.groupdict().get("value", "n")
        elif line.strip() and (not line.startswith("#") or MISSPELT.match(line)):
            raise RequestError(
                f"{line.strip()[:60]!r} is no option; write CONFIG_NAME=value"
                " or '# CONFIG_NAME is not set'",
                path,
                number,
            )
    return options


def load(name: str, folder: Path) -> Kconfig:
    """Return ``base``, or base with a fragment on top.

    The fragment is one of ``folder``, or the path of a file.
    """
    options = parse(folder / f"{BASE}.config")
    if name != BASE:
        path = folder / f"{name}.config"
        if not path.is_file():
            path = Path(name)
        if not path.is_file():
            there = ", ".join(sorted(p.stem for p in folder.glob("*.config")))
            raise RequestError(f"kconfig {name}: there is {there}, or the path of a fragment")
        options |= parse(path)
    return Kconfig(Path(name).stem, options)
