"""What is recorded, at which steps, and beside which gradients and optimizer state."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from tests.conftest import cloud, small_net, small_task, trainer
from toyml import optim
from toyml.callbacks import LastCheckpoint, Recorder
from toyml.errors import UserError
from toyml.run import Run
from toyml.trajectory import Trajectory


def recorded(folder: Path) -> Trajectory:
    return Run(folder / "run/version_0").trajectory


def fit(folder: Path, steps: int, recorder: Recorder, task: Any = None, **data: Any) -> Trajectory:
    callbacks = [recorder, LastCheckpoint()]
    trainer(folder, steps, callbacks=callbacks).fit(task or small_task(), cloud(**data))
    return recorded(folder)


# -- schedules -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"every": 0}, "every is 0; it has to be at least 1"),
        ({"every": -2}, "every is -2"),
        ({"per_decade": 0}, "per_decade is 0; it has to be at least 1, or null"),
    ],
)
def test_schedules_that_are_none_are_refused(settings: dict[str, int], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Recorder(**settings)


def brute(every: int, per_decade: int | None, last: int) -> list[int]:
    """All steps of a schedule up to the last, by looking at every one."""
    if per_decade is None:
        return [step for step in range(last + 1) if step % every == 0]
    powers = range(math.ceil(math.log10(max(last, 1)) * per_decade) + 2)
    grid = {round(10 ** (i / per_decade)) for i in powers}
    return [step for step in range(last + 1) if step == 0 or step in grid]


schedules = st.tuples(st.integers(1, 40), st.none() | st.integers(1, 60))


@given(schedules, st.integers(0, 3000), st.lists(st.integers(0, 3000), max_size=6))
@settings(deadline=None, max_examples=150)
def test_a_schedule_does_not_depend_on_where_blocks_end(
    schedule: tuple[int, int | None], last: int, cuts: list[int]
) -> None:
    recorder = Recorder(*schedule)
    ends = sorted({cut for cut in cuts if cut < last} | {last})
    starts = [0, *(end + 1 for end in ends[:-1])]
    asked = [recorder.wanted(a, b) for a, b in zip(starts, ends, strict=True)]
    assert all(steps.dtype == np.int64 for steps in asked)
    assert np.concatenate(asked).tolist() == brute(*schedule, last)


@pytest.mark.parametrize("per_decade", [1, 3, 7, 10, 50])
def test_decades_far_out_are_as_dense_as_the_first(per_decade: int) -> None:
    wanted = Recorder(per_decade=per_decade).wanted
    assert len(wanted(10**5 + 1, 10**6)) == len(wanted(10**6 + 1, 10**7)) == per_decade
    assert {10**k for k in range(8)} <= set(wanted(0, 10**7).tolist())


@pytest.mark.parametrize(
    ("recorder", "expected"),
    [
        (Recorder(), list(range(124))),
        (Recorder(every=30), [0, 30, 60, 90, 120, 123]),
        (Recorder(every=1000), [0, 123]),
        (Recorder(per_decade=2), [0, 1, 3, 10, 32, 100, 123]),
    ],
)
def test_first_and_last_step_are_always_recorded(
    recorder: Recorder, expected: list[int], tmp_path: Path
) -> None:
    found = fit(tmp_path, 123, recorder, block_size=17)
    assert found.steps.tolist() == expected
    whole = fit(tmp_path / "all", 123, Recorder())
    assert np.array_equal(found.parameters.flat, whole.parameters.flat[expected])


def test_the_ordinary_loop_keeps_the_same_schedule(tmp_path: Path) -> None:
    for name, clip in (("blocks", None), ("loop", 1e9)):
        callbacks = [Recorder(every=7), LastCheckpoint()]
        trainer(tmp_path / name, 40, callbacks=callbacks, gradient_clip_val=clip).fit(
            small_task(), cloud(batch_size=8)
        )
    blocks, loop = recorded(tmp_path / "blocks"), recorded(tmp_path / "loop")
    assert blocks.steps.tolist() == loop.steps.tolist() == [0, 7, 14, 21, 28, 35, 40]
    assert np.array_equal(blocks.parameters.flat, loop.parameters.flat)


# -- gradients and optimizer state ------------------------------------------------------------


def by_hand(
    optimizer: Callable[..., torch.optim.Optimizer], names: list[str], steps: int
) -> dict[str, list[Tensor]]:
    """Flat parameters, gradients and optimizer state after each step of the plain loop."""
    net, loss = small_net(), nn.BCEWithLogitsLoss()
    update = optimizer(net.parameters())
    x, y = (a.float() for a in cloud().arrays())
    kept: dict[str, list[Tensor]] = {name: [] for name in ("parameters", "gradients", *names)}
    for _ in range(steps):
        update.zero_grad()
        loss(net(x), y).backward()
        update.step()
        ps = list(net.parameters())
        kept["parameters"].append(torch.cat([p.detach().flatten() for p in ps]))
        kept["gradients"].append(torch.cat([p.grad.flatten() for p in ps if p.grad is not None]))
        for name in names:
            kept[name].append(torch.cat([update.state[p][name].flatten() for p in ps]).clone())
    return kept


STATES = {
    "momentum": (partial(torch.optim.SGD, lr=0.1, momentum=0.9), ["momentum_buffer"]),
    "Adam": (partial(torch.optim.Adam, lr=0.05), ["exp_avg", "exp_avg_sq"]),
    "AdamW": (partial(torch.optim.AdamW, lr=0.05), ["exp_avg", "exp_avg_sq"]),
    "Adagrad": (partial(torch.optim.Adagrad, lr=0.05), ["sum"]),
    "Adadelta": (partial(torch.optim.Adadelta, lr=0.5), ["square_avg", "acc_delta"]),
    "Rprop": (partial(torch.optim.Rprop, lr=0.05), ["prev", "step_size"]),
    "toyml's SGD": (partial(optim.SGD, lr=0.5, momentum=0.9), ["momentum_buffer"]),
    "toyml's AdamW": (partial(optim.AdamW, lr=0.05), ["exp_avg", "exp_avg_sq"]),
}


@pytest.mark.parametrize(("optimizer", "names"), STATES.values(), ids=STATES)
@pytest.mark.parametrize("clip", [None, 1e9], ids=["blocks", "ordinary loop"])
def test_gradients_and_state_are_those_of_the_plain_loop(
    optimizer: Any, names: list[str], clip: float | None, tmp_path: Path
) -> None:
    recorder = Recorder(gradients=True, optimizer_state=True)
    trainer(tmp_path, 25, callbacks=[recorder], gradient_clip_val=clip).fit(
        small_task(optimizer), cloud(block_size=10)
    )
    found = recorded(tmp_path)
    assert found.extras == ("gradients", *names)
    kept = by_hand(optimizer, names, 25)
    for name in ("parameters", "gradients", *names):
        rows = found.parameters.flat if name == "parameters" else found.extra(name).flat
        expected = torch.stack(kept[name]).numpy()
        if clip is None:
            assert np.array_equal(rows[1:], expected), name
        assert np.allclose(rows[1:], expected, atol=1e-7), name
    assert np.isnan(found.extra("gradients").flat[0]).all(), "nothing has led to step 0"
    assert not np.isnan(found.extra("gradients").flat[1:]).any()
    for name in names:
        assert not found.extra(name).flat[0].any()


def test_a_thin_schedule_has_the_gradient_of_the_step_before(tmp_path: Path) -> None:
    sgd = partial(torch.optim.SGD, lr=0.5)
    found = fit(tmp_path, 30, Recorder(every=10, gradients=True), small_task(sgd))
    assert found.steps.tolist() == [0, 10, 20, 30]
    expected = torch.stack(by_hand(sgd, [], 30)["gradients"]).numpy()
    assert np.array_equal(found.extra("gradients").flat[1:], expected[[9, 19, 29]])


def test_the_last_step_has_its_gradient_also_beside_the_schedule(tmp_path: Path) -> None:
    found = fit(tmp_path, 25, Recorder(every=10, gradients=True))
    assert found.steps.tolist() == [0, 10, 20, 25]
    assert not np.isnan(found.extra("gradients").flat[-1]).any()


def test_gradients_have_the_parameters_names_and_shapes(tmp_path: Path) -> None:
    gradients = fit(tmp_path, 3, Recorder(gradients=True)).extra("gradients")
    assert {k: v.shape for k, v in gradients.items()} == {
        name: (4, *p.shape) for name, p in small_net().named_parameters()
    }


def test_what_was_not_recorded_is_one_clear_line(tmp_path: Path) -> None:
    found = fit(tmp_path, 3, Recorder())
    with pytest.raises(UserError, match="gradients was not recorded; set gradients: true"):
        found.extra("gradients")


def test_the_hint_names_an_option_that_exists(tmp_path: Path) -> None:
    found = fit(tmp_path, 3, Recorder())
    with pytest.raises(UserError) as caught:
        found.extra("momentum_buffer")
    assert "optimizer_state: true" in str(caught.value)


def test_a_frozen_parameter_has_no_gradient(tmp_path: Path) -> None:
    task = small_task()
    task.net.get_parameter("hidden1.bias").requires_grad_(False)
    gradients = fit(tmp_path, 3, Recorder(gradients=True), task).extra("gradients")
    assert np.isnan(gradients["hidden1.bias"]).all()
    assert not np.isnan(gradients["hidden1.weight"][1:]).any()


# -- tasks of the user's own ------------------------------------------------------------------


class Vanilla(pl.LightningModule):
    """A module as in Lightning's own introduction."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.encoder, self.decoder = nn.Linear(2, 3), nn.Linear(3, 1)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        x, y = batch
        return nn.functional.mse_loss(self.decoder(torch.tanh(self.encoder(x))), y)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=0.01)


class ByHand(Vanilla):
    """The same with manual optimization."""

    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False

    def training_step(self, batch: Any, batch_idx: int) -> None:
        optimizer = self.optimizers()
        optimizer.zero_grad()  # type: ignore[union-attr]
        self.manual_backward(super().training_step(batch, batch_idx))
        optimizer.step()  # type: ignore[union-attr]


@pytest.mark.parametrize("task", [Vanilla, ByHand])
def test_a_vanilla_module_is_recorded_at_every_step(task: type[Vanilla], tmp_path: Path) -> None:
    x, y = (a.float() for a in cloud().arrays())
    recorder = Recorder(gradients=True, optimizer_state=True)
    loader = DataLoader(TensorDataset(x, y), batch_size=10)
    trainer(tmp_path, 9, callbacks=[recorder]).fit(task(), loader)
    found = recorded(tmp_path)
    assert found.steps.tolist() == list(range(10))
    assert list(found.shapes) == [
        *("encoder.weight", "encoder.bias", "decoder.weight", "decoder.bias")
    ]
    plain = Vanilla()
    optimizer = plain.configure_optimizers()
    for step in range(9):
        rows = slice(10 * (step % 4), 10 * (step % 4) + 10)
        optimizer.zero_grad()
        plain.training_step((x[rows], y[rows]), 0).backward()
        optimizer.step()
        for name, p in plain.named_parameters():
            assert p.grad is not None
            state = optimizer.state[p]["exp_avg"].numpy()
            assert np.array_equal(found.parameters[name][step + 1], p.detach().numpy())
            assert np.array_equal(found.extra("gradients")[name][step + 1], p.grad.numpy())
            assert np.array_equal(found.extra("exp_avg")[name][step + 1], state)


# -- continuing -------------------------------------------------------------------------------


def again(folder: Path, steps: int, recorder: Recorder) -> Trajectory:
    """Continue the fit in the very same folder from its last checkpoint."""
    from toyml.logger import RunLogger

    logger = RunLogger(str(folder), version=0)
    trainer(folder, steps, callbacks=[recorder, LastCheckpoint()], logger=logger).fit(
        small_task(partial(torch.optim.Adam, lr=0.05)),
        cloud(),
        ckpt_path=folder / "run/version_0/checkpoints/last.ckpt",
        weights_only=True,
    )
    return recorded(folder)


@pytest.mark.parametrize("every", [1, 10])
def test_a_continued_recording_is_the_recording_of_the_whole(every: int, tmp_path: Path) -> None:
    def recorder() -> Recorder:
        return Recorder(every=every, gradients=True, optimizer_state=True)

    adam = partial(torch.optim.Adam, lr=0.05)
    whole = fit(tmp_path / "a", 90, recorder(), small_task(adam))
    fit(tmp_path / "b", 44, recorder(), small_task(adam))
    before = (tmp_path / "b/run/version_0/trajectory/rows.bin").read_bytes()
    joined = again(tmp_path / "b", 90, recorder())
    after = (tmp_path / "b/run/version_0/trajectory/rows.bin").read_bytes()
    assert after.startswith(before), "what was recorded is not written over"
    assert joined.steps.tolist() == sorted({*whole.steps.tolist(), 44})
    same = [joined.index(step) for step in whole.steps]
    assert np.array_equal(joined.parameters.flat[same], whole.parameters.flat)
    for name in whole.extras:
        assert np.array_equal(
            joined.extra(name).flat[same], whole.extra(name).flat, equal_nan=True
        ), name


def test_steps_after_the_checkpoint_are_set_aside_and_recorded_again(tmp_path: Path) -> None:
    adam = partial(torch.optim.Adam, lr=0.05)
    fit(tmp_path, 40, Recorder(), small_task(adam))
    folder = tmp_path / "run/version_0"
    checkpoint = (folder / "checkpoints/last.ckpt").read_bytes()
    first = again(tmp_path, 70, Recorder()).parameters.flat.copy()
    (folder / "checkpoints/last.ckpt").write_bytes(checkpoint)  # killed before the next one
    second = again(tmp_path, 70, Recorder())
    assert second.steps.tolist() == list(range(71))
    assert np.array_equal(second.parameters.flat, first)
    assert (folder / "trajectory/rows.after_40.0.bin").stat().st_size == 30 * (8 + 4 * 13)


def test_a_recording_of_other_fields_is_not_mixed_in(tmp_path: Path) -> None:
    adam = partial(torch.optim.Adam, lr=0.05)
    fit(tmp_path, 20, Recorder(), small_task(adam))
    before = (tmp_path / "run/version_0/trajectory/rows.bin").read_bytes()
    with pytest.raises(UserError, match="record into a new run folder"):
        again(tmp_path, 40, Recorder(gradients=True))
    assert (tmp_path / "run/version_0/trajectory/rows.bin").read_bytes() == before
