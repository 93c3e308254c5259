# SPDX-License-Identifier: GPL-2.0-only
"""Where report.html shows a cell."""

from __future__ import annotations

from urllib.parse import urlsplit

from hypothesis import given
from hypothesis import strategies as st

from kstep.report.anchor import anchor
from tests.unit.results.material import a_cell


def test_it_reads_as_the_folder_of_the_cell_and_all_repeats_share_it() -> None:
    found = {anchor(a_cell("v6/1+2", "s[f]", repeat=n).cell) for n in (1, 2)}
    assert found == {"cells/debian=6.1/base/v6,1+2/s/f"}


name = st.text(st.characters(), min_size=1)


@given(name, name, name)
def test_it_is_a_fragment_as_it_stands(tree: str, variant: str, test: str) -> None:
    found = anchor(a_cell(variant, test, tree=tree).cell)
    assert urlsplit(f"report.html#{found}").fragment == found
    assert not set(found) & set(" \"'<>#`")
    assert found.isascii()
