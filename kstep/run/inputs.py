# SPDX-License-Identifier: GPL-2.0-only
"""What the results of a run depend on, by name; a run that is resumed must have the same."""

from __future__ import annotations

import ast
import hashlib
from typing import TYPE_CHECKING

from kstep.base.errors import RequestError
from kstep.results.setup import COMPILER

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from kstep.build.emulated_host import HostImage
    from kstep.run.request import Request
    from kstep.run.tools import Tools
    from kstep.session.session import Session
    from kstep.source.tree import Tree
    from kstep.toolchain.accel import Accel


def inputs(
    asked: Request,
    trees: Iterable[Tree],
    tools: Iterable[Tools],
    accel: Accel,
    host: HostImage | None = None,
) -> dict[str, str]:
    """Return all inputs that are known before the build, each with its hash or version."""
    sources = tuple(trees)
    return {
        **{f"tree {each.id}": f"{each.version} {each.sha256}" for each in sources},
        **{
            f"patch {series.name}/{patch.id}": _hash(form.diff for form in patch.forms)
            for series in asked.series
            for patch in series.patches
        },
        **{
            f"kconfig {each.name}": _hash(
                each.on(source.version).digest.encode() for source in sources
            )
            for each in asked.kconfigs
        },
        **{f"session {each.name}": _script(each, asked.root) for each in asked.sessions},
        "guest": _files((asked.root / "tests/guest").iterdir()),
        **{name: said for each in tools for name, said in _tools(each)},
        "accel": accel.value,
        **({} if host is None else {"emulated host": f"{host.described} {host.archive_sha256}"}),
    }


def require_same(former: Mapping[str, str], now: Mapping[str, str]) -> None:
    """Raise RequestError if the inputs differ; it names those that do."""
    changed = [name for name in former if name in now and now[name] != former[name]]
    gone = [name for name in former if name not in now]
    new = [name for name in now if name not in former]
    said = [
        f"{', '.join(names)} {what}"
        for names, what in ((changed, "changed"), (gone, "gone"), (new, "new"))
        if names
    ]
    if said:
        raise RequestError(
            f"--resume: inputs differ from those of the run: {'; '.join(said)};"
            " start a new run, without --resume"
        )


def _tools(tools: Tools) -> Iterator[tuple[str, str]]:
    """Name what the tools of a suite are, with the suite if one was asked for."""
    toolchain, of = tools.toolchain, f" {tools.suite}" if tools.suite else ""
    yield f"toolchain{of}", f"{toolchain.kind} {toolchain.image_digest or ''}".rstrip()
    for name, versions in tools.versions.items():
        which = "" if name == COMPILER else f" {name}"
        yield f"compiler{which}{of}", versions.compiler
    versions = next(iter(tools.versions.values()))
    yield f"emulator{of}", versions.emulator
    yield f"gdb{of}", versions.gdb


def _script(session: Session, root: Path) -> str:
    """Hash a session's script, and the scripts of kstep that it imports."""
    found: set[Path] = set()
    ahead = {session.file}
    while ahead:
        path = ahead.pop()
        found.add(path)
        ahead |= _imported(path, root) - found
    return _files(found)


def _imported(path: Path, root: Path) -> set[Path]:
    """Return the files below ``tests`` that a script imports."""
    names = set()
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    files = {root.joinpath(*name.split(".")).with_suffix(".py") for name in names}
    return {file for file in files if file.is_relative_to(root / "tests") and file.is_file()}


def _files(paths: Iterable[Path]) -> str:
    named = sorted((path.name, path.read_bytes()) for path in paths if path.is_file())
    return _hash(part for name, content in named for part in (name.encode(), content))


def _hash(parts: Iterable[bytes]) -> str:
    total = hashlib.sha256()
    for part in parts:
        total.update(f"{len(part)}:".encode() + part)
    return total.hexdigest()
