# SPDX-License-Identifier: GPL-2.0-only
"""Files compared with their hash, and files that are not ours."""

from __future__ import annotations

import hashlib
import os
import stat
from typing import TYPE_CHECKING

from kstep.base import digest

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_a_file_is_read_once_until_it_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, read = tmp_path / "file", list[str]()
    own = digest.sha256

    def noted(path: Path) -> str:
        read.append(path.name)
        return own(path)

    monkeypatch.setattr(digest, "sha256", noted)
    file.write_bytes(b"one")
    recorded = hashlib.sha256(b"one").hexdigest()
    for _ in range(3):
        assert digest.differs(file, recorded) is None
    assert read == ["file"]
    file.write_bytes(b"two!")
    assert digest.differs(file, recorded) == "file differs from its recorded hash"
    file.unlink()
    assert digest.differs(file, recorded) == "file: No such file or directory"


def test_only_a_file_of_root_s_or_ours_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "file"
    assert digest.foreign(file) == "file: No such file or directory"
    file.write_text("x")
    assert digest.foreign(file) is None
    assert digest.foreign(tmp_path, stat.S_IFDIR) is None
    assert digest.foreign(tmp_path) == f"{tmp_path.name} has the wrong type"
    (tmp_path / "link").symlink_to(file)
    assert digest.foreign(tmp_path / "link") == "link is a symbolic link"
    theirs = list(file.stat())
    theirs[stat.ST_UID] = os.geteuid() + 4711
    monkeypatch.setattr(type(file), "lstat", lambda _path: os.stat_result(theirs))
    assert digest.foreign(file) == "file belongs to another user"
    theirs[stat.ST_UID] = 0
    assert digest.foreign(file) is None
