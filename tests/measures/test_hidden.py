from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from tests.measures.nets import Branched, data, mlp, random_stack
from toyml.measures import (
    activations,
    first_layer,
    hidden_lines,
    hidden_units,
    outputs,
    step_prediction,
    thresholds,
)
from toyml.models import MLP

NUMBERS = st.floats(-5, 5).map(lambda v: round(v, 2))


def test_the_first_layer_by_net_and_by_parameters() -> None:
    net = MLP([2, 3, 4, 1]).double()
    stack = random_stack(net, 5)
    weights, biases = first_layer(stack)
    assert torch.equal(weights, stack["hidden1.weight"])
    assert torch.equal(biases, stack["hidden1.bias"])
    weights, biases = first_layer(net)
    assert torch.equal(weights[0], net.get_parameter("hidden1.weight"))
    assert torch.equal(biases[0], net.get_parameter("hidden1.bias"))


def test_a_first_layer_without_bias_or_without_weights() -> None:
    weights, biases = first_layer({"0.weight": torch.ones(4, 3, 2), "1.bias": torch.ones(4, 5)})
    assert weights.shape == (4, 3, 2)
    assert torch.equal(biases, torch.zeros(4, 3))
    with pytest.raises(ValueError, match=r"no weight \[t, h, d\] among scale"):
        first_layer({"scale": torch.zeros(3)})


@settings(max_examples=200, deadline=None)
@given(w1=NUMBERS, w2=NUMBERS, b=NUMBERS)
def test_line_segments_lie_on_the_line_and_end_on_the_box(w1: float, w2: float, b: float) -> None:
    box = (-2.0, 1.0, -1.0, 3.0)
    w = torch.tensor([w1, w2], dtype=torch.float64)
    segment = hidden_lines(w[None, None], torch.tensor([[b]], dtype=torch.float64), box)[0, 0]
    corners = torch.cartesian_prod(torch.tensor(box[:2]), torch.tensor(box[2:])).double()
    sides = corners @ w + b
    crosses = bool((sides > 1e-9).any() and (sides < -1e-9).any())
    if crosses:
        assert (segment @ w + b).abs().max() < 1e-9 * (1 + w.abs().sum() + abs(b))
        for x, y in segment.tolist():
            on_edge = min(abs(x - box[0]), abs(x - box[1]), abs(y - box[2]), abs(y - box[3]))
            assert on_edge < 1e-9
            assert box[0] - 1e-9 <= x <= box[1] + 1e-9
            assert box[2] - 1e-9 <= y <= box[3] + 1e-9
        along = segment[1] - segment[0]
        assert along[0] * w[1] - along[1] * w[0] < 0  # The positive side is on the right.
    elif not (sides.abs() <= 1e-9).any():
        assert segment.isnan().all()


def test_lines_keep_the_order_of_snapshots_and_units() -> None:
    weights = torch.tensor([[[1.0, 0.0], [0.0, 1.0]], [[0.0, 0.0], [1.0, 0.0]]])
    biases = torch.tensor([[-0.5, -0.25], [1.0, -9.0]])
    got = hidden_lines(weights, biases, (0, 1, 0, 1))
    assert got.shape == (2, 2, 2, 2)
    torch.testing.assert_close(got[0, 0, :, 0], torch.tensor([0.5, 0.5]))
    torch.testing.assert_close(got[0, 1, :, 1], torch.tensor([0.25, 0.25]))
    assert got[1].isnan().all()
    with pytest.raises(ValueError, match="xmin < xmax"):
        hidden_lines(weights, biases, (1, 1, 0, 1))
    with pytest.raises(ValueError, match=r"give \[t, h, 2\]"):
        hidden_lines(weights[..., :1], biases, (0, 1, 0, 1))


def test_thresholds_are_zeros_of_the_units() -> None:
    weights = torch.tensor([[[2.0], [-4.0], [0.0], [-0.0]]])
    got = thresholds(weights, torch.tensor([[3.0, 2.0, 1.0, 0.0]]))
    assert got.tolist() == [[-1.5, 0.5, torch.inf, torch.inf]]
    with pytest.raises(ValueError, match=r"give \[t, h, 1\]"):
        thresholds(torch.zeros(1, 2, 2), torch.zeros(1, 2))


def test_activations_are_what_the_output_layer_sees() -> None:
    net = mlp(2, 5, 3, 1)
    stack, (x, _) = random_stack(net, 6), data(7)
    got = activations(net, stack, x)
    assert got.shape == (6, 7, 3)
    for s in range(6):
        first = torch.tanh(x @ stack["0.weight"][s].T + stack["0.bias"][s])
        second = torch.tanh(first @ stack["2.weight"][s].T + stack["2.bias"][s])
        torch.testing.assert_close(got[s], second, rtol=1e-12, atol=1e-13)


def test_the_step_prediction_is_the_limit_of_steep_sigmoids() -> None:
    net = MLP([1, 4, 1], output_activation=nn.Sigmoid()).double()
    stack, (x, _) = random_stack(net, 5), data(20, 1)
    steep = stack | {name: 1e6 * p for name, p in stack.items() if name.startswith("hidden1")}
    torch.testing.assert_close(
        step_prediction(net, stack, x), outputs(net, steep, x), atol=1e-6, rtol=0
    )


def test_the_step_prediction_is_zero_at_the_threshold_itself() -> None:
    net = nn.Sequential(nn.Linear(1, 1), nn.Sigmoid(), nn.Linear(1, 1, bias=False))
    stack = {"0.weight": torch.ones(1, 1, 1), "0.bias": -torch.ones(1, 1)}
    stack["2.weight"] = torch.full((1, 1, 1), 3.0)
    assert step_prediction(net, stack, torch.tensor([[1.0], [1.5]])).flatten().tolist() == [0, 3]


def test_other_nets_are_refused() -> None:
    x = data(3)[0]
    for net in (Branched().double(), mlp(2, 1)):
        with pytest.raises(ValueError, match="not a chain of two or more"):
            activations(net, random_stack(net, 2), x)
    net = mlp(2, 3, 1)
    with pytest.raises(ValueError, match=r"Tanh after 0\.weight"):
        step_prediction(net, random_stack(net, 2), x)


class Written(nn.Module):
    """A net whose activation is no module."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(1, 2), nn.Linear(2, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.second(torch.relu(self.first(x)))


def test_units_are_seen_in_any_net_and_it_is_left_as_it_was() -> None:
    net = Written().train()
    stack = {
        "first.weight": torch.tensor([[[1.0], [1.0]]]),
        "first.bias": torch.tensor([[0.0, -9.0]]),
        "second.weight": torch.tensor([[[1.0, 1.0]]]),
        "second.bias": torch.tensor([[0.0]]),
    }
    (layer,) = hidden_units(net, stack, torch.tensor([[1.0], [2.0], [3.0]]))
    assert (layer.total, layer.off, layer.saturated, layer.alike) == (2, (1,), (), ())
    assert net.training
    assert not any(m._forward_hooks for m in net.modules())


def test_channels_count_as_units() -> None:
    net = nn.Sequential(nn.Conv1d(1, 2, 1), nn.ReLU(), nn.Conv1d(2, 1, 1))
    stack = {name: p.detach()[None].clone() for name, p in net.named_parameters()}
    stack["0.weight"][:] = 1.0
    stack["0.bias"][:] = torch.tensor([0.0, -9.0])
    (layer,) = hidden_units(net, stack, torch.ones(3, 1, 5))
    assert (layer.total, layer.off) == (2, (1,))
