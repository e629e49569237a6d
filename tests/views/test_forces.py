from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim.lr_scheduler import StepLR

from tests.claims.recorded import recorded
from tests.conftest import Rows
from toyml.claims import ForcesAddUp, NotApplicable
from toyml.claims.replay import replayed
from toyml.models import MLP, Linear
from toyml.run import Run
from toyml.views import forces_view
from toyml.views.forces import force_words, on_plane

X = [[-1.0], [0.5], [2.0], [3.0]]
Y = [[1.0], [0.0], [2.0], [-1.0]]


def trained(folder: Path, optimizer: Any, steps: int = 30, decay_bias: bool = True) -> Run:
    """A run of a line under another optimizer, every step recorded in float64."""
    start = recorded(
        folder,
        [[3.0, -2.0]],
        data=Rows(X, Y),
        net=Linear(1),
        loss=nn.MSELoss(),
        optimizer=optimizer,
        decay_bias=decay_bias,
    )
    with replayed(start, steps) as other:
        theta = np.array(other.trajectory.parameters.flat)
    return recorded(
        folder / "made",
        theta,
        data=Rows(X, Y),
        net=Linear(1),
        loss=nn.MSELoss(),
        optimizer=optimizer,
        decay_bias=decay_bias,
    )


def sgd(**settings: Any) -> Any:
    return partial(torch.optim.SGD, **{"lr": 0.05, **settings})


SETTINGS: list[dict[str, Any]] = [
    {},
    {"weight_decay": 0.3},
    {"momentum": 0.9},
    {"momentum": 0.9, "dampening": 0.4, "weight_decay": 0.3},
    {"momentum": 0.9, "nesterov": True, "weight_decay": 0.3},
]


@pytest.mark.parametrize("settings", SETTINGS)
def test_the_parts_add_up_to_the_recorded_steps(tmp_path: Path, settings: dict[str, Any]) -> None:
    run = trained(tmp_path, sgd(**settings))
    view = forces_view(run)
    theta = np.asarray(run.trajectory.parameters.flat)
    np.testing.assert_array_equal(view.step, np.diff(theta, axis=0))
    whole = np.sum(list(view.components.values()), axis=0)
    assert np.abs(whole - view.step).max() < 1e-14 * np.abs(view.step).max() + 1e-15
    assert view.residual < 1e-14
    names = {"gradient"}
    names |= {"weight decay"} if "weight_decay" in settings else set()
    names |= {"momentum"} if "momentum" in settings else set()
    names |= {"dampening"} if "dampening" in settings else set()
    names |= {"look-ahead"} if "nesterov" in settings else set()
    assert set(view.components) == names
    assert ForcesAddUp("they add up", 1e-13).judge(run).verdict == "holds"


def test_the_parts_are_those_of_the_formula(tmp_path: Path) -> None:
    run = trained(tmp_path, sgd(momentum=0.9, weight_decay=0.3))
    view = forces_view(run)
    theta = np.asarray(run.trajectory.parameters.flat)
    rows = np.c_[np.array(X), np.ones(4)]
    gradient = 2 / 4 * (theta[:-1] @ rows.T - np.array(Y).T) @ rows
    np.testing.assert_allclose(view.components["gradient"], -0.05 * gradient, atol=1e-14)
    np.testing.assert_allclose(
        view.components["weight decay"], -0.05 * 0.3 * theta[:-1], atol=1e-14
    )
    # The heavy ball's momentum is the last step again.
    last = np.diff(theta, axis=0)
    np.testing.assert_allclose(view.components["momentum"][1:], 0.9 * last[:-1], atol=1e-14)
    assert (view.components["momentum"][0] == 0).all()


def test_a_bias_that_is_spared_is_not_pulled(tmp_path: Path) -> None:
    view = forces_view(trained(tmp_path, sgd(weight_decay=0.3), decay_bias=False))
    assert (view.components["weight decay"][:, 1] == 0).all()
    assert (view.components["weight decay"][:, 0] != 0).all()
    assert view.residual < 1e-14


def test_adam_is_split_too(tmp_path: Path) -> None:
    view = forces_view(trained(tmp_path, partial(torch.optim.Adam, lr=0.1)))
    assert set(view.components) == {"gradient", "momentum"}
    assert view.residual < 1e-12


def test_a_wrong_setting_does_not_add_up(tmp_path: Path) -> None:
    """The claim can fail: the path of one learning rate under the formula of another."""
    run = trained(tmp_path, sgd(momentum=0.9))
    run.task.optimizer = sgd(momentum=0.8)
    verdict = ForcesAddUp("they add up", 1e-6).judge(run)
    assert verdict.verdict == "fails"
    assert isinstance(verdict.measured, float)
    assert verdict.measured > 0.01


def test_few_of_many_steps_are_shown(tmp_path: Path) -> None:
    view = forces_view(trained(tmp_path, sgd(momentum=0.9), steps=300), most=20)
    assert len(view.steps) <= 20
    assert view.steps[[0, -1]].tolist() == [0, 299]
    assert {len(part) for part in view.components.values()} == {len(view.steps)}
    assert forces_view(trained(tmp_path / "b", sgd(), steps=30), most_steps=7).steps.max() == 6


def test_of_large_nets_fewer_steps_are_taken_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("toyml.claims.forces.NUMBERS", 22)
    assert len(forces_view(trained(tmp_path, sgd(), steps=30)).steps) == 10


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"optimizer": partial(torch.optim.RMSprop, lr=0.1)}, "RMSprop is not split"),
        ({"lr_scheduler": lambda o: StepLR(o, 3)}, "changes the learning rate"),
    ],
)
def test_updates_that_cannot_be_taken_apart(
    tmp_path: Path, change: dict[str, Any], why: str
) -> None:
    run = trained(tmp_path, sgd(), steps=3)
    for name, value in change.items():
        setattr(run.task, name, value)
    with pytest.raises(NotApplicable, match=why):
        forces_view(run)


def test_every_step_has_to_be_there(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"net": MLP([1, 1, 1]), "data": Rows(X, Y), "loss": nn.MSELoss()}
    for i, steps in enumerate(([0, 2, 3], [1, 2, 3])):
        run = recorded(tmp_path / str(i), np.ones((3, 4)), steps=steps, **settings)
        with pytest.raises(NotApplicable, match="every step from 0 on"):
            forces_view(run)
    run = recorded(tmp_path / "still", np.ones((3, 4)), **settings)
    with pytest.raises(NotApplicable, match="stands still"):
        forces_view(run)
    run.datamodule.batch_size = 2
    with pytest.raises(NotApplicable, match="batches of 2 rows"):
        forces_view(Run(run.folder, run.task, run.datamodule))


def test_what_diverged_is_taken_apart_as_far_as_it_is_finite(tmp_path: Path) -> None:
    theta = np.array(trained(tmp_path, sgd(), steps=9).trajectory.parameters.flat)
    theta[7:] = np.inf
    settings: dict[str, Any] = {"net": Linear(1), "data": Rows(X, Y), "loss": nn.MSELoss()}
    run = recorded(tmp_path / "lost", theta, optimizer=sgd(), **settings)
    assert forces_view(run).steps.tolist() == [0, 1, 2, 3, 4, 5]


def parts(leaders: str) -> dict[str, np.ndarray]:
    """Parts of updates at which the leader is named by its first letter."""
    names = ("gradient", "momentum", "dampening")
    found = {name: np.array([[2.0 if n == name[0] else 1.0] for n in leaders]) for name in names}
    return {name: part for name, part in found.items() if name[0] in leaders or name == "gradient"}


@pytest.mark.parametrize(
    ("leaders", "updates", "words"),
    [
        ("gg", 2, "The gradient alone makes the step. It adds up to"),
        ("mmm", 3, "Momentum is the largest part at every step. The parts add up to"),
        ("gmm", 3, "The gradient is the largest part at step 0, then momentum. "),
        # It comes back, and still leads most of the later steps.
        (
            "gggmgggg",
            8,
            "The gradient is the largest part up to step 2; after that the gradient is at 4 steps, "
            "momentum at 1. ",
        ),
        (
            "gmdmdmdmg",
            20,
            "In the first 9 of 20 steps the gradient is the largest part at step 0; after that "
            "momentum is at 4 steps, dampening at 3, the gradient at 1. ",
        ),
    ],
)
def test_words_name_the_largest_part(leaders: str, updates: int, words: str) -> None:
    assert force_words(parts(leaders), 0.0, updates).startswith(words)


def test_words_say_how_well_the_parts_add_up() -> None:
    assert "recorded steps exactly." in force_words(parts("gm"), 0.0, 2)
    assert "recorded steps to within 1.0e-07 of the largest." in force_words(parts("gm"), 1e-7, 2)


def test_words_are_on_all_steps_and_not_on_those_drawn(tmp_path: Path) -> None:
    run = trained(tmp_path, sgd(momentum=0.9), steps=40)
    few, all_of_them = forces_view(run, most=5), forces_view(run)
    assert len(few.steps) < len(all_of_them.steps)
    assert few.words == all_of_them.words


def test_arrows_are_least_squares_on_oblique_planes() -> None:
    directions = np.array([[1.0, 0.0, 0.0], [1.0, 1.0, 0.0]])
    found = on_plane({"a": np.array([[3.0, 2.0, 7.0]])}, directions)["a"]
    np.testing.assert_allclose(found, [[1.0, 2.0]], atol=1e-12)
