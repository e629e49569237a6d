"""The replay's loop is the loop that a user writes."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch
from torch import nn

from tests.conftest import cloud, equal, plain_loop, small_net
from toyml.claims.replay import updates
from toyml.tasks import Supervised


@pytest.mark.parametrize(
    "optimizer",
    [
        partial(torch.optim.SGD, lr=0.5, momentum=0.9, nesterov=True, weight_decay=0.01),
        partial(torch.optim.Adam, lr=0.01),
        partial(torch.optim.RMSprop, lr=0.01),
    ],
    ids=["SGD", "Adam", "RMSprop"],
)
@pytest.mark.parametrize("loss", [nn.BCEWithLogitsLoss(), nn.SmoothL1Loss()], ids=repr)
@pytest.mark.parametrize("scheduled", [False, True])
def test_updates_are_those_of_the_plain_loop(optimizer: Any, loss: Any, scheduled: bool) -> None:
    x, y = (rows.float() for rows in cloud().arrays())
    halves = [(x[:10], y[:10]), (x[10:], y[10:])]
    scheduler = partial(torch.optim.lr_scheduler.ExponentialLR, gamma=0.9) if scheduled else None
    ours, theirs = small_net(), small_net()
    task = Supervised(ours, loss, optimizer, lr_scheduler=scheduler)
    losses = list(updates(task, (halves[step % 2] for step in range(40))))
    plain = plain_loop(theirs, loss, optimizer, lambda step: halves[step % 2], 40, scheduler)
    assert losses == plain
    assert equal(ours, theirs)
    assert torch.is_grad_enabled()
