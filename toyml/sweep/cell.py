"""One part of a sweep, trained in one program: from a config and replicas to rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
import torch
from torch import Tensor, nn

from toyml import optim
from toyml.configured import instantiate
from toyml.engine import Block
from toyml.errors import UserError
from toyml.measures import (
    behaviour,
    best_constant,
    least_squares_loss,
    loss_targets,
    meaning,
    outputs,
)
from toyml.measures.forward import evaluating
from toyml.measures.sides import side_errors
from toyml.replicas import Replicated, train_replicas
from toyml.replicas.mapped import step_bytes
from toyml.replicas.rules import refuse_coupling
from toyml.run import lookup
from toyml.sweep.keys import Config, end_column, override
from toyml.sweep.outcome import Definition
from toyml.sweep.plan import Part
from toyml.sweep.record import diverged_at, first_step, seen_steps, trace_steps
from toyml.sweep.start import Stack, entry, place, starts
from toyml.sweep.table import LISTS
from toyml.tasks import Supervised
from toyml.tasks.trial import try_rows

PER_REPLICA: Mapping[type[torch.optim.Optimizer], Callable[..., torch.optim.Optimizer]] = {
    torch.optim.SGD: optim.SGD,
    torch.optim.Adam: optim.Adam,
    torch.optim.AdamW: optim.AdamW,
    optim.SGD: optim.SGD,
    optim.Adam: optim.Adam,
    optim.AdamW: optim.AdamW,
}
"""Optimizers whose settings may differ among replicas."""

KEPT_PARAMETERS = 64
"""Nets of up to this many parameters have their last ones kept in the parts."""

Progress = Callable[[float], None]


def train_part(
    config: Config,
    part: Part,
    definition: Definition,
    noted: Sequence[int] = (),
    progress: Progress | None = None,
) -> pl.DataFrame:
    """Train the replicas of a part as one program, each as a ``fit`` of its own would be.

    Args:
        config: The sweep's complete config.
        part: What its cell changes, seeds and settings of its replicas.
        definition: Which losses have their first undershooting noted, and what is an explosion.
        noted: Steps whose losses become columns ``loss_<step>``.
        progress: Called with the share of the part that is done.

    Losses are those of all rows in evaluation mode: at every step where these are what a step
    sees; with mini-batches, or a net that acts differently in training mode, at the kept steps.

    Returns:
        One row per replica: ``replica``, ``part``, ``seed``, a column for each varied key,
        ``steps``, ``loss`` (after the last step), ``first_loss``, ``loss_<step>``,
        ``below_<loss>`` and ``diverged_at`` (steps, or -1), ``constant_loss`` and ``least_loss``
        (of the best constant prediction, and the least there can be), ``threshold`` (below which a
        training has converged; NaN where none is known) and ``threshold_at`` (the first step below
        it, or -1), ``accuracy`` (share of rows whose class is right, of entries for independent
        labels; NaN for values), ``left`` and ``right`` (relative squared errors of the two halves;
        NaN for more than one input), ``end.<name>[i,j]`` (where a varied initial parameter ended),
        and the lists ``trace_steps``, ``trace`` (losses) and, for small nets, ``end`` (all last
        parameters).

    Raises:
        UserError: The cell cannot be built, or trains in a way that replicas cannot.
    """
    changed = override(config, part.changes)
    steps = checked_steps(changed, noted)
    device, dtype = where(changed)
    data = instantiate(changed, ["data"], "the config", trust=True)["data"]
    task, initial = starts(changed, part.seeds)
    if not isinstance(task, Supervised):
        raise UserError(f"a sweep trains toyml.tasks.Supervised; {type(task).__name__} is not one")
    initial = {name: values.to(device, dtype) for name, values in initial.items()}
    place(initial, part.settings)
    x, y = training_rows(data, task.loss, device, dtype)
    stack = Replicated(task.net.to(device, dtype), initial)
    batch, kept = batches(data, x, y, steps), trace_steps(steps, noted)
    whole = batch is not None or bool(behaviour(stack.template, x).on)
    seen = kept if whole else seen_steps(steps, len(part), kept)
    constant, least = bounds(task, x, y)
    bound = definition.threshold(constant, least)
    outcome = train_replicas(
        stack,
        task.loss.to(device, dtype),
        build_optimizer(task, stack, changed, part.settings),
        x,
        y,
        steps,
        noted=seen.tolist(),
        whole=whole,
        batch=batch,
        compiled=task.compiled,
        progress=progress,
    )
    losses = outcome.losses.cpu().numpy().astype(np.float64)
    lost = outcome.diverged.cpu().numpy()
    exploded = diverged_at(seen, losses, definition.explosion)
    trace = losses[np.isin(seen, kept)]
    end = {name: values.detach() for name, values in stack.named_parameters()}
    columns: dict[str, Any] = {
        "replica": np.arange(part.first, part.first + len(part)),
        "part": np.full(len(part), part.number),
        **part.columns,
        "steps": np.full(len(part), steps),
        "loss": losses[-1],
        "first_loss": losses[0],
        **{f"loss_{step}": trace[kept == step][0] for step in noted},
        **{f"below_{t:g}": first_step(seen, losses < t) for t in definition.below},
        "constant_loss": np.full(len(part), constant),
        "least_loss": np.full(len(part), least),
        "threshold": np.full(len(part), bound),
        "threshold_at": first_step(seen, losses < bound),
        "diverged_at": np.where((exploded >= 0) & ((lost < 0) | (exploded < lost)), exploded, lost),
        **quality(task, end, x, y),
        **ends(end, part.settings),
        "trace_steps": np.broadcast_to(kept, (len(part), len(kept))),
        "trace": np.ascontiguousarray(trace.T),
    }
    flat = torch.cat([values.flatten(1) for values in end.values()], dim=1)
    if flat.shape[1] <= KEPT_PARAMETERS:
        columns["end"] = flat.double().cpu().numpy()
    rows = pl.DataFrame(columns)
    # Lists, not arrays of a fixed length: cells can differ in steps and parameters.
    return rows.with_columns(pl.col(c).arr.to_list() for c in LISTS if c in rows.columns)


def checked_steps(config: Config, noted: Sequence[int] = ()) -> int:
    """The number of steps, where the settings are such that replicas can take them.

    Raises:
        UserError: They are not.
    """
    steps = int(lookup(config, "trainer.max_steps", -1))
    if steps < 1:
        raise UserError(f"trainer.max_steps is {steps}; a sweep needs a number, for example 1000")
    late = [step for step in noted if not 0 <= step <= steps]
    if late:
        raise UserError(f"sweep.noted holds {late}; the trainings have steps 0 to {steps}")
    alone = {
        "model.lr_scheduler": (None,),
        "trainer.gradient_clip_val": (None, 0),
        "trainer.accumulate_grad_batches": (None, 1),
    }
    for key, neutral in alone.items():
        if lookup(config, key) not in neutral:
            raise UserError(f"a sweep trains without {key}; unset it")
    return steps


def where(config: Config) -> tuple[torch.device, torch.dtype]:
    """Device and precision of the config.

    Raises:
        UserError: A mixed precision, or a device that is not there.
    """
    precision = str(lookup(config, "trainer.precision") or "32-true")
    dtypes = {"32-true": torch.float32, "32": torch.float32, "64-true": torch.float64}
    dtypes["64"] = torch.float64
    if precision not in dtypes:
        raise UserError(f"trainer.precision is {precision}; a sweep takes 32-true or 64-true")
    accelerator = str(lookup(config, "trainer.accelerator") or "auto")
    there = torch.cuda.is_available()
    if accelerator in ("gpu", "cuda") and not there:
        raise UserError(f"trainer.accelerator is {accelerator}, and torch can use no GPU here")
    gpu = accelerator in ("gpu", "cuda") or (accelerator == "auto" and there)
    return torch.device("cuda" if gpu else "cpu"), dtypes[precision]


def training_rows(
    data: Any, loss: nn.Module, device: torch.device, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """Inputs [n, d], and targets in the form that the loss takes: [n, k] or numbers of classes [n].

    Raises:
        UserError: Data without ``arrays()``, or targets that are none of the loss's.
    """
    if not hasattr(data, "arrays"):
        raise UserError(
            f"{type(data).__name__} has no arrays(), so that replicas cannot all see its rows; "
            "subclass toyml.data.InMemory"
        )
    x, y = data.arrays()
    try:
        y = loss_targets(loss, y)
    except ValueError as error:
        raise UserError(f"{type(data).__name__}: {error}") from error
    return x.to(device, dtype), y.to(device, dtype) if y.is_floating_point() else y.to(device)


def bounds(task: Supervised, x: Tensor, y: Tensor) -> tuple[float, float]:
    """The best constant prediction's loss, and the least loss there can be: 0 unless known."""
    width = try_forward(task.net, x[:2]).shape[-1]
    least = least_squares_loss(task.net, task.loss, x, y)
    return best_constant(task.loss, y, width), 0.0 if least is None else least


def batches(data: Any, x: Tensor, y: Tensor, steps: int) -> Block | None:
    """The mini-batches of the data, the same for every replica; ``None`` for the full batch."""
    size = getattr(data, "batch_size", None)
    if size is None or size >= len(x):
        return None
    return Block(x, y, steps, size, data.shuffle, data.seed)


def build_optimizer(
    task: Supervised, stack: nn.Module, config: Config, settings: Mapping[str, Sequence[float]]
) -> torch.optim.Optimizer:
    """The config's optimizer on all replicas, its varied settings one number each.

    Raises:
        UserError: It is none whose settings can differ among replicas.
    """
    varied = {
        key.removeprefix("model.optimizer."): torch.tensor(values, dtype=torch.float64)
        for key, values in settings.items()
        if key.startswith("model.optimizer.")
    }
    named = list(stack.named_parameters())
    groups: Any = [p for _, p in named]
    if not task.decay_bias:
        spared = [p for name, p in named if name.split(".")[-1].startswith("bias")]
        decayed = [p for name, p in named if not name.split(".")[-1].startswith("bias")]
        pairs: list[dict[str, Any]] = [{"params": decayed}, {"params": spared, "weight_decay": 0.0}]
        groups = [group for group in pairs if group["params"]]
    template = task.optimizer([nn.Parameter(torch.zeros(1))])
    if not varied:
        return task.optimizer(groups)
    kind = PER_REPLICA.get(type(template))
    init = dict(lookup(config, "model.optimizer.init_args") or {})
    if kind is None or init.pop("amsgrad", False):
        raise UserError(
            f"{type(template).__name__} cannot have {', '.join(varied)} differ among replicas; use "
            "torch.optim.SGD, Adam or AdamW, without amsgrad"
        )
    if init.pop("decoupled_weight_decay", False):
        kind = optim.AdamW
    for how in ("foreach", "fused", "capturable", "differentiable"):
        init.pop(how, None)  # how it is computed; there is one way with settings per replica
    betas = list(template.defaults.get("betas", ()))
    for name, values in varied.items():
        first, _, place_ = name.partition(".")
        if first not in template.defaults:
            raise UserError(f"{type(template).__name__} has no {first} to vary")
        if place_:
            betas[int(place_)] = values
            init["betas"] = tuple(betas)
        else:
            init[first] = values
    try:
        return kind(groups, **init)
    except (TypeError, ValueError) as error:
        raise UserError(f"model.optimizer: {error}") from error


def quality(task: Supervised, end: Stack, x: Tensor, y: Tensor) -> dict[str, Any]:
    """Accuracy, and relative errors of the left and the right half, [r] each."""
    r = len(next(iter(end.values())))
    accuracy, left, right = (np.full(r, np.nan) for _ in range(3))
    means = meaning(task.loss, y)
    labels = means.kind != "value"
    curve = not labels and x.shape[1:] == y.shape[1:] == (1,) and len(x) > 1
    # Outputs of all replicas at once would not fit the memory.
    size = max(1, 2**24 // max(1, y.numel()))
    for start in range(0, r if labels or curve else 0, size):
        some = slice(start, start + size)
        output = outputs(task.net, {name: values[some] for name, values in end.items()}, x)
        if labels:
            accuracy[some] = means.right(output, y).cpu().numpy()
        elif output.shape[1:] == y.shape:
            sides = side_errors(output, x, y).double().cpu().numpy()
            left[some], right[some] = sides[:, 0], sides[:, 1]
    return {"accuracy": accuracy, "left": left, "right": right}


def ends(end: Stack, settings: Mapping[str, Sequence[float]]) -> dict[str, Any]:
    """Where the varied entries of the initial parameters ended, [r] each."""
    columns = {}
    for key in settings:
        if key.startswith("initial."):
            columns[end_column(key)] = entry(end, key).double().cpu().numpy()
    return columns


def rehearse(config: Config, part: Part, noted: Sequence[int] = ()) -> int:
    """Build everything for the first replica of a part, and train nothing.

    Returns:
        Bytes that its parameters take.

    Raises:
        UserError: The cell cannot be built, or trains in a way that replicas cannot.
    """
    changed = override(config, part.changes)
    steps = checked_steps(changed, noted)
    device, dtype = where(changed)
    data = instantiate(changed, ["data"], "the config", trust=True)["data"]
    task, initial = starts(changed, part.seeds[:1])
    if not isinstance(task, Supervised):
        raise UserError(f"a sweep trains toyml.tasks.Supervised; {type(task).__name__} is not one")
    settings = {key: values[:1] for key, values in part.settings.items()}
    initial = {name: values.to(device, dtype) for name, values in initial.items()}
    place(initial, settings)
    x, y = training_rows(data, task.loss, device, dtype)
    stack = Replicated(task.net.to(device, dtype), initial)
    refuse_coupling(build_optimizer(task, stack, changed, settings))
    block = batches(data, x, y, steps) or Block(x, y, steps, None, False, 0)
    try_rows(task, x, y)
    step_bytes(stack, task.loss, block)
    return sum(values.numel() * values.element_size() for values in initial.values())


def try_forward(net: nn.Module, x: Tensor) -> Tensor:
    """Output of the net.

    Raises:
        UserError: It takes other inputs.
    """
    try:
        with torch.no_grad(), evaluating(net):
            output: Tensor = net(x)
    except (RuntimeError, ValueError, IndexError) as error:
        raise UserError(
            f"the net does not take inputs of shape {list(x.shape)} "
            f"({' '.join(str(error).split())[:160]}); give its first layer {x.shape[-1]} inputs"
        ) from error
    return output
