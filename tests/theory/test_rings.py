from __future__ import annotations

from functools import cache
from math import acos, cos, pi, sin

import numpy as np
import pytest
import torch
from torch import Tensor

from toyml import theory

RADII = (1.0, 3.0, 4.0)


@cache
def rings(n: int = 1000, seed: int = 100) -> tuple[Tensor, Tensor]:
    generator = np.random.RandomState(seed)
    points = []
    for _ in range(n):
        for inner in (0, 3):
            r = inner + generator.uniform()
            angle = generator.uniform(0, 2 * pi)
            points.append((r * cos(angle), r * sin(angle)))
    return torch.tensor(points, dtype=torch.float64), torch.tensor([0, 1] * n)


def test_tail_is_the_mean_of_arcs() -> None:
    for low, high, offset in ((0.0, 1.0, 0.4), (3.0, 4.0, 1.0), (3.0, 4.0, 3.5)):
        r = low + (high - low) * (torch.arange(200_000, dtype=torch.float64) + 0.5) / 200_000
        arcs = torch.acos((offset / r).clamp(max=1)) / pi
        assert theory.tail(low, high, offset) == pytest.approx(float(arcs.mean()), abs=1e-7)
    assert theory.tail(3.0, 4.0, 5.0) == 0


def test_guides_of_the_rings() -> None:
    touching = theory.tangent_line(*RADII)
    assert (touching.loss, touching.accuracy) == pytest.approx((0.52576, 0.7035), abs=5e-5)
    line = theory.best_line(*RADII)
    assert line.loss == pytest.approx(0.52576, abs=5e-6)
    assert line.loss < touching.loss
    strip = theory.best_strip(*RADII)
    # The strip that touches the disk has 0.25743, the best one 0.25735.
    assert strip.loss == pytest.approx(0.257350, abs=1e-6)
    assert strip.loss == pytest.approx(0.25737, abs=3e-5)
    assert strip.accuracy == pytest.approx(0.9071, abs=2e-4)
    assert theory.lines_to_enclose(1.0, 3.0) == 3


@pytest.mark.parametrize("radii", [(1.0, 3.0, 4.0), (1.0, 1.5, 4.0), (0.2, 3.0, 3.1)])
def test_no_offset_beats_the_best_one(radii: tuple[float, float, float]) -> None:
    from toyml.theory.rings import cut

    for lines, best in ((1, theory.best_line(*radii)), (2, theory.best_strip(*radii))):
        scan = [cut(radii, radii[1] * k / 400, lines).loss for k in range(1, 401)]
        assert min(scan) >= best.loss - 1e-12


def test_polygon_fits_between_disk_and_ring() -> None:
    for ratio in (0.1, 0.49, 0.5, 0.6, 0.9, 0.99):
        k = theory.lines_to_enclose(ratio, 1.0)
        assert k == 3 or ratio / cos(pi / (k - 1)) > 1
        assert ratio / cos(pi / k) <= 1 + 1e-12
    assert theory.lines_to_enclose(0.5, 1.0) == 3
    assert pi / acos(0.51) > 3


def test_population_is_what_large_samples_tend_to() -> None:
    x, y = rings()
    line = theory.line_on_data(x, y, directions=60)
    # Fitted to 2000 rows, a line does a little better than the population's.
    assert 0.51 < line.loss < theory.best_line(*RADII).loss
    assert line.accuracy == pytest.approx(0.71, abs=0.01)
    strip = theory.strip_on_data(x[:800], y[:800], directions=12)
    assert 0.2 < strip.loss < theory.best_strip(*RADII).loss
    heights = x[:800] @ strip.normal
    inside = (heights > strip.offsets[0]) & (heights < strip.offsets[1])
    accuracy = (inside == (y[:800] == 0)).double().mean()
    assert float(accuracy) == pytest.approx(strip.accuracy, abs=1e-12)


def small(seed: int, tied: bool) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(14, 2, generator=generator, dtype=torch.float64)
    y = (torch.rand(14, generator=generator) > 0.5).long()
    return (x.round() if tied else x), y


def loss_of(groups: Tensor, y: Tensor) -> float:
    """Mean cross-entropy of the best constant in each group."""
    total = 0.0
    for group in set(groups.tolist()):
        share = y[groups == group].double().mean()
        p = share.clamp(1e-300, 1 - 1e-16)
        total -= float((share * p.log() + (1 - share) * (1 - p).log()) * (groups == group).sum())
    return total / len(y)


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_data_floors_equal_brute_force(seed: int, tied: bool) -> None:
    x, y = small(seed, tied)
    normals = torch.tensor([[cos(a), sin(a)] for a in (0.0, pi / 3, 2 * pi / 3)]).double()
    line, strip = [], []
    for heights in (x @ normals.T).T:
        cuts = torch.cat([heights - 1e-9, heights + 1e-9])
        line += [loss_of((heights > c).long(), y) for c in cuts]
        strip += [loss_of(((heights > c) & (heights < d)).long(), y) for c in cuts for d in cuts]
    assert theory.line_on_data(x, y, 3).loss == pytest.approx(min(line), abs=1e-12)
    assert theory.strip_on_data(x, y, 3).loss == pytest.approx(min(strip), abs=1e-12)


@pytest.mark.parametrize("tied", [False, True])
def test_monotone_floor_equals_pooling_of_adjacent_violators(tied: bool) -> None:
    x, y = small(7, tied)
    losses = []
    for normal in (torch.tensor([1.0, 0.0]), torch.tensor([-1.0, 0.0])):
        heights = x @ normal.double()
        blocks: list[list[float]] = []
        for height in sorted(set(heights.tolist())):
            here = y[heights == height]
            blocks.append([float(here.sum()), float(len(here))])
            while (
                len(blocks) > 1 and blocks[-2][0] / blocks[-2][1] >= blocks[-1][0] / blocks[-1][1]
            ):
                last = blocks.pop()
                blocks[-1] = [blocks[-1][0] + last[0], blocks[-1][1] + last[1]]
        p = torch.tensor([ones / size for ones, size in blocks])
        size = torch.tensor([size for _, size in blocks])
        entropy = -(torch.xlogy(p, p) + torch.xlogy(1 - p, 1 - p))
        losses.append(float((size * entropy).sum()) / len(y))
    assert theory.monotone_floor(x, y, 1).loss == pytest.approx(min(losses), abs=1e-6)


def test_one_hidden_unit_stays_above_the_monotone_floor() -> None:
    x, y = rings()
    floor = theory.monotone_floor(x, y, directions=90)
    assert floor.loss < theory.line_on_data(x, y, 90).loss
    generator = torch.Generator().manual_seed(0)
    # 200 random nets of one steep sigmoid unit, each with the best output weights of a few.
    w = 3 * torch.randn(200, 2, generator=generator, dtype=torch.float64)
    hidden = torch.sigmoid(x @ w.T - 3)
    for gain in (-6.0, -4.0, 4.0, 6.0):
        for bias in (-1.0, 0.0, 1.0, 3.0):
            logits = gain * hidden + bias
            target = y[:, None].double().expand_as(logits)
            losses = torch.nn.functional.binary_cross_entropy_with_logits(
                logits, target, reduction="none"
            ).mean(0)
            assert float(losses.min()) > floor.loss


def test_refusals() -> None:
    x, y = small(0, False)
    for function in (theory.tangent_line, theory.best_line, theory.best_strip):
        with pytest.raises(ValueError, match="0 < disk < inner ring < outer ring"):
            function(3.0, 1.0, 4.0)
    for search in (theory.line_on_data, theory.strip_on_data, theory.monotone_floor):
        with pytest.raises(ValueError, match="directions is 0"):
            search(x, y, 0)
        with pytest.raises(ValueError, match="points of the plane"):
            search(x[:, :1], y, 3)
        with pytest.raises(ValueError, match="labels 0 and 1"):
            search(x, y + 1, 3)
    with pytest.raises(ValueError, match="0 <= min < max"):
        theory.tail(1.0, 1.0, 1.0)
