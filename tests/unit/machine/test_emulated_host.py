# SPDX-License-Identifier: GPL-2.0-only
"""The emulated host: when it is up, how it ends, and what is said if it does not come up."""

from __future__ import annotations

import os
import select
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from kstep.base.errors import MachineryError, RequestError
from kstep.base.outcome import Signature
from kstep.machine import emulated_host
from kstep.machine.emulated_host import EmulatedHost, EmulatedHosts, require_memory
from tests.unit.fakehost import Played, image_in

if TYPE_CHECKING:
    from kstep.build.emulated_host import HostImage


@pytest.fixture
def image(tmp_path: Path) -> HostImage:
    """An image of a host."""
    return image_in(tmp_path)


def test_it_is_up_when_it_says_so_and_leaves_nothing(image: HostImage) -> None:
    tools = Played()
    with EmulatedHost(image, tools) as host:
        folder = host.folder
        assert (folder / "gdb").is_socket()
        assert "init: hello" in host.console
    assert not folder.exists()
    assert "init: hello" in host.console  # it is kept
    assert not tools.started[0].runs


def test_its_time_is_that_of_its_instructions_and_it_has_no_network(image: HostImage) -> None:
    tools = Played()
    with EmulatedHost(image, tools):
        pass
    argv = list(tools.argv)
    assert argv[argv.index("-icount") + 1] == "shift=0,sleep=off"
    assert argv[argv.index("-accel") + 1] == "tcg,thread=single"
    assert "virtualization=on" in argv[argv.index("-machine") + 1]
    assert "-nodefaults" in argv
    assert not {"-netdev", "-nic", "-net"} & set(argv)


def test_a_kernel_without_kvm_is_told_with_the_mend(image: HostImage) -> None:
    with (
        pytest.raises(MachineryError, match=r"6\.1\.0-57.* no KVM: .*another suite") as error,
        EmulatedHost(image, Played(**{"": "no-kvm"})),
    ):
        pass
    assert "init: hello" in error.value.details


def test_one_that_does_not_come_up_is_a_fault_of_the_machinery(
    image: HostImage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(emulated_host, "BOOT", 0.2)
    hosts = EmulatedHosts()
    with pytest.raises(MachineryError, match="emulated host: no word that it is up") as error:
        hosts.running(image, Played(**{"": ""}))
    assert error.value.signature is Signature.MACHINE_DIED
    assert "init: hello" in error.value.details
    assert "init: hello" in hosts.console


def test_one_that_dies_is_named_with_its_last_lines(image: HostImage) -> None:
    tools = Played()
    with EmulatedHost(image, tools) as host:
        host.require_guest()
        tools.started[0].runs = False
        with pytest.raises(MachineryError, match="the emulated host ended") as error:
            host.require_guest()
        assert error.value.details[-1] == "init: hello"


def test_a_guest_that_ends_is_not_a_host_that_ends(image: HostImage, tmp_path: Path) -> None:
    tools = Played(start="ended 1")
    with EmulatedHost(image, tools) as host:
        host.start("true", {"Image": tmp_path / "Image"})
        assert (host.share / "Image").read_bytes() == b"x"
        (host.share / "guest.log").write_text("qemu-system-aarch64: no such machine\n")
        assert select.select([host._control._fd], [], [], 10)[0]
        with pytest.raises(MachineryError, match="QEMU in the emulated host ended") as error:
            host.require_guest()
        assert error.value.details == ("qemu-system-aarch64: no such machine",)
        host.end_guest()
        assert not host.broken


def test_hosts_are_kept_from_guest_to_guest(image: HostImage) -> None:
    tools = Played()
    with EmulatedHosts() as hosts:
        first = hosts.running(image, tools)
        first.end_guest()
        assert hosts.running(image, tools) is first
        tools.started[0].runs = False
        assert hosts.running(image, tools) is not first
    assert [each.runs for each in tools.started] == [False, False]


def test_one_that_cannot_end_its_guest_is_not_used_again(
    image: HostImage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(emulated_host, "ANSWER", 0.2)
    tools = Played(end="")
    with EmulatedHosts() as hosts:
        first = hosts.running(image, tools)
        first.end_guest()
        assert first.broken
        assert hosts.running(image, tools) is not first
        assert not tools.started[0].runs


def test_what_a_guest_left_on_its_ports_does_not_reach_the_next(image: HostImage) -> None:
    with EmulatedHost(image, Played()) as host:
        for path in host._flushed:
            far = os.open(path, os.O_RDWR | os.O_NOCTTY)
            os.write(far, b"left to read")
            os.close(far)
        os.write(host.line, b"left to send")
        host.flush()
        assert not select.select([host.line], [], [], 0.1)[0]
        far = os.open(host._flushed[0], os.O_RDWR | os.O_NOCTTY)
        assert not select.select([far], [], [], 0.1)[0]
        os.close(far)


def test_a_damaged_image_is_not_started(image: HostImage) -> None:
    image.archive.write_bytes(b"other")
    tools = Played()
    with (
        pytest.raises(MachineryError, match="the emulated host is damaged: initramfs"),
        EmulatedHost(image, tools),
    ):
        pass
    assert tools.started == []


@pytest.mark.parametrize(
    ("available", "hosts", "fix"),
    [(4096, 2, ""), (4096, 3, "use --jobs 2"), (1000, 1, "free 1048 MiB, or use --accel tcg")],
)
def test_too_little_memory_is_told_before_anything_is_built(
    available: int, hosts: int, fix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = f"MemTotal: 1 kB\nMemAvailable: {available << 10} kB\n"
    monkeypatch.setattr(Path, "read_text", lambda _self: text)
    if not fix:
        require_memory(hosts)
        return
    with pytest.raises(RequestError, match=f"{hosts} emulated hosts at a time need .*; {fix}$"):
        require_memory(hosts)
