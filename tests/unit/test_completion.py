# SPDX-License-Identifier: GPL-2.0-only
"""What the value of an option may become, and in a real bash."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path

import pytest

from kstep import completion

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("line", "some", "others"),
    [
        ("verify --sessions ", ["step-in-order", "kdb-entry", "quick"], ["none"]),
        ("verify --sessions", ["step-in-order"], []),
        ("verify --sessions kdb-entry,st", ["kdb-entry,step-in-order"], ["step-in-order"]),
        ("verify --sessions step-in-order[v", ["step-in-order[vfs_mkdir]"], ["kdb-entry"]),
        ("verify --sessions 'step-in-order[v", ["step-in-order[vfs_mkdir]"], []),
        ("verify --sessions=st", ["--sessions=step-in-order"], []),
        ("sessions --sessions st", ["step-in-order"], []),
        ("verify --series ", ["v5", "v6"], ["none"]),
        ("verify --variants ", ["none", "v5/1", "v6/1+2"], []),
        ("verify --series v6 --variants none,", ["none,v6/1+2"], ["none,v5/1"]),
        ("step vfs_mkdir --variant ", ["none", "v6/2"], []),
        ("verify --tree ", ["debian:6.1", "path:"], []),
        ("verify --tree debian:6", ["debian:6.12"], []),
        ("verify --tree debian : 6", ["6.12"], ["debian:6.12", "path:"]),
        ("verify --tree debian :", ["6.12"], []),
        ("verify --tree = debian", ["debian:6.1"], []),
        ("verify --kconfig base,l", ["base,lockdown"], []),
        ("verify --matrix ", ["each", "subsets"], []),
        ("verify --compiler gcc,", ["gcc,clang"], []),
        ("verify --suite t", ["trixie"], []),
        ("verify --toolchain ", ["docker"], []),
        ("bisect --session kdb-cpus --function ", ["btc"], ["kdb-cpus"]),
    ],
)
def test_values(line: str, some: list[str], others: list[str]) -> None:
    found = completion.values(line, ROOT)
    assert found is not None
    assert set(some) <= set(found)
    assert not set(others) & set(found)


@pytest.mark.parametrize(
    "line", ["", "ver", "verify --sess", "verify --repeat 1", "verify --out d", "report runs/l"]
)
def test_what_is_no_value_of_ours_is_left_to_others(line: str) -> None:
    assert completion.values(line, ROOT) is None


def test_nothing_is_offered_where_what_stands_before_is_wrong() -> None:
    assert completion.values("verify --series v99 --variants ", ROOT) is None


@pytest.mark.parametrize(
    ("words", "replies"),
    [
        (["verify", "--sessions", "step-in-o"], ["step-in-order"]),
        (["verify", "--sessions", "quick,kdb-pan"], ["quick,kdb-panic"]),
        (["verify", "--sessions", "step-in-order[vfs"], ["step-in-order[vfs_mkdir]"]),
        (["verify", "--variants", "v5/1"], ["v5/1", "v5/1+2"]),
        (["verify", "--tree", "debian", ":", "6.12"], ["6.12"]),
        (["verify", "--sessions", "quick", "--pl"], ["--plan"]),
        (["verify", "--out", "a 'b"], []),
    ],
)
def test_bash_completes_values(words: list[str], replies: list[str]) -> None:
    inv = ROOT / "inv"
    typed = shlex.join(["./inv", *words])
    asked = (
        f"source <({shlex.quote(str(inv))} --print-completion-script bash)"
        f" && COMP_WORDS=({typed}) COMP_CWORD={len(words)}"
        f" && _complete_inv ./inv {shlex.quote(words[-1])}"
        ' && printf "%s\\n" "${COMPREPLY[@]}"'
    )
    done = subprocess.run(
        ["bash", "-c", asked], cwd="/", capture_output=True, text=True, check=False
    )
    assert done.stderr == ""
    assert done.stdout.split() == replies
