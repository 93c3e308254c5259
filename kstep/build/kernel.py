# SPDX-License-Identifier: GPL-2.0-only
"""Kernels: one full build per tree and configuration, then the changes of each variant."""

from __future__ import annotations

import functools
import hashlib
import json
import os
import re
import shutil
import subprocess
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from kstep.base import digest, temporary
from kstep.base.errors import MachineryError
from kstep.build import build_id, dependency, leftover, snapshot
from kstep.build.dependency import Objects
from kstep.build.snapshot import Snapshot
from kstep.results.printable import printable
from kstep.results.setup import Setup
from kstep.source.patched import PatchedTree
from kstep.toolchain import CommandError, LimitError, ignore, reaper
from kstep.toolchain.limits import Limits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from kstep.base.cache import Cache
    from kstep.base.progress import Progress
    from kstep.build.kconfig import Kconfig
    from kstep.source.tree import Tree
    from kstep.toolchain import Compiler, Toolchain

RECIPE = "2"  # part of every kernel's key: increase it when the build changes
BUILD_GIB = 3.0  # objects of a slim kernel with debug information, and the source's copy
# Of a first build, about, of 5.10 to 7.2; only for the progress display.
OBJECTS_PER_OPTION = 1.4

# An image must not depend on the host or the time: identical sources must give identical
# images (Documentation/kbuild/reproducible-builds.rst).
REPRODUCIBLE = {
    "KBUILD_BUILD_TIMESTAMP": "2000-01-01",
    "KBUILD_BUILD_USER": "kstep",
    "KBUILD_BUILD_HOST": "kstep",
    "KBUILD_BUILD_VERSION": "1",
}
# A patch under review can read the cache, but cannot write objects for other kernels.
READ_ONLY_CCACHE = {"CCACHE_READONLY": "1", "CCACHE_TEMPDIR": "/tmp"}  # noqa: S108 -- the container's
COMPILED_IN = "/kstep"  # the folder of source and objects in the debug information
UNPATCHED = PatchedTree({}, frozenset(), {}, {}, hashlib.sha256(b"").hexdigest())
# Made of all objects by the rule of vmlinux.o and by scripts/link-vmlinux.sh.
LINKED = re.compile(r"vmlinux|vmlinux\.o|vmlinux\.unstripped|\.tmp_vmlinux.*")
COMPILED = re.compile(r"^  (CC|AS)  +(\S+)")
ERROR = re.compile(r"error:|Error \d|undefined reference|No rule to make|fatal:", re.IGNORECASE)
SIGNALLED = 128  # and above: a signal ended the command; a child's status is below 0 then
OUTPUTS = {
    "Image": "arch/arm64/boot/Image",
    "vmlinux": "vmlinux",
    "System.map": "System.map",
    "config": ".config",
}
SHA256 = re.compile(r"[0-9a-f]{64}")
FACTS = "kernel.json"
RECORDED = {"image_sha256": "Image", "vmlinux_sha256": "vmlinux", "config_sha256": "config"}
# Missing in entries from before November 2026, which are still valid.
RECORDED_SINCE = {"system_map_sha256": "System.map"}


class BuildError(MachineryError):
    """The source does not build: no verdict, and no fault of the machine."""


@dataclass(frozen=True)
class Kernel:
    """A built kernel in the cache; ``key`` is the hash of all its inputs.

    ``build_seconds`` and ``objects_compiled`` are of the build that made it.
    """

    key: str
    folder: Path
    cached: bool
    image_sha256: str
    vmlinux_sha256: str
    config_sha256: str
    build_seconds: float
    objects_compiled: int

    @property
    def image(self) -> Path:
        """The image that QEMU boots."""
        return self.folder / "Image"

    @property
    def vmlinux(self) -> Path:
        """The kernel with symbols and debug information."""
        return self.folder / "vmlinux"

    @property
    def system_map(self) -> Path:
        """The addresses of its symbols, which are the same at run time: nokaslr."""
        return self.folder / "System.map"

    @property
    def config(self) -> Path:
        """The configuration that it was built with."""
        return self.folder / "config"

    def require_undamaged(self) -> None:
        """Raise MachineryError if the content of the image has changed since the build.

        Called before a boot: a flipped bit would look like a fault of the patches.
        """
        try:
            undamaged = digest.sha256(self.image) == self.image_sha256
        except OSError as error:
            raise MachineryError(f"{self.image}: {error.strerror}; run kstep again") from error
        if not undamaged:
            raise MachineryError(
                f"{self.image} has changed since it was built, so a verdict would not be of the"
                " kernel; run kstep again, which rebuilds it"
            )


def key(tree: Tree, kconfig: Kconfig, sources: str, compiler: str) -> str:
    """Hash the inputs of a kernel; ``sources`` is the digest of the patched files."""
    parts = (RECIPE, tree.sha256, kconfig.digest, sources, compiler)
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:24]


@dataclass(frozen=True)
class Builder:
    """Builds the kernels of one tree and configuration, one after another.

    ``checkout`` is a folder whose ``source`` somebody else checks out, with the objects beside
    it; if it is None, the source is linked from the tree and patched here.
    """

    tree: Tree
    kconfig: Kconfig
    toolchain: Toolchain
    compiler: Compiler
    compiler_version: str
    cache: Cache
    progress: Progress
    checkout: Path | None = None
    limits: Limits = field(default_factory=Limits.of_a_build)
    suite: str = ""  # if one was asked for

    @property
    def setup(self) -> Setup:
        """What its kernels are built from and with."""
        return Setup(self.tree.id, self.kconfig.name, self.compiler.name, self.suite)

    def build(self, patched: PatchedTree, title: str, *, apart: bool = False) -> Kernel:
        """Build the tree with the files of a variant, or return the cached kernel.

        ``apart`` is for a patch under review: it is built in a copy of the objects, so that its
        build cannot affect any other kernel. Raises BuildError, with the compiler's errors in
        ``details``.
        """
        name = key(self.tree, self.kconfig, patched.digest, self.compiler_version)
        cached = True

        def make(into: Path) -> None:
            nonlocal cached
            cached = False
            with self._folder_lock():
                self._make(into, patched, title, name, apart=apart)

        folder = self.cache.entry("kernels", name, make, _damage, self.progress.say)
        facts = json.loads((folder / FACTS).read_text())
        return Kernel(
            key=name,
            folder=folder,
            cached=cached,
            **{field: facts[field] for field in RECORDED},
            build_seconds=facts["build_seconds"],
            objects_compiled=facts["objects_compiled"],
        )

    def configurable(self) -> tuple[str, ...]:
        """Return what a whole configuration asks for and does not get; see Kconfig.losses().

        Raises RequestError, with the line, for an option that the unpatched tree cannot have, or
        without which it would be another kernel. Kconfig is not run if a kernel of this tree and
        configuration has been built.
        """
        folder = self.cache.folder("build", self._family)
        source, objects = folder / "source", folder / "obj"
        if not (objects / "vmlinux").exists():
            with self._folder_lock():
                if not (objects / "vmlinux").exists():
                    self._prepare(folder, UNPATCHED)
                    with _restarted_if_interrupted(objects):
                        self._configure_if_needed(source, objects, None, ())
                    self.kconfig.require_met(objects / ".config")
        return self._losses(objects / ".config")

    def _losses(self, config: Path) -> tuple[str, ...]:
        self.kconfig.require_same_kernel(config)
        return self.kconfig.losses(config)

    def _folder_lock(self) -> AbstractContextManager[None]:
        """Lock the folder of objects: kernels that share it are built one after another."""

        def on_wait() -> None:
            self.progress.say(f"waiting for another kstep that builds {self.setup.title}")

        return self.cache.lock(f"build-{self._family}", on_wait)

    @property
    def _family(self) -> str:
        """The key of builds that may share objects: a container's belong to another user."""
        return key(self.tree, self.kconfig, self.toolchain.kind, self.compiler_version)

    def _make(
        self, into: Path, patched: PatchedTree, title: str, name: str, *, apart: bool
    ) -> None:
        self.cache.require_space(BUILD_GIB, f"the build of {title}")
        began = time.monotonic()
        folder = self.checkout or self.cache.folder("build", self._family)
        source, objects = folder / "source", folder / "obj"
        before: Snapshot | None = None
        if self.checkout is None:
            if apart and not _is_whole(objects):
                self._prepare(folder, UNPATCHED)
                self._compile_here(folder, f"{title}: the tree without it", UNPATCHED)
            before = self._prepare(folder, patched)
        if apart:
            if before is not None:
                before.keep()
            with _copied(objects) as copy:
                compiled = self._compile(
                    source, objects, title, copy, changed=patched.files, before=before
                )
                _collect(copy, into)
        else:
            compiled = self._compile_here(folder, title, patched, before)
            _collect(objects, into)
        recorded = {**RECORDED, **RECORDED_SINCE}
        facts = {what: digest.sha256(into / file) for what, file in recorded.items()}
        seconds = round(time.monotonic() - began, 3)
        (into / FACTS).write_text(
            json.dumps(
                {
                    "key": name,
                    **facts,
                    "build_seconds": seconds,
                    "objects_compiled": compiled,
                }
            )
        )

    def _prepare(self, folder: Path, patched: PatchedTree) -> Snapshot | None:
        """Alter the source; return what the files were when its objects were made, if known."""
        source = folder / "source"
        if not source.exists():
            _link(self.tree.source, source)
        kept = Snapshot.load(folder)
        before = kept and kept.since(self.tree.source, source, patched.files)
        _alter(self.tree.source, source, patched, folder / "altered.json")
        if before is not None:
            before.restore_times(source)
        return before

    def _compile_here(
        self, folder: Path, title: str, patched: PatchedTree, before: Snapshot | None = None
    ) -> int:
        """Make the objects that other builds use too; return how many were compiled."""
        snapshot.forget(folder)
        objects = folder / "obj"
        with _restarted_if_interrupted(objects):
            compiled = self._compile(
                folder / "source", objects, title, changed=patched.files, before=before
            )
        if self.checkout is None:
            names = {*patched.files, *(() if before is None else before.files)}
            Snapshot.take(folder, folder / "source", names).keep()
        return compiled

    def _compile(
        self,
        source: Path,
        objects: Path,
        title: str,
        copy: Path | None = None,
        *,
        changed: Iterable[str],
        before: Snapshot | None,
    ) -> int:
        """Configure and make; return how many objects were compiled.

        If a ``copy`` is given, the commands see it as ``objects``, which they must not change.
        ``changed`` are the files that a variant changes, ``before`` is what the source was when
        the objects were made.
        """
        real = copy or objects
        first = not (objects / "vmlinux").exists()
        self._configure_if_needed(source, objects, copy, changed)
        _require_nothing_left(real, objects, source, title)
        try:
            self.kconfig.check(real / ".config")
        except MachineryError as error:
            raise BuildError(str(error)) from error
        if first and self.checkout is not None:  # of others configurable() has told it
            for loss in self.kconfig.losses(real / ".config"):
                self.progress.say(f"kconfig {self.kconfig.name}: {loss}")
        if before is not None:
            dependency.mark(Objects(real, objects, source).unaffected(before.files))
        compiled = 0
        expected = _objects_of(real / ".config") if first else None
        with self.progress.task(title, expected, "objects") as task:

            def on_line(line: str) -> None:
                nonlocal compiled
                if match := COMPILED.match(line):
                    compiled += 1
                    task.advance(note=printable(match[2]))

            try:
                self._run(["Image"], source, objects, copy, on_line=on_line)
            except LimitError as error:
                raise BuildError(
                    f"{title}: the build was {error}", details=_errors(error.details, source)
                ) from error
            except CommandError as error:
                signalled = not 0 < error.exit_status < SIGNALLED
                raise BuildError(
                    f"{title}: the build was ended by a signal (status {error.exit_status})"
                    if signalled
                    else f"{title}: the kernel does not build",
                    details=_errors(error.details, source),
                ) from error
        _require_nothing_left(real, objects, source, title)
        return compiled

    def _configure_if_needed(
        self, source: Path, objects: Path, copy: Path | None, changed: Iterable[str]
    ) -> None:
        """Configure, unless the configuration is that of this fragment and of the tree as it is.

        A patch may change Kconfig files and what they run; one of C and assembler code alone
        cannot change the configuration. make compares .config, so the same one compiles nothing.
        """
        real = copy or objects
        for path in (real.parent, real):
            self.toolchain.own(path)
        config, record = real / ".config", objects.with_name("configuration.json")
        only_code = self.checkout is None and all(map(_is_code, changed))
        known = record.read_text() if record.is_file() else None
        if only_code and config.is_file() and self._configuration(config) == known:
            return
        if copy is None:
            record.unlink(missing_ok=True)
        self._configure(source, objects, copy)
        if copy is None and only_code:
            temporary.replace(record, self._configuration(config))

    def _configuration(self, config: Path) -> str:
        """Return what was asked for, and identify what it has come to."""
        asked = {"others": self.kconfig.others, "fragment": self.kconfig.fragment}
        return json.dumps(asked | {"config_sha256": digest.sha256(config)})

    def _configure(self, source: Path, objects: Path, copy: Path | None = None) -> None:
        """Take the fragment's options, and the others as the kernel's own target gives them.

        As scripts/kconfig/merge_config.sh does, which then looks for each option with two greps:
        minutes for a distribution's configuration. Kconfig.check() does that here.
        """
        fragment = objects.with_name("fragment")
        fragment.write_text(self.kconfig.fragment)
        self.toolchain.own(fragment)
        goal = [f"KCONFIG_ALLCONFIG={fragment}", self.kconfig.others]
        try:
            self._run(goal, source, objects, copy, readable=[fragment])
        except LimitError as error:
            raise BuildError(f"kconfig {self.kconfig.name}: Kconfig was {error}") from error
        except CommandError as error:
            raise BuildError(
                f"kconfig {self.kconfig.name}: Kconfig failed",
                details=_last(error.details, source),
            ) from error

    def _run(
        self,
        goal: Sequence[str],
        source: Path,
        objects: Path,
        copy: Path | None,
        *,
        readable: Sequence[Path] = (),
        on_line: Callable[[str], None] = ignore,
    ) -> None:
        """Run make in the folder of objects; in a copy of it, it cannot write ccache's."""
        # One for each kind: the container's user cannot write files of the host's root.
        ccache = self.toolchain.own(self.cache.folder("ccache", self.toolchain.kind))
        env = self._env(objects) | {"CCACHE_DIR": str(ccache)}
        self.toolchain.run(
            [
                *("make", "-C", str(source), f"O={objects}", f"-j{os.cpu_count() or 1}"),
                *self.compiler.make_arguments,
                *goal,
            ],
            cwd=objects,
            readable=[source, *readable, *([] if copy is None else [ccache])],
            writable=[objects, *([ccache] if copy is None else [])],
            at={objects: copy or objects},
            env=env if copy is None else env | READ_ONLY_CCACHE,
            limits=self.limits,
            on_line=on_line,
        )

    def _env(self, objects: Path) -> dict[str, str]:
        # Otherwise the path of the cache would reach the image, by the build ID of its vmlinux.
        flag = f"-fdebug-prefix-map={objects.parent}={COMPILED_IN}"
        return {
            **self.compiler.environment,
            **REPRODUCIBLE,
            "ARCH": "arm64",
            "KCFLAGS": flag,
            "KAFLAGS": flag,
            "CCACHE_MAXSIZE": "2G",
            # ccache takes what a file includes from the compiler, as make does, instead of
            # preprocessing each file once more.
            "CCACHE_DEPEND": "1",
        }


def _objects_of(config: Path) -> int:
    return round(config.read_text().count("=y\n") * OBJECTS_PER_OPTION)


def _is_code(name: str) -> bool:
    """Whether Kconfig cannot read a file; what it runs is in scripts (scripts/Kconfig.include)."""
    return name.endswith((".c", ".h", ".S")) and not name.startswith(("scripts/", "tools/"))


def _is_whole(objects: Path) -> bool:
    """Whether a build of them was completed."""
    return (objects / "vmlinux").exists() and not objects.with_name("at-work").exists()


@contextmanager
def _copied(objects: Path) -> Iterator[Path]:
    """Copy the folder of objects for one build, with its times, which make compares.

    What they are linked to is left out: half of the bytes, and made anew in any case.
    """
    temporary.sweep([objects.parent])  # left by an interrupted build
    reaper.also(objects.parent)
    copy = objects.with_name(f".{temporary.prefix()}{objects.name}")
    try:
        copy.mkdir()
        copied = (each for each in objects.iterdir() if not LINKED.fullmatch(each.name))
        subprocess.run(["cp", "-a", "--reflink=auto", "-t", copy, *copied], check=True)
        yield copy
    finally:
        shutil.rmtree(copy, ignore_errors=True)


def _require_nothing_left(real: Path, objects: Path, source: Path, title: str) -> None:
    """Raise BuildError if a build left harmful files, and delete its objects.

    ``real`` is their folder, ``objects`` the build's name for it.
    """
    found = leftover.harmful(real, {objects: real, source: source}, OUTPUTS.values())
    if found:
        shutil.rmtree(real)
        raise BuildError(f"{title}: the build left {found}")


@contextmanager
def _restarted_if_interrupted(objects: Path) -> Iterator[None]:
    """Make the folder of objects, without those of an interrupted build.

    A file that it was writing may be incomplete but newer than its sources, such as a vmlinux
    that was being linked: make would consider it up to date. ccache has the rest.
    """
    at_work = objects.with_name("at-work")
    if at_work.exists():
        shutil.rmtree(objects)
    objects.mkdir(exist_ok=True)
    at_work.touch()
    try:
        yield
    except BuildError as error:
        if _ended_by_itself(error):
            at_work.unlink()
        raise
    at_work.unlink()


def _ended_by_itself(error: BuildError) -> bool:
    """Whether make could remove its incomplete files; a shell adds 128 to a signal's number."""
    cause = error.__cause__
    return not isinstance(cause, CommandError) or 0 < cause.exit_status < SIGNALLED


def _link(pristine: Path, source: Path) -> None:
    """Copy a tree by hard links: files are only replaced, never written in place."""
    scratch = source.with_name("source.new")
    shutil.rmtree(scratch, ignore_errors=True)
    subprocess.run(["cp", "-al", str(pristine), str(scratch)], check=True)
    scratch.rename(source)


def _alter(
    pristine: Path,
    source: Path,
    patched: PatchedTree,
    altered: Path,
) -> None:
    """Make ``source`` the pristine tree plus a variant, without touching files that are right.

    The altered files are recorded first, so that the next build can restore them after an
    interruption.
    """
    files = patched.files
    before: list[str] = json.loads(altered.read_text()) if altered.exists() else []
    _note(altered, {*before, *files})
    for name in sorted({*before, *files}):
        original = pristine / name
        wanted = files[name] if name in files else _content(original)
        path = source / name
        if wanted is None:
            path.unlink(missing_ok=True)
            continue
        mode = _mode(name, original, patched)
        if wanted == _content(path) and mode == path.stat().st_mode & 0o777:
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        scratch = path.with_name(f".{path.name}.kstep")
        scratch.write_bytes(wanted)
        scratch.chmod(mode)
        scratch.replace(path)
    _note(altered, set(files))


def _note(altered: Path, names: set[str]) -> None:
    temporary.replace(altered, json.dumps(sorted(names)))


def _mode(name: str, original: Path, patched: PatchedTree) -> int:
    if name in patched.files:
        return 0o755 if name in patched.executable else 0o644
    return original.stat().st_mode & 0o777


def _content(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() else None


def _collect(objects: Path, into: Path) -> None:
    for name, built in OUTPUTS.items():
        shutil.copyfile(objects / built, into / name)
    build_id.replace(*(into / name for name in ("Image", "vmlinux", "System.map")))


def _damage(folder: Path) -> str | None:
    """Return why a cached kernel must not be used; None if it is undamaged.

    Its files must exist, complete and ours, and its record must be of this version and key.
    """
    files = {**RECORDED, **RECORDED_SINCE}
    is_record = functools.partial(_is_record, folder.name)
    return digest.damage(folder, FACTS, files, is_record, "kernel")


def _is_record(name: str, facts: Mapping[str, object]) -> bool:
    seconds, compiled = facts.get("build_seconds"), facts.get("objects_compiled")
    hashes = {field: facts.get(field) for field in RECORDED}
    hashes |= {field: facts[field] for field in RECORDED_SINCE if field in facts}
    return (
        facts.get("key", name) == name
        and all(isinstance(each, str) and SHA256.fullmatch(each) for each in hashes.values())
        and isinstance(seconds, int | float)
        and isinstance(compiled, int)
    )


def _errors(lines: Iterable[str], source: Path) -> tuple[str, ...]:
    """Return the errors in a build log; its end if there are none."""
    log = _printable(lines, source)
    return tuple(line for line in log if ERROR.search(line))[:8] or log[-8:]


def _last(lines: Iterable[str], source: Path) -> tuple[str, ...]:
    """Return the end of Kconfig's log, without what make adds."""
    return _printable((line for line in lines if not line.startswith("make")), source)[-8:]


def _printable(lines: Iterable[str], source: Path) -> tuple[str, ...]:
    """Return a build log with file names relative to the source.

    A patch may make its build print anything, so control characters are escaped.
    """
    return tuple(printable(line.replace(f"{source}/", ""))[:400] for line in lines)
