"""Losses of one net at many parameters, as generated C: landscapes and paths."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from toyml.compiled.compiler import Library, NotCompilable, load
from toyml.compiled.kernel import MOST_PARAMETERS, MOST_UNITS, layers_of, loss_of
from toyml.compiled.source import (
    MATHEMATICS,
    Loss,
    Program,
    forward,
    functions,
    gather,
    head,
    horner,
)

LOGARITHM = """
/* log(1 + u) for 0 <= u <= 15; the last term restores what 1 + u rounds away. */
INLINE T log1p_to_15(T u) {
    const T x = 1 + u;
    union { T x; BITS i; } m = { x };
    const int n = (int)((m.i - ROOT_HALF) >> MANTISSA);
    m.i -= (BITS)((UBITS)n << MANTISSA);
    const T f = m.x - 1, s = f / (2 + f), z = s * s;
    const T log = (T)n * LN2_HIGH + (2 * s * TERMS + (T)n * LN2_LOW);
    return log + (u - (x - 1)) / x + (u - u);
}
"""


def compile_losses(
    net: nn.Module, losses: Sequence[nn.Module], n: int, dtype: torch.dtype
) -> LossKernel:
    """Compile the forward pass and some losses of a fully connected net.

    Args:
        net: As for ``compile_training``.
        losses: Each as for ``compile_training``.
        n: Rows of the data.
        dtype: float32 or float64, of parameters and data; that of the net itself plays no part.

    Raises:
        NotCompilable: This has no compiled form, or there is no C compiler.
        ValueError: No losses, or n is not positive.
    """
    if n < 1 or not losses:
        raise ValueError(f"n is {n} and there are {len(losses)} losses; give at least 1 of each")
    if dtype not in (torch.float32, torch.float64):
        raise NotCompilable(f"{dtype} has no compiled form")
    layers = layers_of(net)
    if sum(p.numel() for p in net.parameters()) > MOST_PARAMETERS:
        raise NotCompilable(f"more than {MOST_PARAMETERS} parameters")
    if sum(layer.outputs for layer in layers) > MOST_UNITS:
        raise NotCompilable(f"more than {MOST_UNITS} units")
    values = [loss_of(loss, layers[-1]) for loss in losses]
    program = Program(
        double=dtype == torch.float64,
        layers=layers,
        loss=values[0],
        adam=False,
        groups=(),
        rows=n,
        batched=False,
    )
    return LossKernel(program, len(values), load(_text(program, values), program.vector_bits))


class LossKernel:
    """Losses at many parameters; made by :func:`compile_losses`.

    Attributes:
        compile_seconds: Time the C compiler took; 0 when its work was found in the cache.
    """

    def __init__(self, program: Program, count: int, library: Library) -> None:
        self.compile_seconds = library.seconds
        self._program, self._count = program, count
        self._dtype = torch.float64 if program.double else torch.float32
        self._evaluate = library.handle.evaluate
        self._evaluate.restype = None
        self._evaluate.argtypes = [ctypes.c_int64, *[ctypes.c_void_p] * 5]

    def __call__(self, rows: Tensor, x: Tensor, y: Tensor) -> Tensor:
        """The losses at every row of parameters, summed over points in float64.

        Args:
            rows: Flat parameters [t, p], in the order of ``net.parameters()``.
            x: Inputs [n, d].
            y: Targets [n, k].

        Returns:
            [losses, t]; NaN and infinity where PyTorch has them.

        Raises:
            ValueError: Shapes, dtypes or devices other than what was compiled.
        """
        program = self._program
        widths = (program.parameters, program.layers[0].inputs, program.layers[-1].outputs)
        shapes = [(len(rows), widths[0]), (program.rows, widths[1]), (program.rows, widths[2])]
        given = [values.detach().contiguous() for values in (rows, x, y)]
        for values, shape in zip(given, shapes, strict=True):
            if (tuple(values.shape), values.dtype) != (shape, self._dtype) or not values.is_cpu:
                raise ValueError(
                    f"a tensor is {list(values.shape)}, {values.dtype}, on {values.device}; the "
                    f"kernel takes {list(shape)}, {self._dtype}, on the CPU"
                )
        scratch = torch.empty(program.scratch, dtype=self._dtype)
        result = torch.empty(self._count, len(rows), dtype=self._dtype)
        w, data, targets = (values.data_ptr() for values in given)
        self._evaluate(len(rows), data, targets, w, scratch.data_ptr(), result.data_ptr())
        return result


def _text(program: Program, losses: Sequence[Loss]) -> str:
    """The complete C text; exports ``evaluate``."""
    parts = [
        head(program, f"{len(losses)} losses of {program.rows} rows"),
        MATHEMATICS,
        LOGARITHM.replace("TERMS", horner([1 / (2 * k + 1) for k in range(11)], "z")),
        functions(program),
        *(
            f"INLINE T value{k}(T v, T t) {{ return {loss.value}; }}"
            for k, loss in enumerate(losses)
        ),
        gather(program),
        _block(program, losses),
        _evaluate(len(losses)),
    ]
    return "\n".join(part.strip() for part in parts) + "\n"


def _block(program: Program, losses: Sequence[Loss]) -> str:
    """Forward pass and losses of one block."""
    last = len(program.layers)
    lines = [
        "/* Adds the sum of each loss over the block's first count points to sums. */",
        "INLINE void block(const T *restrict w, const T *restrict a0, const T *restrict y,",
        "                  double *restrict sums, int count) {",
        "    (void)count;",
    ]
    for index, layer in enumerate(program.layers, 1):
        lines.append(f"    _Alignas(64) T a{index}[{layer.outputs} * B];")
    for index in range(1, last + 1):
        lines += forward(program, index)
    value = "i < count ? l : 0" if program.rows % program.block else "l"
    for k, loss in enumerate(losses):
        # In float32 the logarithm is cheap enough.
        if loss.name == "BCEWithLogitsLoss" and program.double and program.block % 4 == 0:
            lines += _cross_entropy(program, k)
            continue
        lines += [
            "    for (int o = 0; o < K; o++) {",
            "        T sum = 0;",
            '        _Pragma("omp simd reduction(+:sum)")',
            "        for (int i = 0; i < B; i++) {",
            f"            const T l = value{k}(a{last}[o * B + i], y[o * B + i]);",
            f"            sum += {value};",
            "        }",
            f"        sums[{k}] += sum;",
            "    }",
        ]
    return "\n".join([*lines, "}"])


def _cross_entropy(program: Program, k: int) -> list[str]:
    """Cross-entropy of logits with one logarithm for four points.

    log(1 + a) + log(1 + b) = log(1 + (a + b + a b)) loses no digits, for a and b are positive.
    """
    last = len(program.layers)
    inside = " && at < count" if program.rows % program.block else ""
    return [
        "    for (int o = 0; o < K; o++) {",
        "        T sum = 0;",
        '        _Pragma("omp simd reduction(+:sum)")',
        "        for (int i = 0; i < B / 4; i++) {",
        "            T u = 0;",
        *(
            line
            for part in range(4)
            for line in (
                f"            {{ const int at = i + {part} * (B / 4);",
                f"              const T v = a{last}[o * B + at], t = y[o * B + at];",
                f"              const T e = 1{inside} ? exp_(-ABS(v)) : 0;",
                f"              sum += 1{inside} ? (v > 0 ? v : 0) - v * t : 0;",
                "              u += e + u * e; }",
            )
        ),
        "            sum += log1p_to_15(u);",
        "        }",
        f"        sums[{k}] += sum;",
        "    }",
    ]


def _evaluate(count: int) -> str:
    """The loop over parameters."""
    return f"""
/* result[k][p]: mean loss k at the parameters w[p][P]. */
void evaluate(int64_t points, const T *x, const T *y, const T *restrict w, T *restrict scratch,
              T *restrict result) {{
    T *X = scratch, *Y = scratch + (long)BLOCKS * B * D;
    gather(x, y, 0, X, Y);
    for (int64_t p = 0; p < points; p++) {{
        double sums[{count}] = {{ 0 }};
        for (long b = 0; b < BLOCKS; b++)
            block(w + p * P, X + b * B * D, Y + b * B * K, sums,
                  ROWS - b * B < B ? (int)(ROWS - b * B) : B);
        for (int k = 0; k < {count}; k++)
            result[k * points + p] = (T)(sums[k] / ((double)ROWS * K));
    }}
}}
"""
