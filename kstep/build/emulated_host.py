# SPDX-License-Identifier: GPL-2.0-only
"""The kernel and the file system of an emulated arm64 host, whose KVM runs the kernels under test.

Made from Debian's arm64 packages: its own kernel, with KVM built in, and its QEMU with the
libraries that it needs, in an initramfs. Nothing is compiled.
"""

from __future__ import annotations

import hashlib
import json
import lzma
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kstep.base import digest
from kstep.base.errors import MachineryError, RequestError
from kstep.build.archive import FOLDER, LINK, PROGRAM, newc
from kstep.build.kconfig import parse
from kstep.source import debian
from kstep.toolchain import CROSS, CommandError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from kstep.base.cache import Cache
    from kstep.base.progress import Progress
    from kstep.source.debian import Package
    from kstep.toolchain import Toolchain

IMAGE, ARCHIVE, FACTS = "Image", "initramfs.cpio.gz", "host.json"
RECIPE = "1"  # part of the key: increase it when the packing changes
QEMU, KERNEL, TREE_TOOL = "qemu-system-arm", "linux-image-arm64", "device-tree-compiler"
NAMES = (QEMU, "busybox-static", TREE_TOOL)
PROGRAMS = {"qemu-system-aarch64": QEMU, "fdtput": TREE_TOOL}
LOADER = "ld-linux-aarch64.so.1"
MODULES = ("virtio_mmio", "virtio_console", "9pnet_virtio", "9p")
NEEDED = re.compile(r"\(NEEDED\) .*\[(?P<name>[^]]+)\]")
FILE = re.compile(r"^File: (?P<path>.+)$")


@dataclass(frozen=True)
class HostImage:
    """An emulated host in the cache: its kernel and QEMU as Debian calls their versions.

    ``origin`` is the suite that its packages are from.
    """

    folder: Path
    origin: str
    kernel_version: str
    qemu_version: str
    image_sha256: str
    archive_sha256: str

    @property
    def image(self) -> Path:
        """Its kernel."""
        return self.folder / IMAGE

    @property
    def archive(self) -> Path:
        """Its file system."""
        return self.folder / ARCHIVE

    @property
    def described(self) -> str:
        """What a run records of it, in a line."""
        return f"{self.origin}, Linux {self.kernel_version}, QEMU {self.qemu_version}"

    def require_undamaged(self) -> None:
        """Raise MachineryError if a file is not what was packed."""
        for path, sha256 in ((self.image, self.image_sha256), (self.archive, self.archive_sha256)):
            if reason := digest.differs(path, sha256):
                raise MachineryError(f"cache: the emulated host is damaged: {reason}")


def make(
    script: Path, suite: str, toolchain: Toolchain, cache: Cache, progress: Progress
) -> HostImage:
    """Pack the host of a Debian suite, once; ``script`` is its init.

    Raises RequestError for a suite that has no arm64 packages, or a kernel without KVM;
    MachineryError if the archive does not answer, or a package lacks what the host needs.
    """
    with progress.task(f"emulated host: packages of Debian {suite}"):
        packages = debian.fetch_set(NAMES, KERNEL, suite, toolchain, cache, progress.say)
    inputs = hashlib.sha256(f"{RECIPE}\n{NAMES}\n{MODULES}\n".encode() + script.read_bytes())
    for package in packages:
        inputs.update(f"{package.name} {package.sha256}\n".encode())

    def build(into: Path) -> None:
        with progress.task(f"emulated host: packing {len(packages)} packages"):
            root = into / "root"
            root.mkdir()
            toolchain.own(root)
            debian.unpack_all(packages, root, toolchain)
            _pack(root, packages, script, into, toolchain)
            toolchain.run(["sh", "-c", 'rm -rf "$0"/*', str(root)], cwd=root, writable=[root])
            root.rmdir()

    folder = cache.entry("hosts", inputs.hexdigest()[:24], build, _damage, progress.say)
    return HostImage(folder, **json.loads((folder / FACTS).read_text()))


def _pack(
    root: Path, packages: Sequence[Package], script: Path, into: Path, toolchain: Toolchain
) -> None:
    config = parse(_one(root, "config"))
    binary = _one(root, "vmlinuz")
    version = binary.parent.name if binary.name == "vmlinuz" else binary.name.partition("-")[2]
    by_name = {package.name: package for package in packages}
    kernel = next(p for p in packages if p.name.startswith("linux-image"))
    if config.get("CONFIG_KVM") != "y":
        raise RequestError(
            f"the emulated host's kernel, {kernel.name} of {kernel.origin}, has no KVM"
            f" (CONFIG_KVM={config.get('CONFIG_KVM', 'n')}); name another suite, such as"
            " --accel emulated-kvm:bookworm"
        )
    image = binary.read_bytes()
    if image[56:60] != b"ARMd":  # Documentation/arm64/booting.rst
        raise RequestError(
            f"the emulated host's kernel, {kernel.name} of {kernel.origin}, is not a plain Image;"
            " name another suite, such as --accel emulated-kvm:bookworm"
        )
    (into / IMAGE).write_bytes(image)
    modules = dict(_modules(root, version, toolchain))
    archive = newc(_entries(root, script, modules, _programs(root, toolchain)), level=1)
    (into / ARCHIVE).write_bytes(archive)
    facts = {
        "origin": kernel.origin,
        "kernel_version": f"{version} ({kernel.version})",
        "qemu_version": by_name[QEMU].version,
        "image_sha256": hashlib.sha256(image).hexdigest(),
        "archive_sha256": hashlib.sha256(archive).hexdigest(),
    }
    (into / FACTS).write_text(json.dumps(facts))


def _one(root: Path, name: str) -> Path:
    """Return a file of the kernel's packages: in /boot, since 7.2 beside its modules."""
    found = [*root.glob(f"boot/{name}-*"), *root.glob(f"usr/lib/modules/*/{name}")]
    if len(found) != 1:
        raise MachineryError(f"Debian's kernel packages have {len(found)} files {name}, not one")
    return found[0]


def _modules(root: Path, version: str, toolchain: Toolchain) -> Iterator[tuple[str, bytes]]:
    """Return the modules and what they depend on, in the order in which they must be loaded.

    A module that the kernel has built in is left out.
    """
    above = next(p for p in (root / "lib", root / "usr/lib") if (p / "modules" / version).is_dir())
    base = above if above.name == "lib" and above.parent == root else root / "usr"
    argv = ["depmod", "--basedir", str(root if above.parent == root else base), version]
    toolchain.run(argv, cwd=root, writable=[root])
    folder = above / "modules" / version
    needs: dict[str, list[str]] = {}
    paths: dict[str, str] = {}
    for line in (folder / "modules.dep").read_text().splitlines():
        path, _, others = line.partition(":")
        name = _module(path)
        paths[name] = path
        needs[name] = [_module(other) for other in reversed(others.split())]
    built_in = {_module(line) for line in (folder / "modules.builtin").read_text().split()}
    given: set[str] = set()
    for name in MODULES:
        if name in built_in:
            continue
        if name not in needs:
            raise MachineryError(f"the emulated host's kernel {version} has no module {name}")
        for each in (*needs[name], name):
            if each not in given:
                given.add(each)
                raw = (folder / paths[each]).read_bytes()
                yield each, lzma.decompress(raw) if paths[each].endswith(".xz") else raw


def _module(path: str) -> str:
    return Path(path).name.partition(".")[0].replace("-", "_")


def _programs(root: Path, toolchain: Toolchain) -> Mapping[str, bytes]:
    """Return the programs and all libraries that they need, by their names in the host."""
    libraries = {
        path.name: path
        for path in sorted(root.rglob("*.so*"))
        if path.is_file() and "lib" in path.relative_to(root).parts[:2]
    }
    programs = {name: root / "usr/bin" / name for name in PROGRAMS}
    for name, package in PROGRAMS.items():
        if not programs[name].is_file():
            raise MachineryError(f"Debian's package {package} has no program {name}")
    needs = _needed([*programs.values(), *{p.resolve() for p in libraries.values()}], toolchain)
    found: dict[str, bytes] = {f"bin/{n}": path.read_bytes() for n, path in programs.items()}
    ahead = [LOADER, *(name for path in programs.values() for name in needs.get(str(path), ()))]
    while ahead:
        name = ahead.pop()
        if f"lib/{name}" in found:
            continue
        if name not in libraries:
            raise MachineryError(f"the emulated host lacks the library {name}")
        path = libraries[name].resolve()
        found[f"lib/{name}"] = path.read_bytes()
        ahead += needs.get(str(path), ())
    return found


def _needed(files: Sequence[Path], toolchain: Toolchain) -> Mapping[str, Sequence[str]]:
    """Return the libraries that each file names (DT_NEEDED)."""
    said: list[str] = []
    above = files[0].parents[2]
    argv = [f"{CROSS}readelf", "--dynamic", "--wide", *map(str, files)]
    with suppress(CommandError):  # some of the names are linker scripts, not libraries
        toolchain.run(argv, cwd=above, readable=[above], on_line=said.append)
    needs: dict[str, list[str]] = {}
    current: list[str] = []
    for line in said:
        if match := FILE.match(line):
            current = needs.setdefault(match["path"], [])
        elif match := NEEDED.search(line):
            current.append(match["name"])
    return needs


def _entries(
    root: Path, script: Path, modules: Mapping[str, bytes], programs: Mapping[str, bytes]
) -> Iterable[tuple[str, int, bytes]]:
    for name in ("bin", "lib", "modules", "proc", "sys", "dev", "tmp"):
        yield name, FOLDER, b""
    busybox = next(p for p in (root / "bin/busybox", root / "usr/bin/busybox") if p.is_file())
    yield "bin/busybox", PROGRAM, busybox.read_bytes()
    yield "bin/sh", LINK, b"busybox"  # the shell finds its own applets without links
    yield "init", PROGRAM, script.read_bytes()
    for number, (name, content) in enumerate(modules.items()):
        yield f"modules/{number:02}-{name}.ko", PROGRAM, content
    for name, content in programs.items():
        yield name, PROGRAM, content


def _damage(folder: Path) -> str | None:
    """Return why a cached host must not be used; None if it is undamaged."""
    files = {"image_sha256": IMAGE, "archive_sha256": ARCHIVE}
    return digest.damage(folder, FACTS, files, digest.is_strings(HostImage), "host")
