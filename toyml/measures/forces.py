"""The update of an optimizer, split into what adds up to it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from toyml.measures.evaluate import gradients
from toyml.measures.flat import flatten
from toyml.measures.forward import Parameters


def forces(
    net: nn.Module,
    loss: nn.Module,
    optimizer: torch.optim.Optimizer,
    trajectory: Parameters,
    x: Tensor,
    y: Tensor,
) -> dict[str, Tensor]:
    r"""Every update of a recorded path as a sum of its parts, as PyTorch adds them.

    For ``SGD``, with :math:`u_s = \pm g_s + \lambda\theta_s` (minus for ``maximize``), the velocity
    :math:`v_0 = u_0` undampened and then :math:`v_s = \mu v_{s-1} + (1 - \tau) u_s`; :math:`v_{-1}`
    is 0:

    - gradient: :math:`-\eta (\pm g_s)`
    - weight decay: :math:`-\eta\lambda\theta_s`
    - momentum: :math:`-\eta\mu v_{s-1}`
    - dampening: :math:`+\eta\tau u_s`, from the second update on
    - look-ahead (Nesterov's): :math:`-\eta\mu (v_s - v_{s-1})`, what it adds to the heavy ball

    For ``Adam`` and ``AdamW`` with moments m, r (the largest r so far for ``amsgrad``), coordinate
    by coordinate:

    .. math:: a_s = \frac{\eta}{1 - \beta_1^{s+1}}
       \Bigl(\sqrt{r_s / (1 - \beta_2^{s+1})} + \epsilon\Bigr)^{-1}

    - gradient: :math:`-a_s (1 - \beta_1)(\pm g_s)`
    - weight decay: :math:`-a_s (1 - \beta_1)\lambda\theta_s`; decoupled
      :math:`-\eta\lambda\theta_s`
    - momentum: :math:`-a_s \beta_1 m_{s-1}`

    Gradients are those of all rows: of a training on mini-batches the parts do not add up to the
    update. Needs some times the memory of the trajectory.

    Args:
        net: Any module that maps x [n, d] to [n, k].
        loss: The loss trained on.
        optimizer: ``SGD``, ``Adam`` or ``AdamW`` over parameters of ``net``; its settings are read,
            group by group, its state is not. Parameters that are in none of its groups stay.
        trajectory: The snapshots of every step from step 0 on, [t, ...] by name.
        x: Inputs [n, d], in the dtype of the trajectory.
        y: Targets.

    Returns:
        [t, p] by name of the part, columns in the order of ``flatten``; row s belongs to the update
        after snapshot s, the last to the one that would come next. Only parts that the settings
        have.

    Raises:
        ValueError: Another optimizer, parameters of another net, or what ``gradients`` refuses.

    Example:
        >>> net = nn.Linear(1, 1, bias=False)
        >>> optimizer = torch.optim.SGD(net.parameters(), lr=0.5, momentum=0.5)
        >>> path = {"weight": torch.tensor([[[4.0]], [[2.0]], [[0.0]]])}
        >>> x, y = torch.tensor([[1.0]]), torch.tensor([[0.0]])
        >>> for name, part in forces(net, nn.HuberLoss(delta=4.0), optimizer, path, x, y).items():
        ...     print(name, (part[:, 0] + 0).tolist())
        gradient [-2.0, -1.0, 0.0]
        momentum [0.0, -1.0, -1.0]
    """
    split = {torch.optim.SGD: _sgd, torch.optim.Adam: _adam, torch.optim.AdamW: _adam}
    if type(optimizer) not in split:
        raise ValueError(
            f"the update of {type(optimizer).__name__} is not split; take SGD, Adam or AdamW"
        )
    g = flatten(gradients(net, loss, trajectory, x, y))
    theta = flatten(trajectory).detach()
    parts: dict[str, Tensor] = {}
    for group, columns in _columns(net, optimizer, trajectory):
        settings = {k: v for k, v in group.items() if k != "params"}
        settings["lr"] = float(settings["lr"])
        downhill = -g[:, columns] if settings["maximize"] else g[:, columns]
        found = split[type(optimizer)](settings, downhill, theta[:, columns])
        for name, part in found.items():
            parts.setdefault(name, torch.zeros_like(g))[:, columns] = part
    return {name: parts[name] for name in PARTS if name in parts}


PARTS = ("gradient", "weight decay", "momentum", "dampening", "look-ahead")
"""Names of the parts, in the order in which they are returned."""


def _columns(
    net: nn.Module, optimizer: torch.optim.Optimizer, trajectory: Parameters
) -> list[tuple[dict[str, Any], Tensor]]:
    """Each parameter group and its columns of the flat trajectory."""
    places: dict[str, Tensor] = {}
    end = 0
    for name, p in trajectory.items():
        size = p[0].numel()
        places[name] = torch.arange(end, end := end + size, device=p.device)
    names = {id(parameter): name for name, parameter in net.named_parameters()}
    found = []
    for group in optimizer.param_groups:
        if any(id(parameter) not in names for parameter in group["params"]):
            raise ValueError("the optimizer has parameters of another net; build it on this one")
        some = [places[names[id(parameter)]] for parameter in group["params"]]
        found.append((group, torch.cat(some)))
    return found


def _sgd(group: dict[str, Any], g: Tensor, theta: Tensor) -> dict[str, Tensor]:
    lr, mu, tau = group["lr"], group["momentum"], group["dampening"]
    parts = {"gradient": -lr * g}
    pull = g
    if group["weight_decay"]:
        parts["weight decay"] = -lr * group["weight_decay"] * theta
        pull = g + group["weight_decay"] * theta
    if mu:
        velocity = _running(mu, 1 - tau, pull, first=1.0)
        before = _before(velocity)
        parts["momentum"] = -lr * mu * before
        if tau:
            parts["dampening"] = lr * tau * pull
            parts["dampening"][0] = 0
        if group["nesterov"]:
            parts["look-ahead"] = -lr * mu * (velocity - before)
    return parts


def _adam(group: dict[str, Any], g: Tensor, theta: Tensor) -> dict[str, Tensor]:
    lr, decay = group["lr"], group["weight_decay"]
    beta1, beta2 = map(float, group["betas"])
    decoupled = group["decoupled_weight_decay"]
    pull = g + decay * theta if decay and not decoupled else g
    mean = _running(beta1, 1 - beta1, pull, first=1 - beta1)
    square = _running(beta2, 1 - beta2, pull.square(), first=1 - beta2)
    if group["amsgrad"]:
        square = square.cummax(0).values
    count = torch.arange(1, len(g) + 1, dtype=torch.float64, device=g.device)[:, None]
    root = square.sqrt() / (1 - beta2**count).sqrt().to(g) + group["eps"]
    rate = (lr / (1 - beta1**count)).to(g) / root
    parts = {"gradient": -rate * (1 - beta1) * g, "momentum": -rate * beta1 * _before(mean)}
    if decay:
        parts["weight decay"] = (
            -lr * decay * theta if decoupled else -rate * (1 - beta1) * decay * theta
        )
    return parts


def _running(keep: float, take: float, values: Tensor, first: float) -> Tensor:
    """r_s = keep r_(s-1) + take values_s along the first axis, from r_0 = first values_0."""
    result = values * take
    result[0] = values[0] * first
    for s in range(1, len(result)):
        result[s].add_(result[s - 1], alpha=keep)
    return result


def _before(values: Tensor) -> Tensor:
    """The row before each, zeros before the first."""
    return torch.cat([torch.zeros_like(values[:1]), values[:-1]])
