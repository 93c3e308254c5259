# SPDX-License-Identifier: GPL-2.0-only
"""The peers of a bench: how they are run, and what is said if they cannot be."""

from __future__ import annotations

import venv
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest

from kstep.base.progress import Progress
from kstep.bench import boot, peer
from kstep.bench.peer import Missing, Peer
from kstep.build.kconfig import Kconfig
from kstep.build.kernel import Kernel
from kstep.run.building import Built
from kstep.source.patched import PatchedTree
from kstep.source.tree import Tree
from kstep.source.variant import Variant

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from kstep.run.preparation import Prepared


def program(folder: Path, name: str, script: str) -> Peer:
    """Make a program of a peer."""
    path = folder / "bin" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return Peer(folder)


def kernel(folder: Path, seconds: float = 1.0, config: str = "") -> Kernel:
    """Return a kernel with a configuration."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config").write_text(config)
    return Kernel("k", folder, True, "", "", "", seconds, 0)  # noqa: FBT003 -- cached


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("echo one; echo 'no such thing' >&2; exit 1", "it failed: no such thing"),
        ("echo said; exit 3", "it failed: said"),
        ("exit 3", "it failed: 3"),
        ("sleep 9", "it did not end within 0 s"),
    ],
)
def test_a_program_that_fails_says_why(tmp_path: Path, script: str, why: str) -> None:
    with pytest.raises(Missing, match=f"^{why}$"):
        program(tmp_path, "it", script).run("it", seconds=0.3)
    with pytest.raises(Missing, match="other: No such file"):
        Peer(tmp_path).run("other")


def test_a_program_finds_the_others_of_its_environment(tmp_path: Path) -> None:
    program(tmp_path, "other", "echo found $1")
    assert program(tmp_path, "it", 'exec other "$@"').run("it", "x") == "found x\n"


def test_a_peer_that_cannot_be_had_leaves_its_figure_out(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def create(folder: Path, *, with_pip: bool) -> None:
        assert with_pip
        program(folder, "pip", '[ "$4" = virtme-ng ] || { echo "no $4 here" >&2; exit 1; }')

    monkeypatch.setattr(venv, "create", create)
    monkeypatch.setattr(boot, "ours", lambda _prepared, _kernel: 2.0)
    one = kernel(tmp_path)
    with Progress() as progress:
        figures, missing = peer.compare(cast("Prepared", None), one, 700.0, None, progress)
        assert figures == {}
        assert missing == {
            "pexpect": "pip failed: no pexpect here",
            "virtme-ng": "its root is a folder of the host's, and the kernel has no"
            " CONFIG_VIRTIO_FS",
            "tuxmake": "it builds every variant: only with --whole",
        }
        monkeypatch.setattr(peer, "_boot", lambda _peer, _kernel: 4.0)
        figures, missing = peer.compare(cast("Prepared", None), one, 700.0, 140.0, progress)
    assert figures["boot_over_virtme_ng"].value == 0.5
    assert missing["tuxmake"] == "pip failed: no tuxmake here"


def test_virtme_ng_boots_a_kernel_that_shares_folders(tmp_path: Path) -> None:
    one = kernel(tmp_path / "kernel", config="CONFIG_NET_9P_VIRTIO=y\n")
    vng = program(tmp_path, "vng", f'[ "$2" = {one.image} ] && sleep 0.2')
    assert 0.2 <= peer._boot(vng, one) < 5


def test_tuxmake_builds_the_sources_of_each_variant(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """One after the other, in one folder; only what differs is written."""
    tree = Tree("debian:6.1", "6.1", "", tmp_path / "tree")
    (tree.source / "kernel").mkdir(parents=True)
    for name in ("a.c", "kernel/b.c"):
        (tree.source / name).write_text(f"{name}\n")
    variants: list[Mapping[str, bytes | None]] = [
        {},
        {"a.c": b"A", "new/c.c": b"C"},
        {"kernel/b.c": None, "a.c": b"A"},
        {"kernel/b.c": b"B"},
    ]
    built = [
        Built(
            tree,
            Kconfig("base", {}),
            ((Variant(f"v/{n}", "s", ()), PatchedTree(files, frozenset(), {}, {}, "")),),
            kernel(tmp_path / f"kernel{n}", seconds=0.01),
        )
        for n, files in enumerate(variants)
    ]
    said = tmp_path / "said"
    script = f'cd "$2" && cat $(find . -type f | sort) | tr -d "\\n" >> {said}; echo >> {said}'
    tuxmake = program(tmp_path, "tuxmake", script)
    monkeypatch.setattr(peer, "CROSS", "")
    monkeypatch.setattr("shutil.which", {"gcc": "/usr/bin/gcc"}.get)
    (tmp_path / "work").mkdir()
    prepared = cast("Prepared", SimpleNamespace(built=built))
    assert 0 < peer._built(tuxmake, prepared, tmp_path / "work") < 5
    assert said.read_text().split() == ["a.ckernel/b.c", "Akernel/b.cC", "A", "a.cB"]
    monkeypatch.setattr("shutil.which", {}.get)
    with pytest.raises(Missing, match="gcc is not installed"):
        peer._built(tuxmake, prepared, tmp_path / "work")
