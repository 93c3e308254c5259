# SPDX-License-Identifier: GPL-2.0-only
"""How a boot ends, told from what the serial line says."""

from __future__ import annotations

import hashlib
import os
import subprocess
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest

from kstep.base.errors import MachineryError
from kstep.base.outcome import KernelFault, Signature
from kstep.build.kernel import Kernel
from kstep.console.console import Console
from kstep.console.splat import SplatDetector
from kstep.machine.boot import BootFault
from kstep.machine.capability import Capability
from kstep.machine.hardware import Hardware
from kstep.machine.qemu import OFFERS, QemuMachine
from kstep.toolchain import HostToolchain
from kstep.toolchain.accel import Accel

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kstep.toolchain import Toolchain

READY = b"KSTEP-READY 6.1.192 cpus=1\r\n"
WARNING = b"[    0.1] WARNING: CPU: 0 PID: 1 at init/main.c:1\r\n"


@pytest.fixture
def line() -> Iterator[tuple[QemuMachine, int]]:
    """Return a machine without QEMU, and the end of its serial line that the kernel writes to."""
    reader, writer = os.pipe()
    machine = QemuMachine(
        cast("Kernel", None), Path("/nonexistent"), Hardware(), cast("Toolchain", None), Accel.TCG
    )
    machine.console = Console(reader, lambda: None)
    machine.console.on_text = SplatDetector().feed
    yield machine, writer
    os.close(reader)
    os.close(writer)


def test_a_guest_that_is_ready(line: tuple[QemuMachine, int]) -> None:
    machine, kernel = line
    os.write(kernel, b"[    0.0] Booting Linux\r\n" + READY)
    machine.boot()
    assert machine.boot_seconds > 0
    assert machine.scale == 1


def test_a_complaint_on_the_way_up_is_the_kernels_fault(line: tuple[QemuMachine, int]) -> None:
    machine, kernel = line
    os.write(kernel, WARNING + READY)
    with pytest.raises(KernelFault, match="init/main") as caught:
        machine.boot()
    assert caught.value.signature is Signature.SPLAT


@pytest.mark.parametrize(
    "last", [b"[0]kdb> ", b"[0]more> ", b"---[ end Kernel panic - not syncing: no ]---\r\n"]
)
def test_a_panic_is_the_kernel_s_fault_and_at_once(
    line: tuple[QemuMachine, int], last: bytes
) -> None:
    machine, kernel = line
    os.write(kernel, b"[    0.1] Kernel panic - not syncing: no\r\nCall trace:\r\n" + last)
    with pytest.raises(BootFault, match=r"does not boot: .*not syncing: no") as caught:
        machine.boot()
    assert caught.value.signature is Signature.PANIC


@pytest.mark.parametrize(
    "why",
    [
        b"VFS: Unable to mount root fs on unknown-block(0,0)",
        b"No working init found.  Try passing init= option to kernel.",
        b"Requested init /init failed (error -8).",
        b"Attempted to kill init! exitcode=0x00000100",
        b"System is deadlocked on memory",
        b"Out of memory: compulsory panic_on_oom is enabled",
    ],
)
def test_a_panic_for_want_of_a_guest_or_of_memory_is_no_verdict(
    line: tuple[QemuMachine, int], why: bytes
) -> None:
    machine, kernel = line
    said = b"Kernel panic - not syncing: " + why
    os.write(kernel, b"[ 0.1] KSTEP-INIT /dev: no\r\n[ 0.1] " + said + b"\r\n")
    os.write(kernel, b"---[ end " + said + b" ]---\r\n")
    with pytest.raises(MachineryError, match="does not boot: ") as caught:
        machine.boot()
    assert why.decode() in str(caught.value)
    assert caught.value.signature is Signature.NO_BOOT
    assert caught.value.details[-1] == f"---[ end {said.decode()} ]---"


# Of what a 6.1.192 said with a patch whose initcall writes to NULL.
OOPS = b"""\
[    0.853] Unable to handle kernel NULL pointer dereference at virtual address 0000000000000000\r
[    0.853] Mem abort info:\r
[    0.853]   ESR = 0x0000000096000044\r
[    0.854] Internal error: Oops: 0000000096000044 [#1] PREEMPT SMP\r
[    0.855] CPU: 0 PID: 1 Comm: swapper/0 Not tainted 6.1.192 #1 \r
[    0.860] ---[ end trace 0000000000000000 ]---\r
"""
END = b"""\
[    0.869] Kernel panic - not syncing: Attempted to kill init! exitcode=0x0000000b\r
[    0.870] ---[ end Kernel panic - not syncing: Attempted to kill init! exitcode=0x0000000b ]---\r
"""


@pytest.mark.parametrize("end", [END, b"", b"\r\nEntering kdb on processor 0 Oops:\r\n[0]kdb> "])
def test_a_kernel_that_dies_of_an_oops_has_broken(
    line: tuple[QemuMachine, int], end: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That it kills init is what comes of it; so does that it says no more."""
    monkeypatch.setattr(QemuMachine, "quiet", 0.3)
    machine, kernel = line
    os.write(kernel, OOPS + end)
    with pytest.raises(BootFault, match=r"not boot: .*Unable to handle kernel NULL") as caught:
        machine.boot()
    assert caught.value.signature is Signature.SPLAT


def test_silence_is_no_boot(line: tuple[QemuMachine, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(QemuMachine, "quiet", 0.05)
    machine, kernel = line
    os.write(kernel, b"[    0.0] Booting Linux\r\n")
    with pytest.raises(MachineryError, match="does not boot: no line") as caught:
        machine.boot()
    assert caught.value.signature is Signature.NO_BOOT
    assert caught.value.details == ("[    0.0] Booting Linux",)


def test_a_complaint_and_then_silence_names_the_complaint(
    line: tuple[QemuMachine, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(QemuMachine, "quiet", 0.05)
    machine, kernel = line
    os.write(kernel, WARNING)
    with pytest.raises(BootFault, match=r"does not boot: .*WARNING"):
        machine.boot()


def test_a_boot_that_is_to_wait_ends_where_it_waits(line: tuple[QemuMachine, int]) -> None:
    machine, kernel = line
    machine.hardware = Hardware(waits=True)
    os.write(kernel, b"Entering kdb (current=0x1, pid 1) on processor 0 due to\r\n[0]kdb> ")
    machine.boot()
    assert machine.stopped.endswith(b"[0]kdb> ")


def test_a_boot_that_is_to_wait_may_panic_all_the_same(line: tuple[QemuMachine, int]) -> None:
    machine, kernel = line
    machine.hardware = Hardware(waits=True)
    os.write(kernel, b"---[ end Kernel panic - not syncing: no ]---\r\n")
    with pytest.raises(BootFault, match="does not boot"):
        machine.boot()


def test_a_prompt_for_others_ends_no_boot(line: tuple[QemuMachine, int]) -> None:
    """As kgdbts has it, which plays the debugger from inside the kernel."""
    machine, kernel = line
    machine.hardware = Hardware(kgdboc=False)
    os.write(kernel, b"[0]kdb> ")
    threading.Timer(0.05, os.write, (kernel, b"[    0.1] kgdbts:RUN\r\n" + READY)).start()
    machine.boot()
    assert machine.stopped == b""


# -- its command line


def test_the_command_line_has_kgdboc_where_it_is_wanted(line: tuple[QemuMachine, int]) -> None:
    machine, _ = line
    machine.kernel = cast("Kernel", SimpleNamespace(image=Path("/Image")))
    machine.toolchain = HostToolchain("a test")
    assert "kgdboc=ttyAMA0" in machine.argv(Path("/pts"), Path("/scratch"))[-1]
    machine.hardware = Hardware(kgdboc=False, parameters="kgdbts=V1")
    assert machine.argv(Path("/pts"), Path("/scratch"))[-1] == "console=ttyAMA0 nokaslr kgdbts=V1"


def test_whoever_has_the_script_boots_the_same(tmp_path: Path) -> None:
    """What QEMU gets by it, but for how the serial line and the sockets are opened."""
    kernel = Kernel("key", tmp_path / "a 'quoted' place", True, "", "", "", 0.0, 0)  # noqa: FBT003 -- cached
    hardware = Hardware(cpus=2, el2=True, parameters="kgdbwait lockdown=integrity")
    machine = QemuMachine(
        kernel, tmp_path / "initramfs", hardware, HostToolchain("a test"), Accel.TCG
    )
    qemu = tmp_path / "qemu-system-aarch64"
    qemu.write_text("#!/bin/sh\nprintf '%s\\n' \"$@\"\n")
    qemu.chmod(0o755)
    done = subprocess.run(
        ["/bin/sh", "-c", machine.by_hand],
        env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
    )
    own = ("-chardev", "-serial", "-qmp", "-gdb")
    argv = machine.argv(Path("/pts"), Path("/scratch"))[1:]
    values = {argv[argv.index(option) + 1] for option in own}
    wanted = [word for word in argv if word not in {*own, *values}]
    got = done.stdout.splitlines()
    at = got.index("-serial")
    assert got[at : at + 2] == ["-serial", "mon:stdio"]
    assert got[:at] + got[at + 2 :] == wanted


def test_the_script_has_an_option_a_line(tmp_path: Path) -> None:
    kernel = Kernel("key", tmp_path, True, "", "", "", 0.0, 0)  # noqa: FBT003 -- cached
    machine = QemuMachine(
        kernel, tmp_path / "initramfs", Hardware(), HostToolchain("a test"), Accel.TCG
    )
    command = machine.by_hand.partition("exec ")[2].splitlines()
    assert command[0] == "qemu-system-aarch64 \\"
    assert all(line.startswith("    -") for line in command[1:])
    assert "    -smp 1 \\" in command
    assert "    -append 'console=ttyAMA0 kgdboc=ttyAMA0 nokaslr'" in command


def test_an_image_that_has_changed_since_it_was_built_is_not_booted(tmp_path: Path) -> None:
    """Nothing is started: the toolchain is none."""
    built = hashlib.sha256(b"image").hexdigest()
    kernel = Kernel("key", tmp_path, True, built, "", "", 0.0, 0)  # noqa: FBT003 -- cached
    machine = QemuMachine(
        kernel, tmp_path / "initramfs", Hardware(), cast("Toolchain", None), Accel.TCG
    )
    with pytest.raises(MachineryError, match="Image: No such file"), machine:
        pass
    kernel.image.write_bytes(b"image")
    kernel.require_undamaged()
    before = kernel.image.stat()
    kernel.image.write_bytes(b"imagf")
    os.utime(kernel.image, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(MachineryError, match="Image has changed since it was built"), machine:
        pass


# -- what it can do


@pytest.mark.parametrize("accel", Accel)
def test_each_capability_is_there_or_it_is_said_why_not(accel: Accel) -> None:
    offer = OFFERS[accel]
    assert offer.capabilities | offer.lacks.keys() == set(Capability)
    assert not offer.capabilities & offer.lacks.keys()
