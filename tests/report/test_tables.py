from __future__ import annotations

import pytest

from toyml.report import Page, TableItem, render


def test_a_table_is_escaped_and_its_numbers_are_formatted() -> None:
    table = TableItem("<Ends>", ["", "run & one"], [["loss", 0.5], ["<w>", None]], "each <own>")
    text = render(Page(title="a", question="b", tables=[table], kind="Comparison"))
    assert "Comparison <strong>a</strong>" in text
    for escaped in ("&lt;Ends&gt;", "run &amp; one", "&lt;w&gt;", "each &lt;own&gt;"):
        assert escaped in text
    assert '<td class="number">0.5</td>' in text
    assert '<td class="number">–</td>' in text


def test_a_row_of_another_length_is_an_error() -> None:
    with pytest.raises(ValueError, match="a row of 'T' has 1 cells; give 2"):
        TableItem("T", ["a", "b"], [["x"]])
