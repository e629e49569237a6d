import copy
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.conftest import kernels_of_their_own
from toyml.compiled import NotCompilable, Result, compile_training
from toyml.compiled.compiler import find_compiler

Rule = Callable[[nn.Module], torch.optim.Optimizer]


def has_compiler() -> bool:
    try:
        find_compiler()
    except NotCompilable:
        return False
    return True


needs_compiler = pytest.mark.skipif(not has_compiler(), reason="no C compiler on this machine")

NETS: dict[str, Callable[[], nn.Module]] = {
    "linear": lambda: nn.Linear(2, 1),
    "sigmoid": lambda: nn.Sequential(nn.Linear(2, 5), nn.Sigmoid(), nn.Linear(5, 1)),
    "tanh": lambda: nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 3), nn.Linear(3, 2)),
    "relu": lambda: nn.Sequential(nn.Linear(2, 6), nn.ReLU(), nn.Linear(6, 2, bias=False)),
    "leaky": lambda: nn.Sequential(nn.Linear(2, 4, bias=False), nn.LeakyReLU(0.1), nn.Linear(4, 1)),
    "softplus": lambda: nn.Sequential(nn.Linear(2, 4), nn.Softplus(), nn.Linear(4, 1)),
    # Wide enough for the sums that are looped over in eights, with and without a remainder.
    "wide": lambda: nn.Sequential(
        nn.Sequential(nn.Linear(17, 24), nn.Tanh()),
        nn.Identity(),
        nn.Sequential(nn.Linear(24, 19, bias=False), nn.Sigmoid()),
        nn.Linear(19, 9),
        nn.Linear(9, 2),
    ),
}
LOSSES: dict[str, Callable[[], nn.Module]] = {
    "mse": nn.MSELoss,
    "l1": nn.L1Loss,
    "huber": lambda: nn.HuberLoss(delta=0.3),
    "smooth_l1": lambda: nn.SmoothL1Loss(beta=0.4),
    "bce_with_logits": nn.BCEWithLogitsLoss,
    "bce": nn.BCELoss,
}
RULES: dict[str, Rule] = {
    "sgd": lambda net: torch.optim.SGD(net.parameters(), lr=0.1),
    "decay": lambda net: torch.optim.SGD(net.parameters(), lr=0.1, weight_decay=0.05),
    "momentum": lambda net: torch.optim.SGD(
        net.parameters(), lr=0.03, momentum=0.9, dampening=0.2, weight_decay=0.01
    ),
    "nesterov": lambda net: torch.optim.SGD(net.parameters(), lr=0.03, momentum=0.8, nesterov=True),
    "adam": lambda net: torch.optim.Adam(net.parameters(), lr=0.01),
    "adam_decay": lambda net: torch.optim.Adam(
        net.parameters(), lr=0.01, betas=(0.8, 0.99), eps=1e-2, weight_decay=0.02
    ),
    "adamw": lambda net: torch.optim.AdamW(net.parameters(), lr=0.01, weight_decay=0.1),
}


@pytest.fixture(scope="module", autouse=True)
def private_cache():
    with pytest.MonkeyPatch.context() as patch, kernels_of_their_own(patch):
        yield


def problem(net: str, loss: str, dtype: torch.dtype, n: int = 13):
    torch.manual_seed(3)
    module = NETS[net]()
    if loss == "bce":
        module = nn.Sequential(module, nn.Sigmoid())
    module = module.to(dtype)
    d = next(module.parameters()).shape[1]
    x = torch.randn(n, d, dtype=dtype)
    y = torch.rand(n, module(x).shape[1], dtype=dtype)
    if loss.startswith("bce"):
        y = (y > 0.5).to(dtype)
    return module, LOSSES[loss](), x, y


def plain(net, loss, optimizer, batches) -> list[float]:
    losses = []
    for x, y in batches:
        optimizer.zero_grad()
        value = loss(net(x), y)
        value.backward()
        optimizer.step()
        losses.append(value.item())
    return losses


def flat(net: nn.Module) -> Tensor:
    return torch.cat([p.detach().reshape(-1) for p in net.parameters()])


def distance(a: nn.Module, b: nn.Module) -> float:
    """Largest difference of two nets' parameters over the largest parameter."""
    return float((flat(a) - flat(b)).abs().max() / flat(b).abs().max())


def compare(net: str, loss: str, rule: str, dtype: torch.dtype, steps: int, tolerance: float):
    module, criterion, x, y = problem(net, loss, dtype)
    twin = copy.deepcopy(module)
    optimizer, other = RULES[rule](module), RULES[rule](twin)
    result = compile_training(module, criterion, optimizer, len(x)).run(x, y, steps)
    losses = plain(twin, criterion, other, [(x, y)] * steps)
    assert result.steps_done == steps == len(result.losses)
    torch.testing.assert_close(
        result.losses,
        torch.tensor(losses, dtype=torch.float64),
        rtol=10 * tolerance,
        atol=tolerance,
    )
    assert distance(module, twin) < tolerance
    return module, twin, optimizer, other, criterion, x, y


@needs_compiler
class TestParity:
    @pytest.mark.parametrize("loss", LOSSES)
    def test_loss_in_float64(self, loss):
        compare("sigmoid", loss, "adam", torch.float64, 100, 1e-12)

    @pytest.mark.parametrize("net", NETS)
    def test_net_in_float64(self, net):
        compare(net, "mse", "momentum", torch.float64, 100, 1e-12)

    @pytest.mark.parametrize("rule", RULES)
    def test_update_rule_over_500_steps_in_float64(self, rule):
        compare("sigmoid", "mse", rule, torch.float64, 500, 1e-12)

    @pytest.mark.parametrize(
        ("net", "loss", "rule"),
        [
            ("linear", "l1", "sgd"),
            ("sigmoid", "bce", "adam"),
            ("tanh", "mse", "momentum"),
            ("relu", "huber", "nesterov"),
            ("leaky", "smooth_l1", "adamw"),
            ("softplus", "bce_with_logits", "decay"),
            ("wide", "mse", "adam_decay"),
        ],
    )
    def test_float32(self, net, loss, rule):
        compare(net, loss, rule, torch.float32, 100, 2e-5)

    @pytest.mark.slow
    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    @pytest.mark.parametrize("rule", RULES)
    @pytest.mark.parametrize("loss", LOSSES)
    @pytest.mark.parametrize("net", NETS)
    def test_every_combination(self, net, loss, rule, dtype):
        # How far apart rounding alone drives two runs depends on the problem (Adam divides small
        # gradients by their size): the measure is torch itself with the rows in another order.
        module, criterion, x, y = problem(net, loss, dtype)
        twin, other = copy.deepcopy(module), copy.deepcopy(module)
        compile_training(module, criterion, RULES[rule](module), len(x)).run(x, y, 30)
        plain(twin, criterion, RULES[rule](twin), [(x, y)] * 30)
        turned = (x.flip(0), y.flip(0))
        plain(other, criterion, RULES[rule](other), [turned] * 30)
        least = 1e-13 if dtype == torch.float64 else 1e-5
        assert distance(module, twin) < max(least, 20 * distance(other, twin))

    def test_float32_is_as_close_to_float64_as_torch_is(self):
        x = torch.randn(500, 2, generator=torch.Generator().manual_seed(0))
        y = (x.norm(dim=1, keepdim=True) > 1).float()
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1))
        twin, exact = copy.deepcopy(net), copy.deepcopy(net).double()
        loss = nn.BCEWithLogitsLoss()
        compile_training(net, loss, RULES["adam"](net), 500).run(x, y, 300)
        plain(twin, loss, RULES["adam"](twin), [(x, y)] * 300)
        plain(exact, loss, RULES["adam"](exact), [(x.double(), y.double())] * 300)
        assert distance(net.double(), exact) < max(5 * distance(twin.double(), exact), 1e-5)

    @pytest.mark.parametrize(
        ("n", "dtype"),
        [
            (1, torch.float32),
            (2, torch.float64),
            (4, torch.float32),
            (5, torch.float64),
            (17, torch.float32),
            (100, torch.float64),
            (1500, torch.float32),
        ],
    )
    def test_rows_that_do_and_do_not_fill_vectors_and_blocks(self, n, dtype):
        net, loss, x, y = problem("sigmoid", "mse", dtype, n)
        twin = copy.deepcopy(net)
        compile_training(net, loss, RULES["sgd"](net), n).run(x, y, 20)
        plain(twin, loss, RULES["sgd"](twin), [(x, y)] * 20)
        assert distance(net, twin) < (1e-13 if dtype == torch.float64 else 2e-6)

    def test_one_step_by_hand(self):
        # w = b = 1 at (2, 7), (4, 11): predictions 3 and 5, loss 26, gradients -32 and -10.
        net = nn.Linear(1, 1).double()
        with torch.no_grad():
            net.weight.fill_(1)
            net.bias.fill_(1)
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1, weight_decay=1.0)
        x, y = torch.tensor([[2.0], [4.0]]).double(), torch.tensor([[7.0], [11.0]]).double()
        result = compile_training(net, nn.MSELoss(), optimizer, 2).run(x, y, 1)
        assert result.losses.tolist() == [26.0]
        np.testing.assert_allclose(flat(net), [4.1, 1.9], rtol=1e-15)

    def test_saturated_units_neither_overflow_nor_differ(self):
        net = nn.Sequential(nn.Linear(1, 1), nn.Sigmoid()).double()
        with torch.no_grad():
            net[0].weight.fill_(1)
            net[0].bias.fill_(0)
        x = torch.tensor([[-2000.0], [-720.0], [-50], [-1e-9], [0], [40], [2000]]).double()
        for y in (torch.zeros_like(x), torch.ones_like(x)):
            for loss, model in ((nn.BCELoss(), net), (nn.BCEWithLogitsLoss(), net[0])):
                expected = loss(model(x), y).item()
                kernel = compile_training(
                    model, loss, torch.optim.SGD(model.parameters(), lr=0.0), len(x)
                )
                assert kernel.run(x, y, 1).losses.item() == pytest.approx(expected, rel=1e-13)

    def test_small_losses_keep_their_digits(self):
        # log(1 + e^-z) with z = 20 in float32 is e^-20, not a multiple of 6e-8.
        net = nn.Linear(1, 1, bias=False)
        with torch.no_grad():
            net.weight.fill_(20)
        optimizer = torch.optim.SGD(net.parameters(), lr=0.0)
        one = torch.ones(1, 1)
        kernel = compile_training(net, nn.BCEWithLogitsLoss(), optimizer, 1)
        assert kernel.run(one, one, 1).losses.item() == pytest.approx(np.exp(-20.0), rel=1e-6)

    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    @pytest.mark.parametrize(
        ("layer", "low"), [(nn.Sigmoid(), -80), (nn.Tanh(), -30), (nn.Softplus(), -80)]
    )
    def test_activations_are_within_a_few_units_in_the_last_place(self, layer, low, dtype):
        # With target 0 and L1, the loss of one point is |f(z)|.
        z = torch.cat([torch.linspace(low, 30, 401), torch.logspace(-12, 0, 50)]).to(dtype)
        net = nn.Sequential(nn.Linear(1, 1, bias=False), layer).to(dtype)
        with torch.no_grad():
            net[0].weight.fill_(1)
        optimizer = torch.optim.SGD(net.parameters(), lr=0.0)
        kernel = compile_training(net, nn.L1Loss(), optimizer, len(z), 1)
        losses = kernel.run(z[:, None], 0 * z[:, None], len(z), order=torch.arange(len(z))).losses
        wide = z.numpy().astype(np.longdouble)
        exact = {
            nn.Sigmoid: lambda z: 1 / (1 + np.exp(-z)),
            nn.Tanh: lambda z: np.abs(np.tanh(z)),
            nn.Softplus: lambda z: np.where(z > 20, z, np.log1p(np.exp(-abs(z))) + z * (z > 0)),
        }[type(layer)](wide)
        error = np.abs(losses.numpy() / exact - 1).max()
        assert error < 4 * torch.finfo(dtype).eps


@needs_compiler
class TestMiniBatches:
    def run(self, n: int, batch: int, dtype: torch.dtype) -> tuple[nn.Module, nn.Module, Result]:
        net, loss, x, y = problem("tanh", "mse", dtype, n)
        twin = copy.deepcopy(net)
        order, batches = [], []
        for _ in range(5):
            rows = torch.randperm(n)
            for part in rows.split(batch):
                order.append(nn.functional.pad(part, (0, batch - len(part)), value=-1))
                batches.append((x[part], y[part]))
        kernel = compile_training(net, loss, RULES["momentum"](net), n, batch)
        result = kernel.run(x, y, len(batches), order=torch.cat(order))
        losses = plain(twin, loss, RULES["momentum"](twin), batches)
        np.testing.assert_allclose(
            result.losses, losses, rtol=1e-12 if dtype.itemsize == 8 else 1e-4
        )
        return net, twin, result

    @pytest.mark.parametrize(("n", "batch"), [(32, 8), (33, 8), (20, 1), (7, 10), (1500, 700)])
    def test_batches_and_short_last_batches(self, n, batch):
        net, twin, _ = self.run(n, batch, torch.float64)
        assert distance(net, twin) < 1e-12

    def test_float32(self):
        net, twin, _ = self.run(100, 32, torch.float32)
        assert distance(net, twin) < 1e-5

    def test_indices_are_checked(self):
        net, loss, x, y = problem("sigmoid", "mse", torch.float64)
        kernel = compile_training(net, loss, RULES["sgd"](net), 13, 2)
        with pytest.raises(ValueError, match="order has 3 indices: give 2 steps x 2 rows"):
            kernel.run(x, y, 2, order=torch.tensor([0, 1, 2]))
        with pytest.raises(ValueError, match="order has None indices"):
            kernel.run(x, y, 2)
        with pytest.raises(ValueError, match=r"index 13 .* below n = 13"):
            kernel.run(x, y, 1, order=torch.tensor([0, 13]))
        with pytest.raises(ValueError, match="a batch without rows"):
            kernel.run(x, y, 1, order=torch.tensor([-1, -1]))


@needs_compiler
class TestContinuation:
    @pytest.mark.parametrize(
        ("rule", "dtype"),
        [
            ("sgd", torch.float64),
            ("momentum", torch.float64),
            ("adam", torch.float64),
            ("nesterov", torch.float32),
            ("adamw", torch.float32),
        ],
    )
    def test_dividing_the_steps_among_calls_changes_no_bit(self, rule, dtype):
        net, loss, x, y = problem("sigmoid", "mse", dtype)
        twin = copy.deepcopy(net)
        optimizer, other = RULES[rule](net), RULES[rule](twin)
        whole = compile_training(net, loss, optimizer, len(x)).run(x, y, 100)
        kernel = compile_training(twin, loss, other, len(x))
        parts = [kernel.run(x, y, steps) for steps in (1, 36, 0, 3, 60)]
        assert torch.equal(torch.cat([part.losses for part in parts]), whole.losses)
        assert torch.equal(flat(net), flat(twin))
        assert str(optimizer.state_dict()) == str(other.state_dict())

    @pytest.mark.parametrize("rule", ["sgd", "momentum", "adam", "adamw"])
    def test_torch_takes_over_and_hands_back(self, rule):
        net, twin, optimizer, other, loss, x, y = compare(
            "sigmoid", "mse", rule, torch.float64, 40, 1e-12
        )
        mine, theirs = optimizer.state_dict(), other.state_dict()
        assert mine["param_groups"] == theirs["param_groups"]
        assert mine["state"].keys() == theirs["state"].keys()
        for index, state in theirs["state"].items():
            assert mine["state"][index].keys() == state.keys()
            for key, value in state.items():
                if value is not None:
                    torch.testing.assert_close(
                        mine["state"][index][key], value, rtol=1e-10, atol=1e-14
                    )
        for pair in ((net, optimizer), (twin, other)):
            plain(pair[0], loss, pair[1], [(x, y)] * 30)
        compile_training(net, loss, optimizer, len(x)).run(x, y, 40)
        plain(twin, loss, other, [(x, y)] * 40)
        assert distance(net, twin) < 1e-12

    def test_state_dict_round_trip_resumes(self):
        net, loss, x, y = problem("tanh", "mse", torch.float32)
        optimizer = RULES["adam"](net)
        kernel = compile_training(net, loss, optimizer, len(x))
        kernel.run(x, y, 45)
        weights, state = copy.deepcopy((net.state_dict(), optimizer.state_dict()))
        expected = kernel.run(x, y, 50)
        again = NETS["tanh"]()
        again.load_state_dict(weights)
        resumed = RULES["adam"](again)
        resumed.load_state_dict(state)
        result = compile_training(again, loss, resumed, len(x)).run(x, y, 50)
        assert torch.equal(result.losses, expected.losses)
        assert torch.equal(flat(again), flat(net))

    def test_learning_rate_is_read_at_every_call(self):
        net, loss, x, y = problem("sigmoid", "mse", torch.float64)
        twin = copy.deepcopy(net)
        optimizer, other = RULES["adam"](net), RULES["adam"](twin)
        kernel = compile_training(net, loss, optimizer, len(x))
        for lr in (0.1, 0.01, 0.0):
            optimizer.param_groups[0]["lr"] = other.param_groups[0]["lr"] = lr
            kernel.run(x, y, 10)
            plain(twin, loss, other, [(x, y)] * 10)
        assert distance(net, twin) < 1e-12

    def test_snapshots_are_the_parameters_after_the_wanted_updates(self):
        net, loss, x, y = problem("tanh", "mse", torch.float32)
        twin = copy.deepcopy(net)
        kernel = compile_training(net, loss, RULES["momentum"](net), len(x))
        result = kernel.run(x, y, 9, torch.tensor([1, 4, 9]))
        single = compile_training(twin, loss, RULES["momentum"](twin), len(x))
        rows = []
        for _ in range(9):
            single.run(x, y, 1)
            rows.append(flat(twin))
        assert torch.equal(result.snapshots, torch.stack([rows[0], rows[3], rows[8]]))
        for bad in ([0], [10], [3, 3]):
            with pytest.raises(ValueError, match=r"increasing updates within 1\.\.9"):
                kernel.run(x, y, 9, torch.tensor(bad))


def groups_of_two_kinds(net: nn.Module) -> torch.optim.Optimizer:
    """Weights decayed, biases not, in the other order than the net's."""
    biases = [p for name, p in net.named_parameters() if name.endswith("bias")]
    weights = [p for name, p in net.named_parameters() if name.endswith("weight")]
    return torch.optim.AdamW(
        [
            {"params": biases, "weight_decay": 0.0, "lr": 0.02, "betas": (0.8, 0.99)},
            {"params": weights, "weight_decay": 0.3},
        ],
        lr=0.01,
        eps=1e-2,
    )


def groups_with_and_without_momentum(net: nn.Module) -> torch.optim.Optimizer:
    first, *rest = net.parameters()
    return torch.optim.SGD(
        [{"params": [first], "momentum": 0.9}, {"params": rest, "weight_decay": 0.1}], lr=0.05
    )


@needs_compiler
class TestGroups:
    @pytest.mark.parametrize("rule", [groups_of_two_kinds, groups_with_and_without_momentum])
    def test_groups_keep_their_own_settings(self, rule):
        net, loss, x, y = problem("sigmoid", "mse", torch.float64)
        twin = copy.deepcopy(net)
        compile_training(net, loss, rule(net), len(x)).run(x, y, 100)
        plain(twin, loss, rule(twin), [(x, y)] * 100)
        assert distance(net, twin) < 1e-12

    @pytest.mark.parametrize("rule", ["momentum", "adam"])
    def test_frozen_parameters_stay(self, rule):
        net, loss, x, y = problem("sigmoid", "mse", torch.float64)
        net[0].weight.requires_grad_(False)
        twin = copy.deepcopy(net)
        compile_training(net, loss, RULES[rule](net), len(x)).run(x, y, 50)
        plain(twin, loss, RULES[rule](twin), [(x, y)] * 50)
        assert torch.equal(net[0].weight, twin[0].weight)
        assert distance(net, twin) < 1e-12

    def test_only_listed_parameters_are_trained(self):
        net, loss, x, y = problem("sigmoid", "mse", torch.float64)
        before = net[0].weight.detach().clone()
        optimizer = torch.optim.SGD(net[2].parameters(), lr=0.1)
        compile_training(net, loss, optimizer, len(x)).run(x, y, 10)
        assert torch.equal(net[0].weight, before)

    def test_a_change_of_structure_is_refused(self):
        net, loss, x, y = problem("sigmoid", "mse", torch.float64)
        optimizer = RULES["sgd"](net)
        kernel = compile_training(net, loss, optimizer, len(x))
        optimizer.param_groups[0]["momentum"] = 0.9
        with pytest.raises(ValueError, match="compile anew"):
            kernel.run(x, y, 1)

    @pytest.mark.parametrize("rule", ["momentum", "adam"])
    def test_parameters_of_different_age_are_refused(self, rule):
        net, loss, x, y = problem("sigmoid", "mse", torch.float64)
        optimizer = RULES[rule](net)
        kernel = compile_training(net, loss, optimizer, len(x))
        kernel.run(x, y, 3)
        del optimizer.state[net[0].weight]
        with pytest.raises(ValueError, match="group 0 have had different numbers of updates"):
            kernel.run(x, y, 1)


@needs_compiler
class TestDivergence:
    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    def test_stops_before_the_update_of_the_first_loss_that_is_not_finite(self, dtype):
        net, loss, x, y = problem("linear", "mse", dtype)
        twin = copy.deepcopy(net)
        rule = lambda net: torch.optim.SGD(net.parameters(), lr=1e3, momentum=0.5)  # noqa: E731
        optimizer, other = rule(net), rule(twin)
        wanted = torch.arange(1, 1001)
        result = compile_training(net, loss, optimizer, len(x)).run(x, y, 1000, wanted)
        done = result.steps_done
        assert 0 < done < 1000
        assert len(result.losses) == done + 1
        assert result.losses[:-1].isfinite().all()
        assert not result.losses[-1].isfinite()
        assert len(result.snapshots) == done
        assert torch.equal(result.snapshots[-1], flat(net))
        plain(twin, loss, other, [(x, y)] * done)
        assert distance(net, twin) < 1e-3 if dtype == torch.float32 else 1e-10

    @pytest.mark.parametrize(
        ("net", "loss"),
        [
            ("sigmoid", "bce"),
            ("tanh", "l1"),
            ("relu", "huber"),
            ("leaky", "smooth_l1"),
            ("softplus", "bce_with_logits"),
        ],
    )
    def test_nan_passes_through_every_function(self, net, loss):
        module, criterion, x, y = problem(net, loss, torch.float32)
        optimizer = RULES["adam"](module)
        kernel = compile_training(module, criterion, optimizer, len(x))
        before = flat(module)
        result = kernel.run(torch.where(x == x[3], torch.nan, x), y, 5)
        assert result.steps_done == 0
        assert result.losses.isnan().tolist() == [True]
        assert torch.equal(flat(module), before)
        assert not optimizer.state

    def test_denormal_numbers_survive_in_this_process(self):
        net, loss, x, y = problem("sigmoid", "mse", torch.float64)
        compile_training(net, loss, RULES["adam"](net), len(x)).run(x, y, 3)
        assert float(np.float64(5e-324)) * 1.0 == 5e-324
        assert (np.array([1e-310]) / 2 > 0).all()
        assert (torch.tensor([1e-310], dtype=torch.float64) / 2 > 0).all()
        assert (torch.tensor([1e-40]) / 2 > 0).all()


@needs_compiler
class TestArguments:
    def test_shapes_and_types(self):
        net, loss, x, y = problem("sigmoid", "mse", torch.float64)
        kernel = compile_training(net, loss, RULES["sgd"](net), len(x))
        with pytest.raises(ValueError, match=r"x has shape \[12, 2\]: the kernel takes \[13, 2\]"):
            kernel.run(x[1:], y, 1)
        with pytest.raises(ValueError, match=r"y has shape \[13\]"):
            kernel.run(x, y[:, 0], 1)
        with pytest.raises(ValueError, match=r"x is torch\.float32 on cpu: pass torch\.float64"):
            kernel.run(x.float(), y, 1)
        with pytest.raises(ValueError, match="order is given to a full-batch kernel"):
            kernel.run(x, y, 1, order=torch.arange(13))

    def test_strided_data(self):
        net, loss, x, y = problem("sigmoid", "mse", torch.float64)
        twin = copy.deepcopy(net)
        compile_training(net, loss, RULES["sgd"](net), len(x)).run(x.T.contiguous().T, y, 5)
        compile_training(twin, loss, RULES["sgd"](twin), len(x)).run(x, y, 5)
        assert torch.equal(flat(net), flat(twin))

    def test_sizes_must_be_positive(self):
        net, loss, *_ = problem("sigmoid", "mse", torch.float64)
        with pytest.raises(ValueError, match="n must be at least 1, got 0"):
            compile_training(net, loss, RULES["sgd"](net), 0)
        with pytest.raises(ValueError, match="batch must be at least 1 or None, got 0"):
            compile_training(net, loss, RULES["sgd"](net), 4, 0)


class Forward(nn.Sequential):
    def forward(self, x: Tensor) -> Tensor:
        return 2 * super().forward(x)


def with_hook() -> nn.Module:
    net = nn.Sequential(nn.Linear(2, 1))
    net[0].register_forward_hook(lambda *_: None)
    return net


def with_parameter_hook() -> nn.Module:
    net = nn.Linear(2, 1)
    net.weight.register_hook(lambda g: g)
    return net


def tied() -> nn.Module:
    layer = nn.Linear(2, 2)
    return nn.Sequential(layer, nn.Tanh(), layer)


class TestRefusals:
    """None of these reaches the compiler, so they hold where there is none."""

    @pytest.mark.parametrize(
        ("net", "message"),
        [
            (nn.Sequential(nn.Linear(2, 2), nn.GELU()), "layer GELU has no compiled form"),
            (nn.Sequential(nn.Linear(2, 2), nn.Dropout()), "layer Dropout has no compiled form"),
            (nn.Sequential(nn.Linear(2, 1), nn.Softplus(beta=2)), "Softplus has no compiled form"),
            (Forward(nn.Linear(2, 1)), "Forward has a forward of its own"),
            (with_hook(), "Linear has hooks"),
            (with_parameter_hook(), "Linear has hooks"),
            (tied(), "a parameter is used twice"),
            (nn.Sequential(nn.Tanh(), nn.Linear(2, 1)), "Tanh does not follow a Linear"),
            (nn.Sequential(nn.Linear(2, 1), nn.Tanh(), nn.ReLU()), "ReLU does not follow"),
            (nn.Sequential(nn.Linear(2, 3), nn.Linear(2, 1)), "Linear takes 2 inputs after 3"),
            (nn.Linear(2, 1).half(), "torch.float16, not all float32"),
            (nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1).double()), "not all float32"),
            (nn.Linear(300, 300), "more than 20000 parameters"),
            (nn.Linear(1, 2000), "more than 1024 units"),
        ],
    )
    def test_nets(self, net, message):
        with pytest.raises(NotCompilable, match=message):
            compile_training(net, nn.MSELoss(), RULES["sgd"](net), 4)

    @pytest.mark.parametrize(
        ("loss", "message"),
        [
            (nn.MSELoss(reduction="sum"), "MSELoss has reduction sum"),
            (nn.BCEWithLogitsLoss(pos_weight=torch.ones(1)), "BCEWithLogitsLoss is weighted"),
            (nn.BCELoss(), "BCELoss does not follow a Sigmoid"),
            (nn.CrossEntropyLoss(), "loss CrossEntropyLoss has no compiled form"),
        ],
    )
    def test_losses(self, loss, message):
        net = nn.Linear(2, 1)
        with pytest.raises(NotCompilable, match=message):
            compile_training(net, loss, RULES["sgd"](net), 4)

    @pytest.mark.parametrize(
        ("make", "message"),
        [
            (lambda p: torch.optim.Adam(p, amsgrad=True), "Adam has amsgrad=True"),
            (lambda p: torch.optim.SGD(p, lr=0.1, maximize=True), "SGD has maximize=True"),
            (lambda p: torch.optim.LBFGS(p), "optimizer LBFGS has no compiled form"),
            (lambda p: torch.optim.SGD(p, lr=torch.tensor(0.1)), "lr is a tensor"),
            (
                lambda p: torch.optim.SGD([*p, nn.Parameter(torch.zeros(1))], lr=0.1),
                "a parameter that is not the net's",
            ),
        ],
    )
    def test_optimizers(self, make, message):
        net = nn.Linear(2, 1)
        with pytest.raises(NotCompilable, match=message) as caught:
            compile_training(net, nn.MSELoss(), make(net.parameters()), 4)
        assert "\n" not in str(caught.value)

    def test_an_optimizer_with_hooks(self):
        net = nn.Linear(2, 1)
        optimizer = RULES["adam"](net)
        optimizer.register_step_post_hook(lambda *_: None)
        with pytest.raises(NotCompilable, match="Adam has hooks"):
            compile_training(net, nn.MSELoss(), optimizer, 4)
