# SPDX-License-Identifier: GPL-2.0-only
"""The container engine: whether it answers, why not, and what kind it is."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import docker.errors
import requests
import urllib3.exceptions

import docker
from kstep.base.errors import MachineryError

if TYPE_CHECKING:
    from collections.abc import Iterator

# An engine that does not answer, or that breaks off an answer; an APIError is an answer of its own.
FAULTS = (
    docker.errors.DockerException,
    requests.exceptions.RequestException,
    urllib3.exceptions.HTTPError,
)


class EngineError(MachineryError):
    """The container engine is gone, or refuses what it is asked."""


@contextlib.contextmanager
def asked() -> Iterator[None]:
    """Raise EngineError for what goes wrong with the engine in the block."""
    try:
        yield
    except docker.errors.APIError as error:
        raise EngineError(f"the Docker engine refuses: {reason_of(error)}") from error
    except FAULTS as error:
        raise EngineError(
            f"the Docker engine does not answer any more: {reason_of(error)};"
            " start it (docker info shows that it answers), and run kstep again"
        ) from error


def engine_fault() -> str | None:
    """Return why no Docker engine answers, None if one does."""
    try:
        client = docker.from_env(timeout=20)
        client.ping()
    except (docker.errors.DockerException, requests.exceptions.RequestException) as error:
        return reason_of(error)
    client.close()
    return None


def reason_of(error: BaseException) -> str:
    """Return the reason of an engine's fault, on one line."""
    text = str(getattr(error, "explanation", None) or error)
    for known in ("Permission denied", "No such file or directory", "Connection refused"):
        if known in text:
            return known.lower()
    return text.splitlines()[0][:120] if text else type(error).__name__


@dataclass(frozen=True)
class Traits:
    """The kind of engine, which decides how its containers may use this machine's folders.

    ``rootless``: it runs as a user, in a user namespace. ``selinux``: containers are confined by
    labels, and files of the user's home have another one.
    """

    rootless: bool = False
    selinux: bool = False

    @classmethod
    def of(cls, client: docker.DockerClient) -> Self:
        """Ask an engine; Podman has a field of its own for the first (seen in 4.3)."""
        with asked():
            said = client.info()
        names = {option.partition(",")[0] for option in said.get("SecurityOptions") or []}
        return cls("name=rootless" in names or bool(said.get("Rootless")), "name=selinux" in names)

    @property
    def security_options(self) -> list[str]:
        """Options of every container.

        Labels off, as Podman's manual recommends for a user's folders: to relabel the cache for
        each container would change every file of it, and a container's other limits stay.
        """
        return ["label=disable"] if self.selinux else []
