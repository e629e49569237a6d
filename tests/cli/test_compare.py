from __future__ import annotations

import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from torch import nn

from tests.conftest import ROOT, small_task, trainer, xor
from toyml.cli import main
from toyml.cli.compare import Comparison, named, own_settings, setting_words, window
from toyml.comparison import MISSING, Difference, config_differences, first_difference
from toyml.data import NoisyParabola
from toyml.errors import UserError
from toyml.models import Linear
from toyml.run import Run
from toyml.tasks import Supervised

CONFIG: dict[str, Any] = {
    "trainer": {"precision": "64-true", "callbacks": [{"class_path": "a"}]},
    "model": {
        "class_path": "toyml.tasks.Supervised",
        "init_args": {
            "net": {
                "class_path": "toyml.models.Linear",
                "init_args": {
                    "inputs": 1,
                    "initial": {"linear.weight": [[6.0]], "linear.bias": [-3.0]},
                },
            },
            "loss": {"class_path": "torch.nn.MSELoss"},
            "optimizer": {"class_path": "torch.optim.SGD", "init_args": {"lr": 0.1}},
        },
    },
    "data": {"class_path": "toyml.data.NoisyParabola"},
}


def made(root: Path, lr: float = 0.1, steps: int = 30, loss: str = "MSELoss") -> Path:
    """A run in float64 with its config."""
    net = Linear(1, initial={"linear.weight": [[6.0]], "linear.bias": [-3.0]})
    task = Supervised(net, getattr(nn, loss)(), partial(torch.optim.SGD, lr=lr))
    before = set(root.glob("run/version_*"))
    trainer(root, steps, precision="64-true").fit(task, datamodule=NoisyParabola())
    (folder,) = set(root.glob("run/version_*")) - before
    config = yaml.safe_load(yaml.safe_dump(CONFIG))
    config["model"]["init_args"]["optimizer"]["init_args"]["lr"] = lr
    config["model"]["init_args"]["loss"]["class_path"] = f"torch.nn.{loss}"
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    return folder


def compare(*words: str | Path) -> Comparison:
    found = main(["compare", *map(str, words)])
    assert isinstance(found, Comparison)
    return found


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("JSONARGPARSE_DEPRECATION_WARNINGS", "off")


def test_two_learning_rates(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = compare(made(tmp_path), made(tmp_path, lr=0.2))
    assert list(found.runs) == ["run/version_0", "run/version_1"]
    assert [tuple(d) for d in found.differences] == [("model.optimizer.lr", (0.1, 0.2))]
    where = found.parted["run/version_1"]
    assert where.first is not None
    assert where.first[:2] == (1, "linear.weight[0,0]")
    assert where.beyond is not None
    assert where.beyond.step == 1
    page = tmp_path / "comparisons" / "run_version_0-run_version_1" / "comparison.html"
    assert found.page.resolve() == page
    text = page.read_text()
    assert "What does optimizer.lr change?" in text
    assert "<li><strong>run/version_1</strong> lr 0.2</li>" in text
    assert "run/version_1 parts from run/version_0 at step 1" in text
    drawn = {path.name for path in (page.parent / "figures").iterdir()}
    assert drawn == {f"{s}.{k}" for s in ("losses", "distances", "paths") for k in ("png", "svg")}
    printed = capsys.readouterr().out
    assert "model.optimizer.lr" in printed
    assert "linear.bias[0]" in printed
    x, y = NoisyParabola().arrays()
    end = found.ends["run/version_0"]
    line = x * end.parameters["linear.weight[0,0]"] + end.parameters["linear.bias[0]"]
    assert end.loss == pytest.approx(float(nn.MSELoss()(line, y)), rel=1e-12)
    assert end.step == 30


def test_equal_runs_are_said_to_be_equal(tmp_path: Path) -> None:
    found = compare(made(tmp_path), made(tmp_path, steps=50), "--out", "here")
    assert not found.differences
    assert found.parted["run/version_1"].first is None
    text = Path("here/comparison.html").read_text()
    assert "at all 31 steps both recorded, bit for bit" in text
    text = compare(made(tmp_path), made(tmp_path)).page.read_text()
    assert "at every step, bit for bit" in text
    assert not Path("here/figures/distances.png").exists()


def test_a_difference_below_a_millionth_is_found_and_told_apart(tmp_path: Path) -> None:
    one, other = Run(made(tmp_path)), Run(made(tmp_path, lr=0.1 + 1e-12))
    first = first_difference(one, other)
    assert first is not None
    assert first.step == 1
    assert 0 < abs(first.values[0] - first.values[1]) < 1e-10
    assert first_difference(one, other, beyond=1e-6) is None
    text = compare(one.folder, other.folder).page.read_text()
    assert "no recorded difference exceeds" in text


def test_three_runs_of_different_losses(tmp_path: Path) -> None:
    folders = [made(tmp_path), made(tmp_path, loss="L1Loss"), made(tmp_path, lr=3.0)]
    found = compare(*folders)
    assert len(found.parted) == 2
    assert {d.key for d in found.differences} == {"model.loss.class_path", "model.optimizer.lr"}
    text = found.page.read_text()
    assert "different losses (L1Loss, MSELoss)" in text


def test_other_nets_are_compared_as_far_as_they_can_be(tmp_path: Path) -> None:
    trainer(tmp_path, 5).fit(small_task(), datamodule=xor())
    (other,) = tmp_path.glob("run/version_*")
    found = compare(made(tmp_path), other)
    assert found.parted["run/version_0"].obstacle
    said = " ".join(found.left_out)
    assert "other names or shapes" in said
    assert "no other run has the same two parameters" in said
    assert (found.page.parent / "figures" / "losses.png").exists()
    assert found.ends["run/version_1"].loss is not None
    assert found.ends["run/version_0"].loss is not None  # from the log: there is no config


@pytest.mark.parametrize("words", [["one"], ["one", "nowhere"], ["one", "."]])
def test_errors_are_one_line_that_says_what_to_do(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made(tmp_path).rename(tmp_path / "one")
    with pytest.raises(UserError) as error:
        compare(*words)
    assert "\n" not in str(error.value)
    assert words[-1] in str(error.value)
    assert not Path("comparisons").exists()


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; sys.argv = ['toyml', 'compare', '--help']\n"
        "from toyml.cli import console\n"
        "try: console()\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'matplotlib', 'lightning', 'numpy'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "--out FOLDER" in done.stdout


def test_a_place_that_cannot_be_made_is_one_line_with_the_way_out(tmp_path: Path) -> None:
    trainer(tmp_path, 5).fit(small_task(), datamodule=xor())
    run = str(tmp_path / "run/version_0")
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"cannot make .*file/page .*choose another .*--out"):
        main(["compare", run, run, "--out", str(tmp_path / "file/page")])


class _Config(Run):
    """Only a config."""

    def __init__(self, config: dict[str, Any]) -> None:
        self.__dict__["config"] = config


def test_settings_of_another_class_are_not_listed_one_by_one() -> None:
    first = {"a": {"class_path": "A", "init_args": {"x": 1, "both": 1}}, "n": None, "same": 3}
    second = {"a": {"class_path": "B", "init_args": {"y": 2, "both": 2}}, "n": {"p": 1}, "same": 3}
    found = config_differences([_Config(first), _Config(second)])
    assert {d.key: d.values for d in found} == {
        "a.class_path": ("A", "B"),
        "a.both": (1, 2),
        "n": (None, {"p": 1}),
    }
    aside = {"trainer": {"callbacks": [1], "logger": {"class_path": "x"}}}
    assert not config_differences([_Config(aside), _Config({"trainer": {"callbacks": []}})])
    assert config_differences([_Config({"k": 1}), _Config({})])[0].values == (1, MISSING)


def test_a_setting_that_only_some_classes_have_is_listed_where_it_differs() -> None:
    plain, heavy, other = (
        {"a": {"class_path": kind, "init_args": own}}
        for kind, own in (("S", {"m": 0.0}), ("S", {"m": 0.9}), ("T", {"b": 1}))
    )
    found = config_differences([_Config(plain), _Config(heavy), _Config(other)])
    assert {d.key: d.values for d in found} == {
        "a.class_path": ("S", "S", "T"),
        "a.m": (0.0, 0.9, MISSING),
    }


def test_what_sets_a_run_apart_is_said_in_a_few_words() -> None:
    found = [Difference(f"model.a{i}", (i, MISSING)) for i in range(7)]
    assert own_settings(found, 0) == "a0 0, a1 1, a2 2, a3 3, a4 4, 2 more settings"
    assert own_settings(found[:2], 1) == ""


def test_words_for_settings() -> None:
    values = [None, True, 0.1, "torch.nn.ReLU", {"class_path": "A", "init_args": {}}, [1, 2]]
    assert [setting_words(v) for v in values] == [
        "null", "true", "0.1", "torch.nn.ReLU", "A", "[1, 2]"
    ]  # fmt: skip
    assert setting_words(MISSING) == "not set"
    assert len(setting_words(list(range(100)))) == 60


def test_names_tell_runs_apart(tmp_path: Path) -> None:
    folders = [tmp_path / a / "x" / "version_0" for a in ("p", "q")]
    for folder in folders:
        (folder / "trajectory").mkdir(parents=True)
    runs = [Run(folder) for folder in folders]
    assert list(named(runs)) == ["p/x/version_0", "q/x/version_0"]
    assert list(named([runs[0], runs[0]])) == ["x/version_0", "x/version_0 (2)"]


def test_the_window_holds_all_paths_but_not_what_diverges() -> None:
    diverging = np.array([[6.0, -3.0], [-50.0, 2.0], [1e30, -1e30], [np.nan, 0.0]])
    xs, ys = window([diverging, np.array([[6.0, -3.0], [1.0, 2.0]])])
    assert xs[0] < -50 < 6 < xs[-1] < 100
    assert ys[0] < -3 < 2 < ys[-1]
    assert np.ptp(xs) == pytest.approx(np.ptp(ys))


def test_a_figure_that_cannot_be_drawn_is_left_out(tmp_path: Path) -> None:
    folder = made(tmp_path)
    (folder / "metrics.csv").write_text("step,a\n0,1e308\n1,-1e308\n2,inf\n")
    found = compare(folder, folder)
    assert [line for line in found.left_out if "“metrics” is left out" in line]
    assert found.page.exists()
    assert "metrics.svg" not in {path.name for path in found.page.parent.glob("figures/*")}


def test_parameters_near_the_end_of_all_numbers_are_compared(tmp_path: Path) -> None:
    folder, other = made(tmp_path), made(tmp_path, lr=0.2)
    path = other / "trajectory/rows.bin"
    rows = np.fromfile(path, np.dtype([("step", "<i8"), ("parameters", "<f8", (2,))]))
    rows["parameters"][5:] = [[1e308, -np.inf]]
    rows["parameters"][9:] = np.nan
    rows.tofile(path)
    assert compare(folder, other).parted["run/version_1"].first is not None
