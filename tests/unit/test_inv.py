# SPDX-License-Identifier: GPL-2.0-only
"""The script ./inv: when it makes .venv, what it says where it cannot, how it starts Python.

Here python3 is a stub that notes what it is asked for: nothing is installed.
"""

from __future__ import annotations

import shlex
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from tests.unit.conftest import a_checkout, program

if TYPE_CHECKING:
    from pathlib import Path

# As the real one where it matters: `-m venv FOLDER` makes a python, whose pip may fail.
PYTHON = """\
echo "$0 $*" >>{note}
case "$*" in
*ensurepip*) {ensurepip} ;;
*version_info*) {version} ;;
"-m venv "*) mkdir -p "$3/bin" && cp "$0" "$3/bin/python" ;;
*" pip "*) {pip} ;;
*) env >{environment}; echo "ran: $*" ;;
esac"""


@dataclass(frozen=True)
class Machine:
    """A checkout without .venv, and a PATH with a python3 of ours, and nothing of apt's."""

    folder: Path
    scratch: Path

    def python(
        self,
        name: str = "python3",
        *,
        version: str = "true",
        ensurepip: str = "true",
        pip: str = "true",
    ) -> None:
        """Have a Python; a word is a command, and ``false`` of ``version`` says too old."""
        text = PYTHON.format(
            note=shlex.quote(str(self.scratch / "note")),
            environment=shlex.quote(str(self.scratch / "environment")),
            version=version,
            ensurepip=ensurepip,
            pip=pip,
        )
        program(self.scratch / "bin" / name, text)

    def inv(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run ./inv."""
        return subprocess.run(
            [self.folder / "inv", *arguments],
            cwd=self.scratch,
            env={"PATH": f"{self.scratch / 'bin'}", **environment},
            capture_output=True,
            text=True,
            check=False,
        )

    def asked(self, what: str) -> list[str]:
        """Return the calls of Python that have a word in them, and forget all."""
        note = self.scratch / "note"
        found = [line for line in note.read_text().splitlines() if what in line]
        note.unlink()
        return found

    @property
    def left(self) -> list[str]:
        """Name what there is of virtual environments."""
        return sorted(path.name for path in self.folder.glob(".venv*"))


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """Return a machine that has what every system has, and a python3."""
    found = Machine(a_checkout(tmp_path / "a checkout"), tmp_path / "scratch")
    (found.scratch / "bin").mkdir(parents=True)
    for name in (
        "bash",
        "cat",
        "cp",
        "cut",
        "dirname",
        "env",
        "id",
        "mkdir",
        "mv",
        "rm",
        "readlink",
    ):
        (found.scratch / "bin" / name).symlink_to(f"/usr/bin/{name}")
    (found.scratch / "bin/sha256sum").symlink_to("/usr/bin/sha256sum")
    program(found.scratch / "bin/sudo", "exit 1")
    program(found.scratch / "bin/apt-get", "exit 1")
    found.python()
    return found


def test_the_first_use_makes_it_and_the_next_does_not(machine: Machine) -> None:
    done = machine.inv("verify", "--plan")
    root = machine.folder
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"ran: -m kstep --search-root {root} verify --plan\n"
    assert done.stderr == "kstep: making .venv from requirements.lock\n"
    [made] = machine.asked(" pip ")
    assert "--require-hashes" in made
    assert made.endswith(f"-r {root}/requirements.lock")
    again = machine.inv("verify", "--plan")
    assert (again.stdout, again.stderr) == (done.stdout, "")
    assert machine.asked(" pip ") == []
    assert machine.left == [".venv"]


def test_a_link_to_it_may_stand_anywhere(machine: Machine) -> None:
    link = machine.scratch / "bin/kstep"
    link.symlink_to(machine.folder / "inv")
    done = subprocess.run(
        [link, "doctor"],
        cwd="/",
        env={"PATH": str(machine.scratch / "bin")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == f"ran: -m kstep --search-root {machine.folder} doctor\n", done.stderr


def test_another_lock_makes_another(machine: Machine) -> None:
    machine.inv()
    (machine.folder / ".venv/of-the-old-one").touch()
    with (machine.folder / "requirements.lock").open("a") as lock:
        lock.write("# one more\n")
    machine.asked("")
    assert "making .venv" in machine.inv().stderr
    assert len(machine.asked(" pip ")) == 1
    assert not (machine.folder / ".venv/of-the-old-one").exists()
    assert "making .venv" not in machine.inv().stderr


def test_with_no_command_it_lists_them(machine: Machine) -> None:
    assert machine.inv().stdout.endswith(" --list\n")


def test_a_pip_that_fails_leaves_what_was_there(machine: Machine) -> None:
    machine.inv()
    (machine.folder / ".venv/lock.sha256").write_text("another\n")
    machine.python(pip="exit 1")
    done = machine.inv()
    assert (done.returncode, done.stdout) == (3, "")
    assert "pip could not install requirements.lock" in done.stderr
    assert machine.left == [".venv"]
    assert (machine.folder / ".venv/lock.sha256").read_text() == "another\n"


@pytest.mark.parametrize(
    ("missing", "status", "said"),
    [
        ({"version": "exit 1"}, 2, "needs Python 3.11 or later on PATH, as python3 or python3.NN"),
        ({"ensurepip": "exit 1"}, 3, "cannot install it here; run: sudo apt-get install"),
    ],
)
def test_what_is_missing_is_named(
    machine: Machine, missing: dict[str, str], status: int, said: str
) -> None:
    machine.python(**missing)
    done = machine.inv()
    assert (done.returncode, done.stdout) == (status, "")
    assert said in done.stderr
    assert machine.left == []


def test_a_newer_python_beside_one_that_is_too_old_is_taken(machine: Machine) -> None:
    machine.python(version="exit 1")
    machine.python("python3.10", version="exit 1")
    machine.python("python3.12", ensurepip="exit 1")
    done = machine.inv()
    assert done.returncode == 3
    assert "run: sudo apt-get install python3.12-venv" in done.stderr
    machine.python("python3.12")
    assert machine.inv().returncode == 0
    [made] = machine.asked("-m venv ")
    assert made.startswith(f"{machine.scratch}/bin/python3.12 -m venv ")


# As Ubuntu 22.04: python3 is 3.10, and python3.11 a package.
APT_CACHE = '[ "$*" != "show python3.11-venv" ] || echo Package: python3.11-venv'


def test_who_may_not_install_is_told_a_command_that_helps_on_this_system(machine: Machine) -> None:
    """A python3 of 3.10 is no newer for being installed again."""
    machine.python(version="exit 1")
    program(machine.scratch / "bin/apt-cache", APT_CACHE)
    done = machine.inv()
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines()[1:] == [
        "kstep: cannot install it here; run: sudo apt-get install python3.11 python3.11-venv"
    ]


def test_a_python_that_apt_has_is_installed_where_we_may(machine: Machine) -> None:
    machine.python(version="exit 1")
    program(machine.scratch / "bin/apt-cache", APT_CACHE)
    program(machine.scratch / "bin/sudo", 'shift; exec "$@"')
    machine.python("of-apt")
    wanted = "install -y -qq python3.11 python3.11-venv"
    bin_ = shlex.quote(str(machine.scratch / "bin"))
    script = f'[ "$*" != "{wanted}" ] || mv {bin_}/of-apt {bin_}/python3.11'
    program(machine.scratch / "bin/apt-get", script)
    done = machine.inv()
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines() == [
        "kstep: there is no python3, or it is older than 3.11: installing python3.11",
        "kstep: making .venv from requirements.lock",
    ]


def test_the_user_s_settings_of_python_are_not_ours(machine: Machine) -> None:
    """With -O there are no assertions, with -OO no docstrings: those are a session's text."""
    machine.inv(PYTHONOPTIMIZE="2", PYTHONWARNINGS="error", PYTHONHOME="/none", PYTHONPATH="/x")
    lines = (machine.scratch / "environment").read_text().splitlines()
    found = sorted(line for line in lines if line.startswith("PYTHON"))
    assert found == [f"PYTHONPATH={machine.folder}", "PYTHONSAFEPATH=1", "PYTHONUTF8=1"]


def test_what_is_called_as_a_module_of_ours_may_stand_around(inv: Path, tmp_path: Path) -> None:
    for name in ("json.py", "rich.py", "kstep.py"):
        (tmp_path / name).write_text("raise SystemExit('not mine')\n")
    done = subprocess.run(
        [inv, "ci.matrix"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_cd_goes_where_it_is_told(machine: Machine, tmp_path: Path) -> None:
    """With CDPATH it looks elsewhere first, and says so on standard output."""
    (tmp_path / "elsewhere/a checkout").mkdir(parents=True)
    done = subprocess.run(
        ["bash", "a checkout/inv"],
        cwd=tmp_path,
        env={"PATH": f"{machine.scratch / 'bin'}", "CDPATH": f"{tmp_path / 'elsewhere'}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == f"ran: -m kstep --search-root {machine.folder} --list\n", done.stderr


def test_a_shell_completes_it(inv: Path) -> None:
    """By what it is typed as, and from wherever."""
    complete = (
        'COMP_WORDS=(./inv veri) COMP_CWORD=1 && _complete_inv ./inv veri && echo "${COMPREPLY[@]}"'
    )
    script = f"source <({shlex.quote(str(inv))} --print-completion-script bash) && {complete}"
    asked = f"{script} && complete -p inv && complete -p ./inv"
    done = subprocess.run(
        ["bash", "-c", asked], cwd="/", capture_output=True, text=True, check=False
    )
    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        "verify",
        "complete -o default -F _complete_inv inv",
        "complete -o default -F _complete_inv ./inv",
    ]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_no_shell_is_told_of_another_program(inv: Path, shell: str) -> None:
    done = subprocess.run(
        [inv, "--print-completion-script", shell],
        capture_output=True,
        text=True,
        check=True,
    )
    asks = [line for line in done.stdout.splitlines() if "--complete" in line and "#" not in line]
    assert len(asks) == 1
    assert shlex.quote(str(inv)) in asks[0]
    assert "__main__" not in done.stdout
