# SPDX-License-Identifier: GPL-2.0-only
"""Sessions as they are found in a folder; and those of the project."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from kstep.base.errors import MachineryError
from kstep.build import kconfig
from kstep.machine.capability import Capability
from kstep.machine.hardware import Hardware
from kstep.session import session
from kstep.session.session import Session, Stepped

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = Path(__file__).parents[3]
SCRIPTS = sorted((ROOT / "tests/sessions").glob("*.py"))

SCRIPT = """\
from kstep.machine.hardware import Hardware
from kstep.session.session import Stepped, session

CASES = (Stepped("f", "cat /f", "a leaf"), Stepped("g", "cat /g", "a loop"))


@session(claim="It works.", cases=CASES, hardware=Hardware(cpus=2))
def first_things_first(target, function):
    target.append((function.name, function.trigger))


@session(claim="It works alone.")
def alone(target):
    target.append("alone")
"""


def scripts(folder: Path, **texts: str) -> Path:
    """Write scripts."""
    for name, text in texts.items():
        (folder / f"{name}.py").write_text(text)
    return folder


def test_what_is_marked_is_found(tmp_path: Path) -> None:
    found = session.load(scripts(tmp_path, one=SCRIPT))
    assert list(found) == ["first-things-first", "alone"]
    first, alone = found.values()
    assert (first.claim, first.case_names) == ("It works.", ("f", "g"))
    assert first.hardware == Hardware(cpus=2)
    assert (first.file, first.line) == (tmp_path / "one.py", 7)
    assert (alone.case_names, alone.hardware, alone.needs) == ((None,), Hardware(), ())


def test_a_script_that_another_one_runs_is_loaded_once() -> None:
    """Twice would be a session that is there already; what is found stays in file order."""
    for _ in range(2):
        found = session.load(ROOT / "tests/sessions")
        other = sys.modules["tests.sessions.step_at_el2"]
        assert found["step-in-order"].script is other.step_in_order
        assert {each.file.parent for each in found.values()} == {ROOT / "tests/sessions"}
        assert [each.file for each in found.values()] == sorted(e.file for e in found.values())


def test_a_script_gets_its_case(tmp_path: Path) -> None:
    found = session.load(scripts(tmp_path, one=SCRIPT))
    said: list[object] = []
    found["first-things-first"].run(said, "g")  # type: ignore[arg-type]
    found["alone"].run(said, None)  # type: ignore[arg-type]
    assert said == [("g", "cat /g"), "alone"]


def test_the_order_is_that_of_the_files(tmp_path: Path) -> None:
    other = SCRIPT.replace("first_things_first", "b").replace("alone", "a")
    folder = scripts(tmp_path, z_last=SCRIPT, a_first=other)
    assert list(session.load(folder)) == ["b", "a", "first-things-first", "alone"]


def test_a_folder_is_read_anew(tmp_path: Path) -> None:
    session.load(scripts(tmp_path, one=SCRIPT))
    (tmp_path / "one.py").write_text(SCRIPT.replace("alone", "by_itself"))
    assert list(session.load(tmp_path)) == ["first-things-first", "by-itself"]


def test_two_sessions_of_one_name_are_not_one(tmp_path: Path) -> None:
    """The later would take the place of the earlier, and nobody would run that."""
    with pytest.raises(MachineryError) as error:
        session.load(scripts(tmp_path, one=SCRIPT, two=SCRIPT))
    assert str(error.value) == (
        f'{tmp_path}/two.py:7: session "first-things-first" is in {tmp_path}/one.py too;'
        " give the function another name"
    )


def test_a_case_that_has_no_sense_with_an_option_is_one_of_the_session(tmp_path: Path) -> None:
    text = SCRIPT.replace("session import Stepped", "session import Stepped, Unless", 1)
    text = text.replace("cases=", 'unless=(Unless("CONFIG_X", "why", ("h",)),), cases=', 1)
    with pytest.raises(MachineryError, match=r'unless names "h", which is not a case of it$'):
        session.load(scripts(tmp_path, one=text))
    (found, *_) = session.load(scripts(tmp_path, one=text.replace('"h"', '"f"'))).values()
    assert [each.where for each in found.unless_for("f")] == ["CONFIG_X"]
    assert found.unless_for("g") == []


def test_two_cases_of_one_name_are_not_one(tmp_path: Path) -> None:
    text = SCRIPT.replace('Stepped("g"', 'Stepped("f"')
    with pytest.raises(MachineryError) as error:
        session.load(scripts(tmp_path, one=text))
    assert str(error.value) == (
        f'{tmp_path}/one.py:7: session "first-things-first" has two cases with the same name'
    )


def test_a_script_without_a_session_is_told(tmp_path: Path) -> None:
    """Whoever forgot the decorator would think that it was run."""
    with pytest.raises(MachineryError) as error:
        session.load(scripts(tmp_path, one=SCRIPT, two="CASES = ()\n", __init__=""))
    assert str(error.value) == (
        f"{tmp_path}/two.py: defines no session;"
        " mark a function with @session, or move it elsewhere"
    )


@dataclass(frozen=True)
class Equipped:
    """A case with hardware of its own."""

    name: str
    hardware: Hardware


def test_a_case_has_the_hardware_of_its_session_or_its_own() -> None:
    old = Hardware(cpu="cortex-a57")
    cases = (Stepped("f", "cmd", "a leaf"), Equipped("old", old))
    made = Session("s", "claim", print, cases, Hardware(cpus=2), Path("s.py"), 1)
    assert made.hardware_for("f") == Hardware(cpus=2)
    assert made.hardware_for("old") == old
    assert replace(made, cases=()).hardware_for(None) == Hardware(cpus=2)


def test_a_case_requires_what_its_session_its_hardware_and_itself_do() -> None:
    @dataclass(frozen=True)
    class Demanding(Equipped):
        requires: Mapping[Capability, str]

    own = {Capability.BREAK: "it breaks in"}
    cases = (Stepped("f", "cmd", "a leaf"), Demanding("old", Hardware(cpus=2), own))
    shared = {Capability.GDBSTUB: "it has gdb there"}
    made = Session("s", "claim", print, cases, Hardware(), Path("s.py"), 1, requires=shared)
    assert made.requires_for("f") == shared
    derived = {Capability.PROCESSORS: "it needs 2 CPUs"}
    assert made.requires_for("old") == derived | shared | own
    assert replace(made, cases=()).requires_for(None) == shared


# -- the project's own


def test_every_session_of_ours_says_what_refutes_it() -> None:
    found = session.load(ROOT / "tests/sessions")
    assert len(found) >= 3
    for each in found.values():
        said = " ".join((each.file.read_text().split('"""', 2)[1]).split())
        for word in ("Claim", "Measured", "Refuted"):
            assert word in said, f"{each.file.name}: {word}?"
        assert each.claim.endswith(".")
        assert each.area, f"{each.file.name}: what is the claim about?"
        for name in each.case_names:
            assert name is None or re.fullmatch(r"[A-Za-z_]\w*", name), name


def test_the_functions_of_ours_are_of_every_kind() -> None:
    stepped = session.load(ROOT / "tests/sessions")["step-in-order"].cases
    assert len({getattr(case, "kind", "") for case in stepped}) >= 6
    assert len({getattr(case, "trigger", "") for case in stepped}) >= 6


def test_what_a_session_needs_and_base_has_not_is_in_a_fragment() -> None:
    """Else it would be run nowhere; and what base has for good need not be asked for."""
    folder = ROOT / kconfig.FOLDER
    offered = {option for path in folder.glob("*.config") for option in kconfig.parse(path)}
    base = kconfig.read(folder / "base.config")
    sure = {line.name for line in base if not line.why.startswith(kconfig.FREE)}
    needed = {option for each in session.load(SCRIPTS[0].parent).values() for option in each.needs}
    assert needed
    assert needed <= offered - sure
