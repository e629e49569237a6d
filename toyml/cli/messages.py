"""The parser's messages, made into one line that names the value and the way out."""

from __future__ import annotations

import difflib
import re

NO_GPU = (
    "trainer.accelerator asks for a GPU and this machine has none that torch can use; leave it at "
    "auto or say --trainer.accelerator cpu"
)
# Lines of a parser's message that say how it tried, not what is wrong.
ASIDE = re.compile(
    r"Does not validate|Subtypes:|Errors:$|Given value|Expected a <class 'NoneType'>|"
    r"Expected a path but|Expected a dot import path|Problem with given class_path '[^']*':$|"
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
    if nested := re.search(r"NestedArg\(key='([^']*)', val=(.*)\)$", message, re.M):
        keys = [keys[0] if keys else "", nested[1]]
        value = nested[2].strip("'\"")
    elif given := re.findall(r"(?:Got value|Given value): (.*)$", message, re.M):
        value = given[-1]
    if "Expected a dot import path string: None" in message and "<class 'float'>" not in message:
        reasons = ["null works here in a config file only; name a class such as torch.nn.Identity"]
    if any(r.startswith("Expected a <class 'float'>") for r in reasons):
        reasons = [r for r in reasons if not r.startswith("Not of type Tensor")]
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
    return line if len(line) <= 400 else line[:300] + " ... " + line[-90:]


def did_you_mean(word: str, known: list[str]) -> str:
    """A hint with the nearest known word, or nothing."""
    near = difflib.get_close_matches(word, known, n=1)
    return f"; did you mean {near[0]}?" if near else ""
