# SPDX-License-Identifier: GPL-2.0-only
"""Fragments: what is read, what is refused, and what Kconfig made of it."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kstep.base.errors import MachineryError, RequestError
from kstep.build import kconfig
from kstep.build.kconfig import Kconfig

KCONFIGS = Path(__file__).parents[3] / "kconfigs"
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
        f"{path}:3: {line!r} is not an option; write CONFIG_NAME=value or '# CONFIG_NAME is"
        " not set'"
    )


@pytest.mark.parametrize(
    "line",
    ["# CONFIG_A is not set, for it is slow", "# CONFIG_A is not  set", "#CONFIG_A is not set"],
)
def test_an_unset_option_that_is_misspelt_is_no_comment(line: str, tmp_path: Path) -> None:
    """It looks as if it did something."""
    with pytest.raises(RequestError, match=r":1: .* is not an option"):
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
    assert kconfig.load(str(other), tmp_path).on("6.1") == Kconfig("mine", wanted)
    other.rename(own)
    assert kconfig.load("voluntary", tmp_path).on("6.1") == Kconfig("voluntary", wanted)
    base = kconfig.load("base", tmp_path).on("6.1")
    assert base.options == {"CONFIG_A": "y", "CONFIG_PREEMPT": "y"}


@pytest.mark.parametrize("name", ["nothing", "/nowhere/x.config", "."])
def test_what_is_no_fragment_is_answered_with_what_there_is(name: str, tmp_path: Path) -> None:
    written(tmp_path, "")
    written(tmp_path, "", "voluntary")
    with pytest.raises(RequestError) as error:
        kconfig.load(name, tmp_path)
    assert str(error.value) == (
        f"kconfig {name}: must be one of base, voluntary, or the path of a fragment or a .config"
    )


def test_the_digest_is_that_of_what_is_asked_for() -> None:
    one = Kconfig("one", {"CONFIG_A": "y"})
    assert one.digest == Kconfig("other", {"CONFIG_A": "y"}).digest
    assert one.digest != Kconfig("one", {"CONFIG_A": "m"}).digest
    assert one.digest != Kconfig("one", {"CONFIG_A": "n"}).digest


# -- versions


VERSIONED = (
    "CONFIG_OLD=y  # up to 5.17: why\nCONFIG_NEW=y  # from 5.18: why\n"
    "CONFIG_PAST=y # from 5.12 up to 6.1: why\n# CONFIG_GONE is not set # up to 6.1: why\n"
    "CONFIG_ALWAYS=y # from one processor up to eight: why\n"
)


@pytest.mark.parametrize(
    ("version", "wanted"),
    [
        ("5.10.262", "OLD GONE ALWAYS"),
        ("5.17.0", "OLD PAST GONE ALWAYS"),
        ("5.18.1", "NEW PAST GONE ALWAYS"),
        ("6.1.192 (linux-source-6.1 6.1.192-1)", "NEW PAST GONE ALWAYS"),
        ("6.12.117", "NEW ALWAYS"),
        ("7.2-rc1", "NEW ALWAYS"),
    ],
)
def test_an_option_is_asked_of_the_versions_that_have_it(
    version: str, wanted: str, tmp_path: Path
) -> None:
    """A comment that only begins like it is no bound; 6.12 comes after 6.2."""
    written(tmp_path, VERSIONED)
    asked = kconfig.load("base", tmp_path)
    assert list(asked.on(version).options) == [f"CONFIG_{name}" for name in wanted.split()]
    left = [remark.split()[1] for remark in asked.remarks(version)]
    assert len(left) == 5 - len(wanted.split())
    assert not set(left) & set(asked.on(version).options)


def test_what_is_left_out_is_told_with_its_reason(tmp_path: Path) -> None:
    written(tmp_path, "CONFIG_OLD=y  # up to 5.17: it has another name\n")
    remarks = kconfig.load("base", tmp_path).remarks("6.1.192")
    assert remarks == ["without CONFIG_OLD (up to 5.17: it has another name)"]


def test_what_a_fragment_takes_back_of_base_is_told_with_its_reason(tmp_path: Path) -> None:
    """It may be meant; but a kernel without it may have no verdict."""
    written(tmp_path, "CONFIG_KGDB=y  # what is tested\nCONFIG_PREEMPT=y  # free: as we like it\n")
    written(tmp_path, "# CONFIG_KGDB is not set\nCONFIG_PREEMPT=n\n", "bold")
    asked = kconfig.load("bold", tmp_path)
    assert asked.on("6.1.192").options == {"CONFIG_KGDB": "n", "CONFIG_PREEMPT": "n"}
    assert asked.remarks("6.1.192") == ["CONFIG_KGDB n, not y (what is tested)"]


def test_an_option_that_no_kconfig_declares_is_named_with_its_line(tmp_path: Path) -> None:
    source = tmp_path / "linux"
    (source / "arch/arm64").mkdir(parents=True)
    (source / "Kconfig").write_text('config PREEMPT\n\tbool "x"\n\nmenuconfig MODULES\n')
    (source / "arch/arm64/Kconfig.debug").write_text("if X\n  config KGDB\nendif\n")
    declared = kconfig.declared(source)
    assert declared == {"CONFIG_PREEMPT", "CONFIG_MODULES", "CONFIG_KGDB"}
    written(tmp_path, "CONFIG_KGDB=y\n# CONFIG_NEVER is not set\nCONFIG_PREEMT=y # from 6.1: x\n")
    asked = kconfig.load("base", tmp_path)
    asked.require_known("5.10.262", declared)
    with pytest.raises(RequestError) as error:
        asked.require_known("6.1.192", declared)
    said = str(error.value)
    assert said == (
        f"{tmp_path}/base.config:3: Linux 6.1.192 has no option CONFIG_PREEMT; say after the option"
        " which versions have it ('# up to 6.19: reason'), or did you mean \"CONFIG_PREEMPT\"?"
    )


@pytest.mark.parametrize("text", ["base+", "+one", "one++base", "one+one"])
def test_a_join_that_names_nothing_or_one_twice_is_refused(text: str, tmp_path: Path) -> None:
    written(tmp_path, "")
    written(tmp_path, "", "one")
    with pytest.raises(RequestError, match=r"^kconfig \S+: must be names joined by \+"):
        kconfig.load(text, tmp_path)


# -- several fragments, and a whole configuration


def test_fragments_are_joined_in_their_order(tmp_path: Path) -> None:
    written(tmp_path, "CONFIG_A=y\n")
    written(tmp_path, "CONFIG_B=y\nCONFIG_C=1\n", "one")
    mine = written(tmp_path, "CONFIG_C=2\n", "my+own")
    for text in (f"one+{tmp_path}/two.config", f"base+one+{tmp_path}/two.config"):
        (tmp_path / "two.config").write_text("CONFIG_C=3\n")
        asked = kconfig.load(text, tmp_path)
        assert asked.name == "one+two"
        assert asked.on("6.1").options == {"CONFIG_A": "y", "CONFIG_B": "y", "CONFIG_C": "3"}
    assert kconfig.load(str(mine), tmp_path).name == "my+own"  # a file that is called so


@pytest.mark.parametrize("text", ["base", "one", "one+two.config", "base+two.config"])
def test_what_was_asked_can_be_asked_again_from_elsewhere(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the processes do that git bisect starts."""
    written(tmp_path, "CONFIG_A=y\n")
    written(tmp_path, "CONFIG_B=y\n", "one")
    here = tmp_path / "here"
    here.mkdir()
    written(here, "CONFIG_C=y\n", "two")
    monkeypatch.chdir(here)
    asked = kconfig.load(text, tmp_path).on("6.1")
    said = kconfig.load(text, tmp_path).text
    monkeypatch.chdir("/")
    assert kconfig.load(said, tmp_path).on("6.1") == asked


WHOLE = """\
#
# Automatically generated file; DO NOT EDIT.
# Linux/arm64 6.1.192 Kernel Configuration
#
CONFIG_CC_VERSION_TEXT="gcc 9"
CONFIG_OWN=y
CONFIG_PREEMPT_NONE=y
# CONFIG_KGDB is not set
"""
ON_WHOLE = (
    "CONFIG_KGDB=y  # the debugger\nCONFIG_PREEMPT=y  # free: as we like it\n"
    "CONFIG_OWN=y  # so have they\n# CONFIG_RANDOMIZE_BASE is not set  # addresses\n"
)


def test_a_whole_configuration_takes_the_place_of_base_and_gets_what_is_needed(
    tmp_path: Path,
) -> None:
    written(tmp_path, ON_WHOLE)
    written(tmp_path, "CONFIG_MORE=y\n", "more")
    whole = written(tmp_path, WHOLE, "theirs")
    asked = kconfig.load(f"{whole}+more", tmp_path)
    config = asked.on("6.1.192")
    assert (asked.name, config.others) == ("theirs+more", "alldefconfig")
    assert config.options == {
        "CONFIG_CC_VERSION_TEXT": '"gcc 9"',
        "CONFIG_OWN": "y",
        "CONFIG_PREEMPT_NONE": "y",
        "CONFIG_KGDB": "y",
        "CONFIG_RANDOMIZE_BASE": "n",
        "CONFIG_MORE": "y",
    }
    assert asked.remarks("6.1.192") == ["CONFIG_KGDB y added or changed: needed by kstep"]
    alike = Kconfig("x", config.options)
    assert config.digest != alike.digest
    lost = "CONFIG_KGDB=y\nCONFIG_MORE=y\nCONFIG_OWN=y\nCONFIG_CC_VERSION_TEXT=12\n"
    got = written(tmp_path, lost, "got")
    config.check(got)
    (loss,) = config.losses(got)
    assert loss.startswith("not as in the .config (")
    assert loss.endswith("): CONFIG_PREEMPT_NONE")
    with pytest.raises(MachineryError, match="CONFIG_KGDB=n, not y"):
        config.check(written(tmp_path, "CONFIG_MORE=y\nCONFIG_OWN=y\n", "got"))


FOR_WHOLE = (
    'CONFIG_KEY=""  # whole: a file\nCONFIG_FIRMWARE=""  # whole: files\n'
    "# CONFIG_BTF is not set  # whole: a program that is not there\n"
)


def test_what_some_versions_have_may_be_free_too(tmp_path: Path) -> None:
    """Asked of base where the version has it, and never of a whole configuration."""
    written(tmp_path, "CONFIG_KGDB=y  # the debugger\nCONFIG_F=y  # from 6.11: free: as we like\n")
    base = kconfig.load("base", tmp_path)
    assert "CONFIG_F" in base.on("6.12").options
    assert "CONFIG_F" not in base.on("6.1.192").options
    whole = kconfig.load(str(written(tmp_path, WHOLE, "theirs")), tmp_path)
    assert "CONFIG_F" not in whole.on("6.12").options


def test_some_is_asked_of_a_whole_configuration_only(tmp_path: Path) -> None:
    """It is changed where it is there, and its absence is no error."""
    written(tmp_path, ON_WHOLE + FOR_WHOLE)
    whole = written(tmp_path, f'{WHOLE}CONFIG_KEY="x.pem"\nCONFIG_BTF=y\n', "theirs")
    asked = kconfig.load(str(whole), tmp_path)
    options = asked.on("6.1").options
    assert [options[f"CONFIG_{name}"] for name in ("KEY", "FIRMWARE", "BTF")] == ['""', '""', "n"]
    asked.require_known("6.1", frozenset({"CONFIG_KGDB", "CONFIG_OWN"}))
    (remark,) = asked.remarks("6.1")
    assert remark == 'CONFIG_KGDB y, CONFIG_KEY "", CONFIG_BTF n added or changed: needed by kstep'
    got = "CONFIG_KGDB=y\nCONFIG_OWN=y\nCONFIG_PREEMPT_NONE=y\nCONFIG_CC_VERSION_TEXT=12\n"
    assert asked.on("6.1").losses(written(tmp_path, got, "got")) == ()
    with_key = written(tmp_path, f'{got}CONFIG_KEY="y.pem"\nCONFIG_BTF=y\n', "got")
    asked.on("6.1").check(with_key)
    (loss,) = asked.on("6.1").losses(with_key)
    assert loss.startswith("not as in the .config (")
    assert loss.endswith("CONFIG_KEY, CONFIG_BTF")
    without = kconfig.load("base", tmp_path).on("6.1")
    assert not {"CONFIG_KEY", "CONFIG_FIRMWARE", "CONFIG_BTF"} & set(without.options)


@pytest.mark.parametrize(
    "text", ["base+{whole}", "more+{whole}", "{whole}+base", "{whole}+{other}"]
)
def test_a_whole_configuration_stands_first_and_alone(text: str, tmp_path: Path) -> None:
    written(tmp_path, ON_WHOLE)
    written(tmp_path, "CONFIG_MORE=y\n", "more")
    places = {"whole": written(tmp_path, WHOLE, "a"), "other": written(tmp_path, WHOLE, "b")}
    with pytest.raises(RequestError, match="is a whole configuration; name it first"):
        kconfig.load(text.format(**places), tmp_path)


def test_a_whole_configuration_of_another_machine_is_refused(tmp_path: Path) -> None:
    written(tmp_path, "")
    whole = written(tmp_path, WHOLE.replace("arm64", "x86"), "theirs")
    with pytest.raises(RequestError, match="is a configuration for x86; give one for arm64"):
        kconfig.load(str(whole), tmp_path)


# What a whole configuration may ask for that gcc, or another version, makes another kernel of.
ANOTHER = {
    "CONFIG_CC_IS_CLANG": "compiler",
    "CONFIG_LTO_CLANG": "LTO",
    "CONFIG_LTO_CLANG_THIN": "LTO",
    "CONFIG_LTO_CLANG_FULL": "LTO",
    "CONFIG_CFI_CLANG": "CFI",
    "CONFIG_CFI": "CFI",
    "CONFIG_SHADOW_CALL_STACK": "shadow call stack",
    "CONFIG_ARM64_BTI_KERNEL": "pointer authentication or branch targets",
    "CONFIG_KASAN_HW_TAGS": "sanitizer",
    "CONFIG_KASAN_SW_TAGS": "sanitizer",
    "CONFIG_PREEMPT_RT": "preemption",
    "CONFIG_PREEMPT_VOLUNTARY": "preemption",
    "CONFIG_ARM64_64K_PAGES": "page size",
    "CONFIG_ARM64_VA_BITS_52": "address bits",
}


@pytest.mark.parametrize(("option", "kind"), ANOTHER.items())
def test_another_kernel_is_refused_with_what_was_lost(
    option: str, kind: str, tmp_path: Path
) -> None:
    written(tmp_path, ON_WHOLE)
    whole = written(tmp_path, f"{WHOLE}{option}=y\nCONFIG_DRIVER=y\n", "theirs")
    kept = "CONFIG_KGDB=y\nCONFIG_OWN=y\nCONFIG_PREEMPT_NONE=y\nCONFIG_CC_IS_GCC=y\n"
    got = written(tmp_path, kept, "got")
    with pytest.raises(RequestError) as error:
        kconfig.load(str(whole), tmp_path).on("6.1").require_same_kernel(got)
    assert str(error.value) == (
        f"{whole}:9: kstep builds with gcc and would make another kernel, without {option}"
        f" ({kind}); to test that one, name a fragment after this file (--kconfig"
        f" {whole}+FRAGMENT) with the lines: # {option} is not set"
    )
    # Whoever says so gets that kernel; with the option it is the one that was asked for.
    said = written(tmp_path, f"# {option} is not set\n", "said")
    accepted = kconfig.load(f"{whole}+{said}", tmp_path).on("6.1")
    accepted.require_same_kernel(got)
    accepted.require_met(got)
    has_it = written(tmp_path, f"{kept}{option}=y\n", "got")
    kconfig.load(str(whole), tmp_path).on("6.1").require_same_kernel(has_it)


def test_all_that_was_lost_is_named_at_once(tmp_path: Path) -> None:
    written(tmp_path, ON_WHOLE)
    lost = "".join(f"{option}=y\n" for option in ANOTHER)
    whole = written(tmp_path, WHOLE + lost, "theirs")
    got = written(tmp_path, "CONFIG_PREEMPT_NONE=y\n", "got")
    with pytest.raises(RequestError) as error:
        kconfig.load(str(whole), tmp_path).on("6.1").require_same_kernel(got)
    assert all(f"{option} ({kind})" in str(error.value) for option, kind in ANOTHER.items())
    assert "\n" not in str(error.value)


def test_only_a_driver_less_is_the_same_kernel(tmp_path: Path) -> None:
    """It is told, and so are modules; what a fragment of ours lacks is no part of this."""
    written(tmp_path, ON_WHOLE)
    whole = written(tmp_path, f"{WHOLE}CONFIG_DRIVER=y\nCONFIG_OTHER=m\n", "theirs")
    config = kconfig.load(str(whole), tmp_path).on("6.1")
    got = "CONFIG_KGDB=y\nCONFIG_OWN=y\nCONFIG_PREEMPT_NONE=y\nCONFIG_OTHER=m\n"
    path = written(tmp_path, got, "got")
    config.require_same_kernel(path)
    lost, modules = config.losses(path)
    assert lost.endswith(": CONFIG_DRIVER")
    assert modules == "modules, which kstep does not build: CONFIG_OTHER"
    base = kconfig.load("base", tmp_path).on("6.1")
    base.require_same_kernel(path)
    assert not [loss for loss in base.losses(path) if "module" in loss]


# -- what a session needs


def test_what_no_version_of_a_configuration_has_is_known_before(tmp_path: Path) -> None:
    """Of a whole one only what it says itself, for the rest may come by a default."""
    written(tmp_path, "CONFIG_A=y\nCONFIG_B=y  # from 6.5: x\n# CONFIG_C is not set\n")
    written(tmp_path, "# CONFIG_A is not set\n# CONFIG_B is not set # up to 6.19: x\n", "one")
    whole = written(tmp_path, WHOLE, "theirs")
    for text, lacking in (("base", "CD"), ("one", "ACD"), (str(whole), "C")):
        asked = kconfig.load(text, tmp_path)
        assert "".join(each for each in "ABCD" if asked.surely_lacks(f"CONFIG_{each}")) == lacking


def test_sessions_that_can_be_run_nowhere_are_refused_with_the_fix(tmp_path: Path) -> None:
    """One that can be, on one of the configurations, is enough."""
    written(tmp_path, "CONFIG_A=y\n")
    written(tmp_path, "CONFIG_B=y\n", "one")
    base, one = (kconfig.load(name, tmp_path) for name in ("base", "one"))
    for needed, configs in (
        ({"s": ["CONFIG_B"]}, [base, one]),
        ({"s": ["CONFIG_C"], "t": ["CONFIG_A"]}, [base]),
        ({"s": []}, [base]),
        ({"s": ["CONFIG_C"], "t": []}, [base]),
    ):
        kconfig.require_some(needed, configs, tmp_path)
    for needed, mend in (
        ({"s": ["CONFIG_A", "CONFIG_B"]}, "CONFIG_B.* base .*; --kconfig one has it"),
        (
            {"s": ["CONFIG_C"], "t": ["CONFIG_B"]},
            "CONFIG_C.*; put CONFIG_C=y into your own fragment",
        ),
    ):
        with pytest.raises(RequestError, match=f"^session s: needs {mend}"):
            kconfig.require_some(needed, [base], tmp_path)


def test_only_what_is_built_in_is_there() -> None:
    options = {"CONFIG_A": "y", "CONFIG_B": "m", "CONFIG_C": "n"}
    assert kconfig.lacking(["CONFIG_A"], options) is None
    for name in ("CONFIG_B", "CONFIG_C", "CONFIG_D"):
        assert kconfig.lacking(["CONFIG_A", name], options) == name


# -- what Kconfig made of it


def test_an_option_that_kconfig_dropped_or_changed_is_named(tmp_path: Path) -> None:
    config = Kconfig("x", {"CONFIG_A": "y", "CONFIG_B": "y", "CONFIG_C": "n", "CONFIG_D": "n"})
    got = written(tmp_path, "CONFIG_A=y\n# CONFIG_B is not set\nCONFIG_C=m\nCONFIG_OTHER=y\n")
    with pytest.raises(MachineryError) as error:
        config.check(got)
    assert str(error.value).endswith("CONFIG_B=n, not y; CONFIG_C=m, not n")
    assert "2 requested option(s)" in str(error.value)


def test_an_option_that_kconfig_does_not_take_is_named_with_its_line(tmp_path: Path) -> None:
    """A wish of a whole configuration is none of these."""
    written(tmp_path, "CONFIG_A=y\n")
    mine = written(tmp_path, "# mine\nCONFIG_B=y\n# CONFIG_C is not set\n", "mine")
    whole = written(tmp_path, WHOLE, "theirs")
    got = written(tmp_path, "CONFIG_A=y\nCONFIG_B=y\nCONFIG_C=y\n", "got")
    for text in (str(mine), f"{whole}+{mine}"):
        with pytest.raises(RequestError) as error:
            kconfig.load(text, tmp_path).on("6.1").require_met(got)
        assert str(error.value).startswith(f"{mine}:3: Kconfig set CONFIG_C=y, not n: an unmet")
    kconfig.load("base", tmp_path).on("6.1").require_met(got)
