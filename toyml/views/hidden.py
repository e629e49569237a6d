"""The hidden units over the steps: where they switch, and what the output layer sees."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from toyml import measures
from toyml.claims import NotApplicable
from toyml.measures.chain import read_chain
from toyml.run import Run
from toyml.views.boundary import square
from toyml.views.fit import line
from toyml.views.frames import frames
from toyml.views.kept import kept
from toyml.views.rows import class_names, some_of_each, targets

CORNERS = 6  # of the widest polygon that a plane cuts out of a cube


class HiddenView(NamedTuple):
    """The units of a net with hidden layers.

    Attributes:
        steps: Numbers of updates done [t].
        x: Rows of the data that are shown [n, d].
        y: Their targets, or the numbers of their classes [n].
        total: Number of rows in the data.
        classes: Whether they belong to classes.
        names: Of the classes; empty without.
        activations: Of the last hidden layer [t, n, h].
        lines: For two inputs the line of each unit of the first layer, cut off at the box of the
            picture, [t, h1, 2 ends, 2 coordinates], NaN where it misses the box; else ``None``.
        normals: For two inputs the unit vector towards the side where each unit is on [t, h1, 2].
        box: For two inputs xmin, xmax, ymin, ymax of that picture.
        grid: For one input its values [g]; else ``None``.
        responses: For one input the activations of the last hidden layer there [t, g, h].
        plane: For three units and one output, the polygon in which the plane where the output
            changes its mind cuts the cube of the activations, [t, 6, 3]; NaN where it misses it.
    """

    steps: NDArray[np.int64]
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    total: int
    classes: bool
    names: tuple[str, ...]
    activations: NDArray[np.float64]
    lines: NDArray[np.float64] | None
    normals: NDArray[np.float64] | None
    box: tuple[float, float, float, float] | None
    grid: NDArray[np.float64] | None
    responses: NDArray[np.float64] | None
    plane: NDArray[np.float64] | None


@kept
def hidden_view(run: Run, most: int = 100, rows: int = 240, points: int = 201) -> HiddenView:
    """Look at the hidden units at some snapshots.

    Args:
        run: The run.
        most: Snapshots looked at, at most.
        rows: Rows of the data shown, at most; of each class its share.
        points: Points of a response curve.

    Raises:
        NotApplicable: The net is not a chain with a hidden layer, or nothing was recorded.
    """
    x, y, classes = targets(run)
    chosen = frames(run, most)
    if not len(chosen):
        raise NotApplicable("the run has recorded no step")
    parameters = run.trajectory.points(chosen)
    shown = some_of_each(y[:, 0], rows)
    if sum(value.ndim == 3 for value in parameters.values()) < 2:
        raise NotApplicable("the net has no hidden layer")
    try:
        seen = measures.activations(run.net, parameters, x[shown]).double().numpy()
    except ValueError as why:
        raise NotApplicable(str(why)) from why
    lines, normals, box = unit_lines(parameters, x) if x.shape[1] == 2 else (None, None, None)
    grid, responses = None, None
    if x.shape[1] == 1:
        values = line(x, points)
        grid = values.double().numpy()
        responses = measures.activations(run.net, parameters, values[:, None]).double().numpy()
    return HiddenView(
        run.trajectory.steps[chosen],
        x[shown].double().numpy(),
        y[shown, 0].double().numpy(),
        len(x),
        classes,
        class_names(run) if classes else (),
        seen,
        lines,
        normals,
        box,
        grid,
        responses,
        output_planes(parameters, seen, undecided_output(run))
        if classes and seen.shape[2] == 3
        else None,
    )


def unit_lines(
    parameters: measures.Parameters, x: torch.Tensor
) -> tuple[NDArray[np.float64], NDArray[np.float64], tuple[float, float, float, float]]:
    """Lines [t, h, 2, 2] of the units that see two inputs, their normals [t, h, 2], the box."""
    xs, ys = square(x, 2)
    box = (float(xs[0]), float(xs[-1]), float(ys[0]), float(ys[-1]))
    weights, biases = (tensor.double() for tensor in measures.first_layer(parameters))
    ends = measures.hidden_lines(weights, biases, box).numpy()
    normals = torch.nn.functional.normalize(weights, dim=-1).numpy()
    return ends, normals, box


def undecided_output(run: Run) -> float | None:
    """The value of the last affine map at which neither of two classes is preferred.

    Logits are undecided at 0, whether the loss or a last sigmoid makes probabilities of them.
    ``None`` where the layer behind it is not known to be undecided anywhere.
    """
    if run.meaning.undecided is None:
        return None
    chain = read_chain(run.net)
    last = chain[-1].activations if chain else ()
    if not last:
        logit = run.meaning.quantity.startswith("probability") and run.meaning.undecided == 0.5
        return 0.0 if logit else run.meaning.undecided
    inverse = {
        (nn.Sigmoid, 0.5): 0.0,
        (nn.Tanh, 0.0): 0.0,
    }
    return inverse.get((type(last[-1]), run.meaning.undecided)) if len(last) == 1 else None


def output_planes(
    parameters: measures.Parameters, seen: NDArray[np.float64], level: float | None
) -> NDArray[np.float64] | None:
    """Polygons [t, 6, 3] of the planes v · a + c = level in the cube around activations [t, n, 3].

    Args:
        parameters: Snapshots; the last matrix and its bias are the output layer.
        seen: Activations.
        level: Where the output is undecided; ``None`` where that is not known.

    Returns:
        Corners in their order around the polygon, the last one repeated where there are fewer
        than six; ``None`` for several outputs.
    """
    matrices = [name for name, value in parameters.items() if value.ndim == 3]
    v = parameters[matrices[-1]].double().numpy()
    if v.shape[1] != 1 or level is None:
        return None
    bias = parameters.get(matrices[-1].removesuffix("weight") + "bias")
    c = (np.zeros(len(v)) if bias is None else bias[:, 0].double().numpy()) - level
    finite = seen[np.isfinite(seen).all(axis=(1, 2))]
    if not len(finite):
        return None
    low, high = finite.min(axis=(0, 1)), finite.max(axis=(0, 1))
    return np.stack([polygon(v[i, 0], float(c[i]), low, high) for i in range(len(v))])


def polygon(
    v: NDArray[np.float64], c: float, low: NDArray[np.float64], high: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Where the plane v · a + c = 0 cuts a box of three dimensions, [6, 3].

    Args:
        v: Normal [3].
        c: Constant.
        low: Least corner of the box [3].
        high: Greatest corner [3].

    Returns:
        Corners in order around the polygon, the last repeated; NaN where there is none.

    Example:
        >>> polygon(np.array([0.0, 0.0, 1.0]), -0.5, np.zeros(3), np.ones(3))[:4].tolist()
        [[0.0, 0.0, 0.5], [1.0, 0.0, 0.5], [1.0, 1.0, 0.5], [0.0, 1.0, 0.5]]
    """
    corners = []
    for axis in range(3):
        if v[axis] == 0:
            continue
        i, j = [k for k in range(3) if k != axis]
        for a in (low[i], high[i]):
            for b in (low[j], high[j]):
                at = -(c + v[i] * a + v[j] * b) / v[axis]
                if low[axis] <= at <= high[axis]:
                    corner = np.empty(3)
                    corner[[axis, i, j]] = at, a, b
                    corners.append(corner)
    if len(corners) < 3:
        return np.full((CORNERS, 3), np.nan)
    points = np.unique(np.round(corners, 12), axis=0)
    # Around the middle, by angle in a basis of the plane.
    offsets = points - points.mean(axis=0)
    along = np.cross(v, np.eye(3)[np.abs(v).argmin()])
    turn = np.arctan2(offsets @ np.cross(v, along), offsets @ along)
    ordered = points[np.argsort(turn)][:CORNERS]
    first = np.lexsort(ordered.T[::-1])[0]
    ordered = np.roll(ordered, -first, axis=0)
    return np.concatenate([ordered, np.repeat(ordered[-1:], CORNERS - len(ordered), axis=0)])
