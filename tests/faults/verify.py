# SPDX-License-Identifier: GPL-2.0-only
"""Runs ``./inv verify`` at places whose kernels are none, each in a process of its own.

``python -m tests.faults.verify`` reads a job a line and forks for it, so that Python is started
and kstep imported once for hundreds of runs. It prints the process's number, and its status when
it has ended. The process is the leader of a session, as one that a terminal has.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
import tempfile
from pathlib import Path


def serve() -> int:
    """Run jobs until there are no more; returns the status of the job in a process that has one."""
    import tasks  # noqa: F401, PLC0415 -- a worker imports this module again
    from tests.faults import place  # noqa: F401, PLC0415

    for line in sys.stdin:
        job = json.loads(line)
        pid = os.fork()
        if not pid:
            return run(**job)
        print(pid, flush=True)  # noqa: T201 -- the answer
        _, status = os.waitpid(pid, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)  # noqa: T201
    return 0


def run(folder: str, jobs: int, resume: bool, env: dict[str, str]) -> int:  # noqa: FBT001 -- of a job
    """Run ``./inv verify``; returns its exit status."""
    from invoke.exceptions import Exit  # noqa: PLC0415

    import tasks  # noqa: PLC0415
    from kstep.image import debuginfo  # noqa: PLC0415
    from kstep.run import verification  # noqa: PLC0415
    from tests.faults.place import Place  # noqa: PLC0415

    os.setsid()
    place = Place(Path(folder), new=False)
    nowhere, log = os.open(os.devnull, os.O_RDONLY), os.open(place.log, os.O_WRONLY | os.O_APPEND)
    for standard, other in enumerate((nowhere, log, log)):
        os.dup2(other, standard)
    os.environ |= {"TMPDIR": str(place.tmp), "PATH": place.path, **env}
    tempfile.tempdir = None
    if "KSTEP_FAULTS" in env:
        ctypes.CDLL(env["LD_PRELOAD"]).kstep_faults()
    for module, name, value in (
        (verification, "prepare", place.prepare),
        (debuginfo, "keep", lambda *_: None),
        (tasks, "ROOT", place.root),
        (tasks, "RUNS", place.folder / "runs"),
    ):
        setattr(module, name, value)
    where = {"resume": str(place.run)} if resume else {"out": str(place.run)}
    options = {} if resume else {"series": str(place.patch), "sessions": "does"}
    try:
        tasks.verify.body(None, jobs=jobs, **options, **where)
    except Exit as end:
        print(end.message or "", flush=True)  # noqa: T201 -- as Invoke does
        return int(end.code)
    return 0


if __name__ == "__main__":
    sys.exit(serve())
