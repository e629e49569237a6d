"""Mean losses of many replicas, replicas last, with their slopes."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from toyml.engine.chain import has_hooks

aten = torch.ops.aten

Measure = Callable[[Tensor, Tensor, Tensor, float, bool], Tensor]
"""(output [n, k, r], targets [n, k, 1], slope, share, exact) -> terms [n, k, r].

Writes share * dl/doutput into ``slope``. The terms' sum times share is the loss; where ``exact``
is false it only has to be finite exactly when the loss is, which can be had for less.
"""


def known_measure(loss: nn.Module) -> Measure | None:
    """The measure of an unweighted mean loss; ``None`` for a loss not known here."""
    if getattr(loss, "reduction", "") != "mean" or has_hooks(loss):
        return None
    if getattr(loss, "weight", None) is not None or getattr(loss, "pos_weight", None) is not None:
        return None
    kind = type(loss)
    if kind is nn.MSELoss:
        return _squares
    if kind is nn.BCEWithLogitsLoss:
        return _logits
    if kind is nn.BCELoss:
        return _probabilities
    if kind is nn.L1Loss:
        return _absolute
    if kind is nn.HuberLoss:
        return _huber(float(loss.delta))  # type: ignore[arg-type]
    return None


def _squares(out: Tensor, y: Tensor, slope: Tensor, share: float, exact: bool) -> Tensor:
    torch.sub(out, y, out=slope)
    terms = slope.square()
    slope.mul_(2 * share)
    return terms


def _absolute(out: Tensor, y: Tensor, slope: Tensor, share: float, exact: bool) -> Tensor:
    torch.sub(out, y, out=slope)
    terms = slope.abs()
    slope.sgn_().mul_(share)
    return terms


def _logits(out: Tensor, y: Tensor, slope: Tensor, share: float, exact: bool) -> Tensor:
    torch.sigmoid(out, out=slope).sub_(y).mul_(share)
    terms = out.clamp_min(0).addcmul_(out, y, value=-1)
    # The rest, log(1 + exp(-|z|)), lies between 0 and ln 2 and is most of the work.
    return terms.add_(out.abs().neg_().exp_().log1p_()) if exact else terms


def _probabilities(out: Tensor, y: Tensor, slope: Tensor, share: float, exact: bool) -> Tensor:
    # torch's own two guards: logarithms from -100 up, p (1 - p) from 1e-12 up.
    spread = torch.addcmul(out, out, out, value=-1).clamp_min_(1e-12)
    torch.sub(out, y, out=slope).div_(spread).mul_(share)
    if not exact:
        return out
    terms = out.neg().log1p_().clamp_min_(-100).mul_(y - 1)
    return terms.addcmul_(out.log().clamp_min_(-100), y, value=-1)


def _huber(delta: float) -> Measure:
    def measure(out: Tensor, y: Tensor, slope: Tensor, share: float, exact: bool) -> Tensor:
        torch.sub(out, y, out=slope)
        terms: Tensor = aten.huber_loss(slope, torch.zeros_like(slope), 0, delta)
        slope.clamp_(-delta, delta).mul_(share)
        return terms

    return measure
