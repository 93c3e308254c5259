# SPDX-License-Identifier: GPL-2.0-only
"""Builds two kernels of a source of four files on a cluster, slowly.

    python -m tests.cluster.build FOLDER SCHEDULER

Prints their hashes, as JSON.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path

from kstep.base.cache import Cache
from kstep.cluster.access import Access
from kstep.run.building import Family, build_here
from kstep.source.variant import Variant
from tests.cluster.worker import Played
from tests.unit.build.test_builder import WITH_A, Work, patched

ROOT = Path(__file__).parents[2]
NAMES = ("none", "fix/1")


def family(folder: Path, cache: Cache) -> Family:
    """Make a source whose every file takes a while, and name two kernels of it."""
    work = Work(folder)
    makefile = work.tree.source / "Makefile"
    makefile.write_text(makefile.read_text().replace("SLOW ?= 0", "SLOW ?= 0.7"))
    builder = dataclasses.replace(
        work.builder(),
        cache=cache,
        toolchain=Played(),
        compiler_version=Played().versions().compiler,
    )
    trees = (patched({}), patched(WITH_A))
    variants = [(Variant(name, None, ()), tree) for name, tree in zip(NAMES, trees, strict=True)]
    return Family.of(builder, variants, ())


def main(folder: str, scheduler: str) -> None:
    """Build them there, or here."""
    made = family(Path(folder) / "source", Cache(Path(folder) / "kept"))
    if scheduler == "here":
        built = build_here([made])
    else:
        from kstep.cluster.client import Cluster  # noqa: PLC0415 -- not in its workers

        access = Access.parse("--scheduler", scheduler, insecure=True)
        cluster = Cluster(access, ROOT, made.builder.cache, print)
        cluster.open()
        built = cluster.build([made])
        cluster.close()
    print(json.dumps({each.first: each.require().image_sha256 for each in built}))  # noqa: T201


if __name__ == "__main__":
    main(*sys.argv[1:])
