"""What a run shows, beside values known by hand."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from tests.claims.recorded import descent, recorded
from tests.conftest import Rows, xor
from toyml.logger import RunLogger
from toyml.models import Linear
from toyml.run import Run
from toyml.tasks import Supervised
from toyml.trajectory import TrajectoryWriter
from toyml.views import FindingsView, findings_view

LN2 = math.log(2)


def line(w: float, b: float = 0.0) -> list[float]:
    return [w, b]


def squares(folder: Path, theta: Any, **settings: Any) -> Run:
    """A run of w x + b under the squared error on three rows, whose constant loss is 2/3."""
    data = Rows([[-1.0], [0.0], [1.0]], [[-1.0], [0.0], [1.0]])
    return recorded(folder, theta, data=data, net=Linear(1, 1), loss=nn.MSELoss(), **settings)


def logged(run: Run, name: str, steps: list[int], values: list[float]) -> None:
    """A column of the run's log."""
    logger = RunLogger(root=str(run.folder))
    rows = "".join(f"{s},{v!r}\n" for s, v in zip(steps, values, strict=True))
    (run.folder / "metrics.csv").write_text(f"step,{name}\n{rows}")
    del logger


def says(view: FindingsView, *words: str) -> None:
    text = " ".join(view.sentences)
    for word in words:
        assert word in text, text


def test_start_and_end_are_over_all_rows_and_count_what_is_right(tmp_path: Path) -> None:
    # (3, 2) is class 1, (1, 1) class 0; at w = 0 the loss is ln 2.
    view = findings_view(recorded(tmp_path, [[0.0, 0.0, 0.0], [1.0, 1.0, -3.5]]))
    end = (math.log1p(math.exp(-1.5)) * 2) / 2
    assert (view.start, view.end) == pytest.approx((LN2, end), rel=1e-12)
    assert view.evaluated
    assert view.constant == pytest.approx(LN2, rel=1e-12)
    says(view, "The loss of both rows went from 0.693147 at step 0 to 0.201413 at step 1.")
    says(view, "At the end 2 of 2 rows are classified correctly (accuracy 1), at the start 1.")


def test_a_training_on_the_plateau_of_the_best_constant_says_so(tmp_path: Path) -> None:
    # XOR under one affine map: nothing is better than 1/2, and the gradient is exactly 0 there.
    run = recorded(tmp_path, np.zeros((21, 3)), data=xor())
    view = findings_view(run)
    assert view.outcome == "plateau"
    says(view, "the plateau of the best constant prediction, ln 2 = 0.693147", "no other minimum")
    assert view.advice == "One affine map does no better than a constant here: try a hidden layer."


def test_a_plateau_that_a_larger_step_would_leave_is_not_called_a_minimum(tmp_path: Path) -> None:
    # Separable points that hardly moved: the gradient is far from 0.
    rate = partial(torch.optim.SGD, lr=1e-6)
    view = findings_view(recorded(tmp_path, descent([0, 0, 0], 20, 1e-6), optimizer=rate))
    assert view.outcome == "plateau"
    says(view, "the plateau of the best constant prediction")
    assert "no other minimum" not in " ".join(view.sentences)
    assert "ten times the learning rate (1e-05" in view.advice


def test_a_convex_problem_at_its_minimum_has_converged(tmp_path: Path) -> None:
    # y = (0, 1, 0) on x = (-1, 0, 1): the least loss is 2/9 at w = 0, b = 1/3. Here y leans on x.
    data = Rows([[-1.0], [0.0], [1.0]], [[-1.0], [1.0], [1.0]])
    b, w = 1 / 3, 1.0
    theta = [[w + 0.5**s, b] for s in range(60)]
    view = findings_view(recorded(tmp_path, theta, data=data, net=Linear(1, 1), loss=nn.MSELoss()))
    assert view.outcome == "converged"
    assert view.end == pytest.approx(((1 / 3) ** 2 + (2 / 3) ** 2 + (1 / 3) ** 2) / 3, rel=1e-9)
    says(view, "The training converged", "One affine map under this loss has no other minimum.")
    assert "only another net can end lower" in view.advice


def test_a_loss_of_next_to_nothing_has_converged(tmp_path: Path) -> None:
    view = findings_view(squares(tmp_path, [line(0.0), line(1 - 1e-8), line(1 - 1e-9)]))
    assert view.outcome == "converged"
    says(view, "less than a millionth of the loss of the best constant prediction, 0.666667")


def test_a_training_that_still_falls_says_by_how_much(tmp_path: Path) -> None:
    theta = [line(0.01 * s) for s in range(51)]  # loss (1 - w)^2 2/3: w 0.45 at step 45, 0.5 at 50
    view = findings_view(squares(tmp_path, theta))
    assert view.outcome == "falling"
    share = 1 - (0.5 / 0.55) ** 2
    says(view, f"The loss was still falling: by {100 * share:.2g} % from step 45 to 50.")
    assert view.advice == "Try more steps: `--trainer.max_steps 100` trains longer."


def test_a_loss_that_rises_or_swings_has_not_settled(tmp_path: Path) -> None:
    view = findings_view(squares(tmp_path / "up", [line(0.5), line(-1.0)]))
    assert view.outcome == "unsettled"
    says(view, "The loss was rising at the end", "A constant prediction has less, 0.666667.")
    swings = [line(1 + (0.5 if s % 2 else 0.1)) for s in range(41)]
    view = findings_view(squares(tmp_path / "swing", swings))
    assert view.outcome == "unsettled"
    says(view, "from step 36 to 40 it lay between 0.00666667 and 0.166667")
    assert "smaller learning rate" in view.advice or "learning rate below" in view.advice


def test_a_loss_above_a_million_times_its_start_has_diverged_at_that_very_step(
    tmp_path: Path,
) -> None:
    # (w - 1)^2 2/3 doubles w - 1 at each step: above 1e6 times the start when 4^s > 1e6, s = 10.
    theta = [line(1 + 2.0**s) for s in range(300)]
    rate = partial(torch.optim.SGD, lr=4.5)
    view = findings_view(squares(tmp_path / "short", theta, optimizer=rate))
    assert (view.outcome, view.step) == ("diverged", 10)
    says(view, "The training diverged: at step 10 the loss was above a million times its start.")
    # The Hessian is diag(4/3, 2): plain descent is stable below lr 1.
    assert view.advice.startswith("Try a learning rate below 1 instead of 4.5")
    slow = [line(1 + 2.0 ** (s / 300)) for s in range(3600)]
    view = findings_view(squares(tmp_path / "long", slow))
    assert (view.outcome, view.step) == ("diverged", 2990)  # more snapshots than are looked at


def test_what_is_not_a_number_has_diverged(tmp_path: Path) -> None:
    view = findings_view(recorded(tmp_path, [[0, 0, 0], [1, 1, 1], [math.nan] * 3]))
    assert (view.outcome, view.step) == ("diverged", 2)
    says(
        view, "at step 1, the last one at which it was a number", "The training diverged: at step 2"
    )


def test_a_fit_that_stopped_as_diverged_says_so_without_a_step_beyond(tmp_path: Path) -> None:
    run = squares(tmp_path, [line(0.0), line(3.0)])
    run.update_summary(status="diverged", steps=1)
    view = findings_view(run)
    assert (view.outcome, view.step) == ("diverged", 1)


def test_overfitting_is_a_held_out_loss_that_rises_while_the_other_falls(tmp_path: Path) -> None:
    run = squares(tmp_path, [line(0.1 * s) for s in range(10)])
    logged(run, "val_loss", [2, 4, 6, 8], [0.5, 0.2, 0.25, 0.3])
    view = findings_view(run)
    says(
        view,
        "The loss on held-out rows was 0.3 at step 8; its least value was 0.2 at step 4.",
        "The net overfits: since step 4 the loss on held-out rows has risen by 50 %",
    )
    assert "Stop at step 4 (--trainer.max_steps 4)" in view.advice
    assert "add weight decay" in view.advice
    held = partial(torch.optim.SGD, lr=1.0, weight_decay=0.01)
    run = squares(tmp_path / "decayed", [line(0.1 * s) for s in range(10)], optimizer=held)
    logged(run, "val_loss", [2, 4, 6, 8], [0.5, 0.2, 0.25, 0.3])
    assert "more weight decay than 0.01" in findings_view(run).advice


def test_no_overfitting_where_the_training_loss_rose_as_well(tmp_path: Path) -> None:
    run = squares(tmp_path, [line(0.1 * s) for s in (0, 5, 4, 3, 2)])
    logged(run, "val_loss", [0, 1, 2, 4], [0.5, 0.2, 0.25, 0.3])
    assert "overfits" not in " ".join(findings_view(run).sentences)


def three_units(folder: Path, activation: nn.Module, first: Any, biases: Any) -> Run:
    """Two snapshots of a 2-3-1 net on XOR."""
    net = nn.Sequential(nn.Linear(2, 3), activation, nn.Linear(3, 1))
    net.double()
    row = np.concatenate([np.ravel(first), np.ravel(biases), [1.0, 1.0, 1.0], [0.0]])
    shapes = {name: p.shape for name, p in net.named_parameters()}
    writer = TrajectoryWriter(folder / "trajectory", shapes, np.dtype(np.float64))
    writer.append_rows(np.arange(2), np.stack([row * 0.9, row]))
    writer.close()
    task = Supervised(net, nn.MSELoss(), partial(torch.optim.SGD, lr=0.1))
    return Run(folder, task, xor())


CASES: list[tuple[Callable[[], nn.Module], Any, Any, str]] = [
    (
        nn.ReLU,
        [[1.0, 1.0], [-1.0, -1.0], [1.0, -1.0]],
        [0.0, 0.0, 0.0],
        "1 of 3 hidden units is off for all 4 rows (unit 2): the activation is 0 on each.",
    ),
    (
        nn.Sigmoid,
        [[1.0, 2.0], [0.1, 0.0], [1.0, -1.0]],
        [0.0, 9.0, -1.0],
        "1 of 3 hidden units is saturated for all 4 rows (unit 2)",
    ),
    (
        nn.Tanh,
        [[1.0, 2.0], [-1.0, -2.0], [1.0, -1.0]],
        [0.5, -0.5, 0.1],
        "Hidden units that do the same for all 4 rows, up to sign and scale: 1 and 2.",
    ),
    (
        nn.Sigmoid,
        [[1.0, 2.0], [0.3, 0.1], [-1.0, -2.0]],
        [0.5, 0.0, -0.5],
        "Hidden units that do the same for all 4 rows, up to sign and scale: 1 and 3.",
    ),
]


@pytest.mark.parametrize(("activation", "first", "biases", "words"), CASES)
def test_units_that_do_nothing_of_their_own_are_named(
    activation: Callable[[], nn.Module], first: Any, biases: Any, words: str, tmp_path: Path
) -> None:
    view = findings_view(three_units(tmp_path, activation(), first, biases))
    about_units = [s for s in view.sentences if "idden unit" in s]
    assert len(about_units) == 1, about_units
    assert words in about_units[0]


def test_units_that_differ_are_not_mentioned(tmp_path: Path) -> None:
    run = three_units(tmp_path, nn.Tanh(), [[1.0, 2.0], [2.0, 1.0], [1.0, -1.0]], [0.5, 0.1, 0.0])
    assert "hidden unit" not in " ".join(findings_view(run).sentences).lower()


def test_the_sharpness_is_beside_the_limit_of_the_optimizer(tmp_path: Path) -> None:
    rate = partial(torch.optim.SGD, lr=0.5)
    view = findings_view(squares(tmp_path, [line(0.0), line(0.5)], optimizer=rate))
    says(view, "At the end the sharpness is 2, below the limit 2 / lr = 4.")


def test_a_net_that_depends_on_chance_says_in_which_mode_it_was_looked_at(tmp_path: Path) -> None:
    net = nn.Sequential(nn.Linear(1, 4), nn.Dropout(0.5), nn.Linear(4, 1))
    data = Rows([[-1.0], [0.0], [1.0]], [[-1.0], [0.0], [1.0]])
    theta = np.random.default_rng(0).standard_normal((3, 13))
    view = findings_view(recorded(tmp_path, theta, data=data, net=net, loss=nn.MSELoss()))
    says(view, "The net's output depends on chance (Dropout): the losses here are in evaluation")
    assert "sharpness" not in " ".join(view.sentences)


def test_a_run_that_cannot_be_evaluated_is_read_from_its_log(tmp_path: Path) -> None:
    run = squares(tmp_path, [line(0.0), line(0.5)])
    logged(run, "loss", [0, 1], [3.0, 2.0])
    view = findings_view(Run(tmp_path))  # no config: nothing can be built
    assert not view.evaluated
    says(view, "The logged loss went from 3 at step 0 to 2 at step 1.")


def test_a_run_of_one_snapshot_says_what_there_is(tmp_path: Path) -> None:
    view = findings_view(squares(tmp_path, [line(0.0)]))
    assert (view.outcome, view.advice) == ("", "")
    says(view, "The loss of all 3 rows was 0.666667 at step 0.")


def test_so_few_steps_are_no_plateau(tmp_path: Path) -> None:
    view = findings_view(squares(tmp_path, [line(0.0001 * s) for s in range(6)]))
    assert view.outcome == ""
    says(view, "In so few steps, 5, the loss changed too little to tell how it ends.")
    assert view.advice.startswith("Try more steps")
