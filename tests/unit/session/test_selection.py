# SPDX-License-Identifier: GPL-2.0-only
"""What --sessions selects, and what it says of what selects nothing."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from kstep.base.errors import RequestError
from kstep.session import selection, session

if TYPE_CHECKING:
    from kstep.session.selection import Selection

ROOT = Path(__file__).parents[3]
OURS = ROOT / "tests/sessions"

SCRIPT = """\
from kstep.session.session import Stepped, session

CASES = (Stepped("f_one", "cat /f", "a"), Stepped("f_two", "cat /g", "b"), Stepped("g", "", ""))


@session(claim="It steps.", cases=CASES)
def step_here(target, function):
    pass


@session(claim="It steps too.", cases=CASES[:1])
def step_there(target, function):
    pass


@session(claim="It goes.")
def go(target):
    pass


@session(claim="It is not known.", unsettled="odd")
def go_far(target):
    pass
"""
OWN = """\
from kstep.session.session import session


@session(claim="Mine works.")
def mine(target):
    pass
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of four sessions and a choice."""
    there = tmp_path / "tests/sessions"
    there.mkdir(parents=True)
    (there / "all.py").write_text(SCRIPT)
    (there / "choices.yaml").write_text("some:\n  - step-here[g]\n  - go\n")
    return there


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A file of the user's."""
    path = tmp_path / "mine.py"
    path.write_text(OWN)
    return path


def cells(selected: Selection) -> list[str]:
    """What is selected, session by session."""
    return [f"{each.name} {','.join(map(str, each.case_names))}" for each in selected.sessions]


@pytest.mark.parametrize(
    ("texts", "found"),
    [
        ([], ["step-here f_one,f_two,g", "step-there f_one", "go None"]),
        (["go"], ["go None"]),
        (["go-far"], ["go-far None"]),
        (["go*"], ["go None"]),
        (["go", "step-there"], ["go None", "step-there f_one"]),
        (["step-*"], ["step-here f_one,f_two,g", "step-there f_one"]),
        (["step-?ere"], ["step-here f_one,f_two,g"]),
        (["step-here[g]"], ["step-here g"]),
        (["step-here[g]", "step-here[f_one]"], ["step-here f_one,g"]),
        (["step-here[f_*]"], ["step-here f_one,f_two"]),
        (["*[f_one]"], ["step-here f_one", "step-there f_one"]),
        (["*[g]"], ["step-here g"]),
        (["step-here[g]", "step-*"], ["step-here f_one,f_two,g", "step-there f_one"]),
        (["some"], ["step-here g", "go None"]),
        (["some", "step-here[f_two]"], ["step-here f_two,g", "go None"]),
    ],
)
def test_selectors(texts: list[str], found: list[str], folder: Path) -> None:
    assert cells(selection.select(folder, texts)) == found


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("step-heer", 'session "step-heer" does not exist; did you mean "step-here"?'),
        ("sme", 'session "sme" does not exist; did you mean "some"?'),
        ("jump-*", "--sessions jump-*: matches no session; ./inv sessions lists them"),
        (
            "step-here[f_oen]",
            '--sessions step-here[f_oen]: step-here has no case "f_oen"; did you mean "f_one"?',
        ),
        (
            "step-*[x]",
            '--sessions step-*[x]: these sessions have no case "x"; there are: f_one, f_two, g',
        ),
        ("go[x]", "--sessions go[x]: go has no cases; remove [x]"),
        (
            "go-f*",
            "--sessions go-f*: matches only go-far, which runs only by its full name: odd",
        ),
        *(
            (
                text,
                f"--sessions {text}: must be SESSION, SESSION[CASE], FILE.py or FILE.py::SESSION",
            )
            for text in ("[g]", "go[", "go]", "go[]", "go[x]y", "go[x][y]")
        ),
        ("./none.py", "--sessions ./none.py: no such file"),
    ],
)
def test_what_selects_nothing(text: str, message: str, folder: Path) -> None:
    with pytest.raises(RequestError) as error:
        selection.select(folder, [text])
    assert str(error.value) == message


@pytest.mark.parametrize("texts", [["step-*[f_*]", "go"], ["some"], ["step-here", "*[g]"]])
def test_selectors_without_patterns_select_the_same(texts: list[str], folder: Path) -> None:
    first = selection.select(folder, texts)
    assert not any("*" in text for text in first.selectors)
    again = selection.select(folder, first.selectors)
    assert (cells(again), again.selectors) == (cells(first), first.selectors)


# -- a file of the user's


def test_a_file_of_the_user_s_is_selected(folder: Path, own: Path) -> None:
    for text in (str(own), f"{own}::mine", f"{own}::m*"):
        selected = selection.select(folder, [text, "go"])
        assert cells(selected) == ["mine None", "go None"]
        mine = selected.sessions[0]
        assert (mine.own, mine.own_file, mine.claim) == (True, own, "Mine works.")
        assert selected.sessions[1].own_file is None
        assert selected.selectors == (f"{own}::mine", "go")
        assert not selected.known["go"].own


def test_a_pattern_is_of_kstep_s_own_sessions(folder: Path, own: Path) -> None:
    assert cells(selection.select(folder, [str(own), "*"]))[1:] == cells(
        selection.select(folder, ["*"])
    )
    with pytest.raises(RequestError, match='session "mine" does not exist'):
        selection.select(folder, [str(own), "mine"])


def test_a_file_beside_it_can_be_imported(folder: Path, own: Path) -> None:
    (own.parent / "beside_it.py").write_text("CLAIM = 'From beside.'\n")
    own.write_text(
        OWN.replace('"Mine works."', "CLAIM").replace(
            "from", "from beside_it import CLAIM\nfrom", 1
        )
    )
    (own.parent / "json.py").write_text("raise RuntimeError('not ours')\n")
    assert selection.select(folder, [str(own)]).sessions[0].claim == "From beside."


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("def f(:\n", 1, "invalid syntax; fix the script"),
        ("\nimport nothing_here\n", 2, "ModuleNotFoundError: No module named 'nothing_here'"),
        ("x = 1\n\n\ny = x.z\n", 4, "AttributeError: 'int' object has no attribute 'z'"),
        ("raise SystemExit(0)\n", 1, "SystemExit: 0; fix the script"),
        (OWN.replace("mine", "go"), 4, 'session "go" is in '),
        (OWN.replace("(target)", "()"), 4, 'session "mine" must take a target'),
        (OWN.replace("claim", "clam"), 4, "TypeError: session() got an unexpected keyword"),
        ("x = 1\n", None, "defines no session; mark a function with @session"),
        (
            OWN.replace('works."', 'works.", cases=(Stepped("a b", "", ""),)').replace(
                "import session", "import Stepped, session"
            ),
            4,
            'session "mine": case "a b" must be named like a C identifier',
        ),
    ],
)
def test_a_file_that_does_not_load_is_told_with_its_line(
    text: str, line: int | None, message: str, folder: Path, own: Path
) -> None:
    own.write_text(text)
    with pytest.raises(RequestError) as error:
        selection.select(folder, [str(own)])
    said = str(error.value)
    assert said.startswith(f"{own}: " if line is None else f"{own}:{line}: ")
    assert message in said
    assert "\n" not in said


def test_a_relative_file_is_one_too(
    folder: Path, own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(own.parent)
    selected = selection.select(folder, ["./mine.py"])
    assert (cells(selected), selected.selectors) == (["mine None"], ("./mine.py::mine",))


# -- the project's own


def test_the_choices_select_sessions_of_ours() -> None:
    named = selection.choices(OURS)
    assert "quick" in named
    known = session.load(OURS)
    assert not named.keys() & known.keys()
    for name, texts in named.items():
        assert selection.select(OURS, [name]).selectors == tuple(texts)
