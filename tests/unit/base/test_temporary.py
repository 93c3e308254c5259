# SPDX-License-Identifier: GPL-2.0-only
"""What is temporary goes with its owner, and nothing else goes."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from kstep.base import owner, temporary


def of_a_dead_process() -> str:
    """Name a process that has ended."""
    pid, started, place = owner.name().split("-")
    return f"{pid}-{int(started, 16) - 1:x}-{place}"


def test_a_folder_is_named_by_its_owner_and_is_removed(tmp_path: Path) -> None:
    with temporary.folder() as made:
        match = temporary.NAME.fullmatch(Path(made).name)
        assert match is not None
        assert match["owner"] == owner.name()
        assert Path(made).parent == Path(tempfile.gettempdir())
    assert not Path(made).exists()
    with temporary.folder(tmp_path) as made:
        assert Path(made).parent == tmp_path
        assert Path(made).name.startswith(".kstep-")


def test_a_file_is_the_old_one_or_the_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    temporary.replace(path, "old")

    def die(_path: Path, _target: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", die)
        with pytest.raises(KeyboardInterrupt):
            temporary.replace(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
    temporary.replace(path, "new", synced=True)
    assert path.read_text() == "new"


def test_only_what_dead_processes_have_left_is_swept(tmp_path: Path) -> None:
    dead = of_a_dead_process()
    kept = [
        tmp_path / "results.json",
        tmp_path / "kstep-notes-of-mine",
        tmp_path / f"{temporary.prefix()}abc",
        tmp_path / "kstep-1-1-ffffff-abc",  # of another machine, for all we know
        tmp_path / f"my-kstep-{dead}-abc",
    ]
    for path in kept:
        path.write_text("x")
    (tmp_path / f".kstep-{dead}-results.json").write_text("half")
    (tmp_path / f"kstep-{dead}-abc" / "deep").mkdir(parents=True)
    outside = tmp_path / "results.json"
    (tmp_path / f"kstep-{dead}-link").symlink_to(outside)
    (tmp_path / f"kstep-{dead}-folder").symlink_to(tmp_path)
    temporary.sweep([tmp_path, tmp_path / "nowhere"])
    assert sorted(tmp_path.iterdir()) == sorted(kept)
