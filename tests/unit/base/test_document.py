# SPDX-License-Identifier: GPL-2.0-only
"""Documents: every fault is one line that names file, line and fix."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from kstep.base import document
from kstep.base.errors import RequestError

if TYPE_CHECKING:
    from pathlib import Path

SCHEMA = {
    "type": "object",
    "required": ["name", "sessions"],
    "additionalProperties": False,
    "properties": {
        "name": {"type": "string", "pattern": "^[a-z]+$"},
        "date": {"type": "string"},
        "outcome": {"enum": ["pass", "fail", "error"]},
        "sessions": {
            "type": "array",
            "minItems": 1,
            "items": {
                "type": "object",
                "required": ["session"],
                "additionalProperties": False,
                "properties": {"session": {"type": "string"}, "repeat": {"type": "integer"}},
            },
        },
        "variants": {
            "type": "object",
            "propertyNames": {"pattern": "^(none|.+/.+)$"},
            "additionalProperties": {"type": ["string", "null"]},
        },
    },
}

GOOD = """\
# a comment
name: steps
date: 2022-12-19
sessions:
  - session: one
    repeat: 3

  - session: two
variants: {none: , v5/1: stuck}
"""


def write(folder: Path, text: str | bytes) -> Path:
    """Write the document under test."""
    path = folder / "it.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def refusal(folder: Path, text: str | bytes) -> str:
    """Return what is said of a bad document after its path, in one line."""
    path = write(folder, text)
    with pytest.raises(RequestError) as caught:
        document.load(path, SCHEMA)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(str(path))
    return message.removeprefix(str(path))


def test_a_good_document_keeps_its_values_and_a_date_stays_text(tmp_path: Path) -> None:
    """JSON has no dates, so a schema could not ask for one."""
    loaded = document.load(write(tmp_path, GOOD), SCHEMA)
    assert loaded.value == {
        "name": "steps",
        "date": "2022-12-19",
        "sessions": [{"session": "one", "repeat": 3}, {"session": "two"}],
        "variants": {"none": None, "v5/1": "stuck"},
    }


def test_lines_count_from_one_and_fall_back_to_what_is_around(tmp_path: Path) -> None:
    """What a fault that the schema cannot see is told with."""
    loaded = document.load(write(tmp_path, GOOD), SCHEMA)
    assert loaded.line_of("name") == 2
    assert loaded.line_of("sessions") == 4
    assert loaded.line_of("sessions", 0, "repeat") == 6
    assert loaded.line_of("sessions", 1) == 8
    assert loaded.line_of("sessions", 1, "repeat") == 8  # not there
    assert loaded.line_of("nowhere", 7) == 1
    fault = loaded.fault("no such session", "sessions", 1, "session")
    assert str(fault) == f"{loaded.path}:8: no such session"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("repeat: 3", "repeet: 3", ':6: unknown key "repeet"; did you mean "repeat"?'),
        ("repeat: 3", "zzz: 3", ':6: unknown key "zzz"; there are: repeat, session'),
        ("repeat: 3", "repeat: often", ':6: "repeat" must be a whole number'),
        ("repeat: 3", "session: x", ':6: key "session" appears twice; keep one'),
        ("session: two", "repeat: 2", ':8: key "session" is missing; add it'),
        ("name: steps", "# none", ':1: key "name" is missing; add it'),
        ("name: steps", "name: [a]", ':2: "name" must be a string'),
        ("name: steps", "name: A", ':2: "name" cannot be "A"; it must match ^[a-z]+$'),
        (
            "date: 2022-12-19",
            "outcome: fial",
            ':3: "outcome" cannot be "fial"; did you mean "fail"?',
        ),
        ("v5/1: stuck", "v5: stuck", ':9: "v5" cannot be "v5"; it must match ^(none|.+/.+)$'),
        ("v5/1: stuck", "v5/1: 5", ':9: "v5/1" must be a string or empty'),
        ("v5/1: stuck", "1: stuck", ":9: a key must be a string; put it in quotes"),
        ("name: steps", "name: !!int x", ":2: invalid literal for int"),
        ("name: steps", "name: !!python/name:os.system", ":2: could not determine a constructor"),
    ],
)
def test_a_fault_is_told_with_its_line_and_mend(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    """One change to the good document, one message."""
    assert refusal(tmp_path, GOOD.replace(old, new)).startswith(message)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: [a\n", ":2: "),
        ("name: a: b\n", ":1: mapping values are not allowed here; fix the YAML"),
        ("a: &x [1]\nb: *x\n", ":2: write the value out, not an alias"),
        ("a: 1\n---\nb: 1\n", ":2: "),
        ("", ":1: the document must be a mapping"),
        ("- a\n", ":1: the document must be a mapping"),
        ("name: a\nsessions: []\n", ':2: "sessions" is empty; fill it'),
        (b"name: \xff\n", ": not UTF-8 text: "),
        ("name: \x07\n", ": not UTF-8 text: "),
        ("name: " + "[" * 3000, ": nested too deeply; flatten it"),
    ],
)
def test_what_is_no_document_is_refused(tmp_path: Path, text: str | bytes, message: str) -> None:
    """Broken YAML, and YAML that is not for people."""
    assert refusal(tmp_path, text).startswith(message)


def test_the_first_of_several_faults_is_told(tmp_path: Path) -> None:
    """By line, not in the schema's order."""
    text = GOOD.replace("session: two", "zzz: two").replace("repeat: 3", "repeat: x")
    assert refusal(tmp_path, text).startswith(":6: ")


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    """In the same form as any other fault."""
    with pytest.raises(RequestError, match=r"gone\.yaml: cannot be read: No such file"):
        document.load(tmp_path / "gone.yaml", SCHEMA)


@pytest.mark.parametrize(
    ("word", "said"),
    [("v5", 'did you mean "v5"?'), ("v55", 'did you mean "v5"?'), ("foo", "there are: none, v5")],
)
def test_nearest_names_the_closest_or_all(word: str, said: str) -> None:
    """Where nothing is close, a list helps more than a guess."""
    assert document.nearest(word, ["v5", "none"]) == said


def test_nearest_of_nothing_is_none() -> None:
    """An empty list would read like a broken message."""
    assert document.nearest("foo", []) == "there are: none"


# U+2028 and U+2029 end a line in YAML 1.1, and in JSON they do not.
texts = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Zl", "Zp"]), min_size=1)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=12,
)


@given(st.dictionaries(texts, values, max_size=4))
def test_what_was_written_is_read_and_every_key_has_its_line(
    tmp_path_factory: pytest.TempPathFactory, value: dict[str, Any]
) -> None:
    """JSON is YAML, and its printer a second opinion on the lines."""
    path = write(tmp_path_factory.mktemp("any"), json.dumps(value, ensure_ascii=False, indent=1))
    loaded = document.load(path, {})
    assert loaded.value == yaml.safe_load(path.read_text(encoding="utf-8")) == value
    written = path.read_text(encoding="utf-8").split("\n")
    for key in value:
        assert json.dumps(key, ensure_ascii=False) in written[loaded.line_of(key) - 1]
