# SPDX-License-Identifier: GPL-2.0-only
"""What all kernels of a run cost in a cache of their own: from nothing, and with ccache alone."""

from __future__ import annotations

import os
import shutil
import statistics
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kstep.base import temporary
from kstep.base.cache import Cache
from kstep.base.errors import MachineryError
from kstep.bench.figure import Figure, most
from kstep.bench.kernels import variants_over_first
from kstep.build.dependency import COMMAND
from kstep.build.kernel import Builder
from kstep.run.building import Family, build_here
from kstep.source.patched import PatchedTree
from kstep.toolchain import GCC

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kstep.base.progress import Progress
    from kstep.run.building import Built
    from kstep.run.preparation import Prepared

VARIANTS = (1, 2, 4, 8)
CHANGED = "kernel/debug/debug_core.c"  # a file with no header's change


@dataclass(frozen=True)
class Cold:
    """What was measured: ``seconds`` of all kernels from nothing, ``growth`` of a variant.

    The latter by the number of variants that are built one after another.

    ``compile_seconds`` are the compiler's, for CHANGED alone.
    """

    figures: dict[str, Figure]
    seconds: float
    growth: dict[int, float]
    compile_seconds: float


def build(prepared: Prepared, above: Path, progress: Progress) -> Cold:
    """Build everything anew, below ``above``.

    Raises BuildError if a variant cannot be built, CommandError if plain make fails.
    """
    first = prepared.built[0]
    with temporary.folder(above) as name:
        folder = Path(name)
        folder.chmod(0o755)  # the container's user goes through it
        builder = Builder(
            tree=first.tree,
            kconfig=first.kconfig,
            toolchain=prepared.toolchain,
            compiler=GCC,
            compiler_version=prepared.versions.compiler,
            cache=Cache(folder / "cache"),
            progress=progress,
        )
        variants = [pair for each in prepared.built for pair in each.variants]
        family = Family.of(builder, variants, ())
        made, cold = _all(family)
        with progress.task("plain make"):
            plain = _plain(builder, first.require().config, folder / "plain")
            compiled = _compile(builder, folder / "plain/obj")
        for kind in ("kernels", "build"):
            shutil.rmtree(builder.cache.root / kind)
        _, warm = _all(family)
        growth = _one_after_another(builder)
    figures = {
        **variants_over_first(made),
        "kernels_over_plain_make": most(cold / plain, 1.2),
        "kernels_of_warm_ccache_over_cold": most(warm / cold, 0.2),
    }
    return Cold(figures, cold, growth, compiled)


def _all(family: Family) -> tuple[list[Built], float]:
    began = time.perf_counter()
    built = build_here([family])
    seconds = time.perf_counter() - began
    for each in built:
        each.require()
    return built, seconds


def _plain(builder: Builder, config: Path, folder: Path) -> float:
    """Return the seconds of make itself, on the tree as it is, without ccache's cache."""
    objects = folder / "obj"
    objects.mkdir(parents=True)
    shutil.copyfile(config, objects / ".config")
    for path in (folder, objects, objects / ".config"):
        builder.toolchain.own(path)
    source = builder.tree.source
    argv = ["make", "-C", str(source), f"O={objects}", f"-j{os.cpu_count() or 1}", "Image"]
    began = time.perf_counter()
    builder.toolchain.run(
        [*argv, *builder.compiler.make_arguments],
        cwd=objects,
        readable=[source],
        writable=[objects],
        env={"ARCH": "arm64", "CCACHE_DISABLE": "1", **builder.compiler.environment},
        limits=builder.limits,
    )
    return time.perf_counter() - began


def _compile(builder: Builder, objects: Path) -> float:
    """Return the seconds of the command that make ran for CHANGED."""
    made = (objects / CHANGED).with_suffix(".o")
    command = COMMAND.match(made.with_name(f".{made.name}.cmd").read_text())
    if command is None:
        raise MachineryError(f"make has not recorded the command for {CHANGED}")
    began = time.perf_counter()
    builder.toolchain.run(
        ["sh", "-c", command["command"]],
        cwd=objects,
        readable=[builder.tree.source],
        writable=[objects],
        env={"CCACHE_DISABLE": "1"},
    )
    return time.perf_counter() - began


def _one_after_another(builder: Builder) -> dict[int, float]:
    """Build variants that differ in one file; return their mean seconds at some numbers of them."""
    content = (builder.tree.source / CHANGED).read_bytes()
    seconds = []
    for number in range(1, max(VARIANTS) + 1):
        more = b"const int kstep_bench = %d;\n" % number
        files: Mapping[str, bytes | None] = {CHANGED: content + more}
        sources = PatchedTree(files, frozenset(), {}, {}, f"bench {number}")
        began = time.perf_counter()
        builder.build(sources, f"variant {number}")
        seconds.append(time.perf_counter() - began)
    return {count: statistics.mean(seconds[:count]) for count in VARIANTS}
