"""The house rules that a machine can check."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from itertools import pairwise

import pytest

from tests.conftest import ROOT

README = (ROOT / "README.md").read_text()


@pytest.mark.parametrize(
    "words",
    [["ruff", "check", "."], ["ruff", "format", "--check", "."], ["mypy", "--strict"]],
    ids=" ".join,
)
def test_lint_format_and_types(words: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", *words], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def commands() -> list[str]:
    return re.findall(r"^    (python3 -m venv .*)$", README, re.M)


def test_the_first_screen_has_the_two_commands() -> None:
    install_and_run, install_and_test = commands()
    assert "fit --config configs/perceptron.yaml" in install_and_run
    assert "pytest" in install_and_test
    assert all("-c constraints.txt" in command for command in commands())
    assert README.index(install_and_test) < 2500


def test_ci_runs_the_very_test_command_of_the_readme() -> None:
    assert commands()[1] in (ROOT / ".ci/run").read_text().splitlines()


def test_every_dependency_is_pinned_and_every_bound_has_its_reason() -> None:
    pins = dict(
        line.split("==") for line in (ROOT / "constraints.txt").read_text().split() if "==" in line
    )
    text = (ROOT / "pyproject.toml").read_text()
    project = tomllib.loads(text)["project"]
    extras = project["optional-dependencies"]
    known = {name.lower().replace("_", "-") for name in pins}
    wanted = {*project["dependencies"], *extras["ray"], *extras["test"]} - {"toyml[ray]"}
    for requirement in wanted:
        name = re.split(r"[\[<>=]", requirement)[0]
        assert name.lower() in known, name
    for block in (text.split("\ndependencies = [")[1], text.split("\ntest = [")[1]):
        for above, line in pairwise(block.split("\n]")[0].splitlines()):
            if line.strip().startswith('"'):
                assert above.strip().startswith("#"), f"{line.strip()} has no reason beside it"


def test_the_table_of_experiments_is_complete() -> None:
    for path in (ROOT / "configs").glob("*.yaml"):
        assert f"configs/{path.name}" in README, f"{path.name} is missing in the README's table"


def test_nothing_names_a_machine() -> None:
    done = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip("not a git checkout")
    for name in done.stdout.split():
        if name.endswith((".png", ".gif")) or name == "tests/test_house.py":
            continue
        text = (ROOT / name).read_text(encoding="utf-8")
        assert "/work/" not in text, name
        assert "/root/" not in text, name
