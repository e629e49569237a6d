"""Shell completion for every command and every option."""

from __future__ import annotations

import argparse

import shtab

from toyml.cli import TRAINER_COMMANDS, front
from toyml.cli.sweep import describe


def completion(shell: str) -> str:
    """A completion script for bash, zsh or tcsh.

    The options of ``fit`` and its kin are read from their parsers once, here, so completing a
    word in the shell runs no Python.
    """
    from toyml.cli.trainer import option_strings

    parser = front()
    commands = next(a for a in parser._actions if isinstance(a, argparse._SubParsersAction))
    for name in TRAINER_COMMANDS:
        command = commands.choices[name]
        command.add_argument("-h", "--help", action="store_true")
        for option, text in option_strings(name):
            action = command.add_argument(option, help=text.replace("%", "%%"))
            if option in ("--config", "--ckpt_path"):
                action.complete = shtab.FILE
    sweep = describe(commands.choices["sweep"])
    sweep.add_argument("-h", "--help", action="store_true")
    for action in sweep._actions:
        if action.dest in ("config", "folder"):
            action.complete = shtab.FILE if action.dest == "config" else shtab.DIRECTORY  # type: ignore[attr-defined]
    for action in commands.choices["report"]._actions:
        if action.dest == "run":
            action.complete = shtab.DIRECTORY
    return str(shtab.complete(parser, shell))
