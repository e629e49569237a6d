"""``toyml list``."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.table import Table
from rich.text import Text

from toyml.errors import UserError
from toyml.files import near_path
from toyml.terminal import plain

HEADER = 64_000
"""Letters of a config in which its header ends."""


class Experiment(NamedTuple):
    """One config: its stem, the question in its header comment, and the command to run it."""

    name: str
    question: str
    command: str


def experiments(folder: Path) -> list[Experiment]:
    """The experiments in a folder, by name.

    A config's header comment starts with its question and names the command that runs it:

        # Why does ... ?
        # python -m toyml fit --config configs/perceptron.yaml

    Raises:
        UserError: The folder does not exist or holds no config.
    """
    if not folder.is_dir():
        meant = near_path(folder)
        way = "run from the project's root or name it: toyml list FOLDER"
        raise UserError(
            f"{folder} is not a folder; " + (f"did you mean {meant}?" if meant else way)
        )
    found = [_read(path) for path in sorted(folder.glob("*.yaml")) if path.is_file()]
    if not found:
        raise UserError(f"{folder} holds no *.yaml config; name another folder: toyml list FOLDER")
    return found


def _read(path: Path) -> Experiment:
    header: list[str] = []
    with path.open(encoding="utf-8", errors="replace") as file:
        beginning = file.read(HEADER)
    for line in beginning.splitlines():
        if not line.startswith("#"):
            break
        header.append(line.lstrip("# ").rstrip())
    command = next((text for text in header if re.match(r"(python -m )?toyml ", text)), "")
    end = next((i for i, text in enumerate(header) if text == command or not text), len(header))
    return Experiment(
        path.stem,
        " ".join(header[:end]),
        command or f"python -m toyml fit --config {path}",
    )


def show_experiments(folder: Path) -> list[Experiment]:
    """Print the experiments as a table and return them."""
    found = experiments(folder)
    table = Table(title="Experiments", title_justify="left", show_lines=True)
    table.add_column("name", style="bold cyan", no_wrap=True)
    table.add_column("the question it answers")
    table.add_column("command", overflow="fold")
    for experiment in found:
        table.add_row(*(Text(plain(words)) for words in experiment))
    Console().print(table)
    return found
