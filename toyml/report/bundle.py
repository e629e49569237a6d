"""The plotting library of the page: plotly.js, as it lies in the installed wheel."""

from __future__ import annotations

import base64
import gzip
import json
import re
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from toyml.errors import UserError
from toyml.report.packing import LEVEL


@cache
def plotly_bundle() -> str:
    """The script as base64 of gzip: 2 MB instead of 4.8, and sooner open than the text.

    Plotly's Python modules are not imported; they take longer than the whole page.

    Raises:
        UserError: Plotly is not installed, or came without its script.
    """
    found = find_spec("plotly")
    places = list(found.submodule_search_locations or ()) if found else []
    for place in places:
        script = Path(place) / "package_data" / "plotly.min.js"
        if script.is_file():
            text = on_demand(unwrapped(script.read_text(encoding="utf-8")))
            return base64.b64encode(gzip.compress(text.encode(), LEVEL, mtime=0)).decode()
    raise UserError("plotly.min.js is not to be found; install plotly again: pip install plotly")


BEGIN, END = '"use strict";var Plotly=(', "window.Plotly = Plotly;"


def unwrapped(script: str) -> str:
    """The script without the function around all of it, which is for module loaders.

    A browser reads nested functions once for every level above them that it passes: without the
    outermost, Chromium needs 0.64 instead of 1.0 s until the library is there.

    Args:
        script: The text; one that does not look like Plotly's is left as it is.
    """
    begin, end = script.find(BEGIN), script.rfind(END)
    if not 0 <= begin < end or not script.startswith("/*"):
        return script
    notice = script[: script.index("*/") + 2]
    return f"{notice}\n{script[begin:end]}{END}\n"


CALL = ".register(["
REGISTER = re.compile(r"([\w$]+)\.register\(\[((?:[\w$]+\(\),?)+)\]\)")
TRACE = re.compile(r'moduleType:"trace",name:"(\w+)"')
MODULE = re.compile(r"([\w$]+)=[\w$]+\(\([\w$,]*\)=>\{")


def on_demand(script: str) -> str:
    """The script with its kinds of traces waiting in ``Plotly.waiting`` until one is used.

    To evaluate all 47 of them, most for maps and 3-D, takes a quarter of the time until a page with
    none of those is there. ``scene.js`` registers a kind when it comes to a panel that has one.

    Args:
        script: The text; one that does not look like Plotly's is left as it is.
    """
    place = script.rfind(CALL)  # a search for the whole pattern would take longer than all else
    call = REGISTER.search(script, max(place - 40, 0))
    if place < 0 or call is None:
        return script
    kinds = {module: module for module in re.findall(r"([\w$]+)\(\)", call[2])}
    for found in TRACE.finditer(script):
        inner = module_before(script, found.start())
        # A kind's module is fetched by one of its own, which is what gets registered.
        outer = module_before(script, script.find(f".exports={inner}()}})", found.end()))
        if outer in kinds:
            kinds[outer] = found[1]
    waiting = ",".join(f"{json.dumps(kind)}:{module}" for module, kind in kinds.items())
    return f"{script[: call.start()]}{call[1]}.waiting={{{waiting}}}{script[call.end() :]}"


def module_before(script: str, place: int) -> str:
    """Name of the module whose definition begins last before a place; empty without one."""
    names = MODULE.findall(script, max(place - 3000, 0), max(place, 0))
    return names[-1] if names else ""
