"""What a run folder from someone else may make happen: nothing but toyml's own work.

A config names classes, and building one runs code. Without trust only the classes below are built,
and nothing else is even imported; whoever knows where a run comes from says ``--trust`` (or
``Run.load(folder, trust=True)``). The rest of a run folder are numbers and text.
"""

from __future__ import annotations

import os
import re
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from jsonargparse import Namespace, set_parsing_settings
from jsonargparse import _common as parser_state
from jsonargparse import _stubs_resolver as stubs
from typeshed_client import get_search_context

from toyml.errors import UserError

ALLOWED = (
    *(
        f"toyml.{room}"
        for room in ("callbacks", "claims", "data", "losses", "models", "optim", "views")
    ),
    *("toyml.sweep", "toyml.tasks"),
    *("torch.nn", "torch.optim"),
    *(f"torchmetrics.{room}" for room in ("aggregation", "classification", "regression")),
)
"""Packages whose classes compute and draw; none of them opens a file or a connection by itself."""
DENIED = (
    "*",
    # Tools beside the layers: they load, distribute, trace or wrap what they are handed.
    *(f"torch.nn.{room}" for room in ("attention", "functional", "grad", "init", "intrinsic")),
    *(f"torch.nn.{room}" for room in ("parallel", "qat", "quantizable", "quantized", "utils")),
    "torch.optim.swa_utils",
)


def find_stubs_here() -> None:
    """Let the parser look for type stubs where this process imports from.

    By itself it starts another Python and asks that for its path: 50 ms, a trace-back of the
    child's when Ctrl-C comes, and a ``json.py`` of the working folder's is run.
    """
    if stubs.stubs_resolver is None:
        context = get_search_context(
            search_path=[Path(place) for place in sys.path if place],
            allow_py_files=parser_state.get_parsing_setting("stubs_resolver_allow_py_files"),
        )
        stubs.stubs_resolver = stubs.StubsResolver(search_context=context)  # type: ignore[assignment]


class UntrustedError(UserError):
    """A config names a class or function that is built only with trust.

    Args:
        path: Its import path.
        source: Where the config comes from.
    """

    def __init__(self, path: str, source: str) -> None:
        super().__init__(
            f"{source} names {path}, which is none of toyml's or torch's own classes, and to use "
            "it would run its code; if the run is yours, or you trust its maker, add --trust "
            "(from Python: Run.load(folder, trust=True))"
        )


@contextmanager
def restricted() -> Iterator[None]:
    """While it lasts, the parser imports nothing but what is allowed, by any name it has.

    The parser asks before it imports, and asks again for the place where an object was defined,
    so neither ``toyml.data.memory.os`` nor a copy under an allowed name is a way around.
    """
    before = dict(parser_state.parsing_settings)
    try:
        set_parsing_settings(
            import_path_denylist=list(DENIED),
            import_path_allowlist=list(ALLOWED),
            # A dict of a setting that takes anything stays a dict.
            instantiate_subclass_spec_in_any=False,
            validate_subclass_spec_in_any=False,
        )
        yield
    finally:
        # The parser can add to these settings, and has no word for going back.
        parser_state.parsing_settings.clear()
        parser_state.parsing_settings.update(before)


def refused(error: BaseException) -> str | None:
    """The import path that :func:`restricted` refused, if that is what an error is about."""
    found = re.search(r"Importing '([^']*)' is not allowed", str(error))
    return found[1] if found else None


def only_classes(parsed: Any, source: str) -> None:
    """See that what a parsed config names are classes: a function would be called.

    Raises:
        UntrustedError: It names something else.
    """
    if isinstance(parsed, Namespace):
        # A function that says it returns the right kind of object passes as a class path.
        if isinstance(path := vars(parsed).get("class_path"), str):
            module, _, name = path.rpartition(".")
            only_classes(getattr(sys.modules.get(module), name, None), source)
        parsed = vars(parsed)
    if isinstance(parsed, dict):
        for value in parsed.values():
            only_classes(value, source)
    elif isinstance(parsed, list | tuple | set):
        for value in parsed:
            only_classes(value, source)
    elif callable(parsed) and not isinstance(parsed, type):
        name = f"{getattr(parsed, '__module__', '')}.{getattr(parsed, '__qualname__', parsed)}"
        raise UntrustedError(name, source)


def see_files(folder: Path) -> None:
    """See that a run folder holds folders and plain files, and no link that leads out of it.

    A link would let ``report`` read or overwrite a file elsewhere; a pipe would let it wait.

    Raises:
        UserError: It does not.
    """
    inside = os.path.realpath(folder)
    for parent, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = os.path.join(parent, name)  # noqa: PTH118 - as os.walk speaks
            kind = os.lstat(path).st_mode
            if stat.S_ISLNK(kind):
                target = os.path.realpath(path)
                if os.path.commonpath([inside, target]) != inside:
                    raise UserError(
                        f"{path} is a link to {target}, outside the run; if the run is yours, add "
                        "--trust (from Python: Run.load(folder, trust=True))"
                    )
            elif not stat.S_ISREG(kind) and not stat.S_ISDIR(kind):
                raise UserError(f"{path} is neither a file nor a folder; remove it")
