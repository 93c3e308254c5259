# SPDX-License-Identifier: GPL-2.0-only
"""The toolchain's image: Debian's, from a registry or made here, with the packages in it."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import subprocess
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING

import docker.errors
import requests

import docker
from kstep.base import temporary
from kstep.base.errors import MachineryError, RequestError
from kstep.toolchain import apt
from kstep.toolchain.engine import reason_of
from kstep.toolchain.interface import CommandError
from kstep.toolchain.suite import SUITES, USUAL

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from kstep.base.progress import Progress

REGISTRY = "KSTEP_REGISTRY"  # a mirror of Docker Hub's library, such as mirror.example/library
ABSENT = re.compile(r"Unable to locate package (\S+)|Package '(\S+)' has no installation candidate")


def ready_image(
    client: docker.DockerClient,
    folder: Path,
    suite: str,
    further: Sequence[str],
    progress: Progress,
) -> tuple[str, str]:
    """Find or build the image of a suite; return its tag and its digest.

    The tag is the hash of what it is made from: the files of ``folder``, and ``further`` packages.
    Raises RequestError if the suite does not have one of these.
    """
    recipe = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        recipe.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    if further or suite != USUAL:
        recipe.update(f"{suite} {' '.join(further)}".encode())
    tag = f"kstep-toolchain:{recipe.hexdigest()[:12]}"
    try:
        image = client.images.get(tag)
    except docker.errors.ImageNotFound:
        base = _base_image(client, progress, suite)
        arguments = {"BASE": base} | ({"FURTHER": " ".join(further)} if further else {})
        what = ", ".join((suite, *further))
        with progress.task(f"toolchain image of Debian {what}", unit="steps") as task:
            _build_image(client, folder, tag, arguments, task.note)
        image = client.images.get(tag)
    return tag, str(image.id)


def _base_image(client: docker.DockerClient, progress: Progress, suite: str) -> str:
    """Return a suite's image from a registry, or one made from the machine's own mirror."""
    mirror = os.environ.get(REGISTRY, "").rstrip("/")
    name = f"{mirror}/debian" if mirror else "debian"
    registry, local = f"{name}:{suite}-slim", f"kstep-base:{suite}"
    for each in (local, registry):
        with contextlib.suppress(docker.errors.ImageNotFound):
            client.images.get(each)
            return each
    try:
        client.images.pull(name, tag=f"{suite}-slim")
    except (docker.errors.APIError, requests.exceptions.RequestException) as error:
        why = _refusal(error)
        progress.say(f"{why}: building {local} here")
    else:
        return registry
    try:
        archives = apt.own_sources().as_list(suite)
    except MachineryError as error:
        raise MachineryError(
            f"{why}, and {error}; let the Docker engine reach an image registry, or name a mirror"
            f" of it: {REGISTRY}=HOST/library"
        ) from error
    apt.install(["mmdebstrap"], progress)
    with temporary.folder() as scratch:
        tar = Path(scratch) / "base.tar"
        sources = Path(scratch) / "sources.list"
        sources.write_text(archives)
        with progress.task(f"base image {local}"):
            _mmdebstrap(tar, sources, suite)
            client.api.import_image_from_file(str(tar), repository="kstep-base", tag=suite)
    return local


def _refusal(error: Exception) -> str:
    """Say why a registry gives no image: Docker Hub counts the pulls of an address."""
    reason = reason_of(error)
    if "toomanyrequests" in reason or "too many requests" in reason.lower():
        return (
            "the image registry refuses: too many requests from this address (docker login, or"
            f" {REGISTRY}=HOST/library for a mirror, gets the image)"
        )
    return f"no image registry answers ({reason})"


def _mmdebstrap(tar: Path, sources: Path, suite: str) -> None:
    argv = [
        "mmdebstrap",
        "--variant=minbase",
        "--include=ca-certificates",
        # In the image too. An expired index is used, as for kernel sources: those of testing and
        # sid expire within a week, and a mirror may be a snapshot.
        '--aptopt=Acquire::Check-Valid-Until "false"',
        suite,
        str(tar),
        str(sources),
    ]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode:
        raise CommandError(argv, done.returncode, done.stderr.splitlines()[-10:])


def _build_image(
    client: docker.DockerClient,
    folder: Path,
    tag: str,
    arguments: Mapping[str, str],
    note: Callable[[str], None],
) -> None:
    proxies = {k: v for k, v in os.environ.items() if k.lower() in ("http_proxy", "https_proxy")}
    tail: deque[str] = deque(maxlen=20)
    for event in client.api.build(
        path=str(folder),
        tag=tag,
        rm=True,
        forcerm=True,
        buildargs={**arguments, **proxies},
        network_mode="host",  # a mirror may be reachable only from this machine
        decode=True,
    ):
        if "error" in event:
            if absent := next(filter(None, map(ABSENT.search, reversed(tail))), None):
                suite = arguments["BASE"].rpartition(":")[2].removesuffix("-slim")
                others = ", ".join(each for each in SUITES if each != suite)
                raise RequestError(
                    f"--suite {suite}: Debian {suite} has no package {absent[1] or absent[2]};"
                    f" use another --suite ({others}) or --compiler"
                )
            raise MachineryError(
                f"docker/Dockerfile does not build: {event['error'].strip()}", details=tuple(tail)
            )
        line = str(event.get("stream", "")).strip()
        if line:
            tail.append(line)
            note(line)
