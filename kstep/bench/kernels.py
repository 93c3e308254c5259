# SPDX-License-Identifier: GPL-2.0-only
"""What the kernels of a run cost to build, and what they cost if nothing changed."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from kstep.bench.figure import Figure, most
from kstep.run.building import build_here

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from kstep.run.building import Built, Family
    from kstep.run.preparation import Prepared

    Build = Callable[[Sequence[Family]], list[Built]]

SOURCE, HEADER = "slowest_variant_over_full_build", "header_variant_over_full_build"
BOUNDS = {SOURCE: 0.03, HEADER: 0.15}


def variants_over_first(built: Sequence[Built]) -> dict[str, Figure]:
    """Compare the slowest further variant with the first build, of the most objects.

    One that differs from the variant built before it by a header has a bound of its own. The
    seconds are those of the builds that made the kernels, now or earlier.
    """
    made = [each.require() for each in built]
    seconds = [each.build_seconds for each in made]
    first = max(range(len(made)), key=lambda n: (made[n].objects_compiled, seconds[n]))
    slowest: dict[str, float] = {}
    for number, taken in enumerate(seconds):
        if number != first:
            before = built[number - 1 if number else 1]
            name = HEADER if _header_differs(before, built[number]) else SOURCE
            slowest[name] = max(slowest.get(name, 0.0), taken)
    return {name: most(taken / seconds[first], BOUNDS[name]) for name, taken in slowest.items()}


def _header_differs(one: Built, other: Built) -> bool:
    """Whether two variants differ in a header, which objects include that nobody changed."""
    files = [each.variants[0][1].files for each in (one, other)]
    return any(
        files[0].get(name) != files[1].get(name)
        for name in {*files[0], *files[1]}
        if name.endswith(".h")
    )


def if_nothing_changed(prepare: Callable[[Build], Prepared]) -> dict[str, Figure]:
    """Prepare the kernels once more: none is built, and looking for them takes no time."""
    seconds = 0.0

    def build(families: Sequence[Family]) -> list[Built]:
        nonlocal seconds
        began = time.perf_counter()
        built = build_here(families)
        seconds = time.perf_counter() - began
        return built

    again = prepare(build)
    kernels = [each.require() for each in again.built]
    compiled = sum(kernel.objects_compiled for kernel in kernels if not kernel.cached)
    return {
        "objects_compiled_if_nothing_changed": most(compiled, 0),
        "seconds_of_kernels_if_nothing_changed": most(seconds, 1),
    }
