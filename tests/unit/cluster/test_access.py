# SPDX-License-Identifier: GPL-2.0-only
"""Who may use a cluster: what is refused, and with which words."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from kstep.base.errors import RequestError
from kstep.cluster.access import Access

if TYPE_CHECKING:
    from pathlib import Path

PLAIN = ("", "", "")


@pytest.fixture
def files(tmp_path: Path) -> tuple[str, str, str]:
    """Return three files that exist."""
    names = tuple(str(tmp_path / name) for name in ("ca", "cert", "key"))
    for name in names:
        (tmp_path / name).write_text("x")
    return names[0], names[1], names[2]


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "[::1]", "localhost"])
def test_this_host_needs_no_certificates(host: str) -> None:
    found = Access.parse("--scheduler", f"tcp://{host}:8786", PLAIN, insecure=False)
    assert not found.secure
    assert found.options == []


@pytest.mark.parametrize("host", ["10.0.0.1", "0.0.0.0", "[::]", "build", "localhost.example.org"])  # noqa: S104 -- refused
def test_another_host_is_refused_without_tls_unless_it_is_asked_for(host: str) -> None:
    address = f"tcp://{host}:8786"
    with pytest.raises(RequestError, match=r"without TLS anybody .*, or add --insecure$"):
        Access.parse("--scheduler", address, PLAIN, insecure=False)
    assert Access.parse("--scheduler", address, PLAIN, insecure=True).address == address


def test_certificates_are_given_to_dask(files: tuple[str, str, str]) -> None:
    found = Access.parse("--scheduler", "tls://build:8786", files, insecure=False)
    assert found.secure
    assert found.options[::2] == ["--tls-ca-file", "--tls-cert", "--tls-key"]
    assert tuple(found.options[1::2]) == files


@pytest.mark.parametrize(
    ("address", "given", "said"),
    [
        ("build:8786", "", "--scheduler build:8786: must be tcp://HOST:PORT or tls://HOST:PORT"),
        ("tcp://build", "", "must be tcp://HOST:PORT"),
        ("tcp://127.0.0.1:0", "", "must be tcp://HOST:PORT"),
        ("tcp://127.0.0.1:70000", "", "must be tcp://HOST:PORT"),
        ("http://127.0.0.1:80", "", "must be tcp://HOST:PORT"),
        ("tls://127.0.0.1:80", "", "TLS needs --tls-ca and --tls-cert and --tls-key"),
        ("tls://127.0.0.1:80", "ca cert", "TLS needs --tls-key$"),
        ("tcp://127.0.0.1:80", "ca", "with certificates it must be tls://, not tcp://"),
        ("tls://127.0.0.1:80", "ca cert gone", "--tls-key .*gone: cannot be read"),
    ],
)
def test_what_is_wrong_is_named(
    tmp_path: Path, files: tuple[str, str, str], address: str, given: str, said: str
) -> None:
    assert files
    names = [str(tmp_path / name) for name in given.split()]
    names += [""] * (3 - len(names))
    with pytest.raises(RequestError, match=said):
        Access.parse("--scheduler", address, names, insecure=True)
