"""Hidden units: their lines, thresholds and activations."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call

from toyml.measures.chain import Layer, preactivation, read_chain, run_chain
from toyml.measures.evaluate import snapshot
from toyml.measures.forward import (
    Parameters,
    check,
    evaluating,
    fitting,
    gathered,
    widest_of_chain,
)

Box = tuple[float, float, float, float]
"""xmin, xmax, ymin, ymax."""


def first_layer(source: nn.Module | Parameters) -> tuple[Tensor, Tensor]:
    """Weights and biases of the units that see the inputs.

    Args:
        source: Snapshots [t, ...] by name, of which the first matrix is taken and the bias beside
            it; or a net, for its present parameters (t = 1).

    Returns:
        Weights [t, h, d] and biases [t, h], zero for a layer without.

    Raises:
        ValueError: No parameter is a matrix.

    Example:
        >>> weights, biases = first_layer(nn.Sequential(nn.Linear(2, 3), nn.Tanh()))
        >>> weights.shape, biases.shape
        (torch.Size([1, 3, 2]), torch.Size([1, 3]))
    """
    parameters = snapshot(source) if isinstance(source, nn.Module) else source
    for name, weights in parameters.items():
        if weights.ndim == 3 and name.split(".")[-1] == "weight":
            bias = parameters.get(name.removesuffix("weight") + "bias")
            return weights, weights.new_zeros(weights.shape[:2]) if bias is None else bias
    raise ValueError(
        f"no weight [t, h, d] among {', '.join(parameters) or 'no parameters'}; "
        "give the snapshots of a net that begins with an affine layer"
    )


def hidden_lines(weights: Tensor, biases: Tensor, box: Box) -> Tensor:
    r"""The line of each unit, :math:`w \cdot x + b = 0`, cut off at the edges of a box.

    Args:
        weights: [t, h, 2].
        biases: [t, h].
        box: xmin, xmax, ymin, ymax.

    Returns:
        The two end points of each segment, [t, h, 2 ends, 2 coordinates], in the direction that
        keeps the positive side on the right; NaN where the line misses the box or w = 0.

    Raises:
        ValueError: Units without exactly two inputs, or an empty box.

    Example:
        >>> hidden_lines(torch.tensor([[[2.0, 0.0]]]), torch.tensor([[-1.0]]), (0, 1, 0, 3))[0, 0]
        tensor([[0.5000, 0.0000],
                [0.5000, 3.0000]])
    """
    if weights.shape[-1] != 2 or weights.shape[:-1] != biases.shape:
        raise ValueError(
            f"weights have shape {list(weights.shape)} and biases {list(biases.shape)}; "
            "give [t, h, 2] and [t, h]"
        )
    xmin, xmax, ymin, ymax = box
    if not (xmin < xmax and ymin < ymax):
        raise ValueError(f"box is {box}; give xmin < xmax and ymin < ymax")
    # The foot of the perpendicular from the box's centre is well placed whenever the line is near.
    centre = weights.new_tensor([(xmin + xmax) / 2, (ymin + ymax) / 2])
    half = weights.new_tensor([(xmax - xmin) / 2, (ymax - ymin) / 2])
    normal = weights / torch.linalg.vector_norm(weights, dim=-1, keepdim=True)
    offset = (weights @ centre + biases) / torch.linalg.vector_norm(weights, dim=-1)
    foot = -offset[..., None] * normal
    along = torch.stack([-normal[..., 1], normal[..., 0]], dim=-1)
    # Each pair of opposite edges bounds the stretch of the line between them.
    reach = torch.stack([(-half - foot) / along, (half - foot) / along])
    parallel = along == 0
    inside = foot.abs() <= half
    low = torch.where(parallel, -torch.inf, reach.amin(0)).amax(-1)
    high = torch.where(parallel, torch.inf, reach.amax(0)).amin(-1)
    crosses = (low < high) & (~parallel | inside).all(-1)
    ends = torch.stack([low, high], dim=-1)[..., None] * along[..., None, :]
    return torch.where(crosses[..., None, None], centre + foot[..., None, :] + ends, torch.nan)


def thresholds(weights: Tensor, biases: Tensor) -> Tensor:
    """Where each unit of one input switches: x = -b/w.

    Args:
        weights: [t, h, 1].
        biases: [t, h].

    Returns:
        [t, h]; infinite for w = 0, a unit that switches nowhere.

    Raises:
        ValueError: Units with more than one input.

    Example:
        >>> thresholds(torch.tensor([[[2.0], [0.0]]]), torch.tensor([[-1.0, 0.0]]))
        tensor([[0.5000,    inf]])
    """
    if weights.shape[-1] != 1 or weights.shape[:-1] != biases.shape:
        raise ValueError(
            f"weights have shape {list(weights.shape)} and biases {list(biases.shape)}; "
            "give [t, h, 1] and [t, h]"
        )
    slopes = weights[..., 0]
    return torch.where(slopes == 0, torch.inf, -biases / slopes)


def activations(net: nn.Module, parameters: Parameters, x: Tensor) -> Tensor:
    """Activations of the last hidden layer: what the output layer sees.

    Args:
        net: A chain of affine layers and elementwise activations, at least two layers deep.
        parameters: Snapshots, [t, ...] by name.
        x: Inputs [n, d], in the parameters' dtype.

    Returns:
        [t, n, h].

    Raises:
        ValueError: Another kind of net, or what ``outputs`` refuses.

    Example:
        >>> net = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
        >>> activations(net, snapshot(net), torch.zeros(5, 2)).shape
        torch.Size([1, 5, 3])
    """
    t = check(net, parameters, x)
    layers = _hidden_chain(net)
    columns = x.T.contiguous()
    size = fitting(x.element_size() * widest_of_chain(layers, parameters, len(x)), x.device)
    with torch.no_grad():
        return gathered(
            lambda p: run_chain(layers[:-1], p, columns).transpose(1, 2), parameters, t, size
        )


def step_prediction(net: nn.Module, parameters: Parameters, x: Tensor) -> Tensor:
    """Outputs of the net with each hidden sigmoid replaced by a unit step.

    The step is 1 where the unit's affine map is positive, else 0: what the net would answer if
    every weight into its hidden units were scaled up without end.

    Args:
        net: A chain of affine layers with a sigmoid after each hidden one.
        parameters: Snapshots, [t, ...] by name.
        x: Inputs [n, d], in the parameters' dtype.

    Returns:
        [t, n, k].

    Raises:
        ValueError: Another kind of net, or what ``outputs`` refuses.

    Example:
        >>> net = nn.Sequential(nn.Linear(1, 1), nn.Sigmoid(), nn.Linear(1, 1, bias=False))
        >>> stack = {"0.weight": [[[1.0]]], "0.bias": [[-2.0]], "2.weight": [[[5.0]]]}
        >>> stack = {name: torch.tensor(values) for name, values in stack.items()}
        >>> step_prediction(net, stack, torch.tensor([[1.9], [2.1]])).flatten()
        tensor([0., 5.])
    """
    t = check(net, parameters, x)
    layers = _hidden_chain(net)
    for layer in layers[:-1]:
        kinds = [type(a) for a in layer.activations]
        if kinds != [nn.Sigmoid]:
            names = ", ".join(kind.__name__ for kind in kinds) or "no activation"
            raise ValueError(f"{names} after {layer.weight}; only hidden sigmoids become steps")
    columns = x.T.contiguous()

    def stepped(part: Parameters) -> Tensor:
        h = columns
        for layer in layers[:-1]:
            h = (preactivation(layer, part, h) > 0).to(x.dtype)
        return run_chain(layers[-1:], part, h).transpose(1, 2)

    size = fitting(x.element_size() * widest_of_chain(layers, parameters, len(x)), x.device)
    with torch.no_grad():
        return gathered(stepped, parameters, t, size)


class Units(NamedTuple):
    """What the units of one hidden layer do for all rows; units are numbered from 0.

    Attributes:
        total: Number of units.
        off: Units whose activation is exactly 0 for every row.
        saturated: Units within 0.001 of a limit of their activation for every row.
        limits: Class name of that activation; "" where it has no limits.
        alike: Groups of units with the same activations but for sign and scale (of a sigmoid's
            distance from 1/2), to within a thousandth.
    """

    total: int
    off: tuple[int, ...]
    saturated: tuple[int, ...]
    limits: str
    alike: tuple[tuple[int, ...], ...]


LIMITS: dict[type[nn.Module], tuple[float, float]] = {
    nn.Hardsigmoid: (0.0, 1.0),
    nn.Sigmoid: (0.0, 1.0),
    nn.Softsign: (-1.0, 1.0),
    nn.Tanh: (-1.0, 1.0),
}
"""Activations between two limits."""

NEAR = 1e-3
"""So close to a limit a sigmoid's slope is 0.4 % of its greatest: hardly any gradient passes."""

MOST_UNITS = 512
"""Units of wider layers are not compared with each other."""


def hidden_units(net: nn.Module, parameters: Parameters, x: Tensor) -> list[Units]:
    """What the hidden units do for all rows, layer by layer.

    A layer's activations are what the next affine or convolutional module is given, so any net
    whose forward pass calls such modules can be looked at; channels count as units.

    Args:
        net: The net.
        parameters: One snapshot, [1, ...] by name.
        x: Inputs [n, ...] in its dtype.

    Example:
        >>> net = nn.Sequential(nn.Linear(1, 2, bias=False), nn.ReLU(), nn.Linear(2, 1))
        >>> stack = {"0.weight": [[[1.0], [-1.0]]], "2.weight": [[[1.0, 1.0]]], "2.bias": [[0.0]]}
        >>> stack = {name: torch.tensor(values) for name, values in stack.items()}
        >>> hidden_units(net, stack, torch.tensor([[1.0], [2.0]]))[0].off
        (1,)
    """
    calls: list[tuple[nn.Module, Tensor, Tensor]] = []

    def note(module: nn.Module, given: tuple[Any, ...], output: Any) -> None:
        if given and isinstance(given[0], Tensor) and isinstance(output, Tensor):
            calls.append((module, given[0], output))

    leaves = [m for m in net.modules() if not list(m.children())]
    hooks = [leaf.register_forward_hook(note) for leaf in leaves]
    try:
        with torch.no_grad(), evaluating(net):
            functional_call(net, {name: p[0] for name, p in parameters.items()}, (x,))
    finally:
        for hook in hooks:
            hook.remove()
    found, seen_first = [], False
    for i, (module, given, _) in enumerate(calls):
        if not isinstance(module, nn.Linear | nn.modules.conv._ConvNd):
            continue
        if seen_first and given.ndim > 1:
            source = next(
                (m for m, _, out in reversed(calls[:i]) if type(m) in LIMITS and holds(out, given)),
                None,
            )
            rows = given if isinstance(module, nn.Linear) else given.movedim(1, -1)
            found.append(units_of(rows.reshape(-1, rows.shape[-1]).double(), source))
        seen_first = True
    return found


def holds(output: Tensor, given: Tensor) -> bool:
    """Whether a module is given another one's output, perhaps in another shape."""
    return output.numel() == given.numel() and torch.equal(output.flatten(), given.flatten())


def units_of(rows: Tensor, source: nn.Module | None) -> Units:
    """What units with activations [n, h] do, given the module with limits that they come from."""
    low, high = (0.0, 0.0) if source is None else LIMITS[type(source)]
    off: tuple[int, ...] = ()
    saturated: tuple[int, ...] = ()
    if source is None:
        off = numbers((rows == 0).all(0))
    else:
        saturated = numbers(torch.minimum(rows - low, high - rows).amax(0) < NEAR)
    centred = rows - (low + high) / 2
    varied = (rows.amax(0) - rows.amin(0)) > NEAR * centred.abs().amax(0)
    alike: list[tuple[int, ...]] = []
    left = [i for i in numbers(varied) if i not in off] if rows.shape[1] <= MOST_UNITS else []
    unit = centred / torch.linalg.vector_norm(centred, dim=0).clamp_min(1e-300)
    while left:
        first = left[0]
        apart = [
            float(torch.minimum(*((unit[:, first] - s * unit[:, i]).norm() for s in (1, -1))))
            for i in left
        ]
        group = tuple(i for i, d in zip(left, apart, strict=True) if d < NEAR)
        if len(group) > 1:
            alike.append(group)
        left = [i for i in left if i not in (*group, first)]
    return Units(
        rows.shape[1], off, saturated, "" if source is None else type(source).__name__, tuple(alike)
    )


def numbers(flags: Tensor) -> tuple[int, ...]:
    """Positions [..] of what is true."""
    return tuple(int(i) for i in torch.nonzero(flags).flatten())


def _hidden_chain(net: nn.Module) -> tuple[Layer, ...]:
    layers = read_chain(net)
    if layers is None or len(layers) < 2:
        raise ValueError(
            f"{type(net).__name__} is not a chain of two or more affine layers with elementwise "
            "activations; build it from torch.nn.Sequential"
        )
    # Identity is a way to leave an activation out, not an activation.
    return tuple(
        replace(a, activations=tuple(m for m in a.activations if type(m) is not nn.Identity))
        for a in layers
    )
