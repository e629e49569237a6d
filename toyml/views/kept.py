"""A memo of views: what one figure has looked at, the next one and the page need not again."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Hashable, Mapping
from typing import Any, Concatenate, ParamSpec, TypeVar
from weakref import WeakKeyDictionary

import numpy as np

from toyml.run import Run

Settings = ParamSpec("Settings")
View = TypeVar("View")


def kept(
    view: Callable[Concatenate[Run, Settings], View],
) -> Callable[Concatenate[Run, Settings], View]:
    """Remember what a view returned, for as long as the Run object lives.

    The settings are compared as the view's signature fills them in: by position, by name and by
    default is the same. Arrays are handed out read-only, because others hold them too. A view that
    raises is not remembered.

    Args:
        view: A function of a Run and of settings that can be hashed.

    Returns:
        The same function with a memo.

    Raises:
        TypeError: On a call, a setting that cannot be hashed.
    """
    seen: WeakKeyDictionary[Run, dict[Hashable, View]] = WeakKeyDictionary()
    signature = inspect.signature(view)

    @functools.wraps(view)
    def remembered(run: Run, /, *args: Settings.args, **kwargs: Settings.kwargs) -> View:
        bound = signature.bind(run, *args, **kwargs)
        bound.apply_defaults()
        settings = {name: value for name, value in bound.arguments.items() if value is not run}
        for name, value in settings.items():
            if not _hashable(value):
                raise TypeError(
                    f"{view.__name__}: {name} is {value!r}, which cannot be hashed; "
                    "give a tuple or another value that can"
                )
        views = seen.setdefault(run, {})
        key = tuple(settings.items())
        if key not in views:
            views[key] = view(run, *args, **kwargs)
            _freeze(views[key])
        return views[key]

    return remembered


def _hashable(value: object) -> bool:
    try:
        hash(value)
    except TypeError:
        return False
    return True


def _freeze(value: Any) -> None:
    """Make every array in a view read-only."""
    if isinstance(value, np.ndarray):
        value.setflags(write=False)
    elif isinstance(value, tuple | list):
        for item in value:
            _freeze(item)
    elif isinstance(value, Mapping):
        for item in value.values():
            _freeze(item)
