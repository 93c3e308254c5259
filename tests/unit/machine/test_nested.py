# SPDX-License-Identifier: GPL-2.0-only
"""A guest of an emulated host: how its QEMU is started, and by hand."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest

from kstep.base.errors import MachineryError
from kstep.machine.capability import Capability
from kstep.machine.hardware import Hardware
from kstep.machine.nested import NestedMachine
from kstep.machine.qemu import OFFERS, QemuMachine
from kstep.session import session
from kstep.toolchain import HostToolchain
from kstep.toolchain.accel import Accel

if TYPE_CHECKING:
    from kstep.build.kernel import Kernel
    from kstep.machine.emulated_host import EmulatedHost

ROOT = Path(__file__).parents[3]


def machine(hardware: Hardware | None = None, folder: str = "kernel") -> NestedMachine:
    """Return a machine, not started, of a host that does not run."""
    image = SimpleNamespace(image=Path(folder, "host image"), archive=Path(folder, "archive"))
    host = SimpleNamespace(image=image, toolchain=HostToolchain("a test"))
    kernel = SimpleNamespace(image=Path(folder, "Image"))
    return NestedMachine(
        cast("Kernel", kernel),
        Path(folder, "initramfs"),
        hardware or Hardware(),
        cast("EmulatedHost", host),
    )


def commands(script: str) -> list[list[str]]:
    """Split a script into its commands, each in words."""
    return [shlex.split(line) for line in script.splitlines() if line]


def test_a_guest_runs_under_kvm_with_its_lines_on_the_ports() -> None:
    *_, (exec_, qemu, *argv) = commands(machine()._script())
    assert (exec_, qemu) == ("exec", "qemu-system-aarch64")
    assert argv[argv.index("-accel") + 1] == "kvm"
    assert argv[argv.index("-cpu") + 1] == "host"
    assert "pipe,id=line,path=/dev/kstep.line" in argv
    assert "pipe,id=qmp,path=/dev/kstep.qmp" in argv
    assert argv[argv.index("-kernel") + 1] == "Image"
    assert "-no-reboot" in argv
    assert not {"-gdb", "-dtb"} & set(argv)  # a stub on a port would stop it at its start


def test_a_clock_is_slowed_by_what_its_device_tree_claims() -> None:
    *_, dump, put, start = commands(machine(Hardware(dilation=8))._script())
    assert dump[-1].startswith("dumpdtb=")
    tree = dump[-1].removeprefix("dumpdtb=")
    assert put == ["fdtput", "-t", "i", tree, "/timer", "clock-frequency", "500000000"]
    assert start[-2:] == ["-dtb", tree]


def test_a_clock_is_not_slowed_by_more_than_its_device_tree_can_say() -> None:
    """It was, by what was left of the frequency: a case of 128 was one of 59."""
    for each in session.load(ROOT / "tests/sessions").values():
        for case in each.case_names:
            hardware = each.hardware_for(case)
            if OFFERS[Accel.EMULATED_KVM].why_not(hardware.requires) is None:
                machine(hardware)._script()
    assert "4250000000" in machine(Hardware(dilation=68))._script()
    with pytest.raises(MachineryError, match="slowed 69 times, but 68: its device tree"):
        machine(Hardware(dilation=69))._script()


def test_hardware_s_clock_is_as_it_is() -> None:
    """Where a session's clock need not be slowed, a real arm64 host boots the usual guest."""

    def argv(hardware: Hardware) -> list[str]:
        emulated = machine(hardware)
        kvm = QemuMachine(
            emulated.kernel, emulated.initramfs, hardware, emulated.toolchain, Accel.KVM
        )
        return kvm._argv(["-serial", "null"], "Image", "initramfs")

    eased = Hardware(dilation=8, dilation_required=False)
    assert argv(eased) == argv(Hardware())
    assert OFFERS[Accel.KVM].why_not(eased.requires) is None
    assert OFFERS[Accel.KVM].why_not(Hardware(dilation=8).requires)
    *_, put, _ = commands(machine(eased)._script())
    assert put[0] == "fdtput"


def test_what_it_cannot_be_is_refused() -> None:
    for hardware in (Hardware(el2=True), Hardware(cpu="cortex-a57")):
        with pytest.raises(MachineryError, match="KVM cannot"):
            machine(hardware)._script()
    offered = machine().offer
    assert Capability.DILATION in offered.capabilities
    assert Capability.EXECUTION_RECORD not in offered.capabilities


def test_by_hand_the_host_is_started_with_the_guest_in_it(tmp_path: Path) -> None:
    """The script runs with a QEMU that notes its arguments, and what is in the shared folder."""
    for name in ("Image", "initramfs", "host image", "archive"):
        (tmp_path / name).write_text(name)
    qemu = tmp_path / "qemu-system-aarch64"
    qemu.write_text(
        f'#!/bin/sh\nprintf "%s\\n" "$@" > {tmp_path}/argv\n'
        f"for word; do case $word in local,*) share=${{word#*path=}};; esac; done\n"
        f'cp -r "${{share%%,*}}" {tmp_path}/share\n'
    )
    qemu.chmod(0o755)
    made = machine(Hardware(dilation=2), str(tmp_path))
    env = {"PATH": f"{tmp_path}:/usr/bin:/bin", "TMPDIR": str(tmp_path)}
    subprocess.run(["sh", "-c", made.by_hand], env=env, check=True)
    argv = (tmp_path / "argv").read_text().splitlines()
    assert argv[argv.index("-kernel") + 1] == f"{tmp_path}/host image"
    assert "stdio,id=line,mux=on,signal=off" in argv
    assert argv[argv.index("-append") + 1].endswith(" kstep_start=1")
    assert (tmp_path / "share/guest").read_text() == made._script()
    assert (tmp_path / "share/initramfs").read_text() == "initramfs"
    assert list(tmp_path.glob("tmp.*")) == []
