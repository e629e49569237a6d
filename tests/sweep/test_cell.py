"""Every replica of a sweep is the fit it stands for."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from tests.conftest import plain_loop
from tests.sweep.configs import config
from toyml.data import DampedSine, Rings, Xor
from toyml.data.memory import InMemory
from toyml.errors import UserError
from toyml.models import MLP
from toyml.sweep.cell import rehearse, train_part
from toyml.sweep.keys import Config
from toyml.sweep.outcome import Definition
from toyml.sweep.plan import Part, make_plan

LR = "model.optimizer.lr"


def parts(config: Config, seeds: Any = 1, **vary: Any) -> list[Part]:
    keys = {"lr": "model.optimizer.lr", "momentum": "model.optimizer.momentum"}
    keys |= {"widths": "model.net.widths", "activation": "model.net.activation"}
    return list(make_plan(config, seeds, {keys.get(k, k): v for k, v in vary.items()}).parts())


def train(config: Config, seeds: Any = 1, **vary: Any) -> Any:
    (part,) = parts(config, seeds, **vary)
    return train_part(config, part, Definition(below=(0.6,)), [10])


def alone(seed: int, steps: int, optimizer: Any, x: Any, y: Any, **net: Any) -> list[float]:
    """Losses of the loop a user writes, from this seed, float64; the last one after the end."""
    torch.manual_seed(seed)
    model = MLP(net.get("widths", [2, 3, 1]), net.get("activation"), nn.Sigmoid()).double()
    return plain_loop(model, nn.BCELoss(), optimizer, lambda _: (x, y), steps + 1)


def test_seeds_and_numbers_of_the_optimizer() -> None:
    rows = train(config(), 2, lr=[0.5, 2.0], momentum=[0.0, 0.9])
    x, y = Xor().arrays()
    assert len(rows) == 8
    for row in rows.iter_rows(named=True):
        lr, momentum = row["model.optimizer.lr"], row["model.optimizer.momentum"]
        sgd = partial(torch.optim.SGD, lr=lr, momentum=momentum)
        losses = alone(row["seed"], 30, sgd, x, y)
        assert row["loss"] == pytest.approx(losses[30], rel=1e-11)
        assert row["loss_10"] == pytest.approx(losses[10], rel=1e-11)
        assert row["first_loss"] == pytest.approx(losses[0], rel=1e-12)
        np.testing.assert_allclose(row["trace"], np.array(losses)[row["trace_steps"]], rtol=1e-11)
        below = [step for step, loss in enumerate(losses) if loss < 0.6]
        assert row["below_0.6"] == (below[0] if below else -1)
    assert rows["replica"].to_list() == list(range(8))


@pytest.mark.parametrize("kind", ["Adam", "AdamW"])
def test_adam_with_betas_of_its_own(kind: str) -> None:
    optimizer = {
        "class_path": f"torch.optim.{kind}",
        "init_args": {"lr": 0.05, "betas": [0.9, 0.999], "weight_decay": 0.01},
    }
    # All that a complete config has.
    flags = ("foreach", "fused", "amsgrad", "maximize", "capturable", "differentiable")
    optimizer["init_args"] |= dict.fromkeys(flags[:2]) | dict.fromkeys(flags[2:], False)
    if kind == "Adam":
        optimizer["init_args"]["decoupled_weight_decay"] = False
    rows = train(config(optimizer=optimizer), 1, **{"model.optimizer.betas.0": [0.5, 0.95]})
    x, y = Xor().arrays()
    for row in rows.iter_rows(named=True):
        betas = (row["model.optimizer.betas.0"], 0.999)
        adam = partial(getattr(torch.optim, kind), lr=0.05, betas=betas, weight_decay=0.01)
        assert row["loss"] == pytest.approx(alone(0, 30, adam, x, y)[30], rel=1e-9)


@pytest.mark.parametrize("activation", ["Sigmoid", "ReLU", "Tanhshrink"])
def test_cells_of_other_nets(activation: str) -> None:
    # Tanhshrink has no compiled form: the net is mapped over replicas.
    asked = config()
    asked["data"] = {"class_path": "toyml.data.Rings", "init_args": {"n": 20}}
    found = parts(asked, [0, 7], widths=[[2, 4, 1]], activation=[f"torch.nn.{activation}"])
    rows = train_part(asked, found[0], Definition())
    x, y = Rings(n=20).arrays()
    for seed, loss in zip(rows["seed"], rows["loss"], strict=True):
        sgd = partial(torch.optim.SGD, lr=0.5)
        net = {"widths": [2, 4, 1], "activation": getattr(nn, activation)()}
        assert loss == pytest.approx(alone(seed, 30, sgd, x, y, **net)[30], rel=1e-9)
    assert rows["model.net.activation"].unique().to_list() == [f"torch.nn.{activation}"]
    assert rows["accuracy"].is_between(0, 1).all()
    assert rows["left"].is_nan().all()


def test_a_grid_of_starting_points() -> None:
    keys = {"initial.hidden1.weight[2,1]": [-1.0, 3.0], "initial.output.bias[0]": [0.5, 2.0]}
    rows = train(config(), 1, **keys)
    x, y = Xor().arrays()
    for row in rows.iter_rows(named=True):
        torch.manual_seed(0)
        net = MLP([2, 3, 1], output_activation=nn.Sigmoid()).double()
        with torch.no_grad():
            net.hidden1.weight[2, 1] = row["initial.hidden1.weight[2,1]"]
            net.output.bias[0] = row["initial.output.bias[0]"]
        sgd = partial(torch.optim.SGD, lr=0.5)
        losses = plain_loop(net, nn.BCELoss(), sgd, lambda _: (x, y), 30)
        np.testing.assert_allclose(row["trace"][:-1], np.array(losses)[row["trace_steps"][:-1]])
        assert row["end.hidden1.weight[2,1]"] == pytest.approx(net.hidden1.weight[2, 1].item())
        flat = torch.cat([p.detach().flatten() for p in net.parameters()])
        np.testing.assert_allclose(row["end"], flat.numpy(), rtol=1e-9)


def test_biases_can_be_spared_from_decay() -> None:
    optimizer = {"class_path": "torch.optim.SGD", "init_args": {"lr": 0.5, "weight_decay": 0.1}}
    rows = train(config(optimizer=optimizer, decay_bias=False), 1, lr=[0.5, 0.6])
    x, y = Xor().arrays()
    torch.manual_seed(0)
    net = MLP([2, 3, 1], output_activation=nn.Sigmoid()).double()
    groups = [
        {"params": [p for n, p in net.named_parameters() if "weight" in n]},
        {"params": [p for n, p in net.named_parameters() if "bias" in n], "weight_decay": 0.0},
    ]
    sgd = lambda _: torch.optim.SGD(groups, lr=0.5, weight_decay=0.1)  # noqa: E731
    losses = plain_loop(net, nn.BCELoss(), sgd, lambda _: (x, y), 31)
    assert rows["loss"][0] == pytest.approx(losses[30], rel=1e-11)


def test_mini_batches_come_in_the_order_of_a_fit() -> None:
    asked = config()
    asked["data"]["init_args"].update(batch_size=3, repeats=2)
    rows = train(asked, 2, lr=[0.5])
    data = Xor(repeats=2, batch_size=3)
    from toyml.engine import Block

    x, y = data.arrays()
    batches = list(Block(x, y, 30, 3, data.shuffle, data.seed).batches(0, 30))
    for seed in (0, 1):
        torch.manual_seed(seed)
        net = MLP([2, 3, 1], output_activation=nn.Sigmoid()).double()
        plain_loop(net, nn.BCELoss(), partial(torch.optim.SGD, lr=0.5), batches.__getitem__, 30)
        with torch.no_grad():
            assert rows["loss"][seed] == pytest.approx(nn.BCELoss()(net(x), y).item(), rel=1e-9)


def test_losses_of_mini_batches_are_those_of_all_rows() -> None:
    # One row at a time: the losses that steps see jump about, those of all rows fall.
    asked = config(loss="torch.nn.MSELoss", steps=400)
    asked["data"]["init_args"].update(batch_size=1, shuffle=False)
    (part,) = parts(asked, 3, lr=[0.5])
    rows = train_part(asked, part, Definition(converged=0.24), [7])
    x, y = Xor().arrays()
    for row in rows.iter_rows(named=True):
        torch.manual_seed(row["seed"])
        net = MLP([2, 3, 1], output_activation=nn.Sigmoid()).double()
        sgd, losses = torch.optim.SGD(net.parameters(), lr=0.5), []
        for step in range(401):
            losses.append(nn.functional.mse_loss(net(x), y).item())
            sgd.zero_grad()
            nn.functional.mse_loss(net(x[step % 4 :][:1]), y[step % 4 :][:1]).backward()
            sgd.step()
        np.testing.assert_allclose(row["trace"], np.array(losses)[row["trace_steps"]], rtol=1e-10)
        assert row["loss_7"] == pytest.approx(losses[7], rel=1e-12)
        below = [s for s in row["trace_steps"] if losses[s] < 0.24]
        assert row["threshold_at"] == (below[0] if below else -1)
        assert row["diverged_at"] == -1


class Halved(nn.Sequential):
    """A net that gives half as much while it trains."""

    def __init__(self) -> None:
        super().__init__(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x) * (0.5 if self.training else 1.0)


def test_losses_are_those_of_evaluation_mode() -> None:
    asked = config(net={"class_path": f"{__name__}.Halved"}, loss="torch.nn.MSELoss")
    (row,) = train(asked, 1, lr=[0.1]).iter_rows(named=True)
    torch.manual_seed(0)
    net, (x, y) = Halved().double(), Xor().arrays()
    sgd = torch.optim.SGD(net.parameters(), lr=0.1)
    for step in range(31):
        loss = nn.functional.mse_loss(net.eval()(x), y).item()
        if step in row["trace_steps"]:
            assert row["trace"][row["trace_steps"].index(step)] == pytest.approx(loss, rel=1e-11)
        sgd.zero_grad()
        nn.functional.mse_loss(net.train()(x), y).backward()
        sgd.step()


class Classes(InMemory):
    """Ten points of three classes: numbers [n, 1] or one-hot rows [n, 3]."""

    def __init__(self, one_hot: bool = True) -> None:
        super().__init__(None, False, 0, 100)
        self.one_hot = one_hot

    def sample(self, held_out: bool) -> Any:
        angle = np.linspace(0, 6, 10)
        c = np.arange(10) % 3
        return np.stack([np.cos(angle), np.sin(angle)], 1), np.eye(3)[c] if self.one_hot else c[
            :, None
        ]


def test_class_numbers_train_like_one_hot_rows_and_count_rows() -> None:
    found = []
    for one_hot in (True, False):
        asked = config(loss="torch.nn.CrossEntropyLoss")
        asked["model"]["init_args"]["net"]["init_args"] = {"widths": [2, 4, 3]}
        data = {"class_path": f"{__name__}.Classes", "init_args": {"one_hot": one_hot}}
        asked["data"] = data
        rehearse(asked, parts(asked, 2)[0])
        found.append(train(asked, 2, lr=[0.5]))
    numbers = Classes(False).arrays()[1][:, 0].long()
    x = Classes().arrays()[0]
    for row, other in zip(*(rows.iter_rows(named=True) for rows in found), strict=True):
        assert row["trace"] == other["trace"]
        assert row["constant_loss"] == pytest.approx(-(0.4 * np.log(0.4) + 0.6 * np.log(0.3)))
        net = MLP([2, 4, 3]).double()
        nn.utils.vector_to_parameters(
            torch.tensor(row["end"], dtype=torch.float64), net.parameters()
        )
        right = (net(x).argmax(1) == numbers).double().mean().item()
        assert row["accuracy"] == other["accuracy"] == pytest.approx(right)


@pytest.mark.parametrize(
    ("loss", "targets", "expected"),
    [
        # Two labels of their own: the share of right entries. -1 and 1: by the sign.
        ("torch.nn.BCEWithLogitsLoss", [[0, 1], [1, 1]], 0.75),
        ("torch.nn.SoftMarginLoss", [[-1, 1], [1, 1]], 0.75),
    ],
)
def test_labels_of_their_own_count_entries(
    loss: str, targets: list[list[int]], expected: float
) -> None:
    asked = config(loss=loss, steps=10)
    net = {"inputs": 2, "outputs": 2, "initial": {"linear.weight": [[1, 0], [0, 1]]}}
    net["initial"]["linear.bias"] = [0.0, 0.0]
    asked["model"]["init_args"]["net"] = {"class_path": "toyml.models.Linear", "init_args": net}
    asked["data"] = {
        "class_path": f"{__name__}.Given",
        "init_args": {"x": [[3, 3], [3, 3]], "y": targets},
    }
    assert train(asked, 1, lr=[1e-9])["accuracy"][0] == expected


class Given(InMemory):
    """These rows."""

    def __init__(self, x: list[list[float]], y: list[list[float]]) -> None:
        super().__init__(None, False, 0, 100)
        self.x, self.y = x, y

    def sample(self, held_out: bool) -> Any:
        return np.array(self.x), np.array(self.y)


def test_convergence_is_measured_from_the_best_constant_to_the_least_loss() -> None:
    (row,) = train(config(loss="torch.nn.MSELoss"), 1, lr=[0.5]).iter_rows(named=True)
    assert (row["constant_loss"], row["least_loss"]) == (pytest.approx(0.25), 0.0)
    assert row["threshold"] == pytest.approx(0.0025)
    asked = config(loss="torch.nn.MSELoss")
    asked["model"]["init_args"]["net"] = {
        "class_path": "toyml.models.Linear",
        "init_args": {"inputs": 1},
    }
    asked["data"] = {"class_path": "toyml.data.NoisyParabola"}
    (row,) = train(asked, 1, lr=[0.5]).iter_rows(named=True)
    least = 0.4994412813498641  # in closed form, of float32 rows
    assert row["least_loss"] == pytest.approx(least, rel=1e-6)
    assert row["loss"] < row["threshold"] < least + 0.02 * row["constant_loss"]
    assert row["threshold_at"] > 0


def test_a_curve_has_sides_and_no_accuracy() -> None:
    asked = config(loss="torch.nn.MSELoss")
    asked["model"]["init_args"]["net"]["init_args"] = {"widths": [1, 3, 1]}
    asked["data"] = {"class_path": "toyml.data.DampedSine", "init_args": {}}
    rows = train(asked, 2, lr=[0.01])
    assert rows["accuracy"].is_nan().all()
    assert rows["left"][0] == pytest.approx(1.0, abs=0.3)
    assert len(DampedSine().arrays()[0]) == 200


def test_what_diverges_is_told_and_disturbs_nobody() -> None:
    asked = config(steps=60, loss="torch.nn.MSELoss")
    asked["model"]["init_args"]["net"]["init_args"] = {
        "widths": [2, 3, 1],
        "activation": "torch.nn.ReLU",
    }
    wild, tame = train(asked, 1, lr=[1e6, 0.1]).iter_rows(named=True)
    assert wild["diverged_at"] > 0
    assert not np.isfinite(wild["loss"])
    assert tame["diverged_at"] == -1
    only = train(asked, 1, lr=[0.1])
    assert tame["loss"] == only["loss"][0]


def test_a_rehearsal_weighs_a_replica() -> None:
    assert rehearse(config(), parts(config(), 2)[0]) == 8 * (3 * 2 + 3 + 3 + 1)


def test_training_leaves_the_generator_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    train(config(), 3, lr=[0.1])
    assert torch.equal(torch.rand(1), expected)


@pytest.mark.parametrize(
    ("change", "vary", "words"),
    [
        ({"trainer.gradient_clip_val": 1.0}, {}, "gradient_clip_val"),
        ({"trainer.accumulate_grad_batches": 4}, {}, "accumulate_grad_batches"),
        ({"trainer.max_steps": -1}, {}, "max_steps is -1"),
        ({"trainer.precision": "16-mixed"}, {}, "16-mixed"),
        ({"trainer.accelerator": "gpu"}, {}, "no GPU"),
        ({}, {"initial.hidden.weight[0,0]": [1.0]}, "hidden1.weight"),
        ({}, {"initial.output.bias[5]": [1.0]}, r"shape \[1\]"),
        ({}, {"widths": [[3, 3, 1]]}, "input"),
        ({}, {"model.optimizer.nesterov": [True]}, "[Nn]esterov"),
        ({}, {"lr": [-1.0, 0.1]}, "lr is -1"),
    ],
)
def test_what_cannot_be_trained_is_said_before(
    change: dict[str, Any], vary: dict[str, Any], words: str
) -> None:
    if torch.cuda.is_available() and "no GPU" in words:
        pytest.skip("there is one")
    asked = config()
    asked["model"]["init_args"]["optimizer"]["init_args"]["nesterov"] = False
    for key, value in change.items():
        asked["trainer"][key.removeprefix("trainer.")] = value
    with pytest.raises(UserError, match=words) as caught:
        rehearse(asked, parts(asked, 2, **vary)[0])
    assert "\n" not in str(caught.value)


class Normalized(nn.Sequential):
    """A net that keeps running means of its inputs."""

    def __init__(self) -> None:
        super().__init__(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Linear(3, 1), nn.Sigmoid())


class Dropping(nn.Sequential):
    """A net that draws random numbers while it trains."""

    def __init__(self) -> None:
        super().__init__(nn.Linear(2, 3), nn.Dropout(0.1), nn.Linear(3, 1), nn.Sigmoid())


class Branching(nn.Module):
    """A net that looks at its values."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(2, 1)
        self.gate = Gate()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.gate(self.first(x))


class Gate(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.sigmoid(x) if x.sum() > 0 else torch.sigmoid(-x)


@pytest.mark.parametrize(
    ("net", "layer"),
    [
        ("Normalized", r"1 \(BatchNorm1d\) cannot be mapped .*it writes statistics"),
        ("Branching", r"gate \(Gate\) cannot be mapped .*depends on the data"),
        ("Dropping", r"1 \(Dropout\) cannot be mapped .*draws random numbers.*a fit per seed"),
    ],
)
def test_a_layer_that_cannot_be_mapped_is_named(net: str, layer: str) -> None:
    asked = config(net={"class_path": f"{__name__}.{net}"})
    with pytest.raises(UserError, match=layer):
        rehearse(asked, parts(asked)[0])


def test_optimizers_that_have_one_setting_for_all() -> None:
    asked = config(optimizer={"class_path": "torch.optim.RMSprop", "init_args": {"lr": 0.01}})
    x, y = Xor().arrays()
    rows = train(asked, 2)
    losses = alone(1, 30, partial(torch.optim.RMSprop, lr=0.01), x, y)
    assert rows["loss"][1] == pytest.approx(losses[30], rel=1e-9)
    cells = parts(asked, 1, lr=[0.1, 0.2])
    assert [dict(cell.changes) for cell in cells] == [{LR: 0.1}, {LR: 0.2}]
    faster = train_part(asked, cells[1], Definition())
    expected = alone(0, 30, partial(torch.optim.RMSprop, lr=0.2), x, y)[30]
    assert faster["loss"][0] == pytest.approx(expected, rel=1e-9)
    assert faster[LR].to_list() == [0.2]


def test_amsgrad_has_its_rates_in_cells_and_decoupled_decay_is_adamw() -> None:
    init = {"lr": 0.05, "weight_decay": 0.1, "amsgrad": True, "decoupled_weight_decay": True}
    asked = config(optimizer={"class_path": "torch.optim.Adam", "init_args": init})
    x, y = Xor().arrays()
    cells = parts(asked, 1, lr=[0.05, 0.2])
    rows = train_part(asked, cells[1], Definition())
    adam = partial(torch.optim.Adam, **{**init, "lr": 0.2})
    assert rows["loss"][0] == pytest.approx(alone(0, 30, adam, x, y)[30], rel=1e-9)
    init["amsgrad"] = False
    rows = train(asked, 1, lr=[0.05, 0.2])
    adam = partial(torch.optim.Adam, **{**init, "lr": 0.2})
    assert rows["loss"][1] == pytest.approx(alone(0, 30, adam, x, y)[30], rel=1e-9)
