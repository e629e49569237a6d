from __future__ import annotations

import base64
import gzip

import pytest

from toyml.report.bundle import plotly_bundle, unwrapped

WRAPPED = (
    "/* notice */\n(\n function(root, factory) { root.moduleName = factory(); }"
    '(self, () => {\n"use strict";var Plotly=(()=>({}))();\nwindow.Plotly = Plotly;\n'
    "return Plotly;\n}));"
)


def test_the_outermost_function_goes_and_the_notice_stays() -> None:
    assert unwrapped(WRAPPED) == (
        '/* notice */\n"use strict";var Plotly=(()=>({}))();\nwindow.Plotly = Plotly;\n'
    )


@pytest.mark.parametrize("text", ["", "var Plotly = 1", "/* */ window.Plotly = Plotly;"])
def test_what_looks_otherwise_is_left_as_it_is(text: str) -> None:
    assert unwrapped(text) == text


def test_the_installed_script_is_unwrapped() -> None:
    text = gzip.decompress(base64.b64decode(plotly_bundle())).decode()
    assert text.startswith("/**\n* plotly.js")
    assert "Licensed under the MIT license" in text[:300]
    assert "factory()" not in text[:2000]
    assert text.endswith("window.Plotly = Plotly;\n")
