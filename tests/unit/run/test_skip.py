# SPDX-License-Identifier: GPL-2.0-only
"""What is skipped: the project's own sessions, on kernels and machines that lack something."""

from __future__ import annotations

from pathlib import Path

import pytest

from kstep.base.errors import RequestError
from kstep.build import kconfig
from kstep.build.kernel import Kernel
from kstep.machine.capability import Capability, Offer
from kstep.machine.line import Line
from kstep.machine.qemu import OFFERS
from kstep.results.cell import Cell
from kstep.run import skip
from kstep.run.building import Built
from kstep.session import session
from kstep.source import variant as matrix
from kstep.source.patched import PatchedTree
from kstep.source.tree import Tree
from kstep.toolchain.accel import Accel

ROOT = Path(__file__).parents[3]
SESSIONS = session.load(ROOT / "tests/sessions")
QEMU = OFFERS[Accel.TCG]


def built(folder: Path, config: str, version: str = "6.1") -> Built:
    """Return a kernel that was built with a .config."""
    (folder / "config").write_text(config)
    return Built(
        Tree("t", version, "", folder),
        kconfig.Kconfig("theirs", {}),
        ((matrix.parse("none", []), PatchedTree({}, frozenset(), {}, {}, "")),),
        Kernel("k", folder, True, "", "", "", 0.0, 0),  # noqa: FBT003 -- it is at hand
    )


def skipped(
    folder: Path, machine: Offer, *names: str, config: str | None = None, version: str = "6.1"
) -> dict[str, str]:
    """Say which cells of some sessions are skipped and why; the kernel has all or ``config``."""
    scripts = [SESSIONS[name] for name in names]
    every = "".join(f"{option}=y\n" for script in scripts for option in script.needs)
    found = skip.skipped(
        [Cell("t", "theirs", "none", each.name, c, 1) for each in scripts for c in each.case_names],
        scripts,
        [built(folder, every if config is None else config, version)],
        machine,
        ROOT / kconfig.FOLDER,
    )
    return {cell.name: why for cell, why in found.items()}


# -- kernels


def test_what_a_kernel_was_built_with_decides(tmp_path: Path) -> None:
    names = ("step-over-probe", "step-pnmi")
    probe, pnmi = "CONFIG_FAIL_FUNCTION=y\n", "CONFIG_ARM64_PSEUDO_NMI=y\n"
    assert not skipped(tmp_path, QEMU, *names, config=probe + pnmi)
    (why,) = set(skipped(tmp_path, QEMU, *names, config=probe).values())
    assert why.startswith("step-pnmi is not run with kconfig theirs: it needs CONFIG_ARM64_PSEUDO")
    with pytest.raises(RequestError, match="step-over-probe is not run with kconfig theirs"):
        skipped(tmp_path, QEMU, *names, config="")


def test_what_has_no_sense_with_an_option_is_skipped_with_the_reason(tmp_path: Path) -> None:
    """A softirq that is a thread, say; the other cases are run."""
    found = skipped(tmp_path, QEMU, "step-in-context", config="CONFIG_PREEMPT_RT=y\n")
    assert found == {
        "step-in-context[rcu_core_si]": "step-in-context[rcu_core_si] is not run with kconfig"
        " theirs: with CONFIG_PREEMPT_RT RCU's callbacks run in a thread, not in a softirq"
    }
    assert not skipped(tmp_path, QEMU, "step-in-context", config="CONFIG_PREEMPT=y\n")


def test_what_has_no_sense_in_a_version_is_skipped_with_the_reason(tmp_path: Path) -> None:
    """It would pass there without having looked."""
    found = skipped(tmp_path, QEMU, "watch-signalled", version="5.10.262")
    assert found.keys() == {
        "watch-signalled[sigtrap_executed]",
        "watch-signalled[sigtrap_written]",
    }
    (why,) = {why.partition(" is not run ")[2] for why in found.values()}
    assert why == "on Linux 5.10.262: perf's events send no signal of their own"
    assert not skipped(tmp_path, QEMU, "watch-signalled", version="5.13")


def test_what_no_kernel_was_built_for_is_not_spoken_of() -> None:
    cell = Cell("t", "theirs", "v6/1", "step-in-order", "vfs_mkdir", 1)
    folder = ROOT / kconfig.FOLDER
    assert not skip.skipped([cell], [SESSIONS["step-in-order"]], [], QEMU, folder)


# -- machines


def test_qemu_runs_every_session(tmp_path: Path) -> None:
    """But those about KVM, each of which is said once for all of its cases."""
    found = skipped(tmp_path, QEMU, *SESSIONS)
    assert set(found.values()) == {
        f"{name} is not run on QEMU: {why}; this is not KVM" for name, why in ABOUT_KVM.items()
    }


ABOUT_KVM = {
    "gdbstub-rate": "it asks how KVM steps",
    "gdbstub-onward": "it asks how KVM steps",
    "gdbstub-leak": "it asks what KVM's step leaves behind",
}


def test_the_emulated_host_is_kvm_with_a_clock_that_can_be_slowed(tmp_path: Path) -> None:
    found = skipped(tmp_path, OFFERS[Accel.EMULATED_KVM], *SESSIONS)
    assert {name.partition("[")[0] for name in found} == {
        "step-at-el2",
        "step-atomics",
        "gdbstub-step",
        "step-executed",
    }


def test_with_kvm_what_only_the_translator_can_do_is_skipped(tmp_path: Path) -> None:
    found = skipped(tmp_path, OFFERS[Accel.KVM], *SESSIONS)
    slowed = {name: why for name, why in found.items() if "clock slowed" in why}
    assert {name.partition("[")[0] for name in slowed} == {"gdbstub-rate"}
    assert "gdbstub-rate[dilation_1]" not in slowed
    assert {name: why for name, why in found.items() if name not in slowed} == {
        **{
            f"step-at-el2[{case}]": f"step-at-el2[{case}] is not run on QEMU with KVM: it needs a"
            " kernel at EL2; KVM itself uses EL2"
            for case in ("step", "go", "watch")
        },
        "step-atomics[exclusive]": "step-atomics[exclusive] is not run on QEMU with KVM: it needs"
        " a cortex-a57; with KVM the guest has the host's CPU",
        **{
            f"gdbstub-step[{case}]": "gdbstub-step is not run on QEMU with KVM: it compares a step"
            " with interrupts and one without; KVM steps with interrupts on"
            for case in ("mask_0x7", "mask_0x1")
        },
        **{
            f"step-executed[{case}]": f"step-executed[{case}] is not run on QEMU with KVM: it needs"
            " a record of each executed instruction; with KVM QEMU does not see what the guest"
            " executes"
            for case in ("vfs_mkdir", "__arm64_sys_getitimer")
        },
    }


TCP = Line.parse("tcp:host:1", "").offer
SERIAL = Line.parse("serial:/dev/ttyUSB0", "").offer
RESET = Line.parse("serial:/dev/ttyUSB0", "reset-it").offer


@pytest.mark.parametrize("machine", [TCP, SERIAL, RESET], ids=["tcp", "serial", "reset"])
def test_what_reads_memory_under_gdb_is_not_run_where_kdb_reads_it(
    tmp_path: Path, machine: Offer
) -> None:
    """It was, and the kernel was blamed for a hang."""
    found = skipped(tmp_path, machine, *SESSIONS)
    for name in ("gdb-smoke", "gdb-step-in-order", "gdbstub-step"):
        cells = {cell for cell in found if cell.startswith(f"{name}[")}
        assert len(cells) == len(SESSIONS[name].cases)
    assert found["gdb-smoke[stopped]"] == (
        f"gdb-smoke is not run on {machine.name}: it compares what gdb shows with"
        " memory; only kdb can read the memory of this machine"
    )


def test_break_is_for_a_line_that_carries_it(tmp_path: Path) -> None:
    cell = "step-from-entry[serial_break]"
    assert skipped(tmp_path, TCP, "step-from-entry") == {
        cell: f"{cell} is not run on tcp:host:1: it enters kdb by BREAK; there is no BREAK over TCP"
    }
    assert not skipped(tmp_path, SERIAL, "step-from-entry")


def test_what_cannot_be_undone_needs_a_reset(tmp_path: Path) -> None:
    name = "kdb-lockdown[while_running]"
    assert "--reset" in skipped(tmp_path, SERIAL, "kdb-lockdown", "kgdbts")[name]
    assert name not in skipped(tmp_path, RESET, "kdb-lockdown")


def test_every_other_cell_is_run_on_a_board(tmp_path: Path) -> None:
    """So that a session that gets another need is seen here."""
    found = skipped(tmp_path, RESET, *SESSIONS)
    whole = {
        name
        for name, each in SESSIONS.items()
        if all(Cell("", "", "", name, case, 1).name in found for case in each.case_names)
    }
    assert whole == {
        *("gdb-smoke", "gdb-step-in-order", "gdbstub-leak", "gdbstub-onward", "gdbstub-rate"),
        *("gdbstub-step", "kdb-commands", "kdb-cpus"),
        *("kdb-entry", "kdb-panic", "kdb-restricted", "kdb-spinning", "kgdb-at-boot"),
        *("step-at-el2", "step-pnmi"),
        *("step-at-boot", "step-executed", "step-other-cpu", "step-smp"),
        *("cpu-hotplug", "stop-for-long", "user-pnmi", "watch-preempted"),
    }
    assert {cell for cell in found if cell.partition("[")[0] not in whole} == {
        *("kdb-lockdown[integrity]", "kdb-lockdown[confidentiality]", "kdb-lockdown[boot]"),
        *("step-atomics[exclusive]", "watch-under-load[two]", "watch-under-load[four]"),
        "ptrace-stops[written]",
        "step-signals[other_cpu]",
        "watch-under-load[debugged]",
        "watch-moved[debugger_cpu]",
        "watch-moved[kernel_cpu]",
        "watch-moved[user_cpu]",
    }


def test_the_first_reason_is_told_if_nothing_is_left(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"kdb-panic is not run on tcp:host:1: it enters kdb by"):
        skipped(tmp_path, TCP, "kdb-panic")


# -- what is said of both


def test_every_reason_is_a_sentence_that_goes_on_from_the_session_s_name() -> None:
    for each in SESSIONS.values():
        for case in each.case_names:
            for capability, why in each.requires_for(case).items():
                assert isinstance(capability, Capability)
                assert why.startswith("it "), f"{each.name}[{case}]: {why}"
