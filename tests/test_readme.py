"""What the README shows works."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from tests.conftest import ROOT
from toyml import Run
from toyml.cli import main

README = (ROOT / "README.md").read_text()


def block(language: str) -> str:
    found = re.findall(rf"```{language}\n(.*?)```", README, re.S)
    assert len(found) == 1
    return str(found[0])


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("configs").symlink_to(ROOT / "configs")


def test_the_20_line_experiment(tmp_path: Path) -> None:
    text = block("yaml")
    assert len(text.splitlines()) <= 22
    assert yaml.safe_load(text)
    Path("moons.yaml").write_text(text)
    run = main(["fit", "--config", "moons.yaml", "--trainer.max_steps", "600"])
    assert isinstance(run, Run)
    assert (run.folder / "figures/boundary.png").exists()
    assert run.metrics["val_accuracy"]["value"][-1] > 0.8


def test_the_python_example(capsys: pytest.CaptureFixture[str]) -> None:
    code = block("python").replace(
        "callbacks=[Recorder()]",
        "callbacks=[Recorder()], accelerator='cpu', enable_progress_bar=False, "
        "enable_model_summary=False",
    )
    exec(compile(code, "README.md", "exec"), {})
    assert capsys.readouterr().out.splitlines()[-1].startswith("101 ")


def test_every_command_line_runs(capsys: pytest.CaptureFixture[str]) -> None:
    lines = re.findall(r"^    python -m toyml (.*?)(?:\s+#.*)?$", README, re.M)
    assert len(lines) == 7
    main(["fit", "--config", "configs/perceptron.yaml", "--trainer.max_steps", "12"])
    for line in sorted(lines, key=lambda text: not text.startswith("fit")):
        words = line.replace("20000", "14").replace("10000", "13").split()
        if "--print_config" in words:
            with pytest.raises(SystemExit):
                main(words)
        else:
            main(words)


def test_links_and_pictures_exist() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert (ROOT / target).exists(), target
