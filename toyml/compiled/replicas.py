"""Many replicas of one training problem in one call of C."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from toyml.compiled.compiler import Library, NotCompilable, load
from toyml.compiled.kernel import (
    MOST_PARAMETERS,
    MOST_UNITS,
    layers_of,
    loss_of,
    merged,
)
from toyml.compiled.source import Group, Program, c_source

Settings = Sequence[Mapping[str, Any]]


class ReplicaResult(NamedTuple):
    """What a call did for r replicas.

    Attributes:
        losses: Losses before the updates asked for [s, r], float64; NaN where a replica stopped
            before.
        snapshots: Parameters after the updates asked for [r, t, p]; NaN likewise.
        done: Updates applied [r]; fewer than asked for where a loss was not finite.
    """

    losses: Tensor
    snapshots: Tensor
    done: Tensor


def compile_replicas(
    net: nn.Module,
    stacked: Mapping[str, Tensor],
    loss: nn.Module,
    adam: bool,
    settings: Settings,
    groups: Sequence[Sequence[Tensor]],
    n: int,
    batch: int | None = None,
) -> ReplicaKernel:
    """Compile the training loop of a fully connected net for many replicas of it.

    Args:
        net: As for :func:`toyml.compiled.compile_training`.
        stacked: The replicas' parameters, [R, ...] by name.
        loss: As there.
        adam: Adam or AdamW instead of SGD.
        settings: For each parameter group its settings by their names in ``param_groups``, each a
            number or float64 [R]. Which of momentum and weight decay are zero for all replicas
            shapes the code.
        groups: The tensors of ``stacked`` in each group.
        n: Rows of the data.
        batch: Rows per step; ``None`` is the full batch.

    Raises:
        NotCompilable: This has no compiled form, or there is no C compiler.
    """
    some = next(iter(stacked.values()))
    if some.device.type != "cpu" or some.dtype not in (torch.float32, torch.float64):
        raise NotCompilable(f"parameters are {some.dtype} on {some.device}")
    if not all(p.requires_grad for p in stacked.values()):
        raise NotCompilable("parameters are frozen")
    if any(group["maximize"] for group in settings):
        raise NotCompilable("the optimizer has maximize=True")
    layers = layers_of(net)
    sizes = {name: p[0].numel() for name, p in stacked.items()}
    if sum(sizes.values()) > MOST_PARAMETERS:
        raise NotCompilable(f"more than {MOST_PARAMETERS} parameters")
    if sum(layer.outputs for layer in layers) > MOST_UNITS:
        raise NotCompilable(f"more than {MOST_UNITS} units")
    ranges, at = {}, 0
    for name, p in stacked.items():
        ranges[id(p)] = (at, at + sizes[name])
        at += sizes[name]
    program = Program(
        double=some.dtype == torch.float64,
        layers=layers,
        loss=loss_of(loss, layers[-1]),
        adam=adam,
        groups=tuple(
            _group(merged(sorted(ranges[id(p)] for p in group)), known)
            for group, known in zip(groups, settings, strict=True)
        ),
        rows=n if batch is None else batch,
        batched=batch is not None,
    )
    return ReplicaKernel(program, load(c_source(program), program.vector_bits))


def _group(ranges: tuple[tuple[int, int], ...], known: Mapping[str, Any]) -> Group:
    momentum = bool(torch.as_tensor(known.get("momentum", 0.0)).any())
    return Group(
        ranges=ranges,
        momentum=momentum,
        nesterov=momentum and bool(known.get("nesterov")),
        decay=bool(torch.as_tensor(known["weight_decay"]).any()),
        decoupled=bool(known.get("decoupled_weight_decay")),
    )


class ReplicaKernel:
    """A compiled loop over replicas and steps; made by :func:`compile_replicas`.

    Attributes:
        compile_seconds: Time the C compiler took; 0 when its work was found in the cache.
        cached: Whether it was.
        parameters: Length p of one replica's parameters.
    """

    def __init__(self, program: Program, library: Library) -> None:
        self.compile_seconds, self.cached = library.seconds, library.cached
        self.parameters = program.parameters
        self._program = program
        self._dtype = torch.float64 if program.double else torch.float32
        self._train = library.handle.train_replicas
        pointer, integer = ctypes.c_void_p, ctypes.c_int64
        self._train.restype = None
        self._train.argtypes = [
            *(integer, integer),
            *[pointer] * 9,
            *(integer, pointer, pointer),
            *(integer, pointer, pointer),
            pointer,
        ]

    def run(
        self,
        x: Tensor,
        y: Tensor,
        steps: int,
        weights: Tensor,
        states: Sequence[Tensor],
        settings: Settings,
        done: Sequence[int],
        begun: Sequence[bool],
        noted: Sequence[int] = (),
        wanted: Sequence[int] = (),
        order: Tensor | None = None,
    ) -> ReplicaResult:
        """Perform optimizer steps for r replicas; may be called by several threads at once.

        Args:
            x: Inputs [n, d].
            y: Targets [n, k].
            steps: Updates to apply.
            weights: Parameters [r, p]; updated in place, up to where a loss was not finite.
            states: Momentum buffers, or Adam's two means [r, p]; updated in place.
            settings: Groups' settings, each a number or float64 [r].
            done: Updates done before, of each group.
            begun: Whether each group's momentum buffers hold something yet.
            noted: Updates in 0..steps - 1 of this call before which the loss is kept.
            wanted: Updates in 1..steps after which the parameters are kept, increasing.
            order: Rows of every step as for :meth:`toyml.compiled.Kernel.run`.
        """
        program, r = self._program, len(weights)
        x, y = (a.detach().to(self._dtype).contiguous() for a in (x, y))
        hyper = self._hyper(settings, done, begun, r)
        scratch = torch.empty(program.scratch, dtype=self._dtype)
        path = torch.empty(steps, dtype=torch.float64)
        at, asked = torch.tensor(noted, dtype=torch.int64), torch.tensor(wanted, dtype=torch.int64)
        losses = torch.empty(r, len(at), dtype=torch.float64)
        rows = torch.full((r, len(asked), self.parameters), float("nan"), dtype=self._dtype)
        reached = torch.zeros(r, dtype=torch.int64)
        first, second = states[0], states[-1]
        self._train(
            r,
            steps,
            x.data_ptr(),
            y.data_ptr(),
            None if order is None else order.data_ptr(),
            weights.data_ptr(),
            first.data_ptr(),
            second.data_ptr(),
            hyper.data_ptr(),
            scratch.data_ptr(),
            path.data_ptr(),
            len(at),
            at.data_ptr(),
            losses.data_ptr(),
            len(asked),
            asked.data_ptr(),
            rows.data_ptr(),
            reached.data_ptr(),
        )
        return ReplicaResult(losses.T, rows, reached)

    def _hyper(
        self, settings: Settings, done: Sequence[int], begun: Sequence[bool], r: int
    ) -> Tensor:
        """Hyper-parameters [r, groups, 6] as the C code reads them."""
        hyper = torch.zeros(r, len(settings), 6, dtype=torch.float64)
        for i, group in enumerate(settings):
            if self._program.adam:
                values = [
                    group["lr"],
                    *group["betas"],
                    group["eps"],
                    group["weight_decay"],
                    done[i],
                ]
            else:
                momentum = torch.as_tensor(group["momentum"], dtype=torch.float64)
                # Without momentum there is no dampening either.
                dampening = torch.where(
                    momentum == 0, 0.0, torch.as_tensor(group["dampening"], dtype=torch.float64)
                )
                values = [group["lr"], momentum, dampening, group["weight_decay"], not begun[i]]
            for j, value in enumerate(values):
                hyper[:, i, j] = torch.as_tensor(value, dtype=torch.float64)
        return hyper.contiguous()
