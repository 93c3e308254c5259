# SPDX-License-Identifier: GPL-2.0-only
"""bench.html: the figures, and how what kstep does grows; one file, without scripts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import vl_convert
from markupsafe import Markup

from kstep.report.page import environment, style

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kstep.bench.figure import Bench

# What grows, and of what.
CURVES = {
    "variant": ("seconds a variant, built one after another", "variants"),
    "step": ("seconds a step of one walk", "steps"),
    "further_cell": ("seconds to record one more cell of a run", "cells"),
}
GREY, BLUE = "#808080", "#3b7dd8"  # seen on black and on white


def page(bench: Bench, started: str) -> str:
    """Return the page, to write in UTF-8; ``started`` is the time of the bench."""
    drawn = [
        (title, _curve(bench.growth[name], title, unit))
        for name, (title, unit) in CURVES.items()
        if bench.growth.get(name)
    ]
    template = environment().get_template("bench.html.j2")
    return template.render(
        bench=bench,
        started=started,
        well=all(figure.met for figure in bench.figures.values()),
        drawn=drawn,
        style=style(),
    )


def _curve(sizes: Mapping[int, float], title: str, unit: str) -> Markup:
    """Draw a quantity over sizes, both logarithmic, as SVG."""
    spec: dict[str, Any] = {
        "description": title,
        "width": 520,
        "height": 200,
        "background": None,
        "data": {"values": [{"size": size, "seconds": each} for size, each in sizes.items()]},
        "mark": {"type": "line", "point": {"color": BLUE}, "color": BLUE},
        "encoding": {
            "x": {"field": "size", "type": "quantitative", "scale": {"type": "log"}, "title": unit},
            "y": {
                "field": "seconds",
                "type": "quantitative",
                "title": "seconds",
                "scale": {"type": "log", "domain": _decades(list(sizes.values()))},
            },
        },
        "config": {
            "axis": {
                **{f"{part}Color": GREY for part in ("label", "title", "domain", "tick")},
                "gridOpacity": 0.3,
            },
            "view": {"stroke": None},
        },
    }
    return Markup(vl_convert.vegalite_to_svg(spec))  # noqa: S704 -- of our own words and numbers


def _decades(seconds: list[float]) -> list[float]:
    """Return the bounds of an axis on which twice as much is not taken for a lot more."""
    return [min(seconds) / 4, max(seconds) * 4]
