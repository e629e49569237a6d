from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from torch import nn

from tests.conftest import ROOT, plain_loop
from toyml.data import Rings
from toyml.errors import UserError
from toyml.models import MLP
from toyml.seeds import FILE, SeedTable, override, train_seeds


@pytest.fixture(autouse=True)
def _quiet_parser(monkeypatch: pytest.MonkeyPatch) -> None:
    """Objects are built by a call that jsonargparse 5 will rename."""
    monkeypatch.setenv("JSONARGPARSE_DEPRECATION_WARNINGS", "off")


def config(name: str = "rings", steps: int = 30) -> dict[str, Any]:
    """An experiment's config, cut short."""
    text = (ROOT / "configs" / f"{name}.yaml").read_text()
    read: dict[str, Any] = yaml.safe_load(text)
    data = read["data"]
    if isinstance(data, str):
        read["data"] = {"class_path": data}
    read["data"].setdefault("init_args", {})
    read["data"]["init_args"].update({"batch_size": None} | ({"n": 40} if name == "rings" else {}))
    read["trainer"].update(max_steps=steps)
    return read


@pytest.mark.parametrize("activation", ["Sigmoid", "ReLU", "Tanhshrink"])
def test_every_seed_is_trained_as_a_fit_of_its_own(activation: str) -> None:
    # Tanhshrink has no compiled form: the plain loop runs.
    changes = {"model.net.widths": [2, 4, 1], "model.net.activation": f"torch.nn.{activation}"}
    table = train_seeds(config(), changes, [0, 7], [10])
    x, y = Rings(n=40).arrays()
    for i, seed in enumerate((0, 7)):
        torch.manual_seed(seed)
        net = MLP([2, 4, 1], getattr(nn, activation)(), nn.Sigmoid()).double()
        adam = lambda p: torch.optim.Adam(p, lr=1e-3)  # noqa: E731
        losses = plain_loop(net, nn.BCELoss(), adam, lambda _: (x, y), 31)
        assert table["loss_10"][i] == pytest.approx(losses[10], rel=1e-9)
        assert table["loss"][i] == pytest.approx(losses[30], rel=1e-9)
    assert table["seed"].tolist() == [0, 7]
    assert table["steps"].tolist() == [30, 30]
    assert ((table["accuracy"] >= 0) & (table["accuracy"] <= 1)).all()
    assert np.isnan(table["left"]).all()


def test_training_seeds_leaves_the_generator_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    train_seeds(config(), {}, [3])
    assert torch.equal(torch.rand(1), expected)


def test_a_curve_has_sides_and_no_accuracy() -> None:
    table = train_seeds(config("damped_sine"), {}, [0])
    assert np.isnan(table["accuracy"]).all()
    assert table["left"][0] == pytest.approx(1.0, abs=0.2)


def test_a_diverging_seed_has_no_loss() -> None:
    changes: dict[str, Any] = {
        "model.optimizer": {"class_path": "torch.optim.SGD", "init_args": {"lr": 1e12}}
    }
    changes |= {"model.net.activation": "torch.nn.ReLU"}
    assert np.isnan(train_seeds(config("damped_sine", 60), changes, [0])["loss"]).all()


@pytest.mark.parametrize(
    ("changes", "noted", "words"),
    [
        ({"data.batch_size": 5}, [], "full batches"),
        ({}, [31], "30 steps"),
        ({"model.optimizer.beta": 1}, [], "model.optimizer.beta"),
        ({"model.net.widths.first": 1}, [], "model.net.widths.first"),
    ],
)
def test_what_cannot_be_trained_is_refused(
    changes: dict[str, Any], noted: list[int], words: str
) -> None:
    with pytest.raises(UserError, match=words):
        train_seeds(config(), changes, [0], noted)


def test_override_leaves_the_original_alone() -> None:
    original = {"a": {"init_args": {"b": [1]}}}
    assert override(original, {"a.b": [2]}) == {"a": {"init_args": {"b": [2]}}}
    assert original == {"a": {"init_args": {"b": [1]}}}


def test_a_table_survives_its_file(tmp_path: Path) -> None:
    columns = {"seed": np.array([0.0, 1.0]), "loss": np.array([0.1 + 0.2, np.nan])}
    SeedTable({"h = 1": columns, "h = 2": columns}).save(tmp_path)
    table = SeedTable.load(tmp_path)
    assert table is not None
    assert list(table.settings) == ["h = 1", "h = 2"]
    np.testing.assert_array_equal(table.column("h = 2", "loss"), columns["loss"])
    with pytest.raises(KeyError, match="h = 1"):
        table.column("h = 3", "loss")
    with pytest.raises(KeyError, match="seed"):
        table.column("h = 1", "left")


def test_no_table_and_a_damaged_one(tmp_path: Path) -> None:
    assert SeedTable.load(tmp_path) is None
    (tmp_path / FILE).write_text("setting,loss\nh,much\n")
    with pytest.raises(UserError, match="delete it"):
        SeedTable.load(tmp_path)
    (tmp_path / FILE).write_text("")
    with pytest.raises(UserError, match="delete it"):
        SeedTable.load(tmp_path)


def test_columns_have_to_match() -> None:
    with pytest.raises(ValueError, match="same"):
        SeedTable({"a": {"loss": np.zeros(1)}, "b": {"left": np.zeros(1)}})
    with pytest.raises(ValueError, match="length"):
        SeedTable({"a": {"loss": np.zeros(1), "left": np.zeros(2)}})
