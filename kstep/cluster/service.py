# SPDX-License-Identifier: GPL-2.0-only
"""A cluster's scheduler or worker, as dask's own command runs it, until this process is ended.

dask's commands do the same: these give them kstep's options, and start a worker again that lost
its scheduler.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from kstep.base.errors import MachineryError
from kstep.cluster.access import ADDRESS, INSECURE, is_loopback
from kstep.cluster.identity import COMPILERS, SUITE, TOOLCHAIN

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kstep.cluster.access import Access

ROOT = Path(__file__).parents[2]
AGAIN = 2.0  # seconds between the end of a worker and the next one
QUICK = 20.0  # seconds: a worker that ends so soon did not begin
MOST_QUICK = 5  # of those in a row
GRACE = 40.0  # seconds to end machines
# A child ends with its parent, however the parent ends: PR_SET_PDEATHSIG of prctl(2).
WITH_PARENT = ("setpriv", "--pdeathsig", "TERM", "--")
# Its pages for a browser need more packages, and know no TLS.
NO_PAGES = ("--no-dashboard", "--dashboard-address", "127.0.0.1:0")
# dask's defaults are for data: a worker that is busy is not to be ended, and what it logs is kept
# by the thousand, of which each may be a console.
SETTINGS = {
    "DASK_DISTRIBUTED__ADMIN__LOW_LEVEL_LOG_LENGTH": "100",
    "DASK_DISTRIBUTED__ADMIN__TICK__LIMIT": "60s",
    "DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED": "False",
    "DASK_LOGGING__DISTRIBUTED": "warning",
}


def scheduler(access: Access) -> None:
    """Run the scheduler at an address."""
    scheme, host, port = _split(access)
    access.security  # noqa: B018 -- raises if dask is missing
    argv = ["--host", f"{scheme}://{host}", "--port", port, *NO_PAGES, "--no-jupyter"]
    _run("scheduler", [*argv, *access.options], {})


def worker(access: Access, jobs: int, toolchain: str, compilers: str, suite: str) -> None:
    """Run a worker of a scheduler, and again if it ends because that is gone."""
    scheme, host, _ = _split(access)
    access.security  # noqa: B018 -- raises if dask is missing
    argv = [access.address, "--no-nanny", "--nthreads", str(jobs), "--memory-limit", "0"]
    argv += [*NO_PAGES, "--death-timeout", "60", "--preload", "kstep.cluster.worker"]
    if is_loopback(host):
        argv += ["--host", f"{scheme}://127.0.0.1"]
    env = {TOOLCHAIN: toolchain, COMPILERS: compilers, SUITE: suite}
    env |= {} if access.secure else {INSECURE: "1"}
    quick = 0
    while quick < MOST_QUICK:
        began = time.monotonic()
        _run("worker", [*argv, *access.options], env)
        quick = quick + 1 if time.monotonic() - began < QUICK else 0
        time.sleep(AGAIN)
    raise MachineryError("the worker does not start; what it printed says why")


def _split(access: Access) -> tuple[str, str, str]:
    found = ADDRESS.fullmatch(access.address)
    assert found is not None  # noqa: S101 -- Access has checked it
    return found["scheme"], found["host"], found["port"]


def _run(command: str, options: Sequence[str], env: Mapping[str, str]) -> None:
    """Run a command of dask's until it ends; KeyboardInterrupt ends it, and what it started."""
    argv = [*WITH_PARENT, sys.executable, "-m", "dask", command, *options]
    path = f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}".rstrip(os.pathsep)
    settings = {**SETTINGS, **os.environ, "PYTHONPATH": path, **env}
    child = subprocess.Popen(argv, env=settings, cwd=Path.cwd(), start_new_session=True)
    try:
        child.wait()
    except BaseException:
        child.send_signal(signal.SIGTERM)
        try:
            child.wait(GRACE)
        except subprocess.TimeoutExpired:
            child.kill()
        raise
