# SPDX-License-Identifier: GPL-2.0-only
"""What a line that may lie has said: what is heard twice, and what condemns nobody."""

from __future__ import annotations

import pytest

from kstep.base.errors import MachineryError
from kstep.base.outcome import KernelFault, Signature
from tests.noise.noise import Noise
from tests.noise.simulation import over_noise
from tests.unit.farend import end
from tests.unit.session.conversations import made_up

WRONG = KernelFault(Signature.WRONG_RESULT, "it is 4, and it is 5")
QUIET = Noise()


def test_what_was_read_once_condemns_nobody_where_the_line_was_seen_to_lie() -> None:
    with over_noise(made_up(end(before="4\n")), QUIET, QUIET) as target:
        answer = target.run("cat five")
        target._dialogue._console.doubts = 3
        target.require_certain(WRONG)  # nobody has used what was printed
        assert answer.text == "4\n"
        with pytest.raises(MachineryError, match="'cat five' printed was read only once") as error:
            target.require_certain(WRONG)
        target.require_certain(KernelFault(Signature.SPLAT, "BUG: x"))
    assert error.value.signature is Signature.CONSOLE_LOST


def test_it_does_where_the_line_was_right_in_all_that_was_seen() -> None:
    with over_noise(made_up(end(before="4\n")), QUIET, QUIET) as target:
        assert target.run("cat five").text == "4\n"
        target.require_certain(WRONG)


def test_a_status_that_condemns_is_heard_twice() -> None:
    with over_noise(made_up(end(7), end()), QUIET, QUIET) as target:
        assert target.ask("false").status == 7
        assert target.ask("true").status == 0
