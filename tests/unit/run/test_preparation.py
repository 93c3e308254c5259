# SPDX-License-Identifier: GPL-2.0-only
"""What is got ready, in which order, and what is left out; nothing is fetched or built here."""

from __future__ import annotations

import functools
import io
import itertools
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest
from rich.console import Console

from kstep.base.cache import Cache
from kstep.base.errors import MachineryError, RequestError
from kstep.base.progress import Progress
from kstep.build import kconfig
from kstep.build.kernel import Builder, Kernel
from kstep.run import building, preparation, request
from kstep.source.patched import Action, DependentError, PatchedTree
from kstep.source.tree import Tree
from kstep.toolchain import CLANG, GCC
from kstep.toolchain.accel import Accel

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kstep.run.preparation import Prepared
    from kstep.run.request import Request
    from kstep.source.variant import Variant

ROOT = Path(__file__).parents[3]
HERE = preparation.__name__  # whose names are replaced
ENTRY, HEADER, OTHER = "arch/arm64/kernel/entry-common.c", "include/linux/sched.h", "kernel/debug.c"
# Patch 1 changes a header that much depends on, patch 2 a file.
FILES: Mapping[str, Mapping[str, bytes]] = {
    "none": {},
    "v6/1": {HEADER: b"1", OTHER: b"1"},
    "v6/2": {ENTRY: b"2"},
    "v6/1+2": {HEADER: b"1", OTHER: b"1", ENTRY: b"2"},
}


@functools.cache
def looked_up(*variants: str) -> Request:
    """Look up a request, which takes a second: it reads every session."""
    return request.look_up(
        ROOT, series_specs=["v6"], tree_specs=["debian:6.1"], variant_names=variants
    )


@dataclass
class Workshop:
    """Fakes of all that prepare works with: ``done`` has what they did, in order."""

    monkeypatch: pytest.MonkeyPatch
    done: list[str] = field(default_factory=list)
    files: dict[str, Mapping[str, bytes] | RequestError] = field(default_factory=lambda: {**FILES})
    actions: dict[str, Action] = field(default_factory=dict)
    broken: str = ""  # the file whose change does not compile
    unknown: bool = False  # whether the kernel lacks an option that base asks for
    losses: tuple[str, ...] = ()  # what the configuration asks for and no kernel gets
    said: io.StringIO = field(default_factory=io.StringIO)

    def __post_init__(self) -> None:
        tools = SimpleNamespace(
            kind="fake", why="a test", image_digest=None, versions=self._versions, debian="bookworm"
        )
        at = self.monkeypatch.setattr
        at(f"{HERE}.toolchain.choose", self._noting("toolchain", tools))
        accelerator = SimpleNamespace(accel=Accel.TCG, why="a test")
        at(f"{HERE}.accel.choose", self._noting("accel", accelerator))
        at(f"{HERE}.reaper.start", lambda *_: None)
        at(
            f"{HERE}.Unpatched.of",
            lambda source, _series: SimpleNamespace(
                patched=lambda variant: self._patch(source, variant)
            ),
        )
        at(f"{HERE}.kconfig.declared", self._declared)
        at("kstep.run.tools.initramfs.make", self._noting("initramfs", None))
        at(f"{HERE}.Builder", self._builder)

    def _noting(self, what: str, answer: object) -> object:
        def note(*_arguments: object, **_options: object) -> object:
            self.done.append(what)
            return answer

        return note

    def _versions(self, *_: object) -> object:
        return SimpleNamespace(compiler="gcc 12; ld 2.40", emulator="qemu 7.2", gdb="gdb 13")

    def get(self, name: str) -> Tree:
        """Fetch a tree."""
        self.done.append(f"get {name}")
        return Tree(name, "6.1.192", "", Path("/source") / name)

    def _patch(self, source: Path, variant: Variant) -> PatchedTree:
        self.done.append(f"patch {source.name} {variant.name}")
        files = self.files[variant.name]
        if isinstance(files, RequestError):
            raise files
        return PatchedTree(files, frozenset(), self.actions, {}, repr(sorted(files.items())))

    def _declared(self, _source: Path) -> frozenset[str]:
        known = {line.name for each in self.asked.kconfigs for line in each.lines}
        return frozenset() if self.unknown else frozenset(known)

    def _builder(self, **given: Any) -> object:  # noqa: ANN401 -- whatever a builder is made of
        tree = given["tree"].id

        def build(patched: PatchedTree, title: str, **_how: bool) -> Kernel:
            self.done.append(f"build {title.removeprefix('kernel ')}")
            if self.broken and self.broken in patched.files:
                raise MachineryError("make failed", details=("x.c:1: error: no", "make: 1"))
            return Kernel(title, Path(), False, "", "", "", 1.0, 9)  # noqa: FBT003 -- not cached

        def configure() -> tuple[str, ...]:
            self.done.append(f"configure {tree}")
            return self.losses

        setup = Builder.setup.fget(SimpleNamespace(**given))  # type: ignore[attr-defined]  # a property's
        return SimpleNamespace(**given, build=build, configurable=configure, setup=setup)

    def prepare(
        self,
        *variants: str,
        trees: tuple[str, ...] = ("linux",),
        cache: str = "/none",
        **more: Any,  # noqa: ANN401 -- fields of a request
    ) -> Prepared:
        """Prepare these variants, or those that nobody needs to name."""
        specs = (
            SimpleNamespace(id=name, get=lambda *_, name=name: self.get(name)) for name in trees
        )
        trees_asked = cast("Any", tuple(specs))
        self.asked: Request = replace(looked_up(*variants), trees=trees_asked, **more)
        console = Console(file=self.said, highlight=False, width=500)
        with Progress(console) as progress:
            return preparation.prepare(self.asked, "auto", Cache(Path(cache)), progress)


@pytest.fixture
def workshop(monkeypatch: pytest.MonkeyPatch) -> Workshop:
    """Return the fakes."""
    return Workshop(monkeypatch)


def kinds(done: list[str]) -> list[str]:
    """Return what was done, by the first word, each once for those that follow each other."""
    return [kind for kind, _ in itertools.groupby(done, key=lambda each: each.split()[0])]


def test_what_may_be_wrong_is_seen_before_anything_is_built(workshop: Workshop) -> None:
    workshop.prepare(trees=("one", "two"))
    assert kinds(workshop.done)[2:] == ["get", "patch", "initramfs", "configure", "build"]
    assert {"configure one", "configure two"} <= set(workshop.done)


def test_what_a_configuration_loses_is_said_first_and_kept(workshop: Workshop) -> None:
    workshop.losses = ("2 options are modules, which kstep does not build: CONFIG_A, CONFIG_B",)
    prepared = workshop.prepare()
    (left,) = prepared.left_out
    assert (left.tree, left.variant, left.why) == ("linux", "kconfig base", workshop.losses[0])
    said = workshop.said.getvalue()
    assert f"tree linux, kconfig base: {workshop.losses[0]}" in said
    assert said.index("are modules") < said.index("kernels linux/base")


def test_a_patch_that_does_not_apply_ends_it(workshop: Workshop) -> None:
    workshop.files["v6/1"] = RequestError("it does not apply")
    with pytest.raises(RequestError, match="it does not apply"):
        workshop.prepare()
    assert {"initramfs", "configure", "build"}.isdisjoint(kinds(workshop.done))


def test_an_option_that_is_not_there_ends_it(workshop: Workshop) -> None:
    workshop.unknown = True
    with pytest.raises(RequestError, match="has no option CONFIG_"):
        workshop.prepare()
    assert "build" not in kinds(workshop.done)


def test_a_cache_in_which_make_cannot_build_ends_it(workshop: Workshop) -> None:
    with pytest.raises(RequestError, match="'/my cache': kernels cannot be built in a folder"):
        workshop.prepare(cache="/my cache")
    assert {"get", "initramfs", "build"}.isdisjoint(kinds(workshop.done))


# -- variants


def test_what_nobody_named_and_cannot_be_is_left_out(workshop: Workshop) -> None:
    """Patch 2 needs patch 1, say."""
    workshop.files["v6/2"] = DependentError("v6/2 needs v6/1")
    prepared = workshop.prepare()
    [left] = prepared.left_out
    assert (left.tree, left.variant) == ("linux", "v6/2")
    assert "v6/2 needs v6/1" in str(left)
    assert {each.first for each in prepared.built} == {"none", "v6/1", "v6/1+2"}
    assert "skipped: v6/2 needs v6/1" in workshop.said.getvalue()


def test_what_was_named_must_be(workshop: Workshop) -> None:
    workshop.files["v6/2"] = DependentError("v6/2 needs v6/1")
    with pytest.raises(DependentError):
        workshop.prepare("none", "v6/2")


def test_variants_of_the_same_source_are_one_kernel(workshop: Workshop) -> None:
    """As where the tree has the patch already."""
    workshop.files["v6/1+2"] = workshop.files["v6/1"]
    prepared = workshop.prepare()
    named = [[variant.name for variant, _ in each.variants] for each in prepared.built]
    assert ["v6/1", "v6/1+2"] in named
    assert len([each for each in workshop.done if each.startswith("build")]) == 3


@pytest.mark.parametrize("action", [Action.PRESENT, Action.REVERTED])
def test_a_patch_that_the_tree_has_is_told(workshop: Workshop, action: Action) -> None:
    workshop.actions = {"v6/2": action, "v6/1": Action.APPLIED}
    workshop.prepare("none", "v6/1+2")
    said = [line for line in workshop.said.getvalue().splitlines() if "is already applied" in line]
    assert len(said) == 1  # not once a variant
    assert said[0].startswith("tree linux: v6/2 is already applied")


# -- kernels


def test_a_kernel_that_cannot_be_built_stands_as_its_error(workshop: Workshop) -> None:
    workshop.broken = ENTRY
    built = {each.first: each.kernel for each in workshop.prepare().built}
    assert {name for name, kernel in built.items() if isinstance(kernel, Kernel)} == {
        "none",
        "v6/1",
    }
    error = built["v6/1+2"]
    assert isinstance(error, MachineryError)
    assert str(error) == "make failed"
    said = workshop.said.getvalue()
    assert "make failed\n  x.c:1: error: no\n  make: 1\n" in said


def test_kernels_that_differ_little_are_built_one_after_another(workshop: Workshop) -> None:
    """From none, v6/2 is one file away; from there v6/1+2 two, as v6/1 is from that."""
    workshop.prepare()
    built = [each.rpartition(" linux/base/")[2] for each in workshop.done if "build" in each]
    assert built == ["none", "v6/2", "v6/1+2", "v6/1"]


def test_each_tree_has_its_kernels(workshop: Workshop) -> None:
    prepared = workshop.prepare("none", "v6/2", trees=("one", "two"))
    assert [(each.tree.id, each.first) for each in prepared.built] == [
        ("one", "none"),
        ("one", "v6/2"),
        ("two", "none"),
        ("two", "v6/2"),
    ]


@pytest.mark.parametrize(
    ("one", "other", "files"),
    [
        ({}, {}, 0),
        ({}, {ENTRY: b"x"}, 1),
        ({ENTRY: b"x"}, {ENTRY: b"y"}, 1),
        ({ENTRY: b"x"}, {ENTRY: b"x", OTHER: b""}, 1),
        ({ENTRY: b"x"}, {OTHER: b"x"}, 2),
        ({ENTRY: None}, {}, 1),  # gone is not as it was
        ({ENTRY: None}, {ENTRY: b""}, 1),  # nor is it empty
    ],
)
def test_how_far_apart_sources_are(
    one: dict[str, bytes | None], other: dict[str, bytes | None], files: int
) -> None:
    assert building.distance(one, other) == building.distance(other, one) == files


def test_each_compiler_and_suite_has_its_kernels(workshop: Workshop) -> None:
    """The sources are fetched once, and the tools of a suite once for all compilers."""
    suites = ("bookworm", "trixie")
    prepared = workshop.prepare("none", trees=("one",), compilers=(GCC, CLANG), suites=suites)
    assert [each.setup.name for each in prepared.built] == [
        "one/base/bookworm",
        "one/base/trixie",
        "one/base/clang/bookworm",
        "one/base/clang/trixie",
    ]
    assert workshop.done.count("toolchain") == workshop.done.count("initramfs") == 2
    assert workshop.done.count("get one") == 1
    assert [list(each.versions) for each in prepared.tools] == [["gcc", "clang"]] * 2
    assert prepared.tools_of("trixie").suite == "trixie"
    assert {"compiler clang trixie", "emulator bookworm"} <= prepared.inputs.keys()


def test_a_version_that_a_configuration_is_not_for_ends_it(workshop: Workshop) -> None:
    """Before anything is built; real time has been in mainline's arm64 since 6.12."""
    with pytest.raises(
        RequestError,
        match=r"rt.config:\d+: kconfig rt is for Linux from 6.12, and this is 6.1.192"
        r" \(CONFIG_PREEMPT_RT: .*\); name another --tree, or leave this --kconfig out$",
    ):
        workshop.prepare(kconfigs=(kconfig.load("rt", ROOT / "kconfigs"),))
    assert {"initramfs", "configure", "build"}.isdisjoint(kinds(workshop.done))
