# SPDX-License-Identifier: GPL-2.0-only
"""Kernels of a source of four files, built by a real make: what is built, and what is not again."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from kstep.base import digest
from kstep.base.cache import Cache
from kstep.base.errors import MachineryError, RequestError
from kstep.base.progress import Progress
from kstep.build.kconfig import Kconfig, OptionLine
from kstep.build.kernel import Builder, BuildError
from kstep.source.patched import PatchedTree
from kstep.source.tree import Tree
from kstep.toolchain import GCC, CommandError, HostToolchain, ignore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from kstep.build.kernel import Kernel
    from kstep.toolchain.limits import Limits

# As kbuild does: objects beside the source; what fails is removed, what is cut off is not; and a
# file that is newer than what it is made from is taken for made.
# Kconfig takes every option but one, and runs a script.
MAKEFILE = """\
.DELETE_ON_ERROR:
SLOW ?= 0
objects := $(O)/init/main.o $(O)/kernel/a.o $(O)/kernel/b.o
Image: $(O)/arch/arm64/boot/Image
$(O)/%.o: %.c include/all.h $(O)/.config
\t@mkdir -p $(@D)
\t@echo half > $@; echo "  CC      $*.o"; sleep $(SLOW)
\t@! grep -q '#error' $< || { echo "$(CURDIR)/$<:1:2: error: #error"; exit 1; }
\t@cat $< include/all.h > $@
\t@printf '%s\\n' 'cmd_$*.o := : -D__KERNEL__' '' 'source_$*.o := $(CURDIR)/$<' '' \\
\t\t'deps_$*.o := \\' '  $(CURDIR)/include/all.h \\' '' > $(@D)/.$(@F).cmd
$(O)/vmlinux: $(objects)
\t@echo half > $@; echo "  LD      vmlinux"; sleep $(SLOW)
\t@echo 'ffff800008000000 T _text' > $(O)/System.map
\t@{ cat $(objects) $(O)/.config; env | grep -E '^(ARCH|CROSS|KBUILD)' | sort; } > $@
\t@echo '$(CC), $(HOSTCC)' >> $@
$(O)/arch/arm64/boot/Image: $(O)/vmlinux
\t@mkdir -p $(@D)
\t@echo half > $@; echo "  OBJCOPY Image"; sleep $(SLOW)
\t@sha256sum < $< > $@
allnoconfig alldefconfig:
\t@test "$$ARCH" = arm64
\t@! grep 'CONFIG_BROKEN' "$(KCONFIG_ALLCONFIG)" || { echo 'Kconfig:7: syntax error'; exit 1; }
\t@{ grep -v CONFIG_NEVER "$(KCONFIG_ALLCONFIG)"; sh scripts/options.sh; } > $(O)/.config.new
\t@cmp -s $(O)/.config.new $(O)/.config || cp $(O)/.config.new $(O)/.config
"""
FILES = {
    "Makefile": MAKEFILE,
    "scripts/options.sh": "",
    "include/all.h": "all\n",
    "init/main.c": "main\n",
    "kernel/a.c": "a\n",
    "kernel/b.c": "b\n",
}
CONFIG = Kconfig("base", {"CONFIG_KGDB": "y"})
PLAIN = {"include/all.h": "void first(int);\n"}
DECLARED = {"include/all.h": "void first(int);\nvoid a(int);\n"}
WITH_A = {"kernel/a.c": "another a\n"}
MADE = re.compile(r"^  (CC|LD|OBJCOPY) ")
DIFFERS = "not as in the .config (needed by kstep, unknown to this version)"
SLOWLY = "0.3"  # seconds in which a file is there in half; Ctrl-C comes within


class Tools(HostToolchain):
    """A make and a shell of the host; Ctrl-C comes at the line about the ``last`` thing made."""

    def __init__(self) -> None:
        super().__init__("a test")
        self.last: int | None = None
        self.ran: list[str] = []

    def run(
        self,
        argv: Sequence[str],
        *,
        cwd: Path,
        readable: Sequence[Path] = (),
        writable: Sequence[Path] = (),
        env: Mapping[str, str] | None = None,
        network: bool = False,
        limits: Limits | None = None,
        at: Mapping[Path, Path] | None = None,
        on_line: Callable[[str], None] = ignore,
    ) -> None:
        """Run it, one thing after the other, up to there."""
        self.ran.append(argv[-1])
        for called, real in (at or {}).items():  # the host cannot show a folder at another path
            argv = [word.replace(str(called), str(real)) for word in argv]
            cwd = real if cwd == called else cwd

        def count(line: str) -> None:
            on_line(line)
            if MADE.match(line) and self.last is not None:
                self.last -= 1
                if not self.last:
                    raise KeyboardInterrupt

        slowly = {} if self.last is None else {"SLOW": SLOWLY}
        super().run(
            [word for word in argv if not word.startswith("-j")],
            cwd=cwd,
            readable=readable,
            writable=writable,
            env={**(env or {}), **slowly},
            network=network,
            limits=limits,
            on_line=count,
        )


class Work:
    """A source, a cache, and what builds the one's kernels into the other."""

    def __init__(self, folder: Path) -> None:
        self.cache = Cache(folder / "cache")
        self.tree = Tree("path:tree", "6.1.192", "sha", folder / "tree")
        self.tools = Tools()
        for name, text in FILES.items():
            path = self.tree.source / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if not path.exists():  # another process may read it
                path.write_text(text)

    def write(self, files: Mapping[str, str]) -> None:
        """Write files of the tree."""
        for name, text in files.items():
            (self.tree.source / name).write_text(text)

    def builder(self, kconfig: Kconfig = CONFIG, checkout: Path | None = None) -> Builder:
        """Make what builds."""
        return Builder(
            tree=self.tree,
            kconfig=kconfig,
            toolchain=self.tools,
            compiler=GCC,
            compiler_version="gcc 12; ld 2.40",
            cache=self.cache,
            progress=Progress(),
            checkout=checkout,
        )

    def build(self, files: Mapping[str, str] | None = None) -> Kernel:
        """Build a variant."""
        return self.builder().build(patched(files or {}), "kernel it")

    def kept(self) -> list[str]:
        """List the kernels in the cache, and what is half made."""
        return sorted(path.name for path in self.cache.folder("kernels").iterdir())


def patched(files: Mapping[str, str]) -> PatchedTree:
    """Make what a variant changes."""
    content = {name: text.encode() for name, text in files.items()}
    digest = hashlib.sha256(repr(sorted(content.items())).encode()).hexdigest()
    return PatchedTree(content, frozenset(), {}, {}, digest)


def state(kernel: Kernel) -> dict[str, bytes]:
    """Read what is booted and looked into."""
    files = (kernel.image, kernel.vmlinux, kernel.system_map, kernel.config)
    return {path.name: path.read_bytes() for path in files}


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """Return a folder that make can build in; that of all tests may have blanks in its name."""
    with tempfile.TemporaryDirectory(prefix="kstep-", dir="/tmp") as folder:
        yield Path(folder)


@pytest.fixture
def work(tmp_path: Path) -> Work:
    """Return a source to build."""
    return Work(tmp_path)


def test_a_kernel_is_built_from_nothing(work: Work) -> None:
    """With all that was made, by the compiler that was asked for; the source is not touched."""
    kernel = work.build()
    assert (kernel.cached, kernel.objects_compiled) == (False, 3)
    assert kernel.build_seconds > 0
    assert kernel.vmlinux.read_text().splitlines() == [
        *("main", "all", "a", "all", "b", "all", "CONFIG_KGDB=y"),
        "ARCH=arm64",
        "CROSS_COMPILE=aarch64-linux-gnu-",
        "KBUILD_BUILD_HOST=kstep",
        "KBUILD_BUILD_TIMESTAMP=2000-01-01",
        "KBUILD_BUILD_USER=kstep",
        "KBUILD_BUILD_VERSION=1",
        "ccache aarch64-linux-gnu-gcc, ccache gcc",
    ]
    assert kernel.system_map.read_text() == "ffff800008000000 T _text\n"
    assert kernel.config.read_text() == "CONFIG_KGDB=y\n"
    for path, sha256 in (
        (kernel.image, kernel.image_sha256),
        (kernel.vmlinux, kernel.vmlinux_sha256),
        (kernel.config, kernel.config_sha256),
    ):
        assert hashlib.sha256(path.read_bytes()).hexdigest() == sha256
    found = {p: p.read_text() for p in work.tree.source.rglob("*") if p.is_file()}
    assert found == {work.tree.source / name: text for name, text in FILES.items()}


def test_of_a_variant_only_what_changed_is_compiled(work: Work, tmp_path: Path) -> None:
    """And it is the same as if it had been built from nothing."""
    work.build()
    one = work.build(WITH_A)
    assert one.objects_compiled == 1
    all_of_it = work.build({"include/all.h": "more\n"})
    assert all_of_it.objects_compiled == 3  # a, for it is taken back, as are the others
    anew = Work(tmp_path / "anew")
    assert state(anew.build(WITH_A)) == state(one)
    assert anew.build({"include/all.h": "more\n"}).image_sha256 == all_of_it.image_sha256


def test_a_declaration_is_compiled_for_those_who_mention_it(work: Work) -> None:
    """Put in, kept, taken out; the others are taken as they are."""
    work.write(PLAIN)
    assert work.build().objects_compiled == 3
    assert work.build(DECLARED).objects_compiled == 1
    assert work.build({**DECLARED, "kernel/b.c": "a\n"}).objects_compiled == 1
    assert work.build({"kernel/b.c": "no\n"}).objects_compiled == 2
    assert work.build({"kernel/b.c": "none\n", **DECLARED}).objects_compiled == 2


def test_code_alone_is_not_configured_again(work: Work) -> None:
    """What Kconfig may read is, and what was so before; and a .config that somebody changed."""
    script = {"scripts/options.sh": "echo CONFIG_MORE=y\n"}

    def configured(files: Mapping[str, str]) -> bool:
        work.tools.ran.clear()
        work.build(files)
        return CONFIG.others in work.tools.ran

    assert configured({})
    assert not configured(WITH_A)
    assert configured(script)
    assert "CONFIG_MORE=y" in work.build(script).config.read_text()
    assert configured({"kernel/a.c": "after a script\n"})
    assert not configured({"include/all.h": "more\n"})
    (config,) = work.cache.folder("build").glob("*/obj/.config")
    config.write_text("CONFIG_OTHER=y\n")
    assert configured({"kernel/b.c": "another b\n"})
    assert config.read_text() == "CONFIG_KGDB=y\n"


def test_in_doubt_all_are_compiled(work: Work) -> None:
    """As without a change of that kind, or if the objects were not all made since the last."""
    work.write(PLAIN)
    work.build()
    with pytest.raises(BuildError):
        work.build({"kernel/a.c": "#error\n"})
    assert work.build(DECLARED).objects_compiled == 3
    assert work.build({"include/all.h": "void first(int);\nint a;\n"}).objects_compiled == 3


def test_a_kstep_that_knows_no_snapshots_alters_the_source(work: Work) -> None:
    work.write(PLAIN)
    work.build()
    (altered,) = work.cache.folder("build").glob("*/altered.json")
    altered.write_text(altered.read_text())
    assert work.build(DECLARED).objects_compiled == 3


def test_a_series_under_review_leaves_the_objects_of_others(work: Work) -> None:
    """And what it declares is compiled for those who mention it, each time."""
    work.write(PLAIN)
    work.build()
    for number in range(2):
        files = {**DECLARED, "kernel/b.c": f"b{number}\n"}
        assert work.builder().build(patched(files), "it", apart=True).objects_compiled == 2
    assert work.build({"kernel/b.c": "other\n"}).objects_compiled == 1


def test_a_kernel_that_is_at_hand_is_taken(work: Work) -> None:
    """Nothing is run for it, whichever was built last, by whomever."""
    first, other = work.build(), work.build(WITH_A)
    work.tools.ran.clear()
    again = work.build()
    assert (again.cached, again.key, state(again)) == (True, first.key, state(first))
    assert (again.build_seconds, again.objects_compiled) == (first.build_seconds, 3)
    assert work.build(WITH_A).folder == other.folder
    assert work.tools.ran == []


def test_a_source_that_does_not_compile_says_where(work: Work) -> None:
    """By the names that patches have; and what is right is built after it."""
    with pytest.raises(BuildError, match=r"^kernel it: the kernel does not build$") as caught:
        work.build({"kernel/a.c": "#error\n"})
    first, *more = caught.value.details
    assert first == "kernel/a.c:1:2: error: #error"
    assert all("Error 1" in line for line in more)
    assert work.kept() == []
    kernel = work.build()
    assert kernel.objects_compiled == 2, "init/main.o was right, and is kept"
    assert "half" not in kernel.vmlinux.read_text()


@pytest.mark.parametrize("before", [{}, WITH_A], ids=["nothing", "another variant"])
@pytest.mark.parametrize("last", [1, 2, 3, 4, 5])
def test_what_a_build_that_was_cut_off_leaves_is_fixed_by_the_next(
    work: Work, tmp_path: Path, last: int, before: dict[str, str]
) -> None:
    """Whatever was being written: a file in half is newer than what it is made from."""
    header = {"include/all.h": "more\n"}
    if before:
        work.build(before)
    work.tools.last = last
    with pytest.raises(KeyboardInterrupt):
        work.build(header)
    work.tools.last = None
    assert len(work.kept()) == bool(before)
    assert state(work.build(header)) == state(Work(tmp_path / "anew").build(header))
    assert work.build().objects_compiled == 3, "and after that, no more than has to be"
    assert work.build({"kernel/b.c": "x\n"}).objects_compiled == 1


def test_a_make_that_was_killed_had_no_time_to_remove_what_it_was_at(
    work: Work, tmp_path: Path
) -> None:
    """For want of memory, say: there is no Ctrl-C, and it is no fault of the source's."""
    kill = MAKEFILE.replace("sleep $(SLOW)", "kill -KILL $$PPID; sleep 9")
    with pytest.raises(BuildError) as caught:
        work.build({"Makefile": kill})
    assert isinstance(caught.value.__cause__, CommandError)
    assert caught.value.__cause__.exit_status == -9
    assert state(work.build()) == state(Work(tmp_path / "anew").build())


def test_an_option_that_kconfig_drops_is_no_kernel(work: Work) -> None:
    asked = Kconfig("mine", {"CONFIG_KGDB": "y", "CONFIG_NEVER": "y"})
    with pytest.raises(BuildError, match=r"changed 1 requested option\(s\).*CONFIG_NEVER=n, not y"):
        work.builder(asked).build(patched({}), "kernel it")
    assert work.tools.ran == [CONFIG.others]


def test_a_kconfig_that_fails_says_its_last_lines(work: Work) -> None:
    asked = Kconfig("mine", {"CONFIG_BROKEN": "y"})
    with pytest.raises(BuildError, match="kconfig mine: Kconfig failed") as caught:
        work.builder(asked).build(patched({}), "kernel it")
    assert caught.value.details == ("CONFIG_BROKEN=y", "Kconfig:7: syntax error")


def test_what_a_whole_configuration_does_not_get_is_told(work: Work) -> None:
    """Before anything is built, and of a kernel that is built already too."""
    options = {"CONFIG_KGDB": "y", "CONFIG_NEVER": "y", "CONFIG_DRIVER": "m"}
    asked_for = (OptionLine("CONFIG_NEVER", "y", Path("their.config"), 7),)
    wishes = frozenset({"CONFIG_NEVER", "CONFIG_DRIVER"})
    whole = Kconfig("theirs", options, "alldefconfig", wishes, whole=asked_for)
    told = (
        f"{DIFFERS}: CONFIG_NEVER",
        "modules, which kstep does not build: CONFIG_DRIVER",
    )
    assert work.builder(whole).configurable() == told
    work.builder(whole).build(patched({}), "kernel it")
    work.tools.ran.clear()
    assert work.builder(whole).configurable() == told
    assert work.tools.ran == []


def test_another_kernel_than_the_one_asked_for_is_refused_before_it_is_built(work: Work) -> None:
    line = OptionLine("CONFIG_LTO_CLANG_THIN", "y", Path("their.config"), 9)
    options = {"CONFIG_KGDB": "y", "CONFIG_NEVER": "y"}
    whole = Kconfig("theirs", options, "alldefconfig", frozenset({"CONFIG_NEVER"}), whole=(line,))
    with pytest.raises(RequestError, match=r"^their.config:9: .*CONFIG_LTO_CLANG_THIN \(LTO\)"):
        work.builder(whole).configurable()
    assert work.tools.ran == [whole.others]


def test_what_cannot_be_configured_is_told_before_anything_is_built(
    work: Work, tmp_path: Path
) -> None:
    """With the line that asks for it; and not asked again once a kernel is there."""
    line = OptionLine("CONFIG_NEVER", "y", tmp_path / "my.config", 3)
    asked = Kconfig("mine", {"CONFIG_NEVER": "y"}, lines={"CONFIG_NEVER": line})
    with pytest.raises(
        RequestError, match=re.escape(f"{tmp_path}/my.config:3: Kconfig set CONFIG")
    ):
        work.builder(asked).configurable()
    work.builder().configurable()
    assert work.tools.ran == [CONFIG.others, CONFIG.others]
    work.build()
    work.tools.ran.clear()
    work.builder().configurable()
    assert work.tools.ran == []


def test_a_source_that_somebody_else_brings_to_its_state_is_built_as_it_is(
    work: Work, tmp_path: Path
) -> None:
    """A bisection's: the objects are beside it, and stay from commit to commit."""
    checkout = tmp_path / "checkout"
    shutil.copytree(work.tree.source, checkout / "source")
    (checkout / "source/kernel/a.c").write_text("checked out\n")
    kernel = work.builder(checkout=checkout).build(patched({}), "kernel it")
    assert "checked out" in kernel.vmlinux.read_text()
    assert (checkout / "obj/vmlinux").exists()
    assert not (work.cache.root / "build").exists()


# -- what is in the cache and is not what was built


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _remove(path: Path) -> None:
    path.unlink()


def _replace_by_link(path: Path) -> None:
    aside = path.parent.parent.parent / path.name
    path.rename(aside)
    path.symlink_to(aside)


@pytest.mark.parametrize("damage", [_flip, _truncate, _empty, _remove, _replace_by_link])
@pytest.mark.parametrize("file", ["Image", "vmlinux", "System.map", "config", "kernel.json"])
def test_a_kernel_that_is_damaged_is_made_again(
    work: Work, capsys: pytest.CaptureFixture[str], file: str, damage: Callable[[Path], None]
) -> None:
    """And said so, in one line; the one beside it is as good as before."""
    kernel, other = work.build(), work.build(WITH_A)
    before = state(kernel)
    damage(kernel.folder / file)
    again = work.build()
    assert (again.cached, again.key) == (False, kernel.key)
    assert state(again) == before
    again.require_undamaged()
    (line,) = [x for x in capsys.readouterr().err.splitlines() if "cache: making " in x]
    assert f"making kernels/{kernel.key} again: {file}" in line
    assert work.build().cached
    assert work.build(WITH_A).cached
    assert set(work.kept()) == {kernel.key, other.key}


@pytest.mark.parametrize(
    "record",
    [
        "[]",
        "{",
        '{"key": "another"}',
        '{"image_sha256": null}',
        '{"image_sha256": "0"}',
        '{"system_map_sha256": 7}',
        '{"build_seconds": "long"}',
        '{"objects_compiled": null}',
    ],
)
def test_a_record_of_something_else_is_not_used(work: Work, record: str) -> None:
    """Half-written, of another version, or of another kernel."""
    kernel = work.build()
    path = kernel.folder / "kernel.json"
    try:
        path.write_text(json.dumps({**json.loads(path.read_text()), **json.loads(record)}))
    except (TypeError, ValueError):
        path.write_text(record)
    assert not work.build().cached
    assert work.build().cached


@pytest.mark.parametrize("field", ["image_sha256", "vmlinux_sha256", "config_sha256",
                                   "build_seconds", "objects_compiled"])  # fmt: skip
def test_a_record_that_lacks_a_field_is_not_used(work: Work, field: str) -> None:
    path = work.build().folder / "kernel.json"
    facts = json.loads(path.read_text())
    del facts[field]
    path.write_text(json.dumps(facts))
    assert not work.build().cached


def test_a_kernel_of_before_more_was_recorded_is_still_good(work: Work) -> None:
    kernel = work.build()
    path = kernel.folder / "kernel.json"
    facts = json.loads(path.read_text())
    assert facts.pop("key") == kernel.key
    assert facts.pop("system_map_sha256")
    path.write_text(json.dumps(facts))
    assert work.build().cached


def test_a_kernel_of_another_user_s_is_not_used(
    work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    work.build()
    monkeypatch.setattr(digest, "foreign", lambda path, *_: f"{path.name} is another user's")
    assert not work.build().cached


def test_an_entry_that_is_a_link_is_not_used(work: Work, tmp_path: Path) -> None:
    kernel = work.build()
    kernel.folder.rename(tmp_path / "elsewhere")
    kernel.folder.symlink_to(tmp_path / "elsewhere")
    again = work.build()
    assert not again.cached
    assert not again.folder.is_symlink()
    assert (tmp_path / "elsewhere/Image").exists(), "what is somebody else's is left alone"


def test_without_room_nothing_is_begun(work: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_cache: Cache, _gib: float, what: str) -> None:
        raise MachineryError(f"no room for {what}")

    monkeypatch.setattr(Cache, "require_space", full)
    with pytest.raises(MachineryError, match="no room for the build of kernel it"):
        work.build()
    assert work.tools.ran == []
    assert work.kept() == []
