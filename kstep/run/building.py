# SPDX-License-Identifier: GPL-2.0-only
"""The kernels of a run: which of its variants share one, in which order they are built."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from kstep.base.errors import MachineryError
from kstep.build import kconfig
from kstep.results.setup import COMPILER, Setup
from kstep.source.version import Span

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from kstep.build.kconfig import Kconfig
    from kstep.build.kernel import Builder, Kernel
    from kstep.session.session import Session
    from kstep.source.patched import PatchedTree
    from kstep.source.tree import Tree
    from kstep.source.variant import Variant


@dataclass(frozen=True)
class Built:
    """One kernel of a run: the variants that it stands for, or why it could not be built."""

    tree: Tree
    kconfig: Kconfig
    variants: tuple[tuple[Variant, PatchedTree], ...]
    kernel: Kernel | MachineryError
    compiler: str = COMPILER
    suite: str = ""

    @property
    def setup(self) -> Setup:
        """What it is built from and with."""
        return Setup(self.tree.id, self.kconfig.name, self.compiler, self.suite)

    @property
    def first(self) -> str:
        """The variant that runs; the others have the same sources."""
        return self.variants[0][0].name

    @property
    def names(self) -> tuple[str, ...]:
        """All variants that it stands for."""
        return tuple(variant.name for variant, _ in self.variants)

    def require(self) -> Kernel:
        """Return the kernel; raises the MachineryError with which it could not be built."""
        if isinstance(self.kernel, MachineryError):
            raise self.kernel
        return self.kernel

    @cached_property
    def _options(self) -> Mapping[str, str]:
        """The options that it was built with, or would have been."""
        if isinstance(self.kernel, MachineryError):
            return self.kconfig.options
        return kconfig.parse(self.kernel.config)

    def lacking(self, script: Session) -> str | None:
        """Return an option that a session needs and the kernel lacks; None if it has all."""
        return kconfig.lacking(script.needs, self._options)

    def senseless(self, script: Session, case: str | None) -> str | None:
        """Say on what kernel a case has no sense, if this is one, and why; None if it has."""
        for each in script.unless_for(case):
            if isinstance(each.where, Span):
                if each.where.holds(self.tree.version):
                    return f"on Linux {self.tree.version}: {each.why}"
            elif self._options.get(each.where) == "y":
                return f"with kconfig {self.kconfig.name}: with {each.where} {each.why}"
        return None


@dataclass(frozen=True)
class Wanted:
    """A kernel to build: the variants that it stands for, and what is printed of it.

    ``apart``: only series under review need it, so it is built apart from the others.
    """

    variants: tuple[tuple[Variant, PatchedTree], ...]
    title: str
    apart: bool

    @property
    def sources(self) -> PatchedTree:
        """The files that it is built from."""
        return self.variants[0][1]

    @property
    def names(self) -> str:
        """The variants, for people."""
        return ", ".join(variant.name for variant, _ in self.variants)


@dataclass(frozen=True)
class Family:
    """Kernels of one tree and configuration, which share objects: built one after another."""

    builder: Builder
    kernels: tuple[Wanted, ...]

    @classmethod
    def of(
        cls,
        builder: Builder,
        patched_trees: Iterable[tuple[Variant, PatchedTree]],
        untrusted: Collection[str],
    ) -> Family:
        """Group variants by their sources, in the order in which they are built fastest."""
        groups: dict[str, list[tuple[Variant, PatchedTree]]] = defaultdict(list)
        for variant, sources in patched_trees:
            groups[sources.digest].append((variant, sources))
        kernels = []
        for group in _near_first(list(groups.values())):
            apart = all(variant.series in untrusted for variant, _ in group)
            wanted = Wanted(tuple(group), "", apart)
            what = f"kernel {builder.setup.name}/{wanted.names}"
            kernels.append(Wanted(wanted.variants, what, apart))
        return cls(builder, tuple(kernels))

    @property
    def title(self) -> str:
        """What is printed of all of them."""
        return f"kernels {self.builder.setup.name}"

    def built(self, wanted: Wanted, kernel: Kernel | MachineryError) -> Built:
        """Return what came of a kernel."""
        by = self.builder
        return Built(by.tree, by.kconfig, wanted.variants, kernel, by.compiler.name, by.suite)


def build_here(families: Sequence[Family]) -> list[Built]:
    """Build each kernel once, on this machine; one that fails does not stop the others."""
    return [each for family in families for each in _build(family)]


def _build(family: Family) -> list[Built]:
    builder = family.builder
    built = []
    with builder.progress.task(family.title, len(family.kernels), "kernels") as task:
        for wanted in family.kernels:
            kernel: Kernel | MachineryError
            try:
                kernel = builder.build(wanted.sources, wanted.title, apart=wanted.apart)
            except MachineryError as error:
                builder.progress.say("\n  ".join((str(error), *error.details)))
                kernel = error
            built.append(family.built(wanted, kernel))
            task.advance(note=wanted.names)
    return built


def _near_first(
    groups: list[list[tuple[Variant, PatchedTree]]],
) -> list[list[tuple[Variant, PatchedTree]]]:
    """Order kernels so that each differs from the one before in as few files as possible.

    make recompiles whatever depends on a changed file, and one of the series' patches changes
    a header that 220 objects include.
    """
    ordered, left = groups[:1], groups[1:]
    while left:
        last = ordered[-1][0][1].files
        left.sort(key=lambda group: distance(last, group[0][1].files))
        ordered.append(left.pop(0))
    return ordered


def distance(one: Mapping[str, bytes | None], other: Mapping[str, bytes | None]) -> int:
    """Count the files in which two variants differ."""
    missing = object()
    names = {*one, *other}
    return sum(one.get(name, missing) != other.get(name, missing) for name in names)
