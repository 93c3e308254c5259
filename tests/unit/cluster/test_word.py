# SPDX-License-Identifier: GPL-2.0-only
"""Files of a cell that come from a worker: where they may be written."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

import pytest

from kstep.cluster import word

if TYPE_CHECKING:
    from pathlib import Path


def test_they_arrive_as_they_were(tmp_path: Path) -> None:
    own = tmp_path / "there/cells/a/1"
    (own / "earlier").mkdir(parents=True)
    (own / "console.log").write_bytes(b"x\r\n\0" * 1000)
    (own / "earlier/trace.jsonl").write_text("{}\n")
    (own / "qemu.sh").write_text("#!/bin/sh\n")
    files = word.collect(tmp_path / "there", own)
    here = tmp_path / "here"
    size = word.place(files, here, here / "cells/a/1")
    assert size == sum(map(len, files.values())) < 4000
    assert (here / "cells/a/1/console.log").read_bytes() == b"x\r\n\0" * 1000
    assert (here / "cells/a/1/earlier/trace.jsonl").read_text() == "{}\n"
    assert (here / "cells/a/1/qemu.sh").stat().st_mode & 0o100


@pytest.mark.parametrize("name", ["../x", "/etc/x", "cells/b/1/x", "cells/a/1/../../x"])
def test_no_others_are_written(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="not in "):
        word.place({name: zlib.compress(b"x")}, tmp_path, tmp_path / "cells/a/1")
    assert list(tmp_path.iterdir()) == []
