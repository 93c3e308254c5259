# SPDX-License-Identifier: GPL-2.0-only
"""Fragments: what is read, what is refused, and what Kconfig made of it."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kstep import kconfig
from kstep.errors import MachineryError, RequestError
from kstep.kconfig import Kconfig

KCONFIGS = Path(__file__).parents[2] / "kconfigs"
FRAGMENTS = sorted(KCONFIGS.glob("*.config"))


def written(folder: Path, text: str, name: str = "base") -> Path:
    """Write a fragment."""
    path = folder / f"{name}.config"
    path.write_text(text)
    return path


# -- the project's own


@pytest.mark.parametrize("path", FRAGMENTS, ids=lambda path: path.stem)
def test_every_line_of_ours_is_an_option_with_its_reason(path: Path) -> None:
    """A line that is passed over, or an option twice, would be lost without a word."""
    lines = [line for line in path.read_text().splitlines() if re.match(r"(# )?CONFIG_", line)]
    assert len(kconfig.parse(path)) == len(lines)
    bare = [line for line in lines if not re.search(r"\S\s+# \S", line)]
    assert not bare


# -- reading


def test_a_fragment_is_read_with_its_comments(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        "# a word\n\nCONFIG_A=y  # why\nCONFIG_B=m\n# CONFIG_C is not set   # why\n"
        'CONFIG_D="a # b" # why\nCONFIG_E=0x10\nCONFIG_F=""\nCONFIG_G=n\n# CONFIG_ is a prefix\n',
    )
    assert kconfig.parse(path) == {
        "CONFIG_A": "y",
        "CONFIG_B": "m",
        "CONFIG_C": "n",
        "CONFIG_D": '"a # b"',
        "CONFIG_E": "0x10",
        "CONFIG_F": '""',
        "CONFIG_G": "n",
    }


@pytest.mark.parametrize(
    "line",
    [
        "CONFIG_A",
        "CONFIG_A =y",
        "CONFIG_A= y",
        "CONFIG_A=",
        "A=y",
        "CONFIG_A=y because",
        'CONFIG_A="y',
        "obj-y += a.o",
        "\x7fELF\x02\x01",
    ],
)
def test_what_is_no_option_is_named_with_its_line(line: str, tmp_path: Path) -> None:
    path = written(tmp_path, f"# first\nCONFIG_X=y\n{line}\n")
    with pytest.raises(RequestError) as error:
        kconfig.parse(path)
    assert str(error.value) == (
        f"{path}:3: {line!r} is no option; write CONFIG_NAME=value or '# CONFIG_NAME is not set'"
    )


@pytest.mark.parametrize(
    "line",
    ["# CONFIG_A is not set, for it is slow", "# CONFIG_A is not  set", "#CONFIG_A is not set"],
)
def test_an_unset_option_that_is_misspelt_is_no_comment(line: str, tmp_path: Path) -> None:
    """It looks as if it did something."""
    with pytest.raises(RequestError, match=r":1: .* is no option"):
        kconfig.parse(written(tmp_path, f"{line}\n"))


options = st.dictionaries(
    st.from_regex(r"CONFIG_[A-Z0-9_]{1,12}", fullmatch=True),
    st.one_of(
        st.sampled_from(["y", "m", "n", "0x1f", "1000", "-1"]),
        st.from_regex(r'"[ -!#-~]{0,12}"', fullmatch=True),
    ),
)


@given(options)
def test_a_fragment_says_what_was_asked_for(asked: dict[str, str]) -> None:
    config = Kconfig("x", asked)
    with tempfile.TemporaryDirectory() as folder:
        path = written(Path(folder), config.fragment)
        assert kconfig.parse(path) == asked
        config.check(path)


# -- base and what stands on it


def test_a_fragment_stands_on_base_and_wins(tmp_path: Path) -> None:
    written(tmp_path, "CONFIG_A=y\nCONFIG_PREEMPT=y\n")
    own = written(tmp_path, "# CONFIG_PREEMPT is not set\nCONFIG_B=y\n", "voluntary")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    other = elsewhere / "mine.config"
    own.rename(other)
    wanted = {"CONFIG_A": "y", "CONFIG_PREEMPT": "n", "CONFIG_B": "y"}
    assert kconfig.load(str(other), tmp_path) == Kconfig("mine", wanted)
    other.rename(own)
    assert kconfig.load("voluntary", tmp_path) == Kconfig("voluntary", wanted)
    assert kconfig.load("base", tmp_path).options == {"CONFIG_A": "y", "CONFIG_PREEMPT": "y"}


@pytest.mark.parametrize("name", ["nothing", "/nowhere/x.config", "."])
def test_what_is_no_fragment_is_answered_with_what_there_is(name: str, tmp_path: Path) -> None:
    written(tmp_path, "")
    written(tmp_path, "", "voluntary")
    with pytest.raises(RequestError) as error:
        kconfig.load(name, tmp_path)
    assert str(error.value) == (
        f"kconfig {name}: there is base, voluntary, or the path of a fragment"
    )


def test_the_digest_is_that_of_what_is_asked_for() -> None:
    one = Kconfig("one", {"CONFIG_A": "y"})
    assert one.digest == Kconfig("other", {"CONFIG_A": "y"}).digest
    assert one.digest != Kconfig("one", {"CONFIG_A": "m"}).digest
    assert one.digest != Kconfig("one", {"CONFIG_A": "n"}).digest


# -- what Kconfig made of it


def test_an_option_that_kconfig_dropped_or_changed_is_named(tmp_path: Path) -> None:
    config = Kconfig("x", {"CONFIG_A": "y", "CONFIG_B": "y", "CONFIG_C": "n", "CONFIG_D": "n"})
    got = written(tmp_path, "CONFIG_A=y\n# CONFIG_B is not set\nCONFIG_C=m\nCONFIG_OTHER=y\n")
    with pytest.raises(MachineryError) as error:
        config.check(got)
    assert str(error.value).endswith("CONFIG_B is n, not y; CONFIG_C is m, not n")
    assert "2 option(s)" in str(error.value)
