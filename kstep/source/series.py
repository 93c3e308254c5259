# SPDX-License-Identifier: GPL-2.0-only
"""A patch series, read from a folder, a file, a thread or commits."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import re
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, TypedDict

import yaml

from kstep.base import document, temporary
from kstep.base.document import nearest
from kstep.base.errors import RequestError
from kstep.source import prerequisite, thread
from kstep.source.diff import apply, refusal
from kstep.source.git import Repository

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kstep.source.prerequisite import Prerequisite

SCHEMA = json.loads(Path(__file__).with_name("series.schema.json").read_text(encoding="utf-8"))

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
BASE = re.compile(rb"^base-commit: ([0-9a-f]{40,64})$", re.MULTILINE)
WORDS = 6  # of a thread's subject, for a name
TAG = re.compile(r"^\s*(\[[^]]*\]\s*)+")
LINK_OR_SUBMODULE = re.compile(
    rb"^ (create mode|delete mode|mode change|mode change \d+ =>) (120000|160000)\b", re.MULTILINE
)
# Names that are the same on both sides lack the a/ and b/ that git apply strips.
BARE = re.compile(
    rb"^(?:diff --git (?!\w/)(?P<git>.+) (?P=git)"
    rb"|--- (?!\w/)(?P<plain>[^\t\n]+)(?:\t.*)?\n\+\+\+ (?P=plain)(?:\t.*)?)$",
    re.MULTILINE,
)
SENT_IN_CRLF = re.compile(rb"^(?:diff --git |\+\+\+ ).*\r$", re.MULTILINE)


@dataclass(frozen=True)
class Patch:
    """One patch; ``id`` is its number in the series, from "1".

    ``diff`` is the input of git apply: the file, or the mail's decoded text; ``sha256`` is its
    hash. ``touched`` are the files before and after, relative to the tree's top. ``merged`` says
    which trees have it. ``ports`` are the same change for other trees; a port's ``port`` is its
    path below the series. ``changes`` are the lines added and removed in each file; 0 and 0 in a
    file that is not text.
    """

    id: str
    path: Path
    subject: str
    diff: bytes
    sha256: str
    touched: tuple[str, ...]
    message_id: str | None = None
    merged: str | None = None
    ports: tuple[Patch, ...] = ()
    port: str | None = None
    changes: Mapping[str, tuple[int, int]] = field(default_factory=dict)

    @property
    def forms(self) -> tuple[Patch, ...]:
        """The patch and its ports."""
        return (self, *self.ports)


@dataclass(frozen=True)
class Series:
    """Patches in order; ``folder`` is None if they come from a single file.

    ``base_commit`` and ``prerequisites`` are what it was made for, as its mails say. ``cover`` is
    the text of a cover letter that is still to be sent.
    """

    name: str
    patches: tuple[Patch, ...]
    folder: Path | None
    subject: str | None = None
    message_id: str | None = None  # of the cover letter, or of the first patch if there is none
    origin: str | None = None
    base_commit: str | None = None
    prerequisites: tuple[Prerequisite, ...] = ()
    cover: str | None = None


def load(spec: str, root: Path) -> Series:
    """Read a series.

    ``spec`` is a name under ``root``/patches, a folder of patches, an mbox, one patch file,
    commits as git:DIR#A..B, or a thread's message id. Raises RequestError, with the line if
    known; MachineryError if a thread cannot be fetched.
    """
    named = root / "patches" / spec
    if NAME.fullmatch(spec) and named.is_dir():
        return _load_folder(named)
    path = Path(spec)
    if spec and path.is_dir():
        return _load_folder(path)
    if path.is_file():
        return _load_file(path)
    if spec.startswith("git:"):
        return _load_range(spec)
    if thread.ID.fullmatch(spec):
        return _load_thread(spec)
    names = [folder.name for folder in (root / "patches").glob("*/")]
    raise RequestError(
        f'series "{spec}" is not a folder under patches/, nor a file; {nearest(spec, names)}'
    )


def save(series: Series, name: str, folder: Path) -> None:
    """Write a new ``folder`` with series.yaml and the patches, numbered in their order."""
    files = {
        f"{number:04}-{_safe(patch.subject)[:60].rstrip('-.')}.patch": patch
        for number, patch in enumerate(series.patches, 1)
    }
    known = {
        "name": name,
        "subject": series.subject or series.patches[0].subject,
        "message-id": series.message_id,
        "origin": series.origin,
        "cover": series.cover,
        "base-commit": series.base_commit,
        "prerequisites": [f"{each.kind} {each.id}" for each in series.prerequisites] or None,
        "patches": [
            _present_only({"file": file, "subject": patch.subject, "message-id": patch.message_id})
            for file, patch in files.items()
        ],
    }
    folder.parent.mkdir(parents=True, exist_ok=True)
    with temporary.folder(folder.parent) as scratch:
        made = Path(scratch, name)
        made.mkdir()
        for file, patch in files.items():
            (made / file).write_bytes(patch.diff)
        text = yaml.safe_dump(_present_only(known), sort_keys=False, allow_unicode=True, width=90)
        (made / "series.yaml").write_text(text, encoding="utf-8")
        made.rename(folder)


def _present_only(fields: Mapping[str, object]) -> dict[str, object]:
    return {key: value for key, value in fields.items() if value is not None}


def _load_folder(folder: Path) -> Series:
    if (folder / "series.yaml").exists():
        return _load_listed(folder)
    mails = [(path, _only_mail(path)) for path in sorted(folder.glob("*.patch"), key=_by_number)]
    patches = [(path, mail) for path, mail in mails if not thread.is_cover(mail)]
    if not patches:
        raise RequestError("contains no *.patch; put the series there", folder)
    _require_order(patches)
    covers = [mail for _, mail in mails if thread.is_cover(mail)]
    return Series(
        _safe(folder.resolve().name),
        tuple(_patch(n, path, mail, line=1) for n, (path, mail) in enumerate(patches, 1)),
        folder,
        **_heading(covers, [mail for _, mail in patches]),
    )


def _by_number(path: Path) -> list[tuple[int, str]]:
    """Sort 2.patch before 10.patch."""
    parts = re.split(r"(\d+)", path.name)
    return [(int(part) if part.isdecimal() else -1, part) for part in parts]


def _require_order(patches: Sequence[tuple[Path, bytes]]) -> None:
    """Raise if file names sort numbered mails in another order."""
    numbers = [(path, thread.number(mail)) for path, mail in patches]
    for (before, earlier), (path, later) in itertools.pairwise(numbers):
        if earlier and later and earlier[1] == later[1] and earlier > later:
            raise RequestError(
                f"its subject says {later[0]}/{later[1]}, but its name sorts after"
                f" {before.name}, {earlier[0]}/{earlier[1]}; rename them in order, or list them in"
                " series.yaml",
                path,
            )


def _load_listed(folder: Path) -> Series:
    listed = document.load(folder / "series.yaml", SCHEMA)
    found = {str(path.relative_to(folder)) for path in folder.rglob("*.patch")}
    seen: set[str] = set()

    def read(n: int, file: str, *keys: str | int) -> Patch:
        if file not in found:
            raise listed.fault(f"no file {file} here; {nearest(file, found)}", *keys, "file")
        if file in seen:
            raise listed.fault(f"{file} is listed twice; keep one", *keys, "file")
        seen.add(file)
        return _patch(n + 1, folder / file, _only_mail(folder / file), line=1)

    patches = []
    for n, entry in enumerate(listed.value["patches"]):
        ports = [
            replace(read(n, port["file"], "patches", n, "ports", index), port=port["file"])
            for index, port in enumerate(entry.get("ports", []))
        ]
        patches.append(
            replace(
                read(n, entry["file"], "patches", n),
                subject=entry["subject"],
                message_id=entry.get("message-id"),
                merged=entry.get("merged"),
                ports=tuple(ports),
            )
        )
    if unlisted := sorted(found - seen):
        raise listed.fault(f"{unlisted[0]} is not listed; list it or remove it", "patches")
    return Series(
        listed.value["name"].strip(),  # "$" in the schema allows a last newline
        tuple(patches),
        folder,
        listed.value["subject"],
        listed.value.get("message-id"),
        listed.value.get("origin"),
        listed.value.get("base-commit"),
        prerequisite.listed(listed.value.get("prerequisites", [])),
        listed.value.get("cover"),
    )


def _load_file(path: Path) -> Series:
    """Read an mbox, or a single patch, as a mail or a bare diff."""
    mails = thread.split(path)
    if len(mails) > 1 and thread.is_thread(mails):
        return _of_thread(_safe(path.stem), path, mails)
    if len(mails) > 1:
        patches = tuple(_patch(n, path, mail) for n, mail in enumerate(mails, 1))
        return Series(_safe(path.stem), patches, None, **_heading([], mails))
    mail = _read_mail(path)
    if not thread.is_patch(mail):
        raise RequestError("contains no patch; give a diff, or mails that have one", path)
    patch = _patch(1, path, mail, line=1)
    return Series(_safe(path.stem), (patch,), None, **_heading([], [mail]))


def _load_thread(spec: str) -> Series:
    fetched = _of_thread("", Path(spec), thread.fetch(spec))
    words = str(fetched.subject or fetched.patches[0].subject).split()[:WORDS]
    return replace(fetched, name=_safe("-".join(words).lower()))


def _of_thread(name: str, path: Path, mails: Sequence[bytes]) -> Series:
    found = thread.read(path, mails)
    covers = [found.cover] if found.cover else []
    heading = _heading(covers, found.patches)
    patches = tuple(_patch(n, path, mail) for n, mail in enumerate(found.patches, 1))
    origin = "; ".join((f"{path.name}, put in order by b4", *found.said))
    return Series(name, patches, None, **heading, origin=origin)


def _load_range(spec: str) -> Series:
    """Read commits as patches; the name is that of the last revision, or of the folder."""
    folder, _, revisions = spec.removeprefix("git:").partition("#")
    old, dots, new = revisions.partition("..")
    if not (folder and old and dots and new) or new.startswith("."):
        raise RequestError(f"series {spec}: must be git:DIR#A..B; for one commit: B~..B")
    repository = Repository(Path(folder), f"series {spec}")
    first, last = repository.commit(old), repository.commit(new)
    if not repository.count(first, last):
        back = repository.count(last, first)
        fix = "swap them" if back else "they are the same commit"
        raise RequestError(f"series {spec}: {new} has no commits that are not in {old}; {fix}")
    with temporary.folder() as scratch:
        repository.format_patches(first, last, Path(scratch))
        mails = [path.read_bytes() for path in sorted(Path(scratch).iterdir())]
    if not mails:
        raise RequestError(f"series {spec}: has only merges; name the merged commits")
    name = Path(folder).resolve().name if new == "HEAD" else new
    patches = tuple(_patch(n, Path(spec), mail) for n, mail in enumerate(mails, 1))
    return Series(
        _safe(name),
        patches,
        None,
        patches[0].subject if len(patches) == 1 else f"{len(patches)} commits up to {new}",
        origin=f"{new} ({last[:12]}), since {old} ({first[:12]})",
        base_commit=repository.base(first, last) or first,
    )


class _Heading(TypedDict):
    subject: str | None
    message_id: str | None
    base_commit: str | None
    prerequisites: tuple[Prerequisite, ...]


def _heading(covers: Sequence[bytes], mails: Sequence[bytes]) -> _Heading:
    """Return what the cover letter, or the only patch, says about the whole series."""
    heads = [*covers, *mails[:1]]
    whole = heads[0] if covers or len(mails) == 1 else None
    bases = [found for mail in (*covers, *mails) if (found := BASE.search(thread.text(mail)))]
    return {
        "subject": (whole and TAG.sub("", thread.subject(whole))) or None,
        "message_id": thread.message_id(heads[0]),
        "base_commit": bases[0][1].decode() if bases else None,
        "prerequisites": prerequisite.read([*covers, *mails]),
    }


def _only_mail(path: Path) -> bytes:
    mails = thread.split(path)
    patches = sum(map(thread.is_patch, mails))
    if patches > 1:
        raise RequestError(f"contains {patches} patches; give each a file, or name the mbox", path)
    return _read_mail(path)


def _read_mail(path: Path) -> bytes:
    """Read a file that is one mail or diff."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise RequestError(f"cannot be read: {error.strerror}", path) from error
    if SENT_IN_CRLF.search(raw):  # the mail program added them, they are not in the changed file
        raw = raw.replace(b"\r\n", b"\n")
    return raw


def _patch(number: int, path: Path, mail: bytes, *, line: int | None = None) -> Patch:
    """Ask git what the diff touches; refuse what is not a patch or leaves the tree.

    ``line`` is the first line of the mail in the file, None if unknown.
    """
    diff = thread.text(mail)
    if bare := BARE.search(diff):
        raise RequestError(
            f"its file names lack a/ and b/: {os.fsdecode(bare['git'] or bare['plain'])};"
            " make it with git format-patch --src-prefix=a/ --dst-prefix=b/",
            path,
            line + diff.count(b"\n", 0, bare.start()) if line and diff is mail else None,
        )
    changes: dict[str, tuple[int, int]] = {}
    names: set[str] = set()
    for direction in (["--reverse"], []):  # the names before, and the names after
        listed = apply(["--numstat", "-z", *direction], diff)
        if listed.returncode:
            reason = refusal(listed).partition(" (allow")[0]
            at = re.search(r" line (\d+)", reason)
            at_line = line + int(at[1]) - 1 if at and line and diff is mail else None
            fault = f"is not a patch: {reason}; make it with git format-patch"
            raise RequestError(fault, path, at_line)
        rows = [row.split(b"\t", 2) for row in listed.stdout.split(b"\0")[:-1]]
        # "-" stands for the lines of a file that is not text.
        changes = {os.fsdecode(name): (_count(more), _count(less)) for more, less, name in rows}
        names.update(changes)
    for name in sorted(names):
        parts = PurePosixPath(name).parts
        if name.startswith("/") or ".." in parts or ".git" in {part.lower() for part in parts}:
            raise RequestError(
                f"patch {number} reaches outside the tree: {name}; remove that", path
            )
    if LINK_OR_SUBMODULE.search(apply(["--summary"], diff).stdout):
        fault = f"patch {number} has a symbolic link or submodule; only plain files are allowed"
        raise RequestError(fault, path)
    return Patch(
        id=str(number),
        path=path,
        subject=TAG.sub("", thread.subject(mail)) or path.stem,
        diff=diff,
        sha256=hashlib.sha256(diff).hexdigest(),
        touched=tuple(sorted(names)),
        changes=changes,
        message_id=thread.message_id(mail),
    )


def _count(lines: bytes) -> int:
    return int(lines) if lines.isdigit() else 0


def _safe(name: str) -> str:
    """Make a name that is safe in a variant's name, and in a path."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-._") or "series"
