"""A perceptron's run with a trajectory of the test's own."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from toyml.data import InMemory, TwoPoints
from toyml.models import Linear
from toyml.run import Run
from toyml.tasks import Supervised
from toyml.trajectory import TrajectoryWriter


def recorded(
    folder: Path,
    theta: Any,
    steps: Any = None,
    data: InMemory | None = None,
    optimizer: Any = None,
    decay_bias: bool = True,
    net: nn.Module | None = None,
    loss: nn.Module | None = None,
) -> Run:
    """A run that went through the given (w1, w2, b) [t, 3]."""
    net = net or Linear(2, 1, nn.Sigmoid())
    net.double()
    rows = np.asarray(theta, dtype=np.float64)
    shapes = {name: p.shape for name, p in net.named_parameters()}
    writer = TrajectoryWriter(folder / "trajectory", shapes, np.dtype(np.float64))
    writer.append_rows(np.arange(len(rows)) if steps is None else np.asarray(steps), rows)
    writer.close()
    optimizer = optimizer or partial(torch.optim.SGD, lr=1.0)
    task = Supervised(net, loss or nn.BCELoss(), optimizer, decay_bias=decay_bias)
    return Run(folder, task, data or TwoPoints())


def descent(
    start: Any, steps: int, lr: float, decay: float = 0.0, spare: bool = False, x: Any = None
) -> np.ndarray:
    """Gradient descent on the mean logistic loss of the two points, by hand, [steps + 1, 3]."""
    points = np.array([[3.0, 2.0], [1.0, 1.0]]) if x is None else np.asarray(x)
    rows = np.array([[1.0], [-1.0]]) * np.c_[points, np.ones(2)]
    path = [np.asarray(start, float)]
    shrink = decay * np.array([1.0, 1.0, 0.0 if spare else 1.0])
    for _ in range(steps):
        theta = path[-1]
        pull = (rows / (1 + np.exp(rows @ theta))[:, None]).mean(0)
        path.append(theta + lr * (pull - shrink * theta))
    return np.array(path)
