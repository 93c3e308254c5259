# SPDX-License-Identifier: GPL-2.0-only
"""What a run was made with: host, tools, trees, kernels, sessions; and what was left out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kstep.results.setup import COMPILER, Setup

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class RunRecord:
    """When, how and where; ``started`` is ISO 8601 with its zone, ``seconds`` is so far."""

    id: str
    started: str
    seconds: float
    argv: tuple[str, ...]
    kstep_version: str
    host: Mapping[str, object]


@dataclass(frozen=True)
class ToolchainRecord:
    """What built and booted the kernels of one ``compiler`` and ``suite``.

    ``image_digest`` is None if kind is ``host``. ``gcc`` is what the compiler says of its version,
    whichever it is; ``debian`` the release of all of them, also if no suite was asked for.
    """

    kind: str
    image_digest: str | None
    gcc: str
    qemu: str
    gdb: str
    compiler: str = COMPILER
    suite: str = ""
    debian: str = ""


@dataclass(frozen=True)
class TreeRecord:
    """A kernel source; ``sha256`` is None unless it comes from a single file."""

    id: str
    version: str
    sha256: str | None


@dataclass(frozen=True)
class PatchRecord:
    """One patch of the series and what was done with it in one kernel.

    ``action`` is ``applied``, ``reverted``, ``present`` or ``absent``; ``port`` is the file
    that was used, if that was one of the patch's ports.
    """

    id: str
    sha256: str
    action: str
    port: str | None = None


@dataclass(frozen=True)
class SeriesPatch:
    """A patch of a series as it was given.

    ``changes`` has the lines added and removed in each file, for the patch itself under "" and
    for each of its ports under its file.
    """

    id: str
    subject: str
    changes: Mapping[str, Mapping[str, tuple[int, int]]]


@dataclass(frozen=True)
class SeriesRecord:
    """A series of the run: its subject, the text of its cover letter if it has one, its patches."""

    name: str
    subject: str | None
    cover: str | None
    patches: tuple[SeriesPatch, ...]

    @property
    def whole(self) -> str:
        """The variant with all its patches."""
        return f"{self.name}/{'+'.join(each.id for each in self.patches)}"

    @classmethod
    def from_json(cls, item: Mapping[str, Any]) -> SeriesRecord:
        """Read a series from a valid results.json."""
        return cls(**{**item, "patches": tuple(SeriesPatch(**each) for each in item["patches"])})


@dataclass(frozen=True)
class KernelRecord:
    """One built variant; ``same_as`` names the variant whose image is identical, if any."""

    tree: str
    kconfig: str
    variant: str
    image_sha256: str
    vmlinux_sha256: str
    config_sha256: str
    patches: tuple[PatchRecord, ...]
    cached: bool
    same_as: str | None
    build_seconds: float
    objects_compiled: int
    compiler: str = COMPILER
    suite: str = ""

    @property
    def setup(self) -> Setup:
        """What it is built from and with."""
        return Setup(self.tree, self.kconfig, self.compiler, self.suite)

    @property
    def column(self) -> str:
        """The column of its cells."""
        return f"{self.setup.name}/{self.variant}"

    @classmethod
    def from_json(cls, item: Mapping[str, Any]) -> KernelRecord:
        """Read a kernel from a valid results.json."""
        return cls(**{**item, "patches": tuple(PatchRecord(**each) for each in item["patches"])})


@dataclass(frozen=True)
class SessionRecord:
    """A session of the run: what it claims, its script's docstring, and its place in the source.

    ``file`` is relative to kstep's folder; ``line`` is that of the session's decorator.
    ``area`` is what the claim is about, such as ``steps``; empty if the session does not say.
    """

    name: str
    claim: str
    text: str
    file: str
    line: int
    area: str = ""


@dataclass(frozen=True)
class LeftOut:
    """What is not in the run: a variant, or the part of it that ``why`` names.

    ``variant`` may also be a configuration (``kconfig NAME``) that lacks something.
    """

    tree: str
    variant: str
    why: str
