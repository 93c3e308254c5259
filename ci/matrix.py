# SPDX-License-Identifier: GPL-2.0-only
"""The jobs of a CI run, as GitHub's ``strategy.matrix`` takes them."""

from __future__ import annotations

import json
import re
from itertools import product
from pathlib import Path

import yaml

from kstep.base.document import nearest
from kstep.base.errors import RequestError

FILE = Path(__file__).with_name("matrix.yaml")


def matrix(kind: str) -> str:
    """Return the matrix ``kind`` of matrix.yaml, as JSON in one line.

    ``name`` is the tree and the kconfig in characters that a file and an artifact may have;
    ``sessions`` is empty for all that are settled.
    """
    kinds = yaml.safe_load(FILE.read_text("utf-8"))
    if kind not in kinds:
        raise RequestError(f'no matrix "{kind}" is in ci/{FILE.name}; {nearest(kind, kinds)}')
    asked = kinds[kind]
    runs = [(kconfig, "") for kconfig in asked["kconfigs"]]
    runs += [(item["kconfig"], ",".join(item["sessions"])) for item in asked.get("also", [])]
    jobs = [
        {
            "name": re.sub(r"[^a-z0-9.]+", "-", f"{tree}-{kconfig}"),
            "tree": tree,
            "kconfig": kconfig,
            "sessions": sessions,
            "repeat": asked["repeat"],
        }
        for tree, (kconfig, sessions) in product(asked["trees"], runs)
    ]
    return json.dumps({"include": jobs}, separators=(",", ":"))
