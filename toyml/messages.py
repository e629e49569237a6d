"""The parser's messages, made into one line that names the value and the way out."""

from __future__ import annotations

import difflib
import importlib
import inspect
import pkgutil
import re
from collections.abc import Iterable
from pathlib import Path

from toyml.files import near_path

NO_GPU = (
    "trainer.accelerator asks for a GPU and this machine has none that torch can use; leave it at "
    "auto or say --trainer.accelerator cpu"
)
# Lines of a parser's message that say how it tried, not what is wrong.
ASIDE = re.compile(
    r"Does not validate|Subtypes:|Errors:$|Given value|Expected a <class 'NoneType'>|"
    r"Expected a path but|Expected a dot import path|Problem with given class_path '[^']*':$|"
    r"Subclass types expect one of|a class path \(str\)|a dict with|"
    r"Parser key \"[^\"]*\":$|For more details|usage:|$"
)


def readable(message: str) -> str:
    """What is wrong, in one line.

    jsonargparse reports every type that a value could have had, nested, on many lines; here the
    dotted key, the value and the first real reason are kept.

    Example:
        >>> readable("Expected a <class 'int'>. Got value: 1.5")
        'expected int'
    """
    message = re.sub(r"\x1b\[[0-9;]*m", "", message)
    if sharded := re.search(r"The strategy `(\w+)` requires a GPU", message):
        return (
            f"trainer.strategy {sharded[1]} divides a net among GPUs and there is none in use; "
            "on the CPU say --trainer.strategy ddp --trainer.devices 2"
        )
    if "CUDAAccelerator" in message or "MPSAccelerator" in message or "gpu backend" in message:
        return NO_GPU
    if re.search(r"required: \w+\.model", message) or "required: model" in message:
        return "there is no model; give an experiment, for example --config configs/perceptron.yaml"
    keys = re.findall(r'Parser key "([^"]+)":', message)
    # "Type Callable[...] expects a function or a callable class: REASON" carries its reason last.
    lines = [re.sub(r"^\s*(- )?", "", line).rstrip() for line in message.splitlines()]
    lines = [re.sub(r"^Type .* expects a function or a callable class: ", "", s) for s in lines]
    lines = [re.sub(r"^Problem with given class_path '([^']*)': (?=.)", r"\1: ", s) for s in lines]
    lines = [re.sub(r'^Parser key "[^"]*": (?=.)', "", s) for s in lines]
    reasons = [line for line in lines if not ASIDE.match(line)]
    value = ""
    if nested := re.findall(r"NestedArg\(key='([^']*)', val=(.*)\)$", message, re.M):
        keys = [keys[0] if keys else "", nested[-1][0]]  # the last one is the whole key
        value = nested[-1][1].strip("'\"")
    elif given := re.findall(r"(?:Got value|Given value): (.*)$", message, re.M):
        value = given[-1]
    if "Expected a dot import path string: None" in message and "<class 'float'>" not in message:
        reasons = ["null works here in a config file only; name a class such as torch.nn.Identity"]
    if any(r.startswith("Expected a <class 'float'>") for r in reasons):
        reasons = [r for r in reasons if not r.startswith("Not of type Tensor")]
    reasons = [r.removeprefix("Not of type Tensor: ") for r in reasons]
    # What a class in a list says of itself beats that the list is no class.
    reasons = [r for r in reasons if not r.startswith("Not a valid subclass")] or reasons
    expected = [e for r in reasons for e in re.findall(r"Expected a (.*?)(?:\. Got value.*)?$", r)]
    others = [r for r in reasons if not r.startswith("Expected a ")]
    if others:
        text = re.sub(r"\.? Got value: .*$", "", others[0])
    else:
        kinds = [re.sub(r"<class '(?:\w+\.)*(\w+)'>|typing\.", r"\1", e) for e in expected]
        text = "expected " + (" or ".join(dict.fromkeys(kinds)) or "a class path")
    where = ".".join(k for k in keys if k)
    if len(value) > 60:
        value = ""
    prefix = f"{where} is {value}: " if where and value else f"{where}: " if where else ""
    line = prefix + " ".join(text.split())
    line = re.sub(r"\b(init_args|dict_kwargs)\.", "", line)
    line = line if len(line) <= 400 else line[:300] + " ... " + line[-90:]
    return line + hint(message)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A hint with the nearest known word, or nothing.

    Example:
        >>> did_you_mean("Adma", ["Adamax", "Adam"])
        '; did you mean Adam?'
    """
    near = nearest(word, known)
    return f"; did you mean {near}?" if near else ""


def nearest(word: str, known: Iterable[str]) -> str:
    """The known word that is most like one, first of all with the same letters; "" if none is."""
    close = difflib.get_close_matches(word, list(known), n=5)
    swapped = [other for other in close if sorted(other) == sorted(word)]
    return next(iter([*swapped, *close]), "")


def hint(message: str) -> str:
    """What a parser's message says that there is not, as it is written; or nothing.

    A class among those of its module, a class's setting, a file among its neighbours.

    Example:
        >>> hint("module 'torch.nn' has no attribute 'Tnah'")
        '; did you mean torch.nn.Tanh?'
        >>> hint("Problem with given class_path 'toyml.data.Moons': Option 'nois' is not accepted")
        '; did you mean noise?'
    """
    message = " ".join(message.split())
    if found := re.search(r"module '([\w.]+)' has no attribute '(\w+)'", message):
        return did_you_mean(f"{found[1]}.{found[2]}", members(found[1]))
    if found := re.search(r"No module named '([\w.]+)'", message):
        room = found[1].rpartition(".")[0]
        return did_you_mean(found[1], members(room) if room else PACKAGES)
    if found := re.search(r"import path string: (\w+)(?!\.)\b", message):
        names = {path.rpartition(".")[2]: path for room in ROOMS for path in members(room)}
        near = nearest(found[1], names)
        return f"; did you mean {names[near]}?" if near else ""
    option = r"Option '([\w.]+)' is not accepted"
    if found := re.search(rf"class_path '([^']*)': {option}", message):
        return did_you_mean(found[2].split(".")[0], settings(found[1]))
    if found := re.search(rf"{option}\. Got value: Namespace\(class_path='([^']*)'", message):
        return did_you_mean(found[1].split(".")[0], settings(found[2]))
    if found := re.search(r"File does not exist: '([^']*)'", message):
        near_by = near_path(Path(found[1]))
        return f"; did you mean {near_by}?" if near_by else ""
    return ""


PACKAGES = ("toyml", "torch", "torchmetrics", "lightning")
ROOMS = (
    *("lightning.pytorch.callbacks", "lightning.pytorch.loggers", "torch.nn", "torch.optim"),
    *("torch.optim.lr_scheduler", "toyml.optim", "toyml.losses", "toyml.models", "toyml.data"),
    *("toyml.tasks", "toyml.callbacks"),
)
"""Where a class may be that was given by its name alone; of two the later one is meant."""


def members(module: str) -> list[str]:
    """Full names of the public classes and modules in a module."""
    try:
        found = importlib.import_module(module)
    except Exception:  # an import may raise anything; then there is nothing to hint at
        return []
    inside = [room.name for room in pkgutil.iter_modules(getattr(found, "__path__", []))]
    held = [
        n for n, value in vars(found).items() if inspect.isclass(value) or inspect.ismodule(value)
    ]
    names = getattr(found, "__all__", held)
    return [f"{module}.{n}" for n in dict.fromkeys([*names, *inside]) if not n.startswith("_")]


def settings(class_path: str) -> list[str]:
    """Names of the arguments of a class, and what stands around them in a config."""
    module, _, name = class_path.rpartition(".")
    try:
        kind = getattr(importlib.import_module(module), name)
        return [*inspect.signature(kind).parameters, "class_path", "init_args"]
    except Exception:  # a class of one's own, which may raise anything
        return []
