# SPDX-License-Identifier: GPL-2.0-only
"""Mails that contain a series: git splits and decodes them, b4 finds the series in them.

b4 knows which revision counts, which mail is a reply, and where trailers go.
"""

from __future__ import annotations

import email
import email.policy
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kstep.base import temporary
from kstep.base.errors import MachineryError, RequestError
from kstep.source.git import Git

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from email.message import EmailMessage
    from subprocess import CompletedProcess

ID = re.compile(r"<?[^\s<>/@]+@[^\s<>/@]+>?|https?://\S+")  # a message id, or its address
DIFF = re.compile(rb"^(diff --git |--- .+\n\+\+\+ )", re.MULTILINE)
COVER = re.compile(r"\[[^]]*\bPATCH\b[^]]*?\b0+/\d+\s*\]", re.IGNORECASE)
NUMBER = re.compile(r"\[[^]]*?\b(\d+)/(\d+)\s*\]")
GZIP = b"\x1f\x8b"  # lore.kernel.org compresses a thread
MISSING = re.compile(r"missing \[(\d+)/(\d+)\]")  # b4's message about a gap
REMARK = re.compile(r"latest revision|partial reroll")  # other messages that a reader needs
SAVED = "thread"  # the name for what b4 saves
# b4 checks no signatures, and resolves no names.
UNATTESTED = {
    "GIT_CONFIG_COUNT": "1",
    "GIT_CONFIG_KEY_0": "b4.attestation-policy",
    "GIT_CONFIG_VALUE_0": "off",
}


@dataclass(frozen=True)
class Thread:
    """A whole series as mails for git am, in order; ``said`` are b4's remarks."""

    patches: tuple[bytes, ...]
    cover: bytes | None
    said: tuple[str, ...]


def split(path: Path) -> tuple[bytes, ...]:
    """Split an mbox into its mails; a file that does not begin like one is a single mail or diff.

    Raises RequestError for a file that is empty, compressed, or cannot be read.
    """
    try:
        with path.open("rb") as stream:
            begins = stream.read(len(GZIP))
    except OSError as error:
        raise RequestError(f"cannot be read: {error.strerror}", path) from error
    if not begins:
        raise RequestError("is empty; save the thread or the patch again", path)
    if begins == GZIP:
        raise RequestError("is compressed; gunzip it first", path)
    with temporary.folder() as folder:
        done = Git.without_repository().run(
            "mailsplit", "-b", "-d8", f"-o{folder}", "--", str(path.absolute())
        )
        if done.returncode:
            raise RequestError("git mailsplit cannot split it into mails; save it again", path)
        return tuple(mail.read_bytes() for mail in sorted(Path(folder).iterdir()))


def read(path: Path, mails: Sequence[bytes]) -> Thread:
    """Let b4 find the last revision of the series in the ``mails`` of the mbox ``path``.

    Raises RequestError if there is none, or it is incomplete.
    """
    # Maildirs, because b4 starts a new mail at any line of an mbox that begins with "From ".
    with temporary.folder() as scratch:
        folder = Path(scratch)
        for name in ("cur", "new", "tmp"):
            (folder / "given" / name).mkdir(parents=True)
        for number, mail in enumerate(mails, 1):
            (folder / "given/new" / f"{number:06}").write_bytes(_with_id(mail, number))
        asked = (f"-m{folder}/given", f"-o{folder}", f"-n{SAVED}", "--save-as-maildir")
        done = _b4(["--offline-mode", "am", "--no-cache", *asked])
        patches = _saved(folder)
        cover = folder / f"{SAVED}.cover"
        head = cover.read_bytes() if cover.exists() else None
    said = done.stderr.decode(errors="replace")
    if not patches:
        raise RequestError(
            "contains no patches (replies and cover letters are ignored); save the whole thread",
            path,
        )
    if gap := MISSING.search(said):
        raise RequestError(f"patch {gap[1]} of {gap[2]} is missing; get the whole thread", path)
    unsent = sum(not _header(mail)["message-id"] and is_patch(mail) for mail in mails)
    if len(patches) < unsent:
        raise RequestError(
            f"has {unsent} patches, but b4 finds {len(patches)} by number;"
            " make it with git format-patch --numbered, one revision per file",
            path,
        )
    remarks = (line.strip() for line in said.splitlines() if REMARK.search(line))
    return Thread(patches, head, tuple(remarks))


def fetch(message_id: str) -> tuple[bytes, ...]:
    """Let b4 fetch the mails of a message's thread, with the user's configuration.

    Raises MachineryError if it fails, for example without a network.
    """
    with temporary.folder() as scratch:
        asked = (f"-o{scratch}", f"-n{SAVED}.maildir", "--save-as-maildir", message_id)
        done = _b4(["mbox", *asked], Git.of_user(Path(scratch)).environment)
        mails = _saved(Path(scratch))
    if not mails:
        words = done.stderr.decode(errors="replace").splitlines()
        raise MachineryError(
            f"{message_id}: b4 cannot fetch the thread;"
            " save it as an mbox on a machine with a network, and name that",
            details=tuple(words[-3:]),
        )
    return mails


def _saved(folder: Path) -> tuple[bytes, ...]:
    """Read the maildir that b4 made; the names of its mails begin with their numbers."""
    return tuple(mail.read_bytes() for mail in sorted(folder.glob(f"{SAVED}.maildir/new/*")))


def is_cover(mail: bytes) -> bool:
    """Whether it is number 0 of its series; it may still contain a diff."""
    return bool(COVER.search(subject(mail)))


def number(mail: bytes) -> tuple[int, int] | None:
    """Return the patch number and the total that its subject states."""
    found = NUMBER.search(subject(mail))
    return (int(found[1]), int(found[2])) if found else None


def is_thread(mails: Sequence[bytes]) -> bool:
    """Whether the mails were sent, or are numbered; otherwise only their order counts."""
    return any(message_id(mail) or number(mail) or not is_patch(mail) for mail in mails)


def is_patch(mail: bytes) -> bool:
    """Whether it has its own diff: not quoted, nor proposed in a reply."""
    reply = subject(mail).lower().startswith("re:")
    return not reply and not is_cover(mail) and bool(DIFF.search(text(mail)))


def text(mail: bytes) -> bytes:
    """Return a mail's decoded text, with the headers that matter; a plain mail unchanged."""
    header = _header(mail)
    encoding = str(header["content-transfer-encoding"] or "").lower()
    if not header.is_multipart() and encoding not in {"base64", "quoted-printable"}:
        return mail
    with temporary.folder() as folder:
        message, patch = Path(folder, "message"), Path(folder, "patch")
        done = Git.without_repository().run(
            "mailinfo", "-k", "--quoted-cr=strip", str(message), str(patch), given=mail
        )
        if done.returncode:
            return mail  # the caller will report that it contains no patch
        fields = dict(line.split(": ", 1) for line in done.stdout.decode().splitlines() if line)
        kept = {
            "From": f"{fields.get('Author', '')} <{fields.get('Email', '')}>",
            "Date": fields.get("Date", ""),
            "Subject": fields.get("Subject", ""),
            "Message-ID": str(header["message-id"] or ""),
        }
        head = "".join(f"{name}: {value}\n" for name, value in kept.items() if value)
        return head.encode() + b"\n" + message.read_bytes() + patch.read_bytes()


def subject(mail: bytes) -> str:
    """Return the subject, with its bracketed prefix."""
    return " ".join(str(_header(mail)["subject"] or "").split())


def message_id(mail: bytes) -> str | None:
    """Return the message id, without its brackets."""
    return str(_header(mail)["message-id"] or "").strip(" <>") or None


def _header(mail: bytes) -> EmailMessage:
    return email.message_from_bytes(mail, policy=email.policy.default)


def _with_id(mail: bytes, number: int) -> bytes:
    """Add an id to a mail that was never sent, because b4 needs one; drop the "From " line."""
    mark, _, rest = mail.partition(b"\n")
    body = rest if mark.startswith(b"From ") else mail
    return body if _header(mail)["message-id"] else b"Message-ID: <%d@unsent>\n" % number + body


def _b4(
    arguments: Sequence[str], environment: Mapping[str, str] | None = None
) -> CompletedProcess[bytes]:
    """Run b4 without configuration, so that a thread is the same series everywhere.

    ``environment`` replaces that.
    """
    with temporary.folder() as home:
        own = {
            **Git.without_repository().environment,
            **UNATTESTED,
            "HOME": home,
            "XDG_CACHE_HOME": home,
            "XDG_DATA_HOME": home,
        }
        return subprocess.run(
            [sys.executable, "-m", "b4.command", "--no-stdin", *arguments],
            cwd=home,
            env=environment or own,
            input=b"",
            capture_output=True,
            check=False,
        )
