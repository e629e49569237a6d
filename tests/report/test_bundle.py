from __future__ import annotations

import base64
import gzip

import pytest

from toyml.report.bundle import on_demand, plotly_bundle, unwrapped

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


MODULES = (
    'var a=W((x,y)=>{"use strict";y.exports={moduleType:"trace",name:"bar"}});'
    'var b=W((x,y)=>{"use strict";y.exports=a()});'
    'var c=W((x,y)=>{"use strict";var z=q();z.plot=p();y.exports=z});'
    'var $d=W((x,y)=>{"use strict";y.exports={plot:p,moduleType:"trace",name:"pie"}});'
    'var e=W((x,y)=>{"use strict";y.exports=$d()});'
)
LIBRARY = MODULES + 'var f=W((x,y)=>{"use strict";var r=core();%s;y.exports=r});return f();'


def test_kinds_of_traces_wait_by_name_and_what_has_none_by_its_module() -> None:
    script = on_demand(LIBRARY % "r.register([b(),c(),e()])")
    assert script == LIBRARY % 'r.waiting={"bar":b,"c":c,"pie":e}'


@pytest.mark.parametrize("call", ["r.register(b())", "r.register([])", "r.register([b(1)])", ""])
def test_a_library_of_another_form_is_left_as_it_is(call: str) -> None:
    assert on_demand(LIBRARY % call) == LIBRARY % call


def test_every_kind_that_the_panels_use_waits_by_its_name() -> None:
    text = gzip.decompress(base64.b64decode(plotly_bundle())).decode()
    waiting = text[text.rindex(".waiting={") :].split("}")[0]
    for kind in ("bar", "contour", "heatmap", "mesh3d", "scatter3d", "surface"):
        assert f'"{kind}":' in waiting
    assert ".register([" not in text
