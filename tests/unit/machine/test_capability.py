# SPDX-License-Identifier: GPL-2.0-only
"""What is required, compared with what is offered."""

from __future__ import annotations

from kstep.machine.capability import Capability, Offer

OFFER = Offer("here", frozenset({Capability.BREAK}), {Capability.EL2: "KVM has it"})


def test_what_is_offered_is_had() -> None:
    assert OFFER.why_not({}) is None
    assert OFFER.why_not({Capability.BREAK: "it breaks in"}) is None


def test_what_is_not_is_told_with_both_reasons() -> None:
    requires = {Capability.BREAK: "it breaks in", Capability.EL2: "it needs EL2"}
    assert OFFER.why_not(requires) == "it needs EL2; KVM has it"


def test_what_nobody_gave_a_reason_for_is_named() -> None:
    why = OFFER.why_not({Capability.PHYSICAL_MEMORY: "it reads"})
    assert why == "it reads; this machine cannot do that: reading physical memory"
