"""From a net, a loss and an optimizer to a compiled loop over steps, and its calls.

The kernel works on the net's own parameters and the optimizer's own state: it reads them before a
call and writes them after it, so that checkpoints, resuming and a change to ``optimizer.step()``
need nothing special.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from toyml.compiled.compiler import Library, NotCompilable, load
from toyml.compiled.source import Activation, Group, Layer, Loss, Program, c_source

MOST_PARAMETERS = 20_000
"""Nets beyond this are better served by the matrix products of the eager route."""

MOST_UNITS = 1_024
"""The activations of one block live on the stack: this bounds them by 128 KiB."""


@dataclass(frozen=True)
class Result:
    """What a call of a kernel did.

    Attributes:
        losses: Mean losses, float64; entry i belongs to the parameters before update i + 1. One
            per update, and one more at the end, not finite, when that is why it stopped.
        snapshots: Flattened parameters [t, p] in the order of ``net.parameters()`` after the
            wanted updates that were reached.
        steps_done: Updates applied; fewer than asked for when a loss was not finite.
    """

    losses: Tensor
    snapshots: Tensor
    steps_done: int


def compile_training(
    net: nn.Module,
    loss: nn.Module,
    optimizer: torch.optim.Optimizer,
    n: int,
    batch: int | None = None,
) -> Kernel:
    """Compile the training loop of a fully connected net.

    Args:
        net: ``nn.Sequential``, nested or not, of ``nn.Linear`` layers each followed by at most
            one of Sigmoid, Tanh, ReLU, LeakyReLU, Softplus (and any Identity); float32 or float64
            on the CPU.
        loss: MSELoss, L1Loss, HuberLoss, SmoothL1Loss, BCEWithLogitsLoss, or BCELoss behind a
            Sigmoid; mean over points and outputs, unweighted.
        optimizer: SGD, Adam or AdamW. Parameter groups may differ in their hyper-parameters,
            whose values are read anew at every call.
        n: Rows of the data.
        batch: Rows per step; ``None`` is the full batch.

    Raises:
        NotCompilable: This has no compiled form, or there is no C compiler.
        ValueError: n or batch is not positive.
    """
    if n < 1:
        raise ValueError(f"n must be at least 1, got {n}")
    if batch is not None and batch < 1:
        raise ValueError(f"batch must be at least 1 or None, got {batch}")
    layers = layers_of(net)
    parameters = list(net.parameters())
    if sum(p.numel() for p in parameters) > MOST_PARAMETERS:
        raise NotCompilable(f"more than {MOST_PARAMETERS} parameters")
    if sum(layer.outputs for layer in layers) > MOST_UNITS:
        raise NotCompilable(f"more than {MOST_UNITS} units")
    program = Program(
        double=_dtype(parameters) == torch.float64,
        layers=layers,
        loss=loss_of(loss, layers[-1]),
        adam=_is_adam(optimizer),
        groups=_groups(optimizer, parameters),
        rows=n if batch is None else batch,
        batched=batch is not None,
    )
    return Kernel(program, net, optimizer, n, load(c_source(program), program.vector_bits))


class Kernel:
    """A compiled loop over optimizer steps; made by :func:`compile_training`.

    Attributes:
        compile_seconds: Time the C compiler took; 0 when its work was found in the cache.
        cached: Whether it was.
    """

    def __init__(
        self,
        program: Program,
        net: nn.Module,
        optimizer: torch.optim.Optimizer,
        n: int,
        library: Library,
    ) -> None:
        self.compile_seconds, self.cached = library.seconds, library.cached
        self._program, self._net, self._optimizer, self._n = program, net, optimizer, n
        self._train = library.handle.train
        pointer, integer = ctypes.c_void_p, ctypes.c_int64
        self._train.restype = integer
        self._train.argtypes = [integer, *[pointer] * 9, integer, pointer, pointer]
        self._parameters = list(net.parameters())
        self._dtype = _dtype(self._parameters)
        self._w = _Flat(self._parameters)
        self._m, self._v = _Flat(self._parameters), _Flat(self._parameters)
        self._scratch = torch.zeros(program.scratch, dtype=self._dtype)

    def run(
        self,
        x: Tensor,
        y: Tensor,
        steps: int,
        wanted: Tensor | None = None,
        order: Tensor | None = None,
    ) -> Result:
        """Perform optimizer steps, as the plain loop would, up to rounding.

        How the steps are divided among calls does not change a bit of the outcome. ``.grad`` is
        neither read nor written.

        Args:
            x: Inputs [n, d].
            y: Targets [n, k].
            steps: Updates to apply.
            wanted: Updates of this call, in 1..steps, increasing, after which to keep the
                parameters (int64).
            order: For mini-batches: the rows of every step, int64 [steps * batch]; indices
                below 0 are left out, which is how a short last batch is written. ``None`` for the
                full batch.

        Raises:
            ValueError: The arguments do not fit what was compiled.
        """
        program = self._program
        steps = int(steps)
        x, y = (
            self._data("x", x, program.layers[0].inputs),
            self._data("y", y, program.layers[-1].outputs),
        )
        if len(x) != len(y):
            raise ValueError(f"x has {len(x)} rows and y has {len(y)}: pass as many of both")
        wanted = self._wanted(wanted, steps)
        order = self._order(order, steps, len(x))
        hyper = self._read_state()
        losses = torch.empty(steps + 1, dtype=torch.float64)
        rows = torch.empty(len(wanted), program.parameters, dtype=self._dtype)
        done = int(
            self._train(
                steps,
                x.data_ptr(),
                y.data_ptr(),
                None if order is None else order.data_ptr(),
                self._w.values.data_ptr(),
                self._m.values.data_ptr(),
                self._v.values.data_ptr(),
                hyper.data_ptr(),
                self._scratch.data_ptr(),
                losses.data_ptr(),
                len(wanted),
                wanted.data_ptr(),
                rows.data_ptr(),
            )
        )
        if done:
            self._write_state(done)
        reached = int((wanted <= done).sum())
        return Result(losses[: done + (done < steps)], rows[:reached], done)

    # -- arguments -------------------------------------------------------------------------------

    def _data(self, name: str, values: Tensor, width: int) -> Tensor:
        shape = f"[n, {width}]" if self._program.batched else f"[{self._n}, {width}]"
        fits = values.ndim == 2 and values.shape[1] == width and len(values) > 0
        if not fits or (not self._program.batched and len(values) != self._n):
            raise ValueError(f"{name} has shape {list(values.shape)}: the kernel takes {shape}")
        if values.dtype != self._dtype or values.device.type != "cpu":
            raise ValueError(
                f"{name} is {values.dtype} on {values.device}: pass {self._dtype} on the CPU"
            )
        return values.detach().contiguous()

    def _wanted(self, wanted: Tensor | None, steps: int) -> Tensor:
        if wanted is None or len(wanted) == 0:
            return torch.empty(0, dtype=torch.int64)
        wanted = wanted.to(torch.int64).contiguous()
        increasing = bool((wanted[1:] > wanted[:-1]).all())
        if not increasing or int(wanted[0]) < 1 or int(wanted[-1]) > steps:
            raise ValueError(
                f"wanted is {wanted.tolist()[:8]}: give increasing updates within 1..{steps}"
            )
        return wanted

    def _order(self, order: Tensor | None, steps: int, n: int) -> Tensor | None:
        batch = self._program.rows
        if not self._program.batched:
            if order is not None:
                raise ValueError("order is given to a full-batch kernel: compile it with a batch")
            return None
        if order is None or order.numel() != steps * batch:
            size = None if order is None else order.numel()
            raise ValueError(
                f"order has {size} indices: give {steps} steps x {batch} rows, short batches "
                "filled up with -1"
            )
        order = order.to(torch.int64).contiguous()
        if steps:
            largest = order.view(steps, batch).amax(1)
            if int(largest.max()) >= n or int(largest.min()) < 0:
                raise ValueError(
                    f"order holds the index {int(largest.max())} or a batch without rows: "
                    f"every batch needs indices below n = {n}"
                )
        return order

    # -- parameters and optimizer state ----------------------------------------------------------

    def _read_state(self) -> Tensor:
        """Copy parameters and state into the flat arrays; return the hyper-parameters [g, 6]."""
        groups = _groups(self._optimizer, self._parameters)
        if groups != self._program.groups:
            raise ValueError(
                "the optimizer's groups, frozen parameters or which of momentum, nesterov and "
                "weight_decay are zero changed since compilation: compile anew"
            )
        torch._foreach_copy_(self._w.views, [p.detach() for p in self._parameters])
        read = self._read_adam if self._program.adam else self._read_sgd
        rows = [read(index, group) for index, group in enumerate(self._optimizer.param_groups)]
        return torch.tensor(rows, dtype=torch.float64)

    def _read_sgd(self, index: int, group: dict[str, Any]) -> list[float]:
        values = [float(group[k]) for k in ("lr", "momentum", "dampening", "weight_decay")]
        fresh = True
        if group["momentum"] != 0:
            trained = _trained(group)
            views = [self._m.view(p) for p in trained]
            states = (self._optimizer.state.get(p, {}) for p in trained)
            buffers = [state.get("momentum_buffer") for state in states]
            fresh = all(buffer is None for buffer in buffers)
            self._same_age(index, fresh or all(buffer is not None for buffer in buffers))
            _copy(views, None if fresh else buffers)
        return [*values, float(fresh), 0.0]

    def _read_adam(self, index: int, group: dict[str, Any]) -> list[float]:
        trained = _trained(group)
        states = [self._optimizer.state.get(p, {}) for p in trained]
        ages = {float(state["step"]) if state else 0.0 for state in states}
        self._same_age(index, len(ages) <= 1)
        old = all(states)
        _copy([self._m.view(p) for p in trained], [s["exp_avg"] for s in states] if old else None)
        _copy(
            [self._v.view(p) for p in trained], [s["exp_avg_sq"] for s in states] if old else None
        )
        beta1, beta2 = group["betas"]
        values = (group["lr"], beta1, beta2, group["eps"], group["weight_decay"])
        return [*map(float, values), ages.pop() if ages else 0.0]

    def _write_state(self, done: int) -> None:
        """Copy the flat arrays back, creating state as torch does."""
        optimizer = self._optimizer
        trained = [p for group in optimizer.param_groups for p in _trained(group)]
        with torch.no_grad():
            _copy(trained, [self._w.view(p) for p in trained])
        if self._program.adam:
            states = [optimizer.state[p] for p in trained]
            for p, state in zip(trained, states, strict=True):
                if not state:
                    state["step"] = torch.tensor(0.0, dtype=_step_dtype())
                    state["exp_avg"] = torch.zeros_like(p)
                    state["exp_avg_sq"] = torch.zeros_like(p)
            torch._foreach_add_([state["step"] for state in states], done)
            _copy([s["exp_avg"] for s in states], [self._m.view(p) for p in trained])
            _copy([s["exp_avg_sq"] for s in states], [self._v.view(p) for p in trained])
            return
        moving = [p for g in optimizer.param_groups if g["momentum"] != 0 for p in _trained(g)]
        for p in moving:
            if optimizer.state[p].get("momentum_buffer") is None:
                optimizer.state[p]["momentum_buffer"] = torch.zeros_like(p)
        buffers = [optimizer.state[p]["momentum_buffer"] for p in moving]
        _copy(buffers, [self._m.view(p) for p in moving])

    def _same_age(self, index: int, same: bool) -> None:
        if not same:
            raise ValueError(
                f"parameters of group {index} have had different numbers of updates: "
                "put them into groups of their own"
            )


class _Flat:
    """One contiguous array with a view per parameter."""

    def __init__(self, parameters: list[nn.Parameter]) -> None:
        sizes = [p.numel() for p in parameters]
        self.values = torch.zeros(sum(sizes), dtype=parameters[0].dtype)
        pieces = zip(torch.split(self.values, sizes), parameters, strict=True)
        self.views: list[Tensor] = [piece.view_as(p) for piece, p in pieces]
        self._index = {id(p): i for i, p in enumerate(parameters)}

    def view(self, parameter: Tensor) -> Tensor:
        return self.views[self._index[id(parameter)]]


def _copy(targets: list[Tensor], sources: list[Tensor] | None) -> None:
    """Copy tensor by tensor in one call; zeros where there is nothing to copy."""
    if targets and sources is None:
        torch._foreach_zero_(targets)
    elif targets and sources:
        torch._foreach_copy_(targets, sources)


# -- what can be compiled ------------------------------------------------------------------------

IDENTITY = Activation("Identity", "z", "")


def _activation(module: nn.Module) -> Activation | None:
    """The C form of an activation; ``None`` when it has none. NaN passes through all of them."""
    kind = type(module)
    if kind is nn.Sigmoid:
        return Activation("Sigmoid", "sigmoid_(z)", "a * (1 - a)")
    if kind is nn.Tanh:
        return Activation("Tanh", "tanh_(z)", "1 - a * a")
    if kind is nn.ReLU:
        return Activation("ReLU", "z <= 0 ? 0 : z", "a <= 0 ? 0 : 1")
    if isinstance(module, nn.LeakyReLU) and kind is nn.LeakyReLU and module.negative_slope >= 0:
        slope = f"(T){float(module.negative_slope)!r}"
        return Activation("LeakyReLU", f"z > 0 ? z : z * {slope}", f"a > 0 ? 1 : {slope}")
    if isinstance(module, nn.Softplus) and kind is nn.Softplus and _is_default(module):
        return Activation("Softplus", "softplus_(z)", "a > 20 ? 1 : -expm1_(-a)")
    return None


def _is_default(module: nn.Softplus) -> bool:
    return (module.beta, module.threshold) == (1, 20)


def layers_of(net: nn.Module) -> tuple[Layer, ...]:
    """The layers of a net, each with its place in the flat parameters, or ``NotCompilable``."""
    offsets, at = {}, 0
    for p in net.parameters():
        offsets[id(p)] = at
        at += p.numel()
    layers: list[Layer] = []
    seen: set[int] = set()
    for module in _chain(net):
        if isinstance(module, nn.Linear):
            if id(module.weight) in seen or (module.bias is not None and id(module.bias) in seen):
                raise NotCompilable("a parameter is used twice in the net")
            seen |= {id(module.weight), id(module.bias)}
            if layers and layers[-1].outputs != module.in_features:
                raise NotCompilable(
                    f"Linear takes {module.in_features} inputs after {layers[-1].outputs} outputs"
                )
            bias = None if module.bias is None else offsets[id(module.bias)]
            weight = offsets[id(module.weight)]
            layers.append(Layer(module.in_features, module.out_features, weight, bias, IDENTITY))
            continue
        name, activation = type(module).__name__, _activation(module)
        if activation is None:
            raise NotCompilable(f"layer {module!r} has no compiled form")
        if not layers or layers[-1].activation.slope:
            raise NotCompilable(f"{name} does not follow a Linear layer")
        last = layers.pop()
        layers.append(Layer(last.inputs, last.outputs, last.weight, last.bias, activation))
    if not layers:
        raise NotCompilable("the net has no Linear layer")
    return tuple(layers)


def _chain(module: nn.Module) -> list[nn.Module]:
    """The layers behind nested ``nn.Sequential``, without Identity."""
    name = type(module).__name__
    if _hooked(module):
        raise NotCompilable(f"{name} has hooks")
    if "forward" in vars(module):
        raise NotCompilable(f"{name} has a forward of its own")
    if isinstance(module, nn.Sequential):
        if type(module).forward is not nn.Sequential.forward:
            raise NotCompilable(f"{name} has a forward of its own")
        return [layer for child in module for layer in _chain(child)]
    if type(module) is nn.Identity:
        return []
    if type(module) is not nn.Linear and _activation(module) is None:
        raise NotCompilable(f"layer {name} has no compiled form")
    return [module]


def _hooked(module: nn.Module) -> bool:
    kinds = ("forward", "forward_pre", "backward", "backward_pre")
    own = any(getattr(module, f"_{kind}_hooks") for kind in kinds)
    return own or any(
        p._backward_hooks or getattr(p, "_post_accumulate_grad_hooks", None)
        for p in module.parameters(recurse=False)
    )


def _dtype(parameters: list[nn.Parameter]) -> torch.dtype:
    dtypes = {p.dtype for p in parameters}
    if len(dtypes) != 1 or not dtypes <= {torch.float32, torch.float64}:
        names = ", ".join(sorted(map(str, dtypes)))
        raise NotCompilable(f"parameters are {names}, not all float32 or all float64")
    if any(p.device.type != "cpu" for p in parameters):
        raise NotCompilable(f"parameters are on {parameters[0].device}, not on the CPU")
    return dtypes.pop()


def loss_of(loss: nn.Module, last: Layer) -> Loss:
    """The C form of a loss, or ``NotCompilable``."""
    name = type(loss).__name__
    if getattr(loss, "reduction", "mean") != "mean":
        raise NotCompilable(f"{name} has reduction {loss.reduction}, not mean")
    if getattr(loss, "weight", None) is not None or getattr(loss, "pos_weight", None) is not None:
        raise NotCompilable(f"{name} is weighted")
    if _hooked(loss) or "forward" in vars(loss):
        raise NotCompilable(f"{name} has hooks or a forward of its own")
    kind = type(loss)
    sign = "((v > t) - (v < t))"
    if kind is nn.MSELoss:
        return Loss(name, "(v - t) * (v - t)", "2 * (v - t)")
    if kind is nn.L1Loss:
        return Loss(name, "ABS(v - t)", f"(T){sign}")
    if isinstance(loss, nn.HuberLoss) and kind is nn.HuberLoss:
        c = f"(T){float(loss.delta)!r}"
        far = f"{c} * (ABS(v - t) - {c} / 2)"
        value = f"ABS(v - t) <= {c} ? (v - t) * (v - t) / 2 : {far}"
        return Loss(name, value, f"ABS(v - t) <= {c} ? v - t : {c} * {sign}")
    if isinstance(loss, nn.SmoothL1Loss) and kind is nn.SmoothL1Loss:
        if loss.beta == 0:
            return Loss(name, "ABS(v - t)", f"(T){sign}")
        c = f"(T){float(loss.beta)!r}"
        value = f"ABS(v - t) < {c} ? (v - t) * (v - t) / (2 * {c}) : ABS(v - t) - {c} / 2"
        return Loss(name, value, f"ABS(v - t) < {c} ? (v - t) / {c} : (T){sign}")
    if kind is nn.BCEWithLogitsLoss:
        value = "(v > 0 ? v : 0) - v * t + log1p_(exp_(-ABS(v)))"
        return Loss(name, value, "sigmoid_of(v, exp_(-ABS(v))) - t")
    if kind is nn.BCELoss:
        if last.activation.name != "Sigmoid":
            raise NotCompilable("BCELoss does not follow a Sigmoid")
        # torch's own two guards: logarithms from -100 up, v (1 - v) from 1e-12 up.
        value = "(t - 1) * floored_log1m(v) - t * floored_log(v)"
        spread = "(v * (1 - v) < (T)1e-12 ? (T)1e-12 : v * (1 - v))"
        return Loss(name, value, f"(v - t) / {spread}")
    raise NotCompilable(f"loss {name} has no compiled form")


def _is_adam(optimizer: torch.optim.Optimizer) -> bool:
    kind = type(optimizer)
    if kind not in (torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW):
        raise NotCompilable(f"optimizer {kind.__name__} has no compiled form")
    if optimizer._optimizer_step_pre_hooks or optimizer._optimizer_step_post_hooks:
        raise NotCompilable(f"{kind.__name__} has hooks")
    if "step" in vars(optimizer) and not hasattr(optimizer.step, "__wrapped__"):
        raise NotCompilable(f"{kind.__name__} has a step of its own")
    return kind is not torch.optim.SGD


def _groups(optimizer: torch.optim.Optimizer, parameters: list[nn.Parameter]) -> tuple[Group, ...]:
    """The groups as the code sees them: which flat ranges they update, and by which terms."""
    ranges, at = {}, 0
    for p in parameters:
        ranges[id(p)] = (at, at + p.numel())
        at += p.numel()
    groups = []
    for group in optimizer.param_groups:
        for flag in ("amsgrad", "maximize", "capturable", "differentiable"):
            if group.get(flag):
                raise NotCompilable(f"{type(optimizer).__name__} has {flag}=True")
        for name, value in group.items():
            if name == "params":
                continue
            if any(isinstance(v, Tensor) for v in (value if name == "betas" else (value,))):
                raise NotCompilable(f"{name} is a tensor")
        if any(id(p) not in ranges for p in group["params"]):
            raise NotCompilable("the optimizer trains a parameter that is not the net's")
        momentum = group.get("momentum", 0) != 0
        groups.append(
            Group(
                ranges=merged(sorted(ranges[id(p)] for p in _trained(group))),
                momentum=momentum,
                nesterov=momentum and bool(group.get("nesterov")),
                decay=group["weight_decay"] != 0,
                decoupled=bool(
                    group.get("decoupled_weight_decay", type(optimizer) is torch.optim.AdamW)
                ),
            )
        )
    return tuple(groups)


def _trained(group: dict[str, Any]) -> list[Tensor]:
    return [p for p in group["params"] if p.requires_grad]


def merged(ranges: list[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    """Half-open ranges in order, those that touch made one."""
    found: list[tuple[int, int]] = []
    for start, stop in ranges:
        if found and found[-1][1] == start:
            start = found.pop()[0]
        found.append((start, stop))
    return tuple(found)


def _step_dtype() -> torch.dtype:
    """The dtype torch.optim gives Adam's ``step``."""
    return torch.float64 if torch.get_default_dtype() == torch.float64 else torch.float32
