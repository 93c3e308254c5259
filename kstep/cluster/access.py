# SPDX-License-Identifier: GPL-2.0-only
"""Who may use a cluster: its address and its certificates.

Whoever reaches a scheduler or a worker of dask runs programs there, as its user. So without TLS,
which authenticates both sides, only the loopback interface is used, unless that is asked for.
"""

from __future__ import annotations

import ipaddress
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kstep.base.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Iterable

ADDRESS = re.compile(r"(?P<scheme>tcp|tls)://(?P<host>\[[0-9a-fA-F:.]+\]|[^/:\[\]]+):(?P<port>\d+)")
INSECURE = "KSTEP_CLUSTER_INSECURE"  # "1" in a worker's environment: as --insecure
FILES = ("tls-ca", "tls-cert", "tls-key")
MISSING = (
    "needs dask.distributed: .venv/bin/python -m pip install --require-hashes"
    " -r requirements-cluster.lock"
)


@dataclass(frozen=True)
class Access:
    """An address, ``tcp://HOST:PORT`` or ``tls://HOST:PORT``, and the certificates for it.

    ``option`` is what the user gave it with. ``ca``, ``certificate`` and ``key`` are files in PEM
    format, all or none.
    """

    option: str
    address: str
    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None

    @classmethod
    def parse(
        cls, option: str, address: str, files: Iterable[str] = ("", "", ""), *, insecure: bool
    ) -> Access:
        """Check what was typed; ``files`` are those of FILES, in that order, "" if not given.

        Raises RequestError for anything that is wrong, and for a host other than this one
        without TLS, unless ``insecure``.
        """
        found = ADDRESS.fullmatch(address)
        if found is None or not 0 < int(found["port"]) < 1 << 16:
            raise RequestError(f"{option} {address}: must be tcp://HOST:PORT or tls://HOST:PORT")
        names = dict(zip(FILES, files, strict=True))
        missing = [f"--{name}" for name, file in names.items() if not file]
        secure = found["scheme"] == "tls"
        if not secure and len(missing) < len(FILES):
            raise RequestError(
                f"{option} {address}: with certificates it must be tls://, not tcp://"
            )
        if secure and missing:
            raise RequestError(f"{option} {address}: TLS needs {' and '.join(missing)}")
        for name, file in names.items():
            if file and not os.access(file, os.R_OK):
                raise RequestError(f"--{name} {file}: cannot be read")
        if not secure and not insecure and not is_loopback(found["host"]):
            raise RequestError(
                f"{option} {address}: without TLS anybody who reaches it can run programs there;"
                " use tls:// with --tls-ca, --tls-cert and --tls-key, or add --insecure"
            )
        return cls(
            option, address, *(Path(file).absolute() if file else None for file in names.values())
        )

    @property
    def secure(self) -> bool:
        """Whether TLS is used."""
        return self.address.startswith("tls:")

    @property
    def security(self) -> Any:  # noqa: ANN401 -- dask's Security, which has no types here
        """What dask's Client wants to know; None without TLS. Raises RequestError without dask."""
        try:
            from distributed.security import Security  # noqa: PLC0415 -- an optional extra
        except ImportError as error:
            raise RequestError(f"{self.option} {MISSING}") from error
        if not self.secure:
            return None
        return Security(
            require_encryption=True,
            tls_ca_file=str(self.ca),
            tls_client_cert=str(self.certificate),
            tls_client_key=str(self.key),
        )

    @property
    def options(self) -> list[str]:
        """The same as options of dask's own commands."""
        if not self.secure:
            return []
        return [
            *("--tls-ca-file", str(self.ca)),
            *("--tls-cert", str(self.certificate)),
            *("--tls-key", str(self.key)),
        ]


def is_loopback(host: str) -> bool:
    """Whether a host is surely this one."""
    name = host.strip("[]")
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name == "localhost"
