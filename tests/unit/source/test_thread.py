# SPDX-License-Identifier: GPL-2.0-only
"""Mails as mail programs write them, through the real git and the real b4."""

from __future__ import annotations

import base64
import gzip
from typing import TYPE_CHECKING

import pytest

from kstep.base.errors import MachineryError, RequestError
from kstep.source import thread

if TYPE_CHECKING:
    from pathlib import Path

DIFF = "--- a/x\n+++ b/x\n@@ -1 +1 @@\n-größe\n+grösse\n"


def mail(number: str, *, name: str = "1") -> bytes:
    """Make one mail of an mbox."""
    head = (
        "From git@z Thu Jan  1 00:00:00 1970\n"
        f"From: Someone <someone@example.org>\nSubject: [PATCH {number}] x: y\n"
        f"Date: Mon, 2 Jan 2023 10:00:00 +0000\nMessage-ID: <{name}@example.org>\n"
        "MIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\n"
        "Content-Transfer-Encoding: 8bit\n\n"
    )
    body = "From here on it is better.\n\nSigned-off-by: Someone <someone@example.org>\n"
    return f"{head}{body}---\n{DIFF}\n".encode()


def test_an_mbox_is_cut_where_a_mail_begins(tmp_path: Path) -> None:
    """Not at every line that begins with From."""
    mbox = tmp_path / "mbox"
    mbox.write_bytes(mail("1/2") + mail("2/2", name="2"))
    assert [thread.subject(each) for each in thread.split(mbox)] == [
        "[PATCH 1/2] x: y",
        "[PATCH 2/2] x: y",
    ]
    mbox.write_text(DIFF)
    assert thread.split(mbox) == (DIFF.encode(),)


def test_an_empty_file_is_no_mail(tmp_path: Path) -> None:
    mbox = tmp_path / "mbox"
    mbox.touch()
    with pytest.raises(RequestError, match=f"{mbox}: is empty"):
        thread.split(mbox)


def test_a_file_that_cannot_be_cut_is_said_to_be_so(tmp_path: Path) -> None:
    """lore.kernel.org gives a thread compressed; a link may lead nowhere."""
    packed = tmp_path / "t.mbox.gz"
    packed.write_bytes(gzip.compress(mail("1/1")))
    with pytest.raises(RequestError, match=f"^{packed}: is compressed; gunzip it first$"):
        thread.split(packed)
    with pytest.raises(RequestError, match="nowhere: cannot be read: No such file or directory"):
        thread.split(tmp_path / "nowhere")


def test_the_text_of_an_encoded_mail_is_in_the_clear() -> None:
    """Under the headers that matter; carriage returns are the mail program's."""
    head, body = mail("1/2").split(b"\n\n", 1)
    coded = base64.encodebytes(body.replace(b"\n", b"\r\n"))
    found = thread.text(head.replace(b"8bit", b"base64") + b"\n\n" + coded).decode()
    assert found.startswith("From: Someone <someone@example.org>\n")
    assert "\nSubject: [PATCH 1/2] x: y\nMessage-ID: <1@example.org>\n\nFrom here on" in found
    assert DIFF in found
    assert "\r" not in found
    plain = mail("1/2")
    assert thread.text(plain) is plain


@pytest.mark.parametrize(
    ("subject", "patch", "cover"),
    [
        ("[PATCH 1/2] x", True, False),
        ("x", True, False),
        ("[PATCH v2 0/2] x", False, True),
        ("[PATCH v2 00/12] x", False, True),
        ("[PATCH v2 10/12] x", True, False),
        ("Re: [PATCH 1/2] x", False, False),
    ],
)
def test_what_is_a_patch(subject: str, patch: bool, cover: bool) -> None:  # noqa: FBT001 -- a table
    each = f"Subject: {subject}\n\n{DIFF}".encode()
    assert (thread.is_patch(each), thread.is_cover(each)) == (patch, cover)


def test_the_series_of_a_thread(tmp_path: Path) -> None:
    """In the order of its numbers."""
    found = thread.read(tmp_path, [mail("2/2", name="2"), mail("1/2")])
    assert [thread.message_id(each) for each in found.patches] == ["1@example.org", "2@example.org"]
    assert [DIFF.encode() in each for each in found.patches] == [True, True]
    assert found.cover is None


@pytest.mark.parametrize(
    ("mails", "message"),
    [
        ([mail("0/2")], "contains no patches (replies and"),
        ([mail("1/3"), mail("3/3", name="3")], "patch 2 of 3 is missing; get the whole thread"),
        (
            [each.replace(b"Message-ID", b"X") for each in (mail("v2"), mail("v2", name="2"))],
            "has 2 patches, but b4 finds 1 by number; make it with git format-patch --numbered",
        ),
    ],
)
def test_what_is_no_whole_series(tmp_path: Path, mails: list[bytes], message: str) -> None:
    with pytest.raises(RequestError) as caught:
        thread.read(tmp_path / "it.mbox", mails)
    assert str(caught.value).startswith(f"{tmp_path}/it.mbox: {message}")


def test_without_a_network_the_mend_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that cannot be looked up stands for a network that is not there."""
    monkeypatch.setenv("GIT_CONFIG_COUNT", "2")
    for number, key in enumerate(("midmask", "searchmask")):
        monkeypatch.setenv(f"GIT_CONFIG_KEY_{number}", f"b4.{key}")
        monkeypatch.setenv(f"GIT_CONFIG_VALUE_{number}", "https://nowhere.invalid/all/%s")
    with pytest.raises(MachineryError, match="save it as an mbox") as caught:
        thread.fetch("20230101000000.1@example.org")
    assert caught.value.details


@pytest.mark.parametrize(
    ("text", "is_id"),
    [
        ("20230202073148.657746-1-someone@example.org", True),
        ("<a@b>", True),
        ("https://lore.kernel.org/all/a@b/", True),
        ("v7", False),
        ("patches@home/it.mbox", False),
        ("git:../linux#a..b", False),
    ],
)
def test_what_is_a_message_id(text: str, is_id: bool) -> None:  # noqa: FBT001 -- a table
    assert bool(thread.ID.fullmatch(text)) == is_id
