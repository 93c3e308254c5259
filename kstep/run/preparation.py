# SPDX-License-Identifier: GPL-2.0-only
"""All that boots need, from a request: toolchain, trees, the guest, kernels."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import chain, product
from typing import TYPE_CHECKING

from kstep import toolchain
from kstep.base.errors import RequestError
from kstep.build import emulated_host, kconfig
from kstep.build.kernel import Builder
from kstep.machine.qemu import QemuMachine
from kstep.results.provenance import LeftOut
from kstep.run import inputs
from kstep.run.building import Built, Family, build_here
from kstep.run.tools import Tools
from kstep.source import patched
from kstep.source.patched import Action, Unpatched
from kstep.toolchain import accel, reaper
from kstep.toolchain.accel import Accel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from kstep.base.cache import Cache
    from kstep.base.progress import Progress
    from kstep.build.emulated_host import HostImage
    from kstep.build.initramfs import Initramfs
    from kstep.build.kconfig import KconfigRequest
    from kstep.build.kernel import Kernel
    from kstep.machine.hardware import Hardware
    from kstep.run.request import Request
    from kstep.source.patched import PatchedTree
    from kstep.source.tree import Tree
    from kstep.source.variant import Variant
    from kstep.toolchain import Toolchain, Versions
    from kstep.toolchain.accel import Choice


@dataclass(frozen=True)
class Prepared:
    """All that boots need, fetched and built; ``tools`` has one item for each suite."""

    tools: tuple[Tools, ...]
    accel: Accel
    trees: tuple[Tree, ...]
    built: tuple[Built, ...]
    left_out: tuple[LeftOut, ...] = ()
    host: HostImage | None = None  # the emulated host, if the machines are its guests
    inputs: Mapping[str, str] = field(default_factory=dict)

    @property
    def toolchain(self) -> Toolchain:
        """That of the first suite."""
        return self.tools[0].toolchain

    @property
    def versions(self) -> Versions:
        """Those of the first suite and compiler."""
        return next(iter(self.tools[0].versions.values()))

    @property
    def initramfs(self) -> Initramfs:
        """That of the first suite."""
        return self.tools[0].initramfs

    def tools_of(self, suite: str) -> Tools:
        """Return the tools of a suite."""
        return next(each for each in self.tools if each.suite == suite)

    def machine(self, kernel: Kernel, hardware: Hardware) -> QemuMachine:
        """Return a machine with one of the kernels, not started."""
        return QemuMachine(kernel, self.initramfs.path, hardware, self.toolchain, self.accel)


def prepare(
    asked: Request,
    toolchain_kind: str,
    cache: Cache,
    progress: Progress,
    accel_kind: str = "auto",
    former: Mapping[str, str] | None = None,
    build: Callable[[Sequence[Family]], list[Built]] = build_here,
) -> Prepared:
    """Get the toolchain, the trees, the guest and the kernels of a request.

    ``former`` are the inputs of the run that is resumed; ``build`` builds the kernels. Raises
    RequestError, before anything is built, for a patch that does not apply, and for inputs that
    differ from those; MachineryError if nothing can be run at all. For a kernel that cannot be
    built, ``built`` has the error.
    """
    chosen = accel.choose(accel_kind)
    toolchain.require_kind(toolchain_kind)
    cache.require_buildable()
    toolchains = [
        toolchain.choose(
            toolchain_kind,
            asked.root / "docker",
            progress,
            suite,
            asked.compilers,
            [cache.folder("build")],
        )
        for suite in asked.suites
    ]
    first = toolchains[0]
    if asked.untrusted and not first.contains:
        raise RequestError(
            f"toolchain {first.kind}: no sandbox, so the build of {asked.untrusted[0]} can do"
            " whatever you can; use --toolchain docker, or read the patches and add --trust"
        )
    reaper.start(first, cache.scratch_folders)
    progress.say(f"toolchain {first.kind}: {first.why}")
    progress.say(f"accel {chosen.accel}: {chosen.why}")
    trees = tuple(each.get(first, cache, progress) for each in asked.trees)
    at = {each.id: each.version for each in trees}
    releases = dict(zip(asked.suites, (each.debian for each in toolchains), strict=True))
    for cell in asked.cells:
        asked.expectations.of(cell, at[cell.tree], releases[cell.suite], chosen.accel)
    patched_trees, left_out = zip(*(_patch(asked, each, progress) for each in trees), strict=True)
    for each in trees:
        _require_known(asked.kconfigs, each, progress)
    host = _host(asked, chosen, first, cache, progress)
    tools = tuple(
        Tools.make(suite, each, asked.compilers, asked.root / "tests/guest", cache, progress)
        for suite, each in zip(asked.suites, toolchains, strict=True)
    )
    now = inputs.inputs(asked, trees, tools, chosen.accel, host)
    if former is not None:
        inputs.require_same(former, now)
    builders = [
        (
            Builder(
                tree=source,
                kconfig=config.on(source.version),
                toolchain=each.toolchain,
                compiler=by,
                compiler_version=each.versions[by.name].compiler,
                cache=cache,
                progress=progress,
                suite=each.suite,
            ),
            variants,
        )
        for source, variants in zip(trees, patched_trees, strict=True)
        for config, by, each in product(asked.kconfigs, asked.compilers, tools)
    ]
    losses = [
        LeftOut(builder.tree.id, f"kconfig {', '.join(builder.setup.parts[1:])}", why)
        for builder, _ in builders
        for why in builder.configurable()
    ]
    for loss in losses:
        progress.say(f"tree {loss.tree}, {loss.variant}: {loss.why}")
    built = build([Family.of(builder, variants, asked.untrusted) for builder, variants in builders])
    left = (*chain(*left_out), *losses)
    return Prepared(tools, chosen.accel, trees, tuple(built), left, host, now)


def _host(
    asked: Request, chosen: Choice, tools: Toolchain, cache: Cache, progress: Progress
) -> HostImage | None:
    """Get the emulated host, if one is asked for: that of the toolchain's own suite by default."""
    if chosen.accel is not Accel.EMULATED_KVM:
        return None
    suite = chosen.suite or tools.debian
    host = emulated_host.make(asked.root / "tests/host/init", suite, tools, cache, progress)
    progress.say(f"emulated host: {host.described}")
    return host


def _patch(
    asked: Request,
    source: Tree,
    progress: Progress,
) -> tuple[list[tuple[Variant, PatchedTree]], list[LeftOut]]:
    """Compute every variant's files, and which variants cannot be made.

    A variant that was not named explicitly and whose patch does not apply without another one
    of its series is left out, with a message.
    """
    found = []
    left_out = []
    unpatched = Unpatched.of(source.source, asked.series)
    for variant in asked.variants:
        try:
            found.append((variant, unpatched.patched(variant)))
        except patched.DependentError as error:
            if asked.chosen:
                raise
            progress.say(f"skipped: {error}")
            left_out.append(LeftOut(source.id, variant.name, str(error)))
    for series in asked.series:
        if lacking := patched.missing(series, source.source):
            progress.say(
                f"tree {source.id}: series {series.name} stands on {'; '.join(lacking)}: not in"
                " this tree, as far as can be known, and not applied"
            )
    ports = {
        f"{name} as ported in {patch.port}"
        for _, each in found
        for name, patch in each.patches.items()
        if patch.port
    }
    merged = {
        f"{name} is already applied; variants without it revert it"
        for _, each in found
        for name, action in each.actions.items()
        if action in {Action.PRESENT, Action.REVERTED}
    }
    for remark in sorted(ports | merged):
        progress.say(f"tree {source.id}: {remark}")
    return found, left_out


def _require_known(kconfigs: Iterable[KconfigRequest], source: Tree, progress: Progress) -> None:
    """Raise RequestError for an option that this source lacks; print what differs there."""
    declared = kconfig.declared(source.source)
    for config in kconfigs:
        config.require_known(source.version, declared)
        for remark in config.remarks(source.version):
            progress.say(f"tree {source.id}, kconfig {config.name}: {remark}")
