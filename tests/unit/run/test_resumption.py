# SPDX-License-Identifier: GPL-2.0-only
"""A run that is cut off and goes on: each cell once, and from the same inputs."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from kstep.base.cache import Cache
from kstep.base.errors import MachineryError, RequestError
from kstep.base.outcome import Outcome, Signature
from kstep.base.progress import Progress
from kstep.build.kconfig import Kconfig
from kstep.image import debuginfo
from kstep.results.record import Record, load
from kstep.run import inputs, request, resumption, verification
from kstep.run.boot import Result
from kstep.run.building import Built
from kstep.run.tools import Tools
from kstep.run.verification import Verification
from kstep.source.tree import Tree
from kstep.toolchain import Versions
from kstep.toolchain.accel import Accel
from tests.unit.fakeboot import Bench
from tests.unit.results.material import ASKED, a_record

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from kstep.results.cell import Cell
    from kstep.run.boot import Boot

ROOT = Path(__file__).parents[3]
SESSION = "step-in-order"  # has six cases


class Played:
    """A scheduler that plays; ``ends`` says how the cells end, by their number from 1."""

    def __init__(self, ends: Callable[[int], Outcome] = lambda _number: Outcome.PASS) -> None:
        self._ends = ends
        self.ran: list[Cell] = []

    def run(
        self,
        boots: Sequence[Boot],
        _toolchain: object,
        _folder: Path,
        _on_start: Callable[[Cell], None],
        on_result: Callable[[Result], None],
    ) -> None:
        """Give each cell its result."""
        for boot in boots:
            for cell in boot.cells:
                outcome = self._ends(len(self.ran) + 1)
                self.ran.append(cell)
                signature = Signature.MACHINE_DIED if outcome is Outcome.ERROR else None
                on_result(Result(cell, outcome, signature, boot_seconds=1.0))


class Place:
    """Where a run of v6's ``none`` and v6/2 and v6/1+2 is; the first two are one kernel."""

    def __init__(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = tmp_path / "run"
        self.bench = Bench(tmp_path / "bench")
        (self.bench.kernel_folder / "config").write_text("")
        self.inputs = {"patch v6/1": "1", "guest": "2"}
        monkeypatch.setattr(verification, "prepare", self._prepare)
        monkeypatch.setattr(debuginfo, "keep", lambda *_: None)

    def _prepare(self, *given: Any, **_: Any) -> Any:  # noqa: ANN401 -- plays the module's
        former = given[-1]
        if former is not None:
            inputs.require_same(former, self.inputs)
        tree = Tree("debian:6.1", "6.1.1", "", Path())
        sources = SimpleNamespace(actions={}, patches={})

        def built(*names: str) -> Built:
            variants = tuple((SimpleNamespace(name=name), sources) for name in names)
            return Built(tree, Kconfig("base", {}), cast("Any", variants), self.bench.kernel)

        tools = SimpleNamespace(
            suite="",
            toolchain=SimpleNamespace(kind="host", image_digest=None, debian="bookworm"),
            versions={"gcc": Versions("gcc", "ld", "qemu", "gdb")},
            initramfs=SimpleNamespace(
                path=self.bench.initramfs, busybox_version="", busybox_sha256="", sha256=""
            ),
        )
        return SimpleNamespace(
            tools=(tools,),
            tools_of=lambda _suite: tools,
            accel=Accel.TCG,
            trees=(tree,),
            initramfs=tools.initramfs,
            built=(built("none", "v6/2"), built("v6/1+2")),
            left_out=(),
            host=None,
            inputs=self.inputs,
        )

    def verify(self, scheduler: Played, *, resume: bool = False) -> tuple[Verification, Record]:
        """Carry the request out, or go on with it."""
        asked = request.look_up(
            ROOT,
            series_specs=["v6"],
            tree_specs=["debian:6.1"],
            variant_names=["none", "v6/2", "v6/1+2"],
            session_names=[SESSION],
        )
        with Progress() as progress:
            job = Verification(
                asked,
                folder=self.folder,
                toolchain_kind="host",
                accel_kind="tcg",
                scheduler=cast("Any", scheduler),
                argv=["verify"],
                typed=ASKED,
                cache=Cache(self.folder.parent / "cache"),
                progress=progress,
                resume=resume,
            )
            return job, job.run()


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """Give a place."""
    return Place(tmp_path, monkeypatch)


def cut_at(last: int) -> Callable[[int], Outcome]:
    """Have Ctrl-C come in the middle of the cell after the last; the second is an error."""

    def ends(number: int) -> Outcome:
        if number > last:
            raise KeyboardInterrupt
        return Outcome.ERROR if number == 2 else Outcome.PASS

    return ends


def test_a_run_that_is_cut_off_has_its_record_and_reports(place: Place) -> None:
    job, record = place.verify(Played(cut_at(3)))
    assert job.interrupted
    # Three cells have run, for two variants each; the one that ended in an error has a result.
    assert len(record.cells) == 6
    assert len(job.to_come) == 3 * 6 - 6
    data = json.loads((place.folder / "results.json").read_text())
    assert len(data["cells"]) == 6
    assert (place.folder / "report.html").exists()
    assert (place.folder / "junit.xml").exists()


def test_it_goes_on_with_the_cells_that_have_no_verdict(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    first = Played(cut_at(9))
    place.verify(first)
    _, kernel = load(place.folder).kernels[:2]
    second = Played()
    job, record = place.verify(second, resume=True)
    assert (job.interrupted, job.to_come) == (False, set())
    again = set(first.ran) & set(second.ran)
    assert again == {first.ran[1]}, "the one that ended in an error"
    assert len(second.ran) == 12 - 9 + 1
    assert len(record.cells) == 18
    assert {each.outcome for each in record.cells} == {Outcome.PASS}
    assert load(place.folder).cells == record.cells
    assert record.kernels[1] == kernel
    (resumed,) = cast("list[str]", record.run.host["resumed"])
    assert resumed >= record.run.started
    said = " ".join(capsys.readouterr().err.split())
    assert "resumed: 13 cells have a verdict; 2 that ended without one are run again" in said


def test_a_cell_that_only_one_of_two_equal_kernels_has_is_run_again(place: Place) -> None:
    """Kstep was killed between the two."""
    place.verify(Played())
    journal = place.folder / "cells.jsonl"
    lines = journal.read_text().splitlines(keepends=True)
    second = next(line for line in lines if json.loads(line)["variant"] == "v6/2")
    journal.write_text("".join(lines).replace(second, ""))
    data = json.loads((place.folder / "results.json").read_text())
    data["cells"].remove(json.loads(second))
    (place.folder / "results.json").write_text(json.dumps(data))
    played = Played()
    _, record = place.verify(played, resume=True)
    (ran,) = played.ran
    assert (ran.variant, ran.case) == ("none", json.loads(second)["case"])
    assert len(record.cells) == 18


@pytest.mark.parametrize(
    ("method", "calls"),
    [("add_tree", 0), ("add_kernel", 0), ("add_kernel", 1), ("add_kernel", 2)],
)
def test_a_run_cut_off_before_its_trees_and_kernels_are_recorded_goes_on(
    place: Place, monkeypatch: pytest.MonkeyPatch, method: str, calls: int
) -> None:
    """As by a full disk, after the record was opened."""
    real, left = getattr(Record, method), iter([True] * calls)

    def full(record: Record, *given: object) -> None:
        if not next(left, False):
            raise MachineryError("no space left")
        real(record, *given)

    with monkeypatch.context() as patched:
        patched.setattr(Record, method, full)
        with pytest.raises(MachineryError, match="no space left"):
            place.verify(Played())
    _, record = place.verify(Played(), resume=True)
    assert len(record.cells) == 18
    assert [each.id for each in record.trees] == ["debian:6.1"]
    assert [(each.variant, each.same_as) for each in record.kernels] == [
        ("none", None),
        ("v6/2", "none"),
        ("v6/1+2", "none"),
    ]


class Mute(Played):
    """A scheduler by which the kernel of v6/1+2 stays silent, and that of ``none`` boots."""

    def run(
        self,
        boots: Sequence[Boot],
        _toolchain: object,
        _folder: Path,
        _on_start: Callable[[Cell], None],
        on_result: Callable[[Result], None],
    ) -> None:
        """Have those that stay silent come first."""
        for boot in reversed(boots):
            for cell in boot.cells:
                if cell.variant == "none":
                    on_result(Result(cell, Outcome.PASS, boot_seconds=2.0))
                else:
                    on_result(Result(cell, Outcome.ERROR, Signature.NO_BOOT, "mute", silent=2))


def test_a_kernel_that_stays_silent_has_failed_once_another_boots(place: Place) -> None:
    """In the record too, where it had no verdict before."""
    _, record = place.verify(Mute())
    for cells in (record.cells, load(place.folder).cells):
        mute = [each for each in cells if each.cell.variant == "v6/1+2"]
        assert {(each.outcome, each.signature) for each in mute} == {(Outcome.FAIL, Signature.HANG)}
        assert all(each.died_at_boot for each in mute)
    lines = (place.folder / "cells.jsonl").read_text().splitlines()
    assert len(lines) == 18 + 6, "a line for each, and the verdict on six"


def test_that_another_booted_before_the_run_was_cut_off_counts(place: Place) -> None:
    def ends(number: int) -> Outcome:
        if number > 6:
            raise KeyboardInterrupt
        return Outcome.PASS

    place.verify(Played(ends))
    _, record = place.verify(Mute(), resume=True)
    mute = [each for each in record.cells if each.cell.variant == "v6/1+2"]
    assert [each.signature for each in mute] == [Signature.HANG] * 6
    assert len((place.folder / "cells.jsonl").read_text().splitlines()) == 18


def test_a_run_that_is_done_has_nothing_to_run(place: Place) -> None:
    place.verify(Played())
    played = Played()
    job, record = place.verify(played, resume=True)
    assert (played.ran, len(record.cells), job.to_come) == ([], 18, set())


def test_other_inputs_are_refused_and_named(place: Place) -> None:
    place.verify(Played(cut_at(3)))
    before = (place.folder / "results.json").read_bytes()
    place.inputs = {"patch v6/1": "other", "session x": "1"}
    with pytest.raises(
        RequestError,
        match=r"^--resume: inputs differ from those of the run: patch v6/1 changed; guest gone;"
        r" session x new; start a new run, without --resume$",
    ):
        place.verify(Played(), resume=True)
    assert (place.folder / "results.json").read_bytes() == before


HOLD = """
import sys, pathlib
from kstep.results.record import hold
with hold(pathlib.Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_run_that_goes_on_still_is_left_alone(place: Place) -> None:
    """Until the kstep that has it ends, by whatever."""
    place.verify(Played(cut_at(3)))
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, place.folder],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(RequestError, match="still running; wait for its end"):
            place.verify(Played(), resume=True)
        other.kill()
    place.verify(Played(), resume=True)


def test_options_of_the_request_may_be_given_again_and_jobs_may_be_other(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    record = a_record(run)
    record.request = place = replace(ASKED, variants=("none", "v6/2"), jobs=1)
    record.inputs = {"guest": "1"}
    record.write()
    given = {"variants": "none,v6/2", "series": "v5,v6", "jobs": "8"}
    assert resumption.request_of(run, given) == place
    with pytest.raises(RequestError, match="--matrix subsets: the run that --resume names has no"):
        resumption.request_of(run, {"matrix": "subsets"})


# -- the inputs of a run


def inputs_of(root: Path, **more: Any) -> dict[str, str]:  # noqa: ANN401 -- of look_up()
    """Name the inputs of a run in another kstep's folder."""
    asked = request.look_up(
        root,
        **{
            "series_specs": ["v6"],
            "tree_specs": ["debian:6.1"],
            "session_names": ["kdb-commands", SESSION],
            **more,
        },
    )
    compilers = asked.compilers
    return inputs.inputs(
        asked,
        [Tree("debian:6.1", "6.1.1", "7e", root)],
        [
            Tools(
                suite,
                cast("Any", SimpleNamespace(kind="docker", image_digest="sha256:1")),
                {each.name: Versions(each.name, "ld 2", "qemu 7", "gdb 13") for each in compilers},
                cast("Any", None),
            )
            for suite in asked.suites
        ],
        Accel.TCG,
    )


@pytest.mark.parametrize(
    ("file", "changed"),
    [
        ("tests/sessions/kdb_commands.py", ["session kdb-commands"]),
        ("tests/session_parts/kdb_memory.py", ["session kdb-commands"]),
        ("tests/sessions/kgdbts.py", []),
        ("tests/guest/init.c", ["guest"]),
        ("patches/v6/*.patch", ["patch v6/1", "patch v6/2"]),
        ("patches/v5/*.patch", []),
    ],
)
def test_what_changes_is_named(tmp_path: Path, file: str, changed: list[str]) -> None:
    for name in ("patches", "kconfigs", "tests", "kstep"):
        subprocess.run(["cp", "-r", ROOT / name, tmp_path / name], check=True)
    before = inputs_of(tmp_path)
    assert {"tree debian:6.1", "kconfig base", "toolchain", "emulator"} <= before.keys()
    for path in tmp_path.glob(file):
        with path.open("a") as stream:
            stream.write("# changed\n" if path.suffix == ".py" else "\n")
    after = inputs_of(tmp_path)
    assert [name for name in before if after[name] != before[name]] == changed


def test_the_tools_of_each_compiler_and_suite_are_named() -> None:
    """Those that nobody asks for have the names that they had before there was a choice."""
    usual = inputs_of(ROOT)
    assert (usual["compiler"], usual["emulator"]) == ("gcc; ld 2", "qemu 7")
    both = inputs_of(ROOT, compiler_names=["gcc", "clang"], suite_names=["trixie", "sid"])
    assert {name for name in both if name.startswith("compiler")} == {
        "compiler trixie",
        "compiler clang trixie",
        "compiler sid",
        "compiler clang sid",
    }
    assert {"toolchain trixie", "emulator sid", "gdb sid"} <= both.keys()


def test_a_configuration_that_changes_is_named(tmp_path: Path) -> None:
    mine = tmp_path / "mine.config"
    mine.write_text("CONFIG_A=y\n")
    before = inputs_of(ROOT, kconfig_names=[f"base+{mine}"])
    mine.write_text("CONFIG_A=n\n")
    after = inputs_of(ROOT, kconfig_names=[f"base+{mine}"])
    (changed,) = [name for name in before if after[name] != before[name]]
    assert changed.startswith("kconfig ")
