# SPDX-License-Identifier: GPL-2.0-only
"""What is packed into the emulated host: the modules in order, the programs with what they need."""

from __future__ import annotations

import gzip
import lzma
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest

from kstep.base.cache import Cache
from kstep.base.errors import MachineryError, RequestError
from kstep.base.progress import Progress
from kstep.build import emulated_host
from kstep.build.emulated_host import MODULES, HostImage
from kstep.source import debian
from kstep.source.debian import Package

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from kstep.toolchain import Toolchain

VERSION = "6.1.0-57-arm64"
PACKAGES = tuple(
    Package(name, version, f"{name}'s hash", Path("never opened"), "Debian bookworm")
    for name, version in (
        ("busybox-static", "1:1.35"),
        (f"linux-image-{VERSION}", "6.1.192-3"),
        ("qemu-system-arm", "1:7.2+dfsg"),
        ("device-tree-compiler", "1.6"),
    )
)
PLAIN = bytes(56) + b"ARMd" + bytes(4)
READELF = """\
File: {root}/usr/bin/qemu-system-aarch64
 0x0000000000000001 (NEEDED)             Shared library: [libglib-2.0.so.0]
 0x0000000000000001 (NEEDED)             Shared library: [libc.so.6]
File: {root}/usr/bin/fdtput
 0x0000000000000001 (NEEDED)             Shared library: [libc.so.6]
File: {root}/lib/aarch64-linux-gnu/libglib-2.0.so.0.1
 0x0000000000000001 (NEEDED)             Shared library: [libpcre.so.3]
 0x000000000000000e (SONAME)             Library soname: [libglib-2.0.so.0]
"""


class Tools:
    """A toolchain that plays dpkg-deb, depmod and readelf."""

    def __init__(self, modules: str = "lib/modules", config: str = "CONFIG_KVM=y\n") -> None:
        self.modules = modules
        self.config = config
        self.image = PLAIN
        self.binary, self.configuration = f"boot/vmlinuz-{VERSION}", f"boot/config-{VERSION}"
        self.built_in = "kernel/drivers/char/virtio_console.ko\n"
        self.left_out = ""
        self.unpacked = 0

    def own(self, path: Path) -> Path:
        """Give nothing away."""
        return path

    def unpack(self, _packages: object, root: Path, _toolchain: object) -> None:
        """Write what the packages have."""
        self.unpacked += 1
        files = {
            self.binary: self.image,
            self.configuration: self.config.encode(),
            "bin/busybox": b"busybox",
            "usr/bin/qemu-system-aarch64": b"qemu",
            "usr/bin/fdtput": b"fdtput",
            "lib/aarch64-linux-gnu/libc.so.6": b"libc",
            "lib/aarch64-linux-gnu/ld-linux-aarch64.so.1": b"loader",
            "lib/aarch64-linux-gnu/libglib-2.0.so.0.1": b"glib",
            "usr/lib/aarch64-linux-gnu/libpcre.so.3": b"pcre",
            "usr/lib/aarch64-linux-gnu/libunused.so.1": b"unused",
            f"{self.modules}/{VERSION}/modules.builtin": self.built_in.encode(),
            f"{self.modules}/{VERSION}/kernel/virtio_mmio.ko": b"mmio",
            f"{self.modules}/{VERSION}/kernel/9p.ko.xz": lzma.compress(b"9p"),
            f"{self.modules}/{VERSION}/kernel/9pnet.ko": b"9pnet",
            f"{self.modules}/{VERSION}/kernel/9pnet_virtio.ko": b"9pnet_virtio",
            f"{self.modules}/{VERSION}/kernel/fscache.ko": b"fscache",
        }
        for name, content in files.items():
            if name != self.left_out:
                (root / name).parent.mkdir(parents=True, exist_ok=True)
                (root / name).write_bytes(content)
        link = root / "lib/aarch64-linux-gnu/libglib-2.0.so.0"
        link.symlink_to("libglib-2.0.so.0.1")

    def run(
        self,
        argv: Sequence[str],
        *,
        cwd: Path,
        readable: Sequence[Path] = (),
        writable: Sequence[Path] = (),
        on_line: Callable[[str], None] = print,
    ) -> None:
        """Play a program."""
        del readable, writable
        if argv[0] == "depmod":
            (cwd / self.modules / VERSION / "modules.dep").write_text(
                "kernel/virtio_mmio.ko:\n"
                "kernel/9pnet.ko:\n"
                "kernel/fscache.ko:\n"
                "kernel/9pnet_virtio.ko: kernel/9pnet.ko\n"
                "kernel/9p.ko.xz: kernel/fscache.ko kernel/9pnet.ko\n"
            )
        elif argv[0].endswith("readelf"):
            for line in READELF.format(root=cwd.parent / "root").splitlines():
                on_line(line)
        else:
            assert argv[:2] == ["sh", "-c"]
            for path in sorted(cwd.rglob("*"), reverse=True):
                path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()


@pytest.fixture
def tools(monkeypatch: pytest.MonkeyPatch) -> Tools:
    """The toolchain, with packages at hand."""
    played = Tools()
    monkeypatch.setattr(debian, "fetch_set", lambda *_given: PACKAGES)
    monkeypatch.setattr(debian, "unpack_all", played.unpack)
    return played


def make(tools: Tools, folder: Path) -> HostImage:
    """Pack the host."""
    (folder / "init").write_text("#!/bin/sh\n")
    with Progress() as progress:
        toolchain = cast("Toolchain", tools)
        return emulated_host.make(folder / "init", "bookworm", toolchain, Cache(folder), progress)


def files(image: HostImage) -> dict[str, bytes]:
    """Read the archive: the content of each file by its name."""
    raw, at = gzip.decompress(image.archive.read_bytes()), 0
    found: dict[str, bytes] = {}
    while True:
        size, length = (int(raw[at + 6 + 8 * n : at + 14 + 8 * n], 16) for n in (6, 11))
        name = raw[at + 110 : at + 109 + length].decode()
        at += (110 + length + 3) & ~3
        if name == "TRAILER!!!":
            return found
        found[name] = raw[at : at + size]
        at += (size + 3) & ~3


def test_the_host_has_what_its_programs_need_and_no_more(tools: Tools, tmp_path: Path) -> None:
    image = make(tools, tmp_path)
    packed = files(image)
    assert {name: content for name, content in packed.items() if name.startswith("lib/")} == {
        "lib/ld-linux-aarch64.so.1": b"loader",
        "lib/libc.so.6": b"libc",
        "lib/libglib-2.0.so.0": b"glib",
        "lib/libpcre.so.3": b"pcre",
    }
    assert (packed["bin/qemu-system-aarch64"], packed["bin/fdtput"]) == (b"qemu", b"fdtput")
    assert packed["init"] == b"#!/bin/sh\n"
    assert image.image.read_bytes() == PLAIN
    assert image.described == ("Debian bookworm, Linux 6.1.0-57-arm64 (6.1.192-3), QEMU 1:7.2+dfsg")
    assert not (image.folder / "root").exists()


@pytest.mark.parametrize("modules", ["lib/modules", "usr/lib/modules"])
def test_modules_are_loaded_after_those_that_they_need(
    modules: str, tools: Tools, tmp_path: Path
) -> None:
    """What is built in is not there, and what is compressed is not any more."""
    tools.modules = modules
    packed = files(make(tools, tmp_path))
    loaded = {name: content for name, content in packed.items() if name.startswith("modules/")}
    assert list(loaded) == [
        "modules/00-virtio_mmio.ko",
        "modules/01-9pnet.ko",
        "modules/02-9pnet_virtio.ko",
        "modules/03-fscache.ko",
        "modules/04-9p.ko",
    ]
    assert loaded["modules/04-9p.ko"] == b"9p"


def test_a_kernel_may_be_beside_its_modules(tools: Tools, tmp_path: Path) -> None:
    """As of Debian's 7.2, whose packages have nothing in /boot."""
    tools.modules = "usr/lib/modules"
    tools.binary, tools.configuration = (
        f"{tools.modules}/{VERSION}/{name}" for name in ("vmlinuz", "config")
    )
    image = make(tools, tmp_path)
    assert image.image.read_bytes() == PLAIN
    assert image.kernel_version == f"{VERSION} (6.1.192-3)"


def test_a_kernel_without_kvm_is_told_with_the_mend(tools: Tools, tmp_path: Path) -> None:
    tools.config = "CONFIG_KVM=m\n"
    with pytest.raises(RequestError, match=r"has no KVM \(CONFIG_KVM=m\); name another suite"):
        make(tools, tmp_path)
    tools.config = ""
    with pytest.raises(RequestError, match=r"linux-image-6\.1.* has no KVM \(CONFIG_KVM=n\)"):
        make(tools, tmp_path)


def test_a_kernel_that_qemu_cannot_start_is_told(tools: Tools, tmp_path: Path) -> None:
    tools.image = b"MZ" + bytes(100)
    with pytest.raises(RequestError, match="is not a plain Image; name another suite"):
        make(tools, tmp_path)


@pytest.mark.parametrize(
    ("left_out", "message"),
    [
        ("usr/lib/aarch64-linux-gnu/libpcre.so.3", "lacks the library libpcre.so.3"),
        ("usr/bin/fdtput", "package device-tree-compiler has no program fdtput"),
        (f"boot/vmlinuz-{VERSION}", "kernel packages have 0 files vmlinuz"),
    ],
)
def test_what_is_missing_is_named(
    left_out: str, message: str, tools: Tools, tmp_path: Path
) -> None:
    tools.left_out = left_out
    with pytest.raises(MachineryError, match=message):
        make(tools, tmp_path)


def test_a_module_that_is_missing_is_named(
    tools: Tools, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(emulated_host, "MODULES", (*MODULES, "virtio_new"))
    with pytest.raises(MachineryError, match=rf"{VERSION} has no module virtio_new"):
        make(tools, tmp_path)


def test_it_is_packed_once_and_again_if_it_is_damaged(tools: Tools, tmp_path: Path) -> None:
    first = make(tools, tmp_path)
    assert make(tools, tmp_path) == first
    assert tools.unpacked == 1
    first.archive.write_bytes(b"other")
    with pytest.raises(MachineryError, match="the emulated host is damaged: initramfs"):
        first.require_undamaged()
    assert make(tools, tmp_path) == first
    assert tools.unpacked == 2
    first.require_undamaged()
