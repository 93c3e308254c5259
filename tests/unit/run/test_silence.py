# SPDX-License-Identifier: GPL-2.0-only
"""Silence at boot is a verdict if another kernel boots, and none before."""

from __future__ import annotations

from dataclasses import replace

from kstep.base.outcome import Outcome, Signature
from kstep.machine.hardware import Hardware
from kstep.results.cell import Cell
from kstep.run.boot import Result
from kstep.run.silence import Silence

USUAL, OTHER = Hardware(), Hardware(cpus=2)


def cell(variant: str, kconfig: str = "base", repeat: int = 1) -> Cell:
    """Make a cell."""
    return Cell("debian:6.1", kconfig, variant, "step-in-order", None, repeat)


def silent(variant: str, tries: int = 2, repeat: int = 1) -> Result:
    """Make the result of a kernel that stayed silent."""
    return Result(
        cell(variant, repeat=repeat),
        Outcome.ERROR,
        Signature.NO_BOOT,
        "does not boot",
        silent=tries,
    )


def booted(variant: str, outcome: Outcome = Outcome.PASS, kconfig: str = "base") -> Result:
    """Make the result of one that came up."""
    return Result(cell(variant, kconfig), outcome, boot_seconds=2.13)


def test_a_kernel_that_stays_silent_while_another_boots_hangs() -> None:
    silence = Silence()
    up = booted("none", Outcome.FAIL)  # whatever its session came to
    assert silence.judge(up, USUAL) == [up]
    (found,) = silence.judge(silent("v6/1"), USUAL)
    assert (found.outcome, found.signature) == (Outcome.FAIL, Signature.HANG)
    assert found.died_at_boot
    assert found.message == (
        "does not boot\n2 tries, each on a fresh machine; none boots on the same machine in 2.1 s"
    )


def test_it_does_not_matter_which_comes_first() -> None:
    silence = Silence()
    for repeat in (1, 2):
        mute = silent("v6/1", repeat=repeat)
        assert silence.judge(mute, USUAL) == [mute]
    up = booted("v6/2")
    first, *decided = silence.judge(up, USUAL)
    assert first == up
    assert [(each.cell.repeat, each.signature) for each in decided] == [
        (1, Signature.HANG),
        (2, Signature.HANG),
    ]
    assert silence.judge(booted("v6/2"), USUAL) == [booted("v6/2")]  # they are decided once


def test_another_machine_tree_or_configuration_says_nothing() -> None:
    silence = Silence()
    silence.judge(booted("none"), OTHER)
    silence.judge(booted("none", kconfig="lockdown"), USUAL)
    mute = silent("v6/1")
    assert silence.judge(mute, USUAL) == [mute]


def test_another_host_says_nothing() -> None:
    """A kernel that boots on one may be silent on another because that is slow."""
    silence = Silence()
    silence.judge(replace(booted("none"), host="fast"), USUAL)
    mute = replace(silent("v6/1"), host="slow")
    assert silence.judge(mute, USUAL) == [mute]
    _, found = silence.judge(replace(booted("none"), host="slow"), USUAL)
    assert found.signature is Signature.HANG


def test_that_the_same_kernel_boots_at_times_says_nothing() -> None:
    silence = Silence()
    silence.judge(booted("v6/1"), USUAL)
    mute = silent("v6/1")
    assert silence.judge(mute, USUAL) == [mute]
    assert [each.signature for each in silence.judge(booted("none"), USUAL)] == [
        None,
        Signature.HANG,
    ]


def test_one_try_is_not_enough_nor_is_another_error() -> None:
    silence = Silence()
    silence.judge(booted("none"), USUAL)
    once = silent("v6/1", tries=1)
    died = Result(cell("v6/1"), Outcome.ERROR, Signature.MACHINE_DIED, "QEMU ended")
    assert silence.judge(once, USUAL) == [once]
    assert silence.judge(died, USUAL) == [died]
