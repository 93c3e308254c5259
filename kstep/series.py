# SPDX-License-Identifier: GPL-2.0-only
"""A patch series, the variants that it makes of a kernel, and what each does to a tree."""

from __future__ import annotations

import email
import email.policy
import hashlib
import json
import os
import re
import subprocess
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from kstep import document
from kstep.document import nearest
from kstep.errors import MachineryError, RequestError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from subprocess import CompletedProcess

SCHEMA = json.loads(Path(__file__).with_name("series.schema.json").read_text(encoding="utf-8"))

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
# As git mailsplit tells it: an asctime and a year. The mailbox module takes any line that
# begins with "From ", and so cuts a commit message that has one.
POSTMARK = re.compile(rb"^From .*\d:\d\d.* \d{4}\b.*\n", re.MULTILINE)
NUMBER = re.compile(r"\[[^]]*\bPATCH\b[^]]*?(\d+)/(\d+)\s*\]", re.IGNORECASE)
TAG = re.compile(r"^\s*(\[[^]]*\]\s*)+")
DIFF = re.compile(rb"^(diff --git |--- .+\n\+\+\+ )", re.MULTILINE)
LINK_OR_SUBMODULE = re.compile(
    rb"^ (create mode|delete mode|mode change|mode change \d+ =>) (120000|160000)\b", re.MULTILINE
)
REFUSED_HUNK = re.compile(
    r"^error: while searching for:\n(?P<hunk>.*?)\nerror: patch failed: (?P<place>.+:\d+)$",
    re.MULTILINE | re.DOTALL,
)


class DependentError(RequestError):
    """A patch applies with its whole series, and not in the variant that leaves some out."""


class Action(StrEnum):
    """What was done about a patch to get a variant."""

    APPLIED = "applied"
    REVERTED = "reverted"  # the tree has it, the variant has not
    PRESENT = "present"  # both have it
    ABSENT = "absent"  # neither has it


@dataclass(frozen=True)
class Patch:
    """One patch; ``id`` is its place in the series, from "1".

    ``diff`` is what git apply is given: the file as it is, or the mail's decoded
    text; ``sha256`` is over it. ``touched`` are the files before and after, relative
    to the tree's top. ``merged`` says which trees have it.
    """

    id: str
    path: Path
    subject: str
    diff: bytes
    sha256: str
    touched: tuple[str, ...]
    message_id: str | None = None
    merged: str | None = None


@dataclass(frozen=True)
class Series:
    """Patches in order; ``folder`` is None where they come from a single file."""

    name: str
    patches: tuple[Patch, ...]
    folder: Path | None
    subject: str | None = None
    message_id: str | None = None
    origin: str | None = None


@dataclass(frozen=True)
class Variant:
    """Which patches are in; ``none`` belongs to no series."""

    name: str
    series: str | None
    members: tuple[str, ...]


NONE = Variant("none", None, ())


@dataclass(frozen=True)
class Arrangement:
    """What makes a variant of a pristine tree.

    ``files`` has the new content of every file that differs from pristine, or None
    where the file is to go; of these, ``executable`` must have that mode. ``actions``
    goes by "series/patch", over the variant's own series, or over all for ``none``.
    Two variants with the same resulting tree have the same ``digest``.
    """

    files: Mapping[str, bytes | None]
    executable: frozenset[str]
    actions: Mapping[str, Action]
    digest: str


def load(spec: str, root: Path) -> Series:
    """Read a series: a name under ``root``/patches, a folder, an mbox or one patch file.

    Raises RequestError, with the line where there is one.
    """
    named = root / "patches" / spec
    if NAME.fullmatch(spec) and named.is_dir():
        return _load_folder(named)
    path = Path(spec)
    if spec and path.is_dir():
        return _load_folder(path)
    if path.is_file():
        return _load_file(path)
    names = [folder.name for folder in (root / "patches").glob("*/")]
    raise RequestError(
        f'series "{spec}" is no folder under patches/, and no file; {nearest(spec, names)}'
    )


def variants(series_list: Sequence[Series]) -> list[Variant]:
    """List the default ones: none, and of each series every patch alone, and all together."""
    found = [NONE]
    for series in series_list:
        found += [_variant(series, {patch.id}) for patch in series.patches]
        if len(series.patches) > 1:
            found.append(_variant(series, {patch.id for patch in series.patches}))
    return found


def parse(name: str, series_list: Sequence[Series]) -> Variant:
    """Make the variant called ``name``, such as "none" or "v5/1+3"; the order does not matter.

    Raises RequestError for a series or patch that is not there.
    """
    if name == NONE.name:
        return NONE
    wanted, _, members = name.rpartition("/")
    known = {series.name: series for series in series_list}
    if wanted not in known:
        listed = nearest(name, [variant.name for variant in variants(series_list)])
        raise RequestError(f'variant "{name}" is of no series of this run; {listed}')
    series = known[wanted]
    ids = [patch.id for patch in series.patches]
    for member in members.split("+"):
        if member not in ids:
            raise RequestError(
                f'variant "{name}": no patch "{member}"; there are: {", ".join(ids)}'
            )
    return _variant(series, set(members.split("+")))


def arrange(sources: Path, series_list: Sequence[Series], variant: Variant) -> Arrangement:
    """Work out what ``variant`` changes in the pristine tree ``sources``, which is only read.

    Whether a patch is in is asked of git apply, series by series, from the last patch
    to the first: one that reverses is in. Raises RequestError for a patch that neither
    is in nor applies, with the hunk that was refused.
    """
    patches = [patch for series in series_list for patch in series.patches]
    touched = sorted({name for patch in patches for name in patch.touched})
    _refuse_links(sources, patches)
    with TemporaryDirectory(prefix="kstep-series-") as folder:
        scratch = Path(folder)
        pristine = _read(sources, touched)
        present = {
            series.name: _present(series, _copy(sources, scratch / "own" / series.name, touched))
            for series in series_list
        }
        tree = _copy(sources, scratch / "variant", touched)
        for series in series_list:
            _take_out(series, present[series.name], tree)
        for series in series_list:
            whole = _copy(tree, scratch / "whole" / series.name, touched)
            for patch in series.patches:
                fault = f"patch {series.name}/{patch.id} neither is in the tree nor applies"
                _put_in(patch, whole, fault, mend="rebase it")
        own = [series for series in series_list if variant.series in {None, series.name}]
        for series in own:
            for patch in series.patches:
                if patch.id in variant.members:
                    fault = f"patch {series.name}/{patch.id} does not apply in {variant.name}"
                    try:
                        _put_in(patch, tree, fault, mend="leave that variant out")
                    except RequestError as error:
                        raise DependentError(str(error)) from error
        result = _read(tree, touched)

    changed = [name for name in touched if result.get(name) != pristine.get(name)]
    actions = {
        f"{series.name}/{patch.id}": _action(
            before=patch.id in present[series.name],
            after=patch.id in variant.members,
        )
        for series in own
        for patch in series.patches
    }
    return Arrangement(
        files={name: result[name].content if name in result else None for name in changed},
        executable=frozenset(
            name for name in changed if name in result and result[name].executable
        ),
        actions=actions,
        digest=_digest({name: result.get(name) for name in changed}),
    )


# Reading a series.


@dataclass(frozen=True)
class _Letter:
    """A mail, or a bare patch file; ``line`` is where it begins, None if it was decoded."""

    subject: str
    message_id: str | None
    diff: bytes
    line: int | None

    @property
    def number(self) -> int | None:
        """The n of [PATCH n/m]; 0 is a cover letter."""
        found = NUMBER.search(self.subject)
        return int(found[1]) if found else None

    @property
    def is_patch(self) -> bool:
        """Whether it has a diff of its own: not quoted, nor proposed in a reply."""
        reply = self.subject.lower().startswith("re:")
        return self.number != 0 and not reply and bool(DIFF.search(self.diff))


def _load_folder(folder: Path) -> Series:
    if (folder / "series.yaml").exists():
        return _load_listed(folder)
    letters = [(path, _only_letter(path)) for path in sorted(folder.glob("*.patch"))]
    patches = [(path, letter) for path, letter in letters if letter.number != 0]
    if not patches:
        raise RequestError("holds no *.patch; put the series there", folder)
    return Series(
        _safe(folder.resolve().name),
        tuple(_patch(n, path, letter) for n, (path, letter) in enumerate(patches, 1)),
        folder,
    )


def _load_listed(folder: Path) -> Series:
    listed = document.load(folder / "series.yaml", SCHEMA)
    found = {path.name for path in folder.glob("*.patch")}
    patches: list[Patch] = []
    for n, entry in enumerate(listed.value["patches"]):
        file = entry["file"]
        if file not in found:
            raise listed.fault(f"no file {file} here; {nearest(file, found)}", "patches", n, "file")
        if any(patch.path.name == file for patch in patches):
            raise listed.fault(f"{file} is listed a second time; keep one", "patches", n, "file")
        path = folder / file
        patches.append(
            replace(
                _patch(n + 1, path, _only_letter(path)),
                subject=entry["subject"],
                message_id=entry.get("message-id"),
                merged=entry.get("merged"),
            )
        )
    if unlisted := sorted(found - {patch.path.name for patch in patches}):
        raise listed.fault(f"{unlisted[0]} is not listed; list it or remove it", "patches")
    return Series(
        listed.value["name"].strip(),  # "$" in the schema allows a last newline
        tuple(patches),
        folder,
        listed.value["subject"],
        listed.value.get("message-id"),
        listed.value.get("origin"),
    )


def _load_file(path: Path) -> Series:
    """Read an mbox, or a single patch, which may be a mail or not."""
    letters = [letter for letter in _letters(path) if letter.is_patch]
    if not letters:
        raise RequestError("holds no patch; give a diff, or mails that have one", path)
    letters.sort(key=lambda letter: letter.number or 0)
    numbers = [letter.number for letter in letters if letter.number]
    for before, number in zip([0, *numbers], numbers, strict=False):
        if number == before:
            raise RequestError(f"two mails are patch {number}; keep one revision", path)
        if number > before + 1 and len(letters) > 1:
            raise RequestError(f"patch {before + 1} is missing; get the whole thread", path)
    patches = tuple(_patch(n, path, letter) for n, letter in enumerate(letters, 1))
    return Series(_safe(path.stem), patches, None)


def _only_letter(path: Path) -> _Letter:
    letters = _letters(path)
    patches = [letter for letter in letters if letter.is_patch]
    if len(patches) > 1:
        raise RequestError(
            f"holds {len(patches)} patches; give each a file, or name the mbox", path
        )
    return patches[0] if patches else letters[0]


def _letters(path: Path) -> list[_Letter]:
    """Cut a file into its mails; one that does not begin like an mbox is a single one."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise RequestError(f"cannot be read: {error.strerror}", path) from error
    if raw.partition(b"\n")[0].endswith(b"\r"):  # the mail program's, not the diff's
        raw = raw.replace(b"\r\n", b"\n")
    starts = [found.start() for found in POSTMARK.finditer(raw)] if POSTMARK.match(raw) else [0]
    return [
        _letter(raw[start:end], raw.count(b"\n", 0, start) + 1)
        for start, end in zip(starts, [*starts[1:], len(raw)], strict=True)
    ]


def _letter(raw: bytes, line: int) -> _Letter:
    mail = email.message_from_bytes(raw, policy=email.policy.default)
    subject = " ".join(str(mail["subject"] or "").split())
    message_id = str(mail["message-id"] or "").strip(" <>") or None
    encoding = str(mail["content-transfer-encoding"] or "").lower()
    if not mail.is_multipart() and encoding not in {"base64", "quoted-printable"}:
        return _Letter(subject, message_id, raw, line)
    texts = [part for part in mail.walk() if part.get_content_maintype() == "text"]
    payloads = [
        part.get_payload(decode=True) for part in texts if part.get_content_subtype() != "html"
    ]
    decoded = b"\n".join(payload for payload in payloads if isinstance(payload, bytes))
    return _Letter(subject, message_id, decoded.replace(b"\r\n", b"\n"), None)  # as git am does


def _patch(number: int, path: Path, letter: _Letter) -> Patch:
    """Ask git what the diff touches; refuse what is no patch or leaves the tree."""
    names: set[str] = set()
    for direction in ([], ["--reverse"]):  # one gives the names after, the other those before
        listed = _git(["--numstat", "-z", *direction], letter.diff)
        if listed.returncode:
            reason = _complaint(listed)
            at = re.search(r" line (\d+)", reason)
            line = letter.line + int(at[1]) - 1 if at and letter.line else None
            raise RequestError(f"is no patch: {reason}; make it with git format-patch", path, line)
        rows = listed.stdout.split(b"\0")[:-1]
        names.update(os.fsdecode(row.split(b"\t", 2)[2]) for row in rows)
    for name in sorted(names):
        parts = PurePosixPath(name).parts
        if name.startswith("/") or ".." in parts or ".git" in {part.lower() for part in parts}:
            raise RequestError(
                f"patch {number} reaches outside the tree: {name}; take that out", path
            )
    if LINK_OR_SUBMODULE.search(_git(["--summary"], letter.diff).stdout):
        fault = f"patch {number} has a symbolic link or submodule; only plain files are taken"
        raise RequestError(fault, path)
    return Patch(
        id=str(number),
        path=path,
        subject=TAG.sub("", letter.subject) or path.stem,
        diff=letter.diff,
        sha256=hashlib.sha256(letter.diff).hexdigest(),
        touched=tuple(sorted(names)),
        message_id=letter.message_id,
    )


def _safe(name: str) -> str:
    """Make a name that can stand in a variant's, and in a path."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-._") or "series"


def _variant(series: Series, wanted: set[str]) -> Variant:
    members = tuple(patch.id for patch in series.patches if patch.id in wanted)
    return Variant(f"{series.name}/{'+'.join(members)}", series.name, members)


# Asking git, in a scratch tree of no more than the files that the patches touch.


@dataclass(frozen=True)
class _File:
    content: bytes
    executable: bool


def _git(options: Sequence[str], diff: bytes, folder: Path = Path("/")) -> CompletedProcess[bytes]:
    """Run git apply on ``diff`` in ``folder``.

    GIT_DIR is a place that is no repository: in a checkout around ``folder``, git
    apply would pass over files without a word. No configuration of the user's or the
    machine's is read.
    """
    environment = {
        "PATH": os.environ.get("PATH", os.defpath),
        "LC_ALL": "C",
        "GIT_DIR": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
    }
    command = ["git", "apply", "--whitespace=nowarn", *options, "-"]
    try:
        return subprocess.run(
            command, cwd=folder, env=environment, input=diff, capture_output=True, check=False
        )
    except FileNotFoundError as error:
        raise MachineryError("git is missing; install it: apt install git") from error


def _complaint(result: CompletedProcess[bytes]) -> str:
    """Say in one line why git apply refused: the hunk that it did not find, or its own words."""
    said = result.stderr.decode(errors="replace")
    if refused := REFUSED_HUNK.search(said):
        lines = [line.strip() for line in refused["hunk"].splitlines() if line.strip()]
        return f"at {refused['place']} there is no '{' / '.join(lines[:3])[:120]}'"
    words = [
        line.removeprefix("error: ") for line in said.splitlines() if line.startswith("error: ")
    ]
    return (words or ["git apply failed"])[0].replace("No such file or directory", "no such file")


def _refuse_links(sources: Path, patches: Iterable[Patch]) -> None:
    top = sources.resolve()
    for patch in patches:
        for name in patch.touched:
            if (top / name).resolve() != top / name:
                raise RequestError(
                    f"{name} goes through a symbolic link; patch its target", patch.path
                )


def _copy(source: Path, target: Path, names: Iterable[str]) -> Path:
    """Make ``target`` with those of the files that there are."""
    target.mkdir(parents=True)
    for name, file in _read(source, names).items():
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        (target / name).write_bytes(file.content)
        (target / name).chmod(0o755 if file.executable else 0o644)
    return target


def _read(tree: Path, names: Iterable[str]) -> dict[str, _File]:
    return {
        name: _File(path.read_bytes(), bool(path.stat().st_mode & 0o100))
        for name in names
        if (path := tree / name).is_file()
    }


def _present(series: Series, tree: Path) -> frozenset[str]:
    """Give the ids of the patches that ``tree`` has, and reverse them there."""
    present = set()
    for patch in reversed(series.patches):
        before = _read(tree, patch.touched)
        reversed_ = not _git(["--reverse"], patch.diff, tree).returncode
        if reversed_ and _read(tree, patch.touched) != before:  # a bare mode always reverses
            present.add(patch.id)
    return frozenset(present)


def _take_out(series: Series, present: frozenset[str], tree: Path) -> None:
    """Reverse what is present; another series of the run may have the same patch, and was first."""
    for patch in reversed(series.patches):
        if patch.id not in present or not _git(["--reverse"], patch.diff, tree).returncode:
            continue
        if _git(["--check"], patch.diff, tree).returncode:
            fault = f"patch {series.name}/{patch.id} is in the tree and cannot be taken out"
            raise RequestError(f"{fault} after the series before it; run it alone", patch.path)


def _put_in(patch: Patch, tree: Path, fault: str, *, mend: str) -> None:
    applied = _git(["--verbose"], patch.diff, tree)
    if applied.returncode:
        raise RequestError(f"{fault}: {_complaint(applied)}; {mend}", patch.path)


def _action(*, before: bool, after: bool) -> Action:
    if before:
        return Action.PRESENT if after else Action.REVERTED
    return Action.APPLIED if after else Action.ABSENT


def _digest(files: Mapping[str, _File | None]) -> str:
    total = hashlib.sha256()
    for name, file in sorted(files.items()):
        state = (hashlib.sha256(file.content).hexdigest(), file.executable) if file else None
        total.update(f"{name!r} {state}\n".encode())
    return total.hexdigest()
