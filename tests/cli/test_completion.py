"""Completion in a real shell: what is offered for the words typed so far."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from toyml.cli import TRAINER_COMMANDS
from toyml.cli.completion import completion
from toyml.cli.trainer import option_strings


@pytest.fixture(scope="module")
def script() -> str:
    return completion("bash")


def offered(script: str, folder: Path, *words: str) -> set[str]:
    """What bash would offer for the last of the words."""
    (function,) = re.findall(r"^complete .*-F (\w+) toyml$", script, re.M)
    ask = "\n".join(
        [
            script,
            f"COMP_WORDS=({' '.join(repr(word) for word in ('toyml', *words))})",
            f"COMP_CWORD={len(words)}",
            function,
            'printf "%s\\n" "${COMPREPLY[@]}"',
        ]
    )
    done = subprocess.run(
        ["bash", "--norc"], input=ask, cwd=folder, capture_output=True, text=True, check=True
    )
    return {word.strip() for word in done.stdout.split("\n") if word.strip()}


def test_commands_are_offered(script: str, tmp_path: Path) -> None:
    found = offered(script, tmp_path, "")
    assert {*TRAINER_COMMANDS, "report", "list", "compare", "sweep"} <= found
    assert offered(script, tmp_path, "rep") == {"report"}


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("fit", "--trainer.max_s"), {"--trainer.max_steps"}),
        (("fit", "--conf"), {"--config"}),
        (("fit", "--ckpt"), {"--ckpt_path"}),
        (("report", "--str"), {"--strict"}),
        (("sweep", "--va"), {"--vary"}),
        (("report", "x", "--nothing"), set()),
    ],
)
def test_options_are_offered(
    words: tuple[str, ...], expected: set[str], script: str, tmp_path: Path
) -> None:
    assert offered(script, tmp_path, *words) == expected


def test_files_after_config_and_folders_after_report(script: str, tmp_path: Path) -> None:
    (tmp_path / "alpha.yaml").touch()
    (tmp_path / "albums").mkdir()
    assert "alpha.yaml" in offered(script, tmp_path, "fit", "--config", "al")
    assert {word.rstrip("/") for word in offered(script, tmp_path, "report", "al")} == {"albums"}


@pytest.mark.parametrize("command", TRAINER_COMMANDS)
def test_every_option_of_a_command_is_in_the_script(command: str, script: str) -> None:
    options = {option for option, _ in option_strings(command)}
    assert {"--config", "--threads", "--trainer.max_steps", "--ckpt_path"} <= options
    array = re.search(rf"^_shtab_\w*_{command}_option_strings=\((.*)\)$", script, re.M)
    assert array is not None
    assert options <= set(array[1].replace("'", "").split())
