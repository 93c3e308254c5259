# SPDX-License-Identifier: GPL-2.0-only
"""The jobs of a CI run, in the format of GitHub's ``strategy.matrix``."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from kstep.base.document import nearest
from kstep.base.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

FILE = Path(__file__).with_name("matrix.yaml")


def matrix(kind: str) -> str:
    """Return the matrix ``kind`` of matrix.yaml, as one line of JSON.

    ``name`` is the tree, the kconfig, the tools that are not the usual ones and an item's own name,
    in characters that are allowed in a file name and an artifact name; what is empty has verify's
    default.
    """
    kinds = yaml.safe_load(FILE.read_text("utf-8"))
    if kind not in kinds:
        raise RequestError(f'ci/{FILE.name} has no matrix "{kind}"; {nearest(kind, kinds)}')
    return json.dumps({"include": list(_jobs(kinds[kind]))}, separators=(",", ":"))


def _jobs(asked: Mapping[str, Any]) -> Iterator[dict[str, object]]:
    usual = [{"kconfig": name} for name in asked["kconfigs"]]
    for item in (*usual, *asked.get("also", [])):
        for tree in item.get("trees", asked["trees"]):
            own = [item[name] for name in ("compiler", "suite", "name") if name in item]
            yield {
                "name": re.sub(r"[^a-z0-9.]+", "-", "-".join([tree, item["kconfig"], *own])),
                "tree": tree,
                "kconfig": item["kconfig"],
                "compiler": item.get("compiler", "gcc"),
                "suite": item.get("suite", ""),
                "variants": ",".join(item.get("variants", [])),
                "sessions": ",".join(item.get("sessions", [])),
                "repeat": item.get("repeat", asked["repeat"]),
            }
