# SPDX-License-Identifier: GPL-2.0-only
"""The jobs of a CI run, in the format of GitHub's ``strategy.matrix``."""

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
    """Return the matrix ``kind`` of matrix.yaml, as one line of JSON.

    ``name`` is the tree and the kconfig in characters that are allowed in a file name and an
    artifact name; ``sessions`` is empty for all settled sessions.
    """
    kinds = yaml.safe_load(FILE.read_text("utf-8"))
    if kind not in kinds:
        raise RequestError(f'ci/{FILE.name} has no matrix "{kind}"; {nearest(kind, kinds)}')
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
