# SPDX-License-Identifier: GPL-2.0-only
"""What kstep needs on this host: what is there, what is missing, and how to get it."""

from __future__ import annotations

import shutil
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kstep.base.cache import GIB, Cache
from kstep.base.errors import MachineryError
from kstep.toolchain import COMPILERS, apt, engine_fault
from kstep.toolchain.suite import SUITES

if TYPE_CHECKING:
    from pathlib import Path

    from kstep.toolchain import Compiler

SPACE = 8.0  # GiB: sources, objects, kernels and the toolchain of one tree


@dataclass(frozen=True)
class Finding:
    """One thing that was checked; ``fix`` is empty if it is fine."""

    what: str
    state: str
    fix: str = ""


def examine(docker_folder: Path) -> list[Finding]:
    """Check everything that verify needs; nothing is installed or fetched."""
    return [
        Finding("python", sys.version.split()[0]),
        _git(),
        _engine(),
        _packages((docker_folder / "packages.txt").read_text().split()),
        _archive(),
        *map(_compiler, COMPILERS.values()),
        _suites(),
        _space(),
    ]


def usable(findings: list[Finding]) -> bool:
    """Whether verify can run: either toolchain is enough."""
    well = {finding.what: not finding.fix for finding in findings}
    host = well["host packages"] and well["debian archive"]
    return well["git"] and well["disk"] and (well["docker engine"] or host)


def _git() -> Finding:
    if path := shutil.which("git"):
        return Finding("git", path)
    return Finding("git", "missing", "sudo apt-get install git")


def _engine() -> Finding:
    if fault := engine_fault():
        return Finding("docker engine", fault, "sudo apt-get install docker.io, and start dockerd")
    return Finding("docker engine", "answers")


def _packages(wanted: list[str]) -> Finding:
    try:
        absent = apt.missing(wanted)
    except MachineryError as error:
        return Finding("host packages", str(error), "use a Docker engine")
    if absent:
        fix = f"sudo apt-get install --no-install-recommends {' '.join(absent)}"
        return Finding("host packages", f"{len(absent)} of {len(wanted)} missing", fix)
    return Finding("host packages", f"all {len(wanted)}")


def _compiler(compiler: Compiler) -> Finding:
    """Say whether the host's toolchain can take a compiler; a container has each of them."""
    what = f"compiler {compiler.name}"
    if path := shutil.which(compiler.cc.name):
        return Finding(what, f"--toolchain host has it: {path}")
    return Finding(what, "a container has it; --toolchain host would install it")


def _suites() -> Finding:
    """Say which suites' tools there are: a container's may be from any, the host's are its own."""
    try:
        own = apt.own_release()
    except MachineryError:
        own = "none"
    docker = "no Docker engine answers" if engine_fault() else f"container: {', '.join(SUITES)}"
    return Finding("suites of tools", f"{docker}; host: {own}")


def _archive() -> Finding:
    try:
        sources = apt.own_sources()
    except MachineryError as error:
        return Finding("debian archive", str(error), "use a Docker engine with an image registry")
    return Finding("debian archive", f"{len(sources.entries)} configured")


def _space() -> Finding:
    folder = Cache.default().folder()
    free = shutil.disk_usage(folder).free / GIB
    if free < SPACE:
        fix = "./inv clean, or set KSTEP_CACHE to a folder on a larger disk"
        return Finding("disk", f"{free:.1f} GiB free, {SPACE:.0f} wanted", fix)
    return Finding("disk", f"{free:.0f} GiB free for {folder}")
