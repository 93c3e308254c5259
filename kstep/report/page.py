# SPDX-License-Identifier: GPL-2.0-only
"""report.html: one file that needs no network, with all details.

The template, the style and the script are in the folder ``template``. Vega draws the charts.
Another origin, or a guest's output that looks like a script, cannot run anything: the page's
content security policy allows only its two scripts, by their hashes.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2
import vl_convert
from markupsafe import Markup

from kstep.report import command, story
from kstep.report.anchor import anchor
from kstep.report.outline import Outline
from kstep.report.table import SHORT
from kstep.results.printable import printable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kstep.results.provenance import KernelRecord
    from kstep.results.record import Record

FOLDER = Path(__file__).with_name("template")


def page(record: Record) -> str:
    """Return report.html, to write in UTF-8."""
    outline = Outline(record)
    cells = record.cells
    signatures = {each.signature for each in cells}
    parts = outline.parts
    data = {
        **outline.pictures.data,
        "rates": outline.rates,
        "curves": outline.curves,
        "choices": [part.choice for part in parts],
    }
    scripts = [vega(), (FOLDER / "page.js").read_text("utf-8")]
    template = environment().get_template("page.html.j2")
    return template.render(
        record=record,
        headline=story.headline(cells),
        well=bool(cells) and all(each.matched for each in cells),
        first=story.look_first(record),
        anchor=anchor,
        called=lambda each: story.called(record, each.cell),
        surprise=story.surprise,
        outline=outline,
        remarks=story.remarks(record),
        parts=parts,
        several=len(parts) > 1,
        short={short: word for word, short in SHORT.items() if word in signatures},
        again=command.whole(record),
        kernels=record.kernels,
        same=_same,
        style=style(),
        data=Markup(_embedded(data)),  # noqa: S704 -- ends no element
        scripts=map(Markup, scripts),
        hashes=[_hash(text) for text in scripts],
    )


def style() -> Markup:
    """Return the style sheet, to insert into a page."""
    return Markup((FOLDER / "page.css").read_text("utf-8"))  # noqa: S704 -- our own file


@functools.cache
def vega() -> str:
    """Return Vega as one script that fetches nothing, with its interpreter of expressions."""
    text: str = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")
    assert "</script" not in text.lower()  # noqa: S101 -- it would end the element
    return text


def _same(kernel: KernelRecord) -> str:
    return f"same image as {kernel.same_as}" if kernel.same_as else ""


def _embedded(data: object) -> str:
    """Return JSON that is safe in a script element: nothing in it ends the element."""
    text = json.dumps(data, separators=(",", ":"))
    return text.replace("<", "\\u003c")


def _hash(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


@functools.cache
def environment() -> jinja2.Environment:
    """Return the template environment, which escapes every value."""
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["printable"] = lambda text: printable(str(text))
    made.filters["figure"] = _figure
    made.filters["paragraphs"] = _paragraphs
    return made


def _figure(value: Any) -> str:  # noqa: ANN401 -- a metric is whatever JSON holds
    if isinstance(value, float):
        return f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"  # noqa: PLR2004 -- digits
    return f"{value:,}" if isinstance(value, int) else printable(str(value))


def _paragraphs(text: str) -> Iterator[str]:
    return (" ".join(part.split()) for part in printable(text).split("\n\n"))
