# SPDX-License-Identifier: GPL-2.0-only
"""Runs ``./inv verify`` on a cluster whose kernels are none: see tests.faults.place.

    python -m tests.cluster.verify FOLDER NAME SCHEDULER REPEAT [resume]

``NAME`` is that of the run in the place's folder.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from invoke.exceptions import Exit


def main(folder: str, name: str, scheduler: str, repeat: str, *resume: str) -> int:
    """Run it; returns its exit status."""
    import tasks  # noqa: PLC0415 -- not in its workers
    from kstep.cluster.client import Cluster  # noqa: PLC0415
    from kstep.image import debuginfo  # noqa: PLC0415
    from kstep.run import verification  # noqa: PLC0415
    from tests.cluster.worker import Played  # noqa: PLC0415
    from tests.faults.place import Place  # noqa: PLC0415

    place = Place(Path(folder), new=False)
    place.toolchain = Played()
    os.environ["PATH"] = place.path
    for module, what, value in (
        (verification, "prepare", place.prepare),
        (debuginfo, "keep", lambda *_: None),
        (tasks, "RUNS", place.folder / "runs"),
    ):
        setattr(module, what, value)
    run = str(place.folder / name)
    options: dict[str, Any] = {"resume": run}
    if not resume:
        sessions = os.environ["KSTEP_TEST_SESSIONS"]
        options = {"out": run, "series": str(place.patch), "sessions": sessions}
    if scheduler == "local":
        options["jobs"] = int(os.environ["KSTEP_JOBS"])
    else:
        files = os.environ.get("KSTEP_TEST_TLS", "").split()
        options |= dict(zip(("tls_ca", "tls_cert", "tls_key"), files, strict=False))
        options |= {"scheduler": scheduler, "insecure": not files}
    # The code is this kstep's, its sessions and patches are the place's.
    given, root = Cluster.__init__, tasks.ROOT
    setattr(Cluster, "__init__", lambda self, access, _, *rest: given(self, access, root, *rest))  # noqa: B010
    tasks.ROOT = place.root
    try:
        tasks.verify.body(None, repeat=int(repeat), **options)
    except Exit as end:
        print(end.message or "", flush=True)  # noqa: T201 -- as Invoke does
        return int(end.code)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
