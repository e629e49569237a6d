from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import torch
from torch import nn

from toyml import reference
from toyml.reference.xor import INPUTS, TARGETS

AT = [0, 100, 1000, 2000, 4999]


@cache
def script() -> reference.HandWritten:
    return reference.hand_written(*reference.uniform_start())


def pytorch(
    bias: bool, lr: float, start: tuple[reference.Array, reference.Array] | None = None
) -> tuple[list[list[reference.Array]], list[float]]:
    """States and mean squared errors of 5000 steps in float64, from seed 0 or a given start."""
    torch.manual_seed(0)
    layers = nn.Linear(2, 5, bias), nn.Linear(5, 1, bias)
    net = nn.Sequential(layers[0], nn.Sigmoid(), layers[1], nn.Sigmoid()).double()
    parameters = list(net.parameters())
    if start is not None:
        with torch.no_grad():
            for p, values in zip(parameters, start, strict=True):
                p.copy_(torch.from_numpy(values))
    x, y = torch.from_numpy(INPUTS), torch.from_numpy(TARGETS)
    optimizer = torch.optim.SGD(parameters, lr=lr)
    states, losses = [[p.detach().numpy().copy() for p in parameters]], []
    for _ in range(5000):
        loss = nn.functional.mse_loss(net(x), y)
        for p, g in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
            p.grad = g
        optimizer.step()
        losses.append(loss.item())
        states.append([p.detach().numpy().copy() for p in parameters])
    return states, losses


def test_script_prints_what_is_known_and_its_error_is_another_curve() -> None:
    run = script()
    printed = [0.068788, 0.000550, 0.000408, -0.000001, 0.000001]
    assert run.signal[AT].tolist() == pytest.approx(printed, abs=6e-7)
    error = [0.377778, 0.249087, 0.149929, 0.025319, 0.003101]
    assert run.mse[AT].tolist() == pytest.approx(error, abs=6e-7)


def test_the_printed_loss_turns_negative_while_nothing_is_learned_early() -> None:
    run = script()
    assert int(np.argmax(run.signal < 0)) == 1322
    assert int(np.argmin(run.signal)) == 1514
    assert run.signal.min() == pytest.approx(-6.617e-5, abs=5e-9)
    assert run.mse[100:501] == pytest.approx(0.25, abs=2.5e-2)
    assert np.abs(run.signal[100:501]).max() < 0.02 * run.signal[0]


def test_pytorch_without_biases_at_twice_the_rate_is_the_script() -> None:
    run = script()
    states, losses = pytorch(False, 0.6, reference.uniform_start())
    hidden, output = (np.array(each) for each in zip(*states, strict=True))
    # The weights reach 10, where the spacing of numbers is 1.8e-15.
    assert np.abs(run.hidden - hidden).max() < 1e-13
    assert np.abs(run.output - output).max() < 1e-13
    assert np.abs(run.mse[:-1] - np.array(losses)).max() < 1e-14


def test_the_factor_is_half_the_number_of_rows() -> None:
    net = reference.MLP(reference.uniform_start(), None, [reference.Sigmoid()] * 2)
    for n in (1, 4, 6, 10):
        x, y = np.resize(INPUTS, (n, 2)), np.resize(TARGETS, (n, 1))
        mean, plain = (net.gradients(x, y, loss) for loss in (reference.MSE(), reference.HalfSum()))
        for g, h in zip(mean, plain, strict=True):
            np.testing.assert_allclose(h, n / 2 * g, rtol=1e-14)


def test_pytorch_with_biases_is_matched_by_hand() -> None:
    states, losses = pytorch(True, 0.3)
    known = [0.250813, 0.250135, 0.249334, 0.234109, 0.009637]
    assert [losses[t] for t in AT] == pytest.approx(known, abs=1e-6)
    net = reference.MLP(states[0][::2], states[0][1::2], [reference.Sigmoid()] * 2)
    run = reference.train(net, reference.SGD(0.3), reference.MSE(), INPUTS, TARGETS, 5000)
    gap = max(
        float(np.abs(p - q).max())
        for mine, other in zip(run, states, strict=True)
        for p, q in zip(mine, other, strict=True)
    )
    assert gap < 1e-13


def test_both_from_pytorchs_start_without_biases() -> None:
    states, losses = pytorch(False, 0.6)
    known = [0.269735, 0.250029, 0.245378, 0.117703, 0.004750]
    assert [losses[t] for t in AT] == pytest.approx(known, abs=1e-6)
    run = reference.hand_written(states[0][0], states[0][1], lr=0.3)
    assert run.mse[AT].tolist() == pytest.approx(known, abs=1e-6)
    assert np.abs(run.hidden - np.array([s[0] for s in states])).max() < 1e-13


def test_refusals() -> None:
    with pytest.raises(ValueError, match="hidden is 0"):
        reference.uniform_start(0)
    with pytest.raises(ValueError, match="steps is -1"):
        reference.hand_written(*reference.uniform_start(), steps=-1)
