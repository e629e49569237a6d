r"""What a run shows, in sentences computed from it: how it went, how it ended, what to try.

How a training ended is one of five things. With :math:`L_s` the loss over all rows at step s, T the
last step and :math:`L_c` the least loss of an output that does not depend on the inputs:

- **diverged**: the loss was not finite at some step, or above :math:`10^6 \max(L_0, L_c)`; the step
  is the first such step.
- **converged**: :math:`L_T \le 10^{-6} L_c`; or the loss is flat, and either
  :math:`L_T \le 10^{-2} L_c`, or the problem is convex (one affine map under a convex loss) and
  :math:`|g| \max(|\theta_T - \theta_0|, |\theta_T|, 1) \le 10^{-3} L_T` with g the gradient of loss
  and weight decay: by convexity that bounds what is left to gain within such a distance. A loss
  within 1 % of :math:`L_c` is a plateau even then.
- **plateau**: the loss is flat, and none of these: it may be a minimum, a saddle or noise.
- **falling**: over the last tenth of the steps the loss fell by more than 1 %, and in between it
  was nowhere above its value before by 10 %.
- **unsettled**: none of these; the loss went up, or up and down.

Flat means that over the last tenth of the steps the loss stayed within 1 % of its last value.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray
from torch import nn

from toyml import measures
from toyml.claims import NotApplicable
from toyml.claims.curvature import curvatures, decays, limits, optimization
from toyml.errors import UserError
from toyml.measures.chain import read_chain
from toyml.replicas import Replicated
from toyml.run import Run
from toyml.terminal import format_value
from toyml.views.kept import kept
from toyml.views.loss import evaluated, logged, losses_at

CONVERGED, PLATEAU, FALLING, UNSETTLED, DIVERGED = OUTCOMES = (
    "converged",
    "plateau",
    "falling",
    "unsettled",
    "diverged",
)
EXPLOSION = 1e6
FLAT = 0.01
LOW = 1e-2
NOTHING = 1e-6
REST = 1e-3
WORSE = 0.05
"""A held-out loss that is higher than its least value by this share or more has risen."""

CHEAP = 1e9
"""Evaluations times parameters times rows of what is looked at for a sentence."""

FEWEST = 20
"""Of a training of fewer steps nobody can say that it stays where it is."""

MOST_STEPS = 5000
"""Snapshots of the last tenth that are all looked at."""

MOST_TARGETS = 1_000_000
"""Of more targets the best constant is not looked for; that would take seconds."""

NAMED = 6
"""So many units are named; of more their number is said."""

CONVEX = (
    nn.BCEWithLogitsLoss,
    nn.CrossEntropyLoss,
    nn.HuberLoss,
    nn.L1Loss,
    nn.MSELoss,
    nn.MultiLabelSoftMarginLoss,
    nn.MultiMarginLoss,
    nn.SmoothL1Loss,
    nn.SoftMarginLoss,
)
"""Losses that are convex in the outputs."""

Found = TypeVar("Found")
Losses = NDArray[np.float64]
Steps = NDArray[np.int64]
ANY = (
    NotApplicable,
    UserError,
    ValueError,
    TypeError,
    AttributeError,
    RuntimeError,
    ArithmeticError,
    LookupError,
)
"""What looking at a net, loss or log of one's own may end in; the sentence is then left out."""


class End(NamedTuple):
    """How a training ended.

    Attributes:
        outcome: One of ``OUTCOMES``; "" where the loss is not known.
        step: The first step that was lost for "diverged"; else the last one.
        words: The same in a sentence or two.
        least: Whether the problem is convex and next to nothing is left to gain.
    """

    outcome: str
    step: int
    words: str
    least: bool = False


class Faults(NamedTuple):
    """Hidden units that do nothing of their own.

    Attributes:
        off: How many are 0 for every row.
        saturated: How many are at a limit of their activation for every row.
        whole: Whether a layer consists of such units alone.
        words: Sentences on them, and on units that do the same.
    """

    off: int
    saturated: int
    whole: bool
    words: tuple[str, ...]


class FindingsView(NamedTuple):
    """What a run shows.

    Attributes:
        outcome: How it ended, one of ``OUTCOMES``; "" where no loss is known.
        step: The step of a divergence; else the last one.
        start: The loss at the first snapshot; NaN where it is not known.
        end: The loss at the last one.
        least: The least loss of all snapshots looked at.
        evaluated: Whether these are over all training rows, or as logged.
        constant: The least loss of an output that does not depend on the inputs; NaN where that is
            not known.
        sentences: Everything found, one thing each.
        advice: What to try next; "" where nothing is known.
    """

    outcome: str
    step: int
    start: float
    end: float
    least: float
    evaluated: bool
    constant: float
    sentences: tuple[str, ...]
    advice: str


NO_FAULTS = Faults(0, 0, False, ())


@kept
def findings_view(run: Run) -> FindingsView:
    """Look at losses, log, hidden units and curvature of a run.

    Args:
        run: The run; one that nothing can be evaluated of is read from its log.
    """
    if (count := replicas(run)) or not len(run.trajectory):
        return logged_only(run, count)
    try:
        steps, losses, quantity = evaluated(run) or logged(run)
    except NotApplicable:
        return logged_only(run, 0)
    whole = not quantity.startswith("logged")
    level = attempt(lambda: constant_level(run)) if whole else None
    level = math.nan if level is None else level
    end = ending(run, steps, losses, level, whole)
    held = held_out(run)
    over = overfitting(held, steps, losses)
    diverged = end.outcome == DIVERGED
    faults = NO_FAULTS if diverged else attempt(lambda: unit_faults(run)) or NO_FAULTS
    curved = None if not whole else attempt(lambda: sharpness(run))
    sentences = [
        *loss_words(run, steps, losses, quantity),
        *(attempt(lambda: accuracy_words(run)) or [] if whole and not diverged else []),
        *held_words(run, held),
        end.words,
        *([over[1]] if over and not diverged else []),
        *faults.words,
        *([curved.words] if curved and curved.words and not diverged else []),
        *(attempt(lambda: behaviour_words(run)) or []),
    ]
    finite = losses[np.isfinite(losses)]
    return FindingsView(
        end.outcome,
        end.step,
        float(losses[0]),
        float(losses[-1]),
        float(finite.min()) if len(finite) else math.nan,
        whole,
        level,
        tuple(s for s in sentences if s),
        advice(run, end, level, over, faults, curved, losses),
    )


def attempt(look: Callable[[], Found]) -> Found | None:
    """What was found, or ``None`` where a net, a loss or a log of one's own does not allow it."""
    # What diverged may hold numbers whose squares are none any more.
    with suppress(*ANY), np.errstate(all="ignore"):
        return look()
    return None


# -- the loss -------------------------------------------------------------------------------------


def loss_words(run: Run, steps: Steps, losses: Losses, quantity: str) -> list[str]:
    """Start and end of the loss."""
    if quantity.startswith("logged"):
        name = f"The {quantity}"
    else:
        n = len(run.data[0])
        name = "The loss of the one row" if n == 1 else f"The loss of all {n:,} rows"
        name = "The loss of both rows" if n == 2 else name
    first, last = (format_value(float(losses[i])) for i in (0, -1))
    if len(steps) == 1:
        return [f"{name} was {first} at step {steps[0]:,}."]
    known = np.flatnonzero(np.isfinite(losses))
    if not len(known):
        return [f"{name} was not a finite number at any step."]
    if known[-1] < len(losses) - 1:
        last_known = format_value(float(losses[known[-1]]))
        return [
            f"{name} was {first} at step {steps[0]:,} and {last_known} at step "
            f"{steps[known[-1]]:,}, the last one at which it was a number."
        ]
    return [
        f"{name} went from {first} at step {steps[0]:,} to {last} at step {steps[-1]:,}."
        if losses[0] != losses[-1]
        else f"{name} was {first} at step {steps[0]:,} and at step {steps[-1]:,}."
    ]


def constant_level(run: Run) -> float:
    """The least loss of a constant output; NaN where no constant has one, or for many rows."""
    x, y = run.data
    width = measures.outputs(run.net, run.trajectory.select([0]), x[:2]).shape[-1]
    if len(x) * width > MOST_TARGETS:
        return math.nan
    return measures.best_constant(run.loss, y, width)


def level_name(level: float) -> str:
    """The level in digits, and as a logarithm where it is one.

    Example:
        >>> level_name(math.log(2)), level_name(0.25)
        ('ln 2 = 0.693147', '0.25')
    """
    whole = round(math.exp(level)) if 0 < level < 10 else 0
    if whole >= 2 and abs(level - math.log(whole)) < 1e-9:
        return f"ln {whole} = {format_value(level)}"
    return format_value(level)


def ending(run: Run, steps: Steps, losses: Losses, level: float, whole: bool) -> End:
    """How the training ended; the definitions are at the top of this module."""
    last = int(steps[-1])
    lost = lost_at(run, steps, losses, level, whole)
    if lost is not None:
        return End(DIVERGED, lost[0], lost[1])
    if len(steps) < 2 or last == 0:
        return End("", last, "")
    end = float(losses[-1])
    begin, tail = last_tenth(run, steps, losses, whole)
    flat = bool(np.abs(tail - end).max() <= FLAT * abs(end))
    over = f"from step {begin:,} to {last:,}"
    known = math.isfinite(level) and level > 0
    if known and end <= NOTHING * level:
        words = "The training converged: less than a millionth of the loss of the best constant"
        return End(CONVERGED, last, f"{words} prediction, {level_name(level)}, is left.")
    if flat and last < FEWEST:
        words = f"In so few steps, {last:,}, the loss changed too little to tell how it ends."
        return End("", last, words)
    if flat:
        moved = f"over the last tenth of the steps the loss changed by less than {percent(FLAT)}"
        if known and end <= LOW * level:
            return End(
                CONVERGED,
                last,
                f"The training converged: {moved}, to {percent(end / level)} of that of the best "
                f"constant prediction, {level_name(level)}.",
            )
        rest = whole and bool(attempt(lambda: at_rest(run, end)))
        least = rest and bool(attempt(lambda: convex(run)))
        stays = ", and the gradient has all but vanished" if rest else ""
        only = "One affine map under this loss has no other minimum."
        if known and abs(end - level) <= FLAT * level:
            words = (
                "The training is on the plateau of the best constant prediction, "
                f"{level_name(level)}: {moved}{stays}."
            )
            return End(PLATEAU, last, f"{words} {only}" if least else words, least)
        if least:
            return End(CONVERGED, last, f"The training converged: {moved}{stays}. {only}", least)
        words = f"The training is on a plateau at {format_value(end)}: {moved}{stays}."
        return End(PLATEAU, last, words + beside_constant(end, level))
    before = float(tail[0])
    high = float(tail.max())
    if end < before - FLAT * abs(before) and high <= before + 0.1 * abs(before):
        words = f"The loss was still falling: by {percent(1 - end / before)} {over}."
        return End(FALLING, last, words if before > 0 else f"The loss was still falling {over}.")
    if before > 0 and end == high:
        words = f"The loss was rising at the end: by {percent(end / before - 1)} {over}."
        return End(UNSETTLED, last, words + beside_constant(end, level))
    low = float(tail.min())
    words = f"The loss had not settled: {over} it lay between {format_value(low)} and"
    words = f"{words} {format_value(high)}, and ended at {format_value(end)}."
    return End(UNSETTLED, last, words + beside_constant(end, level))


def beside_constant(end: float, level: float) -> str:
    """A sentence on a loss that is worse than that of a constant; "" for others."""
    if not level > 0 or end <= (1 + FLAT) * level:
        return ""
    return f" A constant prediction has less, {level_name(level)}."


def last_tenth(run: Run, steps: Steps, losses: Losses, whole: bool) -> tuple[int, Losses]:
    """The step at which the last tenth begins, and the losses from there on.

    Of a small net all snapshots are looked at, else those that the loss was looked at anyway.
    """
    at = max(int(np.searchsorted(steps, 0.9 * steps[-1], side="right")) - 1, 0)
    if not whole:
        return int(steps[at]), losses[at:]
    every = run.trajectory.steps
    first = max(int(np.searchsorted(every, 0.9 * every[-1], side="right")) - 1, 0)
    chosen = np.arange(first, len(every))
    p = run.trajectory.parameters.flat.shape[1]
    if (
        len(chosen) > run.trajectory.affordable(MOST_STEPS)
        or len(chosen) * p * len(run.data[0]) > CHEAP
    ):
        return int(steps[at]), losses[at:]
    return int(every[first]), losses_at(run, chosen)


def lost_at(
    run: Run, steps: Steps, losses: Losses, level: float, whole: bool
) -> tuple[int, str] | None:
    """The first step of a divergence and words on it; ``None`` for a training that did not."""
    start = float(losses[0])
    bound = EXPLOSION * max(abs(start), level if math.isfinite(level) else 0.0)
    bad = ~(losses <= bound) if bound > 0 else ~np.isfinite(losses)  # a NaN is not below it
    stopped = run.summary.get("status") == "diverged"
    if not bad.any():
        if not stopped:
            return None
        last = int(run.trajectory.steps[-1])
        return last, f"The training diverged: after step {last:,} the loss was not a finite number."
    first = int(bad.argmax())
    step = int(steps[first])
    if whole and first:
        between = np.arange(
            run.trajectory.index(int(steps[first - 1])) + 1, run.trajectory.index(step) + 1
        )
        found = losses_at(run, between)
        step = int(run.trajectory.steps[between[int((~(found <= bound)).argmax())]])
        value = float(found[int((~(found <= bound)).argmax())])
    else:
        value = float(losses[first])
    if math.isfinite(value):
        words = (
            f"The training diverged: at step {step:,} the loss was above a million times its start"
        )
        if stopped:
            last = int(run.trajectory.steps[-1])
            words += f", and at step {last:,} it was no finite number any more"
        return step, f"{words}."
    return (
        step,
        f"The training diverged: at step {step:,} the loss was not a finite number any more.",
    )


def at_rest(run: Run, end: float) -> bool:
    """Whether the gradient, over a way as long as that from the start, makes up next to nothing."""
    trajectory = run.trajectory
    p = trajectory.parameters.flat.shape[1]
    if p * len(run.data[0]) > CHEAP:
        return False
    x, y = run.rows()
    states = {
        name: v.double() if v.is_floating_point() else v
        for name, v in trajectory.select([-1]).items()
    }
    found = measures.gradients(run.net, run.loss, states, x, y)
    first, last = (np.asarray(trajectory.parameters.flat[i], dtype=np.float64) for i in (0, -1))
    gradient = np.concatenate([found[name][0].numpy().reshape(-1) for name in trajectory.shapes])
    gradient = gradient + decays(run).numpy() * last
    way = max(float(np.linalg.norm(last - first)), float(np.linalg.norm(last)), 1.0)
    return float(np.linalg.norm(gradient)) * way <= REST * abs(end)


def convex(run: Run) -> bool:
    """Whether the loss is known to be convex in the parameters: one affine map, a convex loss."""
    layers = read_chain(run.net)
    if layers is None or len(layers) != 1:
        return False
    kinds = [type(a) for a in layers[0].activations if type(a) is not nn.Identity]
    if isinstance(run.loss, nn.BCELoss):
        return kinds == [nn.Sigmoid]
    return not kinds and isinstance(run.loss, CONVEX)


def percent(share: float) -> str:
    """A share in two digits.

    Example:
        >>> percent(0.0834), percent(0.5), percent(0.00012)
        ('8.3 %', '50 %', '0.012 %')
    """
    return f"{float(f'{100 * share:.2g}'):g} %"


# -- accuracy and held-out rows -------------------------------------------------------------------


def accuracy_words(run: Run) -> list[str]:
    """The share of rows, or of labels, that are right at the start and at the end."""
    meaning = run.meaning
    if meaning.kind == "value":
        return []
    x, y = run.data
    right = [
        float(meaning.right(measures.outputs(run.net, run.trajectory.select([i]), x), y)[0])
        for i in (0, -1)
    ]
    what = "labels" if meaning.kind == "labels" else "rows"
    count = y.numel() if meaning.kind == "labels" else len(x)
    start, end = (f"{round(share * count):,}" for share in right)
    word = what if count > 1 else what[:-1]
    if len(run.trajectory) == 1:
        return [f"Of the {count:,} {word}, {start} are classified correctly."]
    return [
        f"At the end {end} of {count:,} {word} are classified correctly (accuracy "
        f"{format_value(right[1])}), at the start {start}."
    ]


class HeldOut(NamedTuple):
    """The loss on held-out rows, as logged: once for each validation."""

    steps: Steps
    loss: Losses


def held_out(run: Run) -> HeldOut | None:
    """The held-out loss over the steps; ``None`` where none was logged."""
    column = run.metrics.get("val_loss")
    if not column or not column["value"]:
        return None
    return HeldOut(np.asarray(column["step"], np.int64), np.asarray(column["value"], np.float64))


def held_words(run: Run, held: HeldOut | None) -> list[str]:
    """End and least value of the held-out loss, and the held-out accuracy where it was logged."""
    if held is None:
        return []
    last = f"{format_value(float(held.loss[-1]))} at step {held.steps[-1]:,}"
    words = f"The loss on held-out rows was {last}"
    if len(held.steps) > 1 and np.isfinite(held.loss).any():
        best = int(np.nanargmin(held.loss))
        words += (
            ", its least value"
            if best == len(held.loss) - 1
            else f"; its least value was {format_value(float(held.loss[best]))} at step "
            f"{held.steps[best]:,}"
        )
    for name, column in run.metrics.items():
        if name.startswith("val_") and "acc" in name and column["value"]:
            words += f"; {name} ended at {format_value(column['value'][-1])}"
    return [f"{words}."]


def overfitting(held: HeldOut | None, steps: Steps, losses: Losses) -> tuple[int, str] | None:
    """The step with the least held-out loss and a sentence, where that loss has risen since.

    Only while the loss on the training rows went on falling is that overfitting.
    """
    if held is None or len(held.steps) < 3 or not np.isfinite(held.loss).all():
        return None
    best = int(held.loss.argmin())
    least, end = float(held.loss[best]), float(held.loss[-1])
    at = int(np.abs(steps - held.steps[best]).argmin())
    if least <= 0 or end < (1 + WORSE) * least or not losses[-1] < losses[at]:
        return None
    step = int(held.steps[best])
    return step, (
        f"The net overfits: since step {step:,} the loss on held-out rows has risen by "
        f"{percent(end / least - 1)}, while that on the training rows went on falling."
    )


# -- units and curvature --------------------------------------------------------------------------


def unit_faults(run: Run) -> Faults:
    """Hidden units that are off, saturated or alike for all rows at the end."""
    x = run.data[0]
    if run.trajectory.parameters.flat.shape[1] * len(x) > CHEAP:
        return NO_FAULTS
    layers = measures.hidden_units(run.net, run.trajectory.select([-1]), x)
    rows = f"all {len(x):,} rows" if len(x) > 1 else "the one row"
    words = []
    for i, layer in enumerate(layers):
        where = f" of layer {i + 1}" if len(layers) > 1 else ""
        of = f"hidden unit{'s' * (layer.total > 1)}{where}"
        if layer.off:
            words.append(
                f"{counted(layer.off, layer.total)} {of} {be(layer.off)} off for {rows}"
                f"{named(layer.off, layer.total)}: the activation is 0 on each."
            )
        if layer.saturated:
            words.append(
                f"{counted(layer.saturated, layer.total)} {of} {be(layer.saturated)} saturated for "
                f"{rows}{named(layer.saturated, layer.total)}: within {measures.NEAR:g} of a limit "
                f"of {layer.limits} on each, where hardly any gradient passes."
            )
        if layer.alike:
            groups = [listed(group) for group in layer.alike[:NAMED]]
            more = len(layer.alike) - len(groups)
            rest = f", and {more:,} more groups" if more else ""
            words.append(
                f"Hidden units{where} that do the same for {rows}, up to sign and scale: "
                f"{'; '.join(groups)}{rest}."
            )
    idle = [len(layer.off) + len(layer.saturated) == layer.total for layer in layers]
    return Faults(
        sum(len(layer.off) for layer in layers),
        sum(len(layer.saturated) for layer in layers),
        any(idle),
        tuple(words),
    )


def counted(units: tuple[int, ...], total: int) -> str:
    """How many out of how many, at the start of a sentence.

    Example:
        >>> counted((2,), 5), counted((0,), 1), counted((0, 1), 2)
        ('1 of 5', 'The one', 'All 2')
    """
    if total == 1:
        return "The one"
    return f"All {total:,}" if len(units) == total else f"{len(units):,} of {total:,}"


def be(units: tuple[int, ...]) -> str:
    """Is or are."""
    return "is" if len(units) == 1 else "are"


def named(units: tuple[int, ...], total: int) -> str:
    """The numbers of a few units, counted from 1, in brackets; nothing for many, or for all."""
    if len(units) == total or len(units) > NAMED:
        return ""
    return f" (unit{'s' * (len(units) > 1)} {listed(units)})"


def listed(units: tuple[int, ...]) -> str:
    """Numbers of units, counted from 1.

    Example:
        >>> listed((0, 2, 4)), listed((0,))
        ('1, 3 and 5', '1')
    """
    numbers = [f"{unit + 1:,}" for unit in units]
    if len(numbers) > NAMED:
        return f"{', '.join(numbers[:NAMED])} and {len(numbers) - NAMED:,} more"
    return " and ".join([", ".join(numbers[:-1]), numbers[-1]] if numbers[1:] else numbers)


class Sharp(NamedTuple):
    """The curvature beside the optimizer's limit.

    Attributes:
        start: Sharpness over limit at the first snapshot; NaN where it is not known.
        end: The same at the last one.
        rate: The learning rate there.
        words: A sentence on the end; "" where there is no curvature.
    """

    start: float
    end: float
    rate: float
    words: str


def sharpness(run: Run) -> Sharp | None:
    """The sharpness at both ends beside the limit of the optimizer, where that takes no time."""
    p = run.trajectory.parameters.flat.shape[1]
    if min(p, 200) * p * len(run.data[0]) > CHEAP or run.behaviour.on:
        return None
    last = len(run.trajectory) - 1
    ends = np.array([0, last]) if last else np.array([0])
    steps = run.trajectory.steps[ends]
    found = limits(run, steps)
    values = curvatures(run, ends)[:, -1]
    share = values / found.values
    rate = float(optimization(run.task)[1].param_groups[0]["lr"])  # type: ignore[arg-type]
    words = ""
    if math.isfinite(values[-1]) and values[-1] > 0 and math.isfinite(found.values[-1]):
        side = "below" if share[-1] < 1 else "above"
        words = (
            f"At the end the sharpness is {values[-1]:.4g}, {side} the limit {found.formula} = "
            f"{found.values[-1]:.4g}."
        )
    return Sharp(float(share[0]), float(share[-1]), rate, words)


def behaviour_words(run: Run) -> list[str]:
    """A sentence on a net whose output depends on chance or on the mode."""
    why = run.behaviour.why
    return [f"{why[0].upper()}{why[1:]}: the losses here are in evaluation mode."] if why else []


# -- runs that only their log is known of ---------------------------------------------------------


def replicas(run: Run) -> int:
    """How many replicas a run trains at once; 0 for one net, or where that is not known."""
    with suppress(*ANY):
        net = getattr(run.task, "net", None)
        return net.replicas if isinstance(net, Replicated) else 0
    return 0


def logged_only(run: Run, count: int) -> FindingsView:
    """What the log says."""
    column = run.metrics.get("loss") or run.metrics.get("train_loss") or {}
    losses = np.asarray(column.get("value", []), np.float64)
    steps = np.asarray(column.get("step", []), np.int64)
    recorded = run.trajectory.steps
    last = int(recorded[-1]) if len(recorded) else 0
    sentences = []
    if len(steps):
        quantity = f"logged median loss of {count:,} replicas" if count else "logged loss"
        sentences += loss_words(run, steps, losses, quantity)
    lost = run.metrics.get("diverged")
    if count and lost and lost["value"]:
        sentences.append(f"Of these replicas {int(lost['value'][-1]):,} diverged.")
    sentences += held_words(run, held_out(run))
    outcome = ""
    if run.summary.get("status") == "diverged":
        outcome = DIVERGED
        sentences.append(
            f"The training diverged: the loss stopped being a finite number after step {last:,}."
        )
    finite = losses[np.isfinite(losses)]
    return FindingsView(
        outcome,
        last,
        float(losses[0]) if len(losses) else math.nan,
        float(losses[-1]) if len(losses) else math.nan,
        float(finite.min()) if len(finite) else math.nan,
        False,
        math.nan,
        tuple(sentences),
        "",
    )


# -- what to try ----------------------------------------------------------------------------------


def advice(
    run: Run,
    end: End,
    level: float,
    over: tuple[int, str] | None,
    faults: Faults,
    curved: Sharp | None,
    losses: Losses,
) -> str:
    """One sentence on what to try next, for what was found and what is set."""
    group = attempt(lambda: optimization(run.task)[1].param_groups[0]) or {}  # type: ignore[arg-type]
    rate = group.get("lr", run.setting("model.optimizer.lr"))
    rate = float(rate) if isinstance(rate, int | float) else None
    if group.get("maximize"):
        return "The optimizer maximizes; model.optimizer.maximize false lets the loss fall."
    if end.outcome == DIVERGED:
        return smaller_rate(rate, curved)
    if not end.outcome:
        return longer(run, end.step) if end.words else ""
    if over:
        return against_overfitting(over[0], group)
    end_loss = float(losses[-1])
    constant = math.isfinite(level) and abs(end_loss - level) <= FLAT * abs(level)
    if end.outcome == PLATEAU and faults.whole:
        if faults.off:
            return (
                "No signal passes a layer whose units are all off: try another seed "
                f"({seed_option(run)}), or LeakyReLU, whose units cannot go off."
            )
        return "No gradient passes a layer whose units are all saturated: try smaller weights."
    larger = larger_rate(rate, curved)
    if end.outcome == PLATEAU and end.least:
        return "One affine map does no better than a constant here: try a hidden layer."
    if end.outcome == PLATEAU and constant:
        return f"Try {larger}{' or ' * bool(larger)}another seed ({seed_option(run)})."
    if end.outcome in (PLATEAU, FALLING, UNSETTLED) and faults.off:
        return (
            "Try LeakyReLU, whose units cannot go off, or another seed "
            f"({seed_option(run)}), and compare the two runs."
        )
    if end.outcome == PLATEAU and attempt(lambda: convex(run)):
        return f"Try {larger or 'a smaller learning rate towards the end (model.lr_scheduler)'}."
    if end.outcome == UNSETTLED:
        steep = curved is not None and max(curved.start, curved.end) >= 1
        if steep or run.setting("model.lr_scheduler"):
            return smaller_rate(rate, curved)
        return "Try a learning rate that falls towards the end (model.lr_scheduler)."
    if end.outcome in (PLATEAU, FALLING) and math.isfinite(level) and end_loss > level:
        return (
            "A constant does better than this net, which could do what a constant does: try more "
            "steps or another loss before another net."
        )
    if end.outcome == PLATEAU:
        return f"Try another seed ({seed_option(run)}) or more hidden units."
    if end.outcome == FALLING:
        return longer(run, end.step)
    if not end.least:
        return (
            f"Nothing is left to gain here: another seed ({seed_option(run)}) shows whether the "
            "way there depends on the start."
        )
    lower = "only another net" + " or less weight decay" * bool(group.get("weight_decay"))
    return (
        "More steps change nothing: another optimizer takes another way to the same minimum, and "
        f"{lower} can end lower."
    )


def smaller_rate(rate: float | None, curved: Sharp | None) -> str:
    """A smaller learning rate, with a number where there is one."""
    if rate is None:
        return "Try a smaller learning rate."
    ratios = [] if curved is None else [r for r in (curved.start, curved.end) if r > 1]
    if ratios and curved is not None:
        bound = curved.rate / max(ratios)
        return (
            f"Try a learning rate below {rounded_down(bound)} instead of {rate:g}: that is the "
            "limit which the curvature sets."
        )
    return f"Try a smaller learning rate, such as {rate / 10:.3g} instead of {rate:g}."


def rounded_down(value: float) -> str:
    """Three digits of a limit, none of them rounded up.

    Example:
        >>> rounded_down(0.0876552), rounded_down(12.0)
        ('0.0876', '12')
    """
    if not value > 0:
        return f"{value:.3g}"
    unit = 10.0 ** (math.floor(math.log10(value)) - 2)
    return f"{math.floor(value / unit * (1 + 1e-12)) * unit:.3g}"


def larger_rate(rate: float | None, curved: Sharp | None) -> str:
    """A larger learning rate where the curvature leaves room for one; else nothing."""
    if rate is None or curved is None or not max(curved.start, curved.end) < 0.05:
        return ""
    return f"ten times the learning rate ({10 * rate:g}; the curvature allows it)"


def seed_option(run: Run) -> str:
    """The option that draws other initial weights."""
    seed = run.setting("seed_everything", 0)
    return f"--seed_everything {seed + 1 if isinstance(seed, int) else 1}"


def longer(run: Run, last: int) -> str:
    """More steps, by the setting that ended the fit."""
    epochs = run.setting("trainer.max_epochs")
    by_epochs = isinstance(epochs, int) and epochs > 0
    setting = f"max_epochs {2 * epochs}" if by_epochs else f"max_steps {2 * last}"
    on = " --ckpt_path last" if (run.folder / "checkpoints" / "last.ckpt").exists() else ""
    goes = " goes on from here" if on else " trains longer"
    return f"Try more steps: `--trainer.{setting}{on}`{goes}."


def against_overfitting(step: int, group: Any) -> str:
    """Stopping at the best step, or what keeps weights small."""
    decay = float(group.get("weight_decay", 0.0) or 0.0)
    less = f"use more weight decay than {decay:g}" if decay else "add weight decay"
    if "weight_decay" not in group:
        less = "take a smaller net"
    if not step:
        return f"{less[0].upper()}{less[1:]}."
    return f"Stop at step {step:,} (--trainer.max_steps {step}), or {less}."
