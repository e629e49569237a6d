"""The learning-rate schedule of a fit: whether it lasts, and how it goes on from a checkpoint."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.optim import lr_scheduler as torchs

from toyml.errors import UserError

RATE_ONLY = (
    *(torchs.LambdaLR, torchs.MultiplicativeLR, torchs.StepLR, torchs.MultiStepLR),
    *(torchs.ConstantLR, torchs.LinearLR, torchs.ExponentialLR, torchs.PolynomialLR),
    *(torchs.CosineAnnealingLR, torchs.CosineAnnealingWarmRestarts, torchs.ReduceLROnPlateau),
)
"""Schedulers that change the learning rate, and no other setting of the optimizer."""

ENDLESS = (*(set(RATE_ONLY) - {torchs.LambdaLR, torchs.MultiplicativeLR}), torchs.CyclicLR)
"""Schedulers that can be stepped for ever."""

TRIED = 20_000
"""Steps of a schedule that are tried before a fit, about 0.1 s."""

ENTERED = (
    *(torchs.LambdaLR, torchs.MultiplicativeLR, torchs.StepLR, torchs.MultiStepLR),
    *(torchs.ExponentialLR, torchs.PolynomialLR, torchs.ReduceLROnPlateau),
)
"""Schedulers whose next rate follows from the step, or from the step and the rate before."""

STILL = {"weight_decay", "eps"}
"""Settings that no scheduler moves."""

PROGRESS = (
    *("optimizer", "last_epoch", "base_lrs", "best", "mode_worse"),
    *("cooldown_counter", "num_bad_epochs", "T_cur", "T_i"),
)
"""What a scheduler holds beside its settings."""

Groups = list[dict[str, Any]]
Scheduler = Any  # ReduceLROnPlateau steps with a loss and the others without


def settings(optimizer: torch.optim.Optimizer) -> Groups:
    """The settings of each parameter group, without its parameters."""
    return [{k: v for k, v in g.items() if k != "params"} for g in optimizer.param_groups]


def build(make: Callable[..., Scheduler], optimizer: torch.optim.Optimizer) -> Scheduler:
    """The scheduler.

    Raises:
        UserError: It refuses its settings, or this optimizer.
    """
    try:
        return make(optimizer)
    except Exception as error:  # a constructor may raise anything about its values
        raise UserError(
            f"model.lr_scheduler cannot be set up for {type(optimizer).__name__} with these "
            f"settings ({error}); see its page in torch.optim.lr_scheduler"
        ) from error


def see_that_it_lasts(
    make: Callable[..., Scheduler], optimizer: torch.optim.Optimizer, steps: float
) -> None:
    """Try a schedule on an optimizer that nobody steps, for as many steps as the fit takes.

    Of a very long fit the first ``TRIED`` steps and, where that can be done, the last are tried;
    of one that only the clock ends, none.

    Raises:
        UserError: It ends before the fit does, or gives a learning rate that is no number.
    """
    scheduler = build(copy.deepcopy(make), optimizer)
    if type(scheduler) in ENDLESS or math.isinf(steps):
        return
    optimizer._opt_called = True  # type: ignore[attr-defined]  # schedulers warn when it is missing
    last = int(min(steps, TRIED))
    places = list(range(1, last + 1))
    if last < steps and type(scheduler) in (torchs.LambdaLR, torchs.OneCycleLR):
        places.append(int(steps))  # their rate is a function of the step alone
    name = type(scheduler).__name__
    with torch.random.fork_rng(devices=[]):
        for step in places:
            try:
                if step > last:
                    scheduler.last_epoch = step - 1
                scheduler.step()
            except Exception as error:  # a schedule of one's own may raise anything
                words = " ".join(str(error).split()) or type(error).__name__
                raise UserError(
                    f"model.lr_scheduler {name} cannot take step {step} of {steps:.0f} "
                    f"({words}); let it last as long as the fit, or lower trainer.max_steps"
                ) from error
            for group in optimizer.param_groups:
                if not math.isfinite(group["lr"]):
                    raise UserError(
                        f"model.lr_scheduler {name} gives lr {group['lr']} at step {step}; it "
                        "has to give a finite number"
                    )


# -- going on --------------------------------------------------------------------------------


def asked(
    optimizer: torch.optim.Optimizer, make: Callable[..., Scheduler] | None
) -> dict[str, Any]:
    """What the settings ask for, in values that a checkpoint can hold.

    Args:
        optimizer: A fresh one, which is used up.
        make: What makes its scheduler.

    Returns:
        ``groups``, the optimizer's settings; ``words`` and ``scheduler``, the scheduler before its
        first step, "none" and ``None`` without one.
    """
    groups = plain(settings(optimizer))
    for group in optimizer.param_groups:
        group["lr"] = 1.0  # a scheduler holds the rates that it began with
    scheduler = None if make is None else build(make, optimizer)
    own = [{k: v for k, v in g.items() if k not in optimizer.defaults} for g in settings(optimizer)]
    found = None if scheduler is None else [plain(scheduler), plain(own)]
    return {"groups": groups, "words": in_words(scheduler), "scheduler": found}


def plain(value: Any) -> Any:
    """A value in numbers, texts, lists and dicts; of an object its class and what it holds."""
    if isinstance(value, bool | int | float | str | None):
        return value
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, torch.Tensor):
        return value.tolist()
    named = value if hasattr(value, "__qualname__") else type(value)
    name = f"{named.__module__}.{named.__qualname__}"
    if isinstance(value, torchs.LRScheduler):
        return [name, {k: plain(v) for k, v in vars(value).items() if k != "optimizer"}]
    return name


def in_words(scheduler: Scheduler) -> str:
    """A scheduler with its settings.

    Example:
        >>> sgd = torch.optim.SGD([torch.zeros(1)], lr=0.1)
        >>> in_words(torchs.StepLR(sgd, step_size=5))
        'StepLR(step_size=5, gamma=0.1)'
    """
    if scheduler is None:
        return "none"
    held = {k: plain(v) for k, v in vars(scheduler).items() if k not in PROGRESS and k[0] != "_"}
    shown = ", ".join(f"{k}={v}" for k, v in held.items() if isinstance(v, int | float | list))
    return f"{type(scheduler).__name__}({shown})"


def go_on(
    checkpoint: dict[str, Any],
    fresh: Callable[[], torch.optim.Optimizer],
    make: Callable[..., Scheduler] | None,
) -> str:
    """Let the settings of a fit act on what it restores from a checkpoint, which is changed.

    Without a scheduler every setting is that of the fit. One that is the checkpoint's own goes on
    where it was. Another one acts from the step and the learning rate reached (:func:`enter`).

    Args:
        checkpoint: Lightning's; ``toyml_schedule`` in it is what :func:`asked` said then.
        fresh: Makes an optimizer with the settings of the fit.
        make: What makes its scheduler.

    Returns:
        A sentence on what has changed, or "".

    Raises:
        UserError: The scheduler has changed and the new one cannot act from here on, or it has not
            and a setting has changed that it moves.
    """
    now, optimizer = asked(fresh(), make), fresh()
    scheduler = None if make is None else build(make, optimizer)
    legacy = {**now, "scheduler": now["scheduler"] if checkpoint["lr_schedulers"] else None}
    was = checkpoint.get("toyml_schedule", legacy)
    reached = checkpoint["optimizer_states"][0]["param_groups"]
    rates = [group["lr"] for group in reached]
    step = int(checkpoint["global_step"])
    new = settings(optimizer)
    if len(reached) != len(new):
        raise UserError(
            "model.decay_bias changed on resume, and the checkpoint's optimizer knows other groups "
            "of parameters; leave it as it was, or start anew without --ckpt_path"
        )
    changed = f"lr_scheduler was {was['words']}, is {now['words']}"
    words = "" if was["scheduler"] == now["scheduler"] else f"{changed}; lr is {new[0]['lr']:.6g}"
    if scheduler is not None and was["scheduler"] == now["scheduler"]:
        moved = {"lr"} if type(scheduler) in RATE_ONLY else set(optimizer.defaults) - STILL
        for old, mine in zip(was["groups"], now["groups"], strict=True):
            for name in moved & old.keys() & mine.keys():
                if old[name] != mine[name]:
                    raise UserError(
                        f"optimizer.{name} changed from {old[name]} to {mine[name]} on resume, but "
                        f"the lr_scheduler continues from the checkpoint; keep the old {name} or "
                        "start anew"
                    )
        new = [{k: v for k, v in group.items() if k in optimizer.defaults} for group in new]
        new = [{k: v for k, v in group.items() if k not in moved} for group in new]
    elif scheduler is not None:
        enter(scheduler, step, rates, changed)
        checkpoint["lr_schedulers"] = [scheduler.state_dict()]
        new = settings(optimizer)
        words = f"{changed}; it acts from step {step} on, where lr is {new[0]['lr']:.6g}"
    for group, mine in zip(reached, new, strict=True):
        group.update(mine)
    return words


def enter(scheduler: Scheduler, step: int, rates: Sequence[float], why: str = "") -> None:
    """Let a fresh scheduler act from a step on, as though it had counted all steps before.

    One that multiplies the learning rate goes on from the rate that was reached; ``LambdaLR`` gives
    what its function says of the step; ``ReduceLROnPlateau`` begins to count.

    Args:
        scheduler: The scheduler, with its optimizer.
        step: Updates done.
        rates: The learning rate of each group of parameters at that step.
        why: Begins the message of the error.

    Raises:
        UserError: Its rate follows neither from the step nor from the rate before.
    """
    if not enterable(scheduler, step):
        raise UserError(
            f"{why}; {type(scheduler).__name__} cannot begin in the middle, at step {step}: keep "
            "the old lr_scheduler, leave it out (null), or start anew without --ckpt_path"
        )
    for group, rate in zip(scheduler.optimizer.param_groups, rates, strict=True):
        group["lr"] = rate
    scheduler._last_lr = list(rates)
    if isinstance(scheduler, torchs.ReduceLROnPlateau):
        return
    scheduler.last_epoch, scheduler._step_count = step, step + 1
    if isinstance(scheduler, torchs.LambdaLR):
        scheduler.last_epoch = step - 1
        scheduler.optimizer._opt_called = True  # type: ignore[attr-defined]  # it would warn
        scheduler.step()


def enterable(scheduler: Scheduler, step: int) -> bool:
    """Whether a scheduler can act from this step and any learning rate on.

    The cosine's recursion can while it falls: where it rises it divides by how far it has fallen.
    """
    if type(scheduler) is torchs.CosineAnnealingLR:
        return step % (2 * scheduler.T_max) < scheduler.T_max
    return type(scheduler) in ENTERED
