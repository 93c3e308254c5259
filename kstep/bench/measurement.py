# SPDX-License-Identifier: GPL-2.0-only
"""All measurements of one bench."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from kstep.base import temporary
from kstep.bench import boot, cold, command, kernels, peer, records, stepping, verdict
from kstep.bench.figure import Bench, least, most

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from kstep.base.progress import Progress
    from kstep.bench.cold import Cold
    from kstep.bench.figure import Figure
    from kstep.bench.kernels import Build
    from kstep.build.kernel import Kernel
    from kstep.run.building import Built
    from kstep.run.preparation import Prepared

RUNS = (100, 1000, 10_000, 100_000)  # cells of each
REPORTED = 10_000  # cells of a run whose reports are drawn


def measure(
    prepared: Prepared,
    prepare: Callable[[Build], Prepared],
    root: Path,
    above: Path,
    progress: Progress,
    *,
    peers: bool = False,
    whole: bool = False,
) -> Bench:
    """Measure what takes minutes, on kernels that are built; ``prepare`` gets them again.

    ``peers`` installs other programs and has them do the same; ``whole`` adds what takes hours,
    with kernels in a folder below ``above``, which is removed.
    Raises MachineryError if a kernel could not be built.
    """
    for each in prepared.built:
        each.require()
    kernel = _whole(prepared.built).require()
    with progress.task("steps of each kind"):
        rates = stepping.rates(prepared, kernel)
    figures = {
        "driver_over_plain": least(rates["driver"] / rates["plain"], 0.97),
        "judged_over_plain": least(rates["judged"] / rates["plain"], 0.9),
        "judged_over_gdb": least(rates["judged"] / rates["gdb"], 22),
        **kernels.variants_over_first(prepared.built),
    }
    with progress.task("what did not change"):
        figures |= kernels.if_nothing_changed(prepare)
        figures["listing_over_import"] = most(command.listing_over_import(root), 2.5)
    with progress.task("boots"):
        figures["boot_over_qemu"] = most(boot.boot_over_qemu(prepared, kernel), 1.1)
    walks = stepping.walks(prepared, kernel, progress)
    figures["step_of_a_long_walk_over_a_short_one"] = most(walks.long_over_short, 1.05)
    figures["megabytes_more_on_a_long_walk"] = most(walks.megabytes, 30)
    with progress.task("cells of long runs"):
        cells = records.further_cell(RUNS)
        drawn = records.reports(REPORTED)
    figures["further_cell_in_a_long_run_over_a_short_one"] = most(
        cells[max(cells)] / cells[min(cells)], 1.1
    )
    figures["seconds_of_reports_of_10000_cells"] = most(drawn, 10)
    growth = {"step": walks.growth, "further_cell": cells}
    built: Cold | None = None
    if whole:
        built = cold.build(prepared, above, progress)
        growth["variant"] = built.growth
        figures |= built.figures
        figures |= _verdicts(prepared, kernel, built.compile_seconds, root, progress)
    missing: dict[str, str] = {}
    if peers:
        seconds = None if built is None else built.seconds
        found, missing = peer.compare(prepared, kernel, rates["judged"], seconds, progress)
        figures |= found
    return Bench(figures, rates, growth, missing)


def _verdicts(
    prepared: Prepared, kernel: Kernel, compile_seconds: float, root: Path, progress: Progress
) -> dict[str, Figure]:
    """Measure verify as it is run; ``compile_seconds`` are those of the changed file."""
    alone = boot.alone(prepared, kernel)
    found: dict[str, Figure] = {}
    kind = f"--toolchain={prepared.toolchain.kind}"
    with temporary.folder() as folder, progress.task("a saved patch"):
        source = prepared.built[0].tree.source
        seconds = verdict.seconds_to_verdict(root, Path(folder), source, kind)
        found["patch_to_verdict_over_compile_and_boot"] = most(
            seconds / (compile_seconds + alone), 2
        )
    with temporary.folder() as folder, progress.task("verify"):
        found["verify_over_qemu"] = most(verdict.verify_over_qemu(root, Path(folder), kind), 1.5)
    return found


def _whole(built: Sequence[Built]) -> Built:
    """Return the kernel with the most patches: a step of the others may end in an interrupt."""
    return max(built, key=lambda each: max(len(one.members) for one, _ in each.variants))
