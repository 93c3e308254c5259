# SPDX-License-Identifier: GPL-2.0-only
"""What runs the guest: only an arm64 machine with KVM has KVM, and who asks is told why not."""

from __future__ import annotations

import platform
from pathlib import Path

import pytest

from kstep.base.errors import MachineryError, RequestError
from kstep.build.kernel import Kernel
from kstep.machine.hardware import Hardware
from kstep.machine.qemu import QemuMachine
from kstep.toolchain import HostToolchain, accel
from kstep.toolchain.accel import Accel, choose


def on(monkeypatch: pytest.MonkeyPatch, machine: str, device: Path) -> None:
    """Be on such a machine."""
    monkeypatch.setattr(platform, "machine", lambda: machine)
    monkeypatch.setattr(accel, "DEVICE", device)


@pytest.fixture
def device(tmp_path: Path) -> Path:
    """Return a device that may be opened."""
    path = tmp_path / "kvm"
    path.touch()
    return path


def test_an_arm64_machine_with_kvm_takes_it(monkeypatch: pytest.MonkeyPatch, device: Path) -> None:
    on(monkeypatch, "aarch64", device)
    assert choose("auto").accel is Accel.KVM
    assert choose("kvm").accel is Accel.KVM
    assert choose("tcg").accel is Accel.TCG


@pytest.mark.parametrize(
    ("machine", "name", "why"),
    [("x86_64", "kvm", "this host is x86_64"), ("aarch64", "none", "there is no ")],
)
def test_others_do_not_and_say_why(
    monkeypatch: pytest.MonkeyPatch, device: Path, machine: str, name: str, why: str
) -> None:
    on(monkeypatch, machine, device.with_name(name))
    chosen = choose("auto")
    assert chosen.accel is Accel.TCG
    assert why in chosen.why
    with pytest.raises(MachineryError, match=f"--accel kvm: {why}"):
        choose("kvm")


def test_another_word_is_refused() -> None:
    for word in ("hvf", "emulated-kvm:", "emulated-kvm:../x", "kvm:trixie"):
        with pytest.raises(RequestError, match=f"--accel {word}: must be auto, kvm, tcg, emulated"):
            choose(word)


def test_an_emulated_host_is_of_any_suite() -> None:
    chosen = choose("emulated-kvm:trixie")
    assert (chosen.accel, chosen.suite, chosen.accel.devices) == (Accel.EMULATED_KVM, "trixie", ())
    assert choose("emulated-kvm").suite == ""
    argv = machine(Hardware(), Accel.EMULATED_KVM).argv(Path("/dev/pts/1"), Path("scratch"))
    assert "virt,gic-version=host" in argv
    assert argv[argv.index("-accel") + 1] == "kvm"


def machine(hardware: Hardware, kind: Accel) -> QemuMachine:
    """Make a machine that is not started."""
    folder = Path("kernel")
    kernel = Kernel("key", folder, True, "", "", "", 0.0, 0)  # noqa: FBT003 -- cached
    return QemuMachine(kernel, Path("initramfs"), hardware, HostToolchain("a test"), kind)


def test_kvm_has_the_processor_and_interrupt_controller_of_the_host() -> None:
    argv = machine(Hardware(), Accel.KVM).argv(Path("/dev/pts/1"), Path("scratch"))
    assert {"kvm", "host", "virt,gic-version=host"} < set(argv)
    with pytest.raises(MachineryError, match="cortex-a57"):
        machine(Hardware(cpu="cortex-a57"), Accel.KVM).argv(Path("/dev/pts/1"), Path("scratch"))


def test_a_kernel_at_el2_is_qemu_s_to_give() -> None:
    at_el2 = Hardware(el2=True)
    argv = machine(at_el2, Accel.TCG).argv(Path("/dev/pts/1"), Path("scratch"))
    assert "virt,gic-version=3,virtualization=on" in argv
    with pytest.raises(MachineryError, match="EL2"):
        machine(at_el2, Accel.KVM).argv(Path("/dev/pts/1"), Path("scratch"))


def test_kvm_has_a_device_that_qemu_opens() -> None:
    assert Accel.KVM.devices == (Path("/dev/kvm"),)
    assert Accel.TCG.devices == ()
