# SPDX-License-Identifier: GPL-2.0-only
"""The cache: an entry is made once, whoever asks, and is whole or not there."""

from __future__ import annotations

import multiprocessing
import os
import re
import shutil
import threading
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from kstep.base.cache import KINDS, Cache
from kstep.base.errors import MachineryError, RequestError

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parents[3]


def make(into: Path) -> None:
    """Make an entry slowly, and count how often."""
    with (into.parent.parent / "made").open("a") as log:
        log.write(f"{os.getpid()}\n")
    (into / "first").write_text("1")
    time.sleep(0.05)
    (into / "second").write_text("2")


def ask(root: Path) -> list[str]:
    """Ask for the entry; give what is in it."""
    return sorted(path.name for path in Cache(root).entry("trees", "key", make).iterdir())


def made(root: Path) -> int:
    """Say how often the entry was made."""
    return len((root / "made").read_text().split())


def test_threads_make_an_entry_once(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(ask, [tmp_path] * 8))
    assert found == [["first", "second"]] * 8
    assert made(tmp_path) == 1


def test_processes_make_an_entry_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(4, mp_context=context) as pool:
        found = list(pool.map(ask, [tmp_path] * 4))
    assert found == [["first", "second"]] * 4
    assert made(tmp_path) == 1


def test_entries_of_other_keys_do_not_wait_for_it(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    with cache.lock("trees-key"):
        assert cache.entry("trees", "other", make).name == "other"


def test_a_root_that_is_no_folder_is_said_to_be_so(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(MachineryError, match=r"cannot make .*file/trees: Not a dir.*KSTEP_CACHE"):
        Cache(tmp_path / "file").folder("trees")


def test_what_is_not_the_cache_s_is_not_removed(tmp_path: Path) -> None:
    """KSTEP_CACHE may be somebody's home."""
    cache = Cache(tmp_path)
    for kind in KINDS:
        (cache.folder(kind, "key") / "file").touch()
    (tmp_path / "letters").mkdir()
    cache.clear()
    assert [path.name for path in tmp_path.iterdir()] == ["letters"]
    (tmp_path / "letters").rmdir()
    cache.clear()
    assert not tmp_path.exists()


def test_every_folder_of_the_cache_is_known() -> None:
    """For clean removes no other."""
    sources = "".join(path.read_text() for path in (ROOT / "kstep").rglob("*.py"))
    named = re.findall(r"cache\.(?:folder|entry)\(\"(\w+)\"", sources)
    assert {*named, "locks"} == set(KINDS)


@pytest.mark.parametrize("fault", [ValueError, KeyboardInterrupt, SystemExit])
def test_nothing_half_made_is_left(fault: type[BaseException], tmp_path: Path) -> None:
    def fail(into: Path) -> None:
        (into / "folder").mkdir()
        (into / "folder/half").write_text("")
        raise fault

    with pytest.raises(fault):
        Cache(tmp_path).entry("trees", "key", fail)
    assert not list((tmp_path / "trees").iterdir())
    assert ask(tmp_path) == ["first", "second"]


def test_an_entry_is_not_there_before_it_is_whole(tmp_path: Path) -> None:
    def look(into: Path) -> None:
        assert not (tmp_path / "trees/key").exists()
        assert into.parent == tmp_path / "trees"  # a rename, and no copy
        assert into.stat().st_mode & 0o777 == 0o755

    assert Cache(tmp_path).entry("trees", "key", look) == tmp_path / "trees/key"


def test_what_is_there_is_not_made_again(tmp_path: Path) -> None:
    ask(tmp_path)
    ask(tmp_path)
    assert made(tmp_path) == 1


def _as_a_link(entry: Path) -> None:
    elsewhere = entry.parent.parent / "elsewhere"
    entry.rename(elsewhere)
    entry.symlink_to(elsewhere)


def _as_a_file(entry: Path) -> None:
    shutil.rmtree(entry)
    entry.write_text("")


def _as_a_link_to_nothing(entry: Path) -> None:
    shutil.rmtree(entry)
    entry.symlink_to("nothing")


@pytest.mark.parametrize("become", [_as_a_link, _as_a_file, _as_a_link_to_nothing])
def test_what_is_no_folder_is_made_again(become: Callable[[Path], None], tmp_path: Path) -> None:
    """What a link leads to is somebody's: it is neither used nor removed."""
    ask(tmp_path)
    become(tmp_path / "trees/key")
    said: list[str] = []
    Cache(tmp_path).entry("trees", "key", make, say=said.append)
    assert said == ["cache: making trees/key again: it is not a folder"]
    assert [path.name for path in (tmp_path / "trees").iterdir()] == ["key"]
    assert not (tmp_path / "trees/key").is_symlink()
    assert made(tmp_path) == 2
    if become is _as_a_link:
        assert (tmp_path / "elsewhere/first").read_text() == "1"


@pytest.mark.parametrize("name", ["my cache", "a:b", "a\nb"])
def test_where_make_cannot_build_is_refused(name: str) -> None:
    Cache(Path("/srv/a")).require_buildable()
    with pytest.raises(RequestError, match="blanks or colons; set KSTEP_CACHE to") as caught:
        Cache(Path("/srv", name)).require_buildable()
    assert "\n" not in str(caught.value)


def test_what_is_damaged_is_made_again_and_said_so(tmp_path: Path) -> None:
    ask(tmp_path)
    (tmp_path / "trees/key/second").write_text("x")

    def damage(folder: Path) -> str | None:
        return None if (folder / "second").read_text() == "2" else "second is x"

    said: list[str] = []
    for _ in range(2):
        folder = Cache(tmp_path).entry("trees", "key", make, damage, said.append)
        assert (folder / "second").read_text() == "2"
    assert said == ["cache: making trees/key again: second is x"]
    assert made(tmp_path) == 2
    assert [path.name for path in (tmp_path / "trees").iterdir()] == ["key"]


def test_a_lock_dies_with_who_holds_it(tmp_path: Path) -> None:
    def hold() -> None:
        with Cache(tmp_path).lock("x"):
            os._exit(9)

    holder = multiprocessing.get_context("fork").Process(target=hold)
    holder.start()
    holder.join()
    with Cache(tmp_path).lock("x"):
        pass


# -- where it is, and what it needs


@pytest.mark.parametrize(
    ("environment", "root"),
    [
        ({"KSTEP_CACHE": "/big/kstep", "XDG_CACHE_HOME": "/x"}, "/big/kstep"),
        ({"KSTEP_CACHE": "", "XDG_CACHE_HOME": "/x"}, "/x/kstep"),
        ({"XDG_CACHE_HOME": "", "HOME": "/home/me"}, "/home/me/.cache/kstep"),
        ({"HOME": "/home/me"}, "/home/me/.cache/kstep"),
    ],
)
def test_the_user_chooses_the_folder(
    environment: dict[str, str], root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("KSTEP_CACHE", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert Cache.default().root == Path(root)


def test_a_relative_folder_stays_where_it_was_meant(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KSTEP_CACHE", "here")
    assert Cache.default().root == tmp_path / "here"


def test_too_little_space_is_told_with_the_fix(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)
    free = shutil._ntuple_diskusage(usage.total, usage.used, 3 << 29)
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: free)
    cache = Cache(tmp_path)
    cache.require_space(1.5, "the source")
    with pytest.raises(MachineryError) as error:
        cache.require_space(3, "the source")
    assert str(error.value) == (
        f"{tmp_path}: the source needs 3 GiB, but only 1.5 are free;"
        " run ./inv clean, or set KSTEP_CACHE to a folder on a larger disk"
    )


def test_who_waits_for_a_lock_is_told(tmp_path: Path) -> None:
    cache, waited = Cache(tmp_path), threading.Event()

    def wait() -> None:
        with Cache(tmp_path).lock("x", waited.set):
            done.append(1)

    done: list[int] = []
    other = threading.Thread(target=wait)
    with cache.lock("x", lambda: done.append(0)):
        other.start()
        assert waited.wait(60)
        assert done == []
    other.join(60)
    assert done == [1]
