# SPDX-License-Identifier: GPL-2.0-only
"""Does a signal that comes while its task is stepped in the kernel reach the task?

Claim: it does, when the task returns to user space. Not raised in the review. With patch 1/2 an
interrupt that finds a step owed leaves by a way of its own (arch/arm64/kernel/entry-common.c); if
anything on it loses the thread flag by which the task knows of its signal (TIF_SIGPENDING), the
signal stays queued, and the task runs on without it.

Measured: a program gets a signal in each round while kdb steps it. `itself`: it sends the signal;
stepped from just before the flag is set, until kill() returns. `timer`: its timer expires during
the steps, in an interrupt's handler. `sleeping`: the same on the way into nanosleep(), which the
signal must interrupt. `other_cpu`: a process on another CPU sends it to the sleeper, which is
stepped from where it wakes. In each the program counts what it handled, and what it had not
handled in time. `work`: no signal, but what the kernel leaves for the same way out
(TIF_NOTIFY_RESUME): the release of a pipe's last writer, after which the reader must see its end.

Refuted by a signal that is not handled, or late (`missed-hits`), or by a step that leaves program
order, as in step-in-order.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kstep.base.outcome import KernelFault, Signature
from kstep.machine.hardware import Hardware
from kstep.session.session import session

if TYPE_CHECKING:
    from kstep.session.target import Target


ONE_CPU = Hardware()


@dataclass(frozen=True)
class Sender:
    """Who sends the signals; the ``mode`` of tests/guest/signals.c.

    ``stops`` are the functions to step from, of which the kernel has one, ``rounds`` how often, and
    ``steps`` how far at least; from behind the call of ``behind`` in it, if that is given.
    """

    name: str
    mode: str
    stops: tuple[str, ...]
    rounds: int
    steps: int = 60
    behind: str = ""
    hardware: Hardware = ONE_CPU


SLEEPER = ("do_nanosleep",)  # kernel/time/hrtimer.c
SENDERS = (
    # kernel/signal.c: called once the signal is queued, with interrupts off; wakes the task by
    # signal_wake_up_state(), which sets the flag, and which a compiler may inline (clang 14 does)
    Sender("itself", "self", ("complete_signal",), 3, 200),
    Sender("timer", "timer", ("__arm64_sys_getppid",), 3),
    # kernel/time/hrtimer.c: goes to sleep
    Sender("sleeping", "sleep", ("hrtimer_nanosleep",), 3),
    # where schedule() returns to the sleeper, which the signal has woken
    Sender("other_cpu", "other", SLEEPER, 3, behind="schedule", hardware=Hardware(cpus=2)),
    # fs/file.c: leaves the release to task_work_add(), by fput() of a file's last user
    Sender("work", "work", ("__arm64_sys_close_range",), 2, 250),
)
SECONDS = 60.0  # for the program, rounds that are not stepped included
FURTHER = 3  # rounds of the program after the last stop


@session(
    claim="A signal that comes while its task is stepped reaches the task.",
    cases=SENDERS,
    area="user space",
)
def step_signals(target: Target, sender: Sender) -> None:
    """Step a task to which signals are sent, and count those that it handled."""
    stop_here: str | int = target.known(*sender.stops)
    if sender.behind:
        with target.in_kdb():
            stop_here = target.find_call(str(stop_here), sender.behind) + 4
    trigger = f"signals {sender.mode} {sender.rounds + FURTHER}"
    with target.stopped_at(stop_here, trigger, SECONDS) as stop:
        for _ in stop.times(sender.rounds):
            for step in target.steps_to_a_return(sender.steps):
                step.must_follow_program_order()
    found = stop.answer.figures
    target.metrics.update(found)
    if found["late"] or found["handled"] != found["sent"]:
        raise KernelFault(
            Signature.MISSED_HITS,
            f"of {found['sent']} signals {found['handled']} were handled,"
            f" {found['late']} of them late or not at all",
        )
    target.must_tick()
