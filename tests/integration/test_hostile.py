# SPDX-License-Identifier: GPL-2.0-only
"""Malicious patches: what their build does stays in its container, and is reported.

Each is a patch, applied like a series, to a source of four files of a kernel build; what it adds
runs during that build, as a patch to a kernel's Makefile would. By night one does so in the build
of a whole kernel.
"""

from __future__ import annotations

import difflib
import subprocess
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from kstep.base.cache import Cache
from kstep.base.errors import RequestError
from kstep.base.progress import Progress
from kstep.build.kernel import Builder, BuildError
from kstep.run import preparation, request
from kstep.source import series
from kstep.source import variant as matrix
from kstep.source.patched import Unpatched
from kstep.source.tree import Tree
from kstep.toolchain import GCC, DockerToolchain
from kstep.toolchain.limits import GIB, Limits
from tests.integration.command import MOMENT, ROOT, verify
from tests.unit.build.test_builder import CONFIG, FILES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kstep.build.kernel import Kernel
    from kstep.run.preparation import Prepared

pytestmark = pytest.mark.kernel

RULE = "$(O)/vmlinux: $(objects)\n"
TIGHT = Limits(seconds=60, silence=8, memory=GIB // 4, processes=64, disk=GIB // 8)


@pytest.fixture(scope="module")
def tools(prepared: Prepared) -> DockerToolchain:
    """Return the toolchain, which must have a sandbox."""
    if not isinstance(prepared.toolchain, DockerToolchain):
        pytest.skip("no Docker engine answers, and the host has no sandbox")
    return prepared.toolchain


class Attack:
    """A source, a cache of its own, and patches to the source's Makefile."""

    def __init__(self, folder: Path, tools: DockerToolchain) -> None:
        self.folder = folder
        self.cache = Cache(folder / "cache")
        self.tree = Tree("path:tree", "6.1.192", "sha", folder / "tree")
        for name, text in FILES.items():
            path = self.tree.source / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        self.builder = Builder(
            tree=self.tree,
            kconfig=CONFIG,
            toolchain=tools,
            compiler=GCC,
            compiler_version="gcc 12; ld 2.40",
            cache=self.cache,
            progress=Progress(),
            limits=TIGHT,
        )

    def patch(self, *commands: str, name: str = "harm") -> Path:
        """Write a patch that has the build run commands of a shell."""
        old = FILES["Makefile"]
        added = "".join(f"\t{command}\n" for command in commands)
        new = old.replace(RULE, RULE + added)
        assert new != old
        # The object causes the kernel to be linked again, by the rule with the commands.
        changed = {"Makefile": (old, new), "kernel/a.c": (FILES["kernel/a.c"], f"{name}\n")}
        lines = [
            line
            for file, (before, after) in changed.items()
            for line in difflib.unified_diff(
                before.splitlines(keepends=True),
                after.splitlines(keepends=True),
                f"a/{file}",
                f"b/{file}",
            )
        ]
        path = self.folder / f"{name}.patch"
        path.write_text(f"Subject: {name}\n\n---\n{''.join(lines)}")
        return path

    def build(self, *commands: str) -> Kernel:
        """Build the kernel of a patch under review."""
        loaded = series.load(str(self.patch(*commands)), ROOT)
        variant = matrix.parse("harm/1", [loaded])
        return self.builder.build(
            Unpatched.of(self.tree.source, [loaded]).patched(variant), "kernel harm", apart=True
        )

    def none(self) -> Kernel:
        """Build the kernel without it."""
        return self.builder.build(
            Unpatched.of(self.tree.source, []).patched(matrix.NONE), "kernel none"
        )


@pytest.fixture
def attack(tmp_path: Path, tools: DockerToolchain) -> Iterator[Attack]:
    """Return a folder to attack; everything else in it must stay unchanged."""
    made = Attack(tmp_path, tools)
    before = made.none()
    image = before.image.read_bytes()
    yield made
    # Nothing of it keeps running, and later builds use only the source.
    assert containers(made.folder) == []
    made.cache.entry("kernels", "another", lambda into: into.joinpath("x").touch())
    again = made.none()
    assert (again.cached, again.image.read_bytes()) == (True, image)
    (made.cache.folder("kernels") / again.key).rename(tmp_path / "former")
    assert made.none().image.read_bytes() == image
    assert not list(made.cache.root.glob("build/*/.*"))  # the copies of the objects


def containers(folder: Path) -> list[str]:
    """Return the containers that still run a build below a folder, a moment after its end."""
    end = time.monotonic() + MOMENT
    while True:
        said = subprocess.run(
            ["docker", "ps", "--no-trunc", "--format", "{{.Command}}"],
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        left = [line for line in said.splitlines() if str(folder) in line]
        if not left or time.monotonic() > end:
            return left
        time.sleep(0.1)


def test_what_it_writes_stays_in_its_copy_of_the_objects(attack: Attack) -> None:
    outside = ("/etc/harm", "/usr/bin/harm", "$(CURDIR)/harm", "$(HOME)/../harm", "/sys/harm")
    tried = " ".join(f"touch {path} && echo wrote {path} >> $(O)/said;" for path in outside)
    done = attack.build(
        f"@{tried} echo harm >> $(O)/kernel/a.o; touch $(O)/harm; true",
        "@mkdir -p $(CCACHE_DIR) && touch $(CCACHE_DIR)/harm && echo cache >> $(O)/said; true",
        "@! test -e $(O)/said",
    )
    assert b"harm" in done.vmlinux.read_bytes()
    assert not list(attack.cache.root.rglob("harm"))
    assert not list(attack.tree.source.rglob("harm"))


def test_it_has_no_network_and_no_rights(attack: Attack) -> None:
    attack.build(
        "@ls /sys/class/net | grep -v '^lo$$' && exit 1; true",
        "@! getent hosts www.kernel.org",
        "@test $$(id -u) != 0",
        "@grep -q '^CapEff:\t0*$$' /proc/self/status",
        "@grep -q '^NoNewPrivs:\t1$$' /proc/self/status",
        "@! test -e /var/run/docker.sock",
    )


def test_it_reads_neither_the_home_nor_the_environment(
    attack: Attack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KSTEP_SECRET", "very secret")
    (attack.folder / "secret").write_text("very secret")
    (attack.cache.root / "secret").write_text("very secret")
    attack.build(
        "@! env | grep -i secret",
        f"@! cat {attack.folder}/secret {attack.cache.root}/secret",
        f"@! ls {Path.home()}/.ssh {Path.home()}/.bashrc {ROOT}/inv",
    )


def test_one_that_forks_for_ever(attack: Attack) -> None:
    """Its shell ends if it cannot fork, or waits for ever: the build fails, or is ended."""
    began = time.monotonic()
    with pytest.raises(BuildError) as error:
        attack.build("@bash -c ':() { : | : & }; :' 2>/dev/null; while :; do sleep 1; done")
    said = str(error.value)
    assert "8 s without a line of output" in said or "does not build" in said
    assert time.monotonic() - began < TIGHT.seconds


def test_one_that_fills_memory(attack: Attack) -> None:
    with pytest.raises(BuildError) as error:
        attack.build("@tail /dev/zero")
    assert "more than 0.25 GiB of memory" in str(error.value)


def test_one_that_fills_the_temporary_folder(attack: Attack) -> None:
    """Its files are in memory, as the container's are."""
    with pytest.raises(BuildError) as error:
        attack.build("@dd if=/dev/zero of=/tmp/full bs=1M count=4096 2>/dev/null")
    assert "more than 0.25 GiB of memory" in str(error.value)


def test_one_that_fills_the_disk(attack: Attack) -> None:
    with pytest.raises(BuildError) as error:
        attack.build(
            "@while :; do dd if=/dev/zero bs=1M count=16 2>/dev/null >> $(O)/full;"
            " echo on; sleep 0.3; done"
        )
    assert "more than 0.125 GiB of disk" in str(error.value)


def test_one_that_takes_for_ever_and_says_so(attack: Attack) -> None:
    attack.builder = replace(attack.builder, limits=replace(TIGHT, seconds=5))
    with pytest.raises(BuildError) as error:
        attack.build("@while :; do echo still at it; sleep 0.2; done")
    assert "more than 5 s" in str(error.value)


def test_one_that_never_ends_its_line(attack: Attack) -> None:
    attack.builder = replace(attack.builder, limits=replace(TIGHT, seconds=5))
    with pytest.raises(BuildError) as error:
        attack.build("@yes | tr -d '\\n'")
    assert "more than 5 s" in str(error.value)
    assert all(len(line) <= 400 for line in error.value.details)


@pytest.mark.parametrize(
    ("command", "left"),
    [
        ("cp /bin/sh $(O)/sh && chmod u+s $(O)/sh", "a program with the rights of its owner"),
        ("ln -s /etc/shadow $(O)/shadow", "a link to /etc/shadow"),
        ("ln -sf ../../../../secret $(O)/up", "a link to ../../../../secret"),
        ("ln -s round $(O)/round", "a link that leads nowhere"),
        ("mkfifo $(O)/fifo", "neither a file nor a folder"),
        (
            "touch $(O)/all && ln -sf $(O)/all $(O)/System.map && touch $(O)/vmlinux; exit 0; :",
            "System.map, a link",
        ),
    ],
)
def test_one_that_leaves_something_behind(command: str, left: str, attack: Attack) -> None:
    at_end = "@trap '' EXIT; true"
    with pytest.raises(BuildError) as error:
        attack.build(at_end, f"@{command}")
    assert left in str(error.value)


def test_one_that_prints_for_a_terminal_and_a_report(attack: Attack) -> None:
    with pytest.raises(BuildError) as error:
        attack.build(
            r"@printf 'error: \033]0;owned\007\033[2J <script>alert(1)</script> \377\000 ]]>\n'",
            "@false",
        )
    said = "\n".join((str(error.value), *error.value.details))
    assert "owned" in said
    assert said.isprintable() or set(filter(lambda c: not c.isprintable(), said)) <= {"\n", "\t"}


LINK = """\
diff --git a/kernel/link b/kernel/link
new file mode 120000
--- /dev/null
+++ b/kernel/link
@@ -0,0 +1 @@
+/etc
\\ No newline at end of file
"""
OUT = ("../../harm", "/etc/harm")


@pytest.mark.parametrize(
    "diff", [*(f"--- /dev/null\n+++ b/{name}\n@@ -0,0 +1 @@\n+x\n" for name in OUT), LINK]
)
def test_a_diff_that_leads_out_of_the_tree_is_refused(diff: str, attack: Attack) -> None:
    path = attack.folder / "out.patch"
    path.write_text(f"Subject: out\n\n---\n{diff}")

    def applied() -> None:
        loaded = series.load(str(path), ROOT)
        Unpatched.of(attack.tree.source, [loaded]).patched(matrix.parse("out/1", [loaded]))

    with pytest.raises(RequestError):
        applied()


def test_the_host_contains_nothing_and_wants_trust(attack: Attack, prepared: Prepared) -> None:
    """Before anything is built."""
    del prepared
    path = attack.patch("@touch /tmp/kstep-was-here")
    asked = request.look_up(ROOT, series_specs=[str(path)], tree_specs=["debian:6.1"])
    with Progress() as progress, pytest.raises(RequestError) as error:
        preparation.prepare(asked, "host", Cache.default(), progress)
    assert str(error.value) == (
        "toolchain host: no sandbox, so the build of harm can do whatever you can; use"
        " --toolchain docker, or read the patches and add --trust"
    )
    assert not replace(asked, trust=True).untrusted
    assert not request.look_up(ROOT, series_specs=["v6"], tree_specs=["debian:6.1"]).untrusted


def test_two_at_once_are_apart(attack: Attack) -> None:
    """One waits for the other, and each has the same result as alone."""
    kernels: list[bytes] = []

    def build(word: str) -> None:
        one = replace(attack.builder)
        loaded = series.load(str(attack.patch(f"@echo {word} >> $(O)/kernel/a.o", name=word)), ROOT)
        sources = Unpatched.of(attack.tree.source, [loaded]).patched(
            matrix.parse(f"{word}/1", [loaded])
        )
        kernels.append(one.build(sources, word, apart=True).vmlinux.read_bytes())

    threads = [threading.Thread(target=build, args=(word,)) for word in ("this", "that")]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert sorted((b"this" in each, b"that" in each) for each in kernels) == [
        (False, True),
        (True, False),
    ]


@pytest.mark.nightly
def test_amid_a_whole_kernel(tmp_path: Path, source: Path, tools: DockerToolchain) -> None:
    """The error names the patch and what its build did; the rest of the run is unharmed."""
    del tools
    old = (source / "init/Makefile").read_text()
    new = old + "$(shell cp /bin/sh $(objtree)/sh; chmod u+s $(objtree)/sh)\n"
    lines = difflib.unified_diff(
        old.splitlines(keepends=True),
        new.splitlines(keepends=True),
        "a/init/Makefile",
        "b/init/Makefile",
    )
    path = tmp_path / "harm.patch"
    path.write_text(f"Subject: harm\n\n---\n{''.join(lines)}")
    done = verify(tmp_path, f"--series={path}", "--sessions=step-in-order[vfs_mkdir]")
    assert done.status == 3, done.said
    (harmed,) = done.cells("harm/1")
    assert harmed["outcome"] == "error"
    assert "the build left sh, a program with the rights of its owner" in harmed["message"]
    assert {each["outcome"] for each in done.cells("none")} == {"fail"}
