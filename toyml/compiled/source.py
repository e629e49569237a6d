"""The C program of one training problem, as text.

A :class:`Program` says everything the program depends on: widths, activations, loss, update rule,
rows per step and precision become literals; data, parameters, optimizer state and the scalar
hyper-parameters are arguments. Points are the innermost axis of every array and are worked off in
blocks that stay in the first-level cache, so that the compiler vectorizes over points whatever
the widths are. Buffers of activations turn into buffers of deltas (dL/dz) on the way back.

The code must not be compiled with ``-ffast-math``: the range reductions below rely on the order
of additions, the stop at a non-finite loss on NaN and infinity. Sums that may be reordered say so
themselves (``omp simd reduction``).
"""

from __future__ import annotations

from dataclasses import dataclass

BLOCK_BYTES = 24_576
"""Target size of one block's activations: half of a 48 KiB first-level cache."""

UNROLLED = 16
"""Sums of up to this many products are written out; longer ones are looped over in eights."""

FEW_POINTS = 16
"""Blocks of up to this many points: what counts is latency, so loops over units are unrolled."""


@dataclass(frozen=True)
class Activation:
    """An elementwise function a = f(z) whose derivative is an expression in a alone.

    Attributes:
        name: What it is called in the C comments.
        value: C expression of f in ``z``.
        slope: C expression of f'(z) in ``a``; "" stands for 1.
    """

    name: str
    value: str
    slope: str


@dataclass(frozen=True)
class Loss:
    """A mean over points and outputs of l(v, t), v the output and t the target.

    Attributes:
        name: What it is called in the C comments.
        value: C expression of l in ``v`` and ``t``.
        slope: C expression of dl/dv.
    """

    name: str
    value: str
    slope: str


@dataclass(frozen=True)
class Layer:
    """a = f(W x + b) with W [outputs, inputs] stored row by row at ``weight`` in the parameters.

    Attributes:
        inputs: Width before.
        outputs: Width after.
        weight: Offset of W in the flat parameters.
        bias: Offset of b in the flat parameters, ``None`` without.
        activation: f.
    """

    inputs: int
    outputs: int
    weight: int
    bias: int | None
    activation: Activation


@dataclass(frozen=True)
class Group:
    """What of a parameter group shapes the code (values of hyper-parameters do not).

    Attributes:
        ranges: Half-open ranges of the flat parameters that the group updates.
        momentum: SGD keeps a momentum buffer.
        nesterov: SGD looks ahead along the buffer.
        decay: The weight decay is not zero.
        decoupled: Adam shrinks the weights instead of adding to the gradient (AdamW).
    """

    ranges: tuple[tuple[int, int], ...]
    momentum: bool = False
    nesterov: bool = False
    decay: bool = False
    decoupled: bool = False


@dataclass(frozen=True)
class Program:
    """All that the C text depends on.

    Attributes:
        double: float64 instead of float32.
        layers: The net, input first.
        loss: The loss.
        adam: Adam or AdamW instead of SGD.
        groups: Parameter groups, in the optimizer's order.
        rows: Rows per step: n for the full batch, else the batch size.
        batched: Rows are chosen by indices at every step.
    """

    double: bool
    layers: tuple[Layer, ...]
    loss: Loss
    adam: bool
    groups: tuple[Group, ...]
    rows: int
    batched: bool

    @property
    def parameters(self) -> int:
        """Length p of the flat parameters."""
        ends = [layer.weight + layer.inputs * layer.outputs for layer in self.layers]
        ends += [layer.bias + layer.outputs for layer in self.layers if layer.bias is not None]
        return max(ends)

    @property
    def units(self) -> int:
        """Values kept per point: those of all layers."""
        return sum(layer.outputs for layer in self.layers)

    @property
    def block(self) -> int:
        """Points per block: the rows evenly divided, rounded up to whole vectors."""
        per_point = (self.units + self.layers[0].inputs) * (8 if self.double else 4)
        limit = max(16, BLOCK_BYTES // per_point // 16 * 16)
        even = -(-self.rows // -(-self.rows // limit))
        lane = next(lane for lane in (1, 4, 8, 16) if even <= lane or lane == 16)
        return even if even <= 4 else -(-even // lane) * lane

    @property
    def vector_bits(self) -> int:
        """Vector width to prefer.

        Vectors wider than the rows of a block would be loaded from several narrower stores, which
        the processor cannot forward: a 2-5-1 net on 4 points takes 0.08 instead of 0.13 µs a step.
        """
        row = self.block * (8 if self.double else 4)
        return 128 if row <= 16 else 256 if row <= 256 else 512

    @property
    def blocks(self) -> int:
        """Blocks per step."""
        return -(-self.rows // self.block)

    @property
    def scratch(self) -> int:
        """Values of scratch the caller provides: inputs and targets in block layout."""
        return self.blocks * self.block * (self.layers[0].inputs + self.layers[-1].outputs)


# Each function is branch-free (two clamps in a row would become jumps and stop vectorization),
# within a few units in the last place of the exact value, and passes NaN on.
MATHEMATICS = """
/* x = n ln 2 + r with |r| <= ln(2)/2 for x <= 0: returns e^r - 1 and writes 2^n, 0 on underflow.
   Adding SHIFT = 1.5 * 2^MANTISSA rounds to an integer and leaves it in the lowest bits. */
INLINE T reduced_expm1(T x, T *scale) {
    x = x < EXP_MIN ? EXP_MIN : x;
    union { T x; BITS i; } n = { x * (T)1.4426950408889634 + SHIFT }, power;
    const T whole = n.x - SHIFT;
    const T r = (x - whole * LN2_HIGH) - whole * LN2_LOW;
    power.i = (BITS)((UBITS)(n.i + BIAS) << MANTISSA);
    *scale = power.x;
    return r + r * r * EXP_SERIES;
}

/* e^x for x <= 0. */
INLINE T exp_(T x) {
    T scale;
    const T e = reduced_expm1(x, &scale);
    return scale + scale * e;
}

/* e^x - 1 for x <= 0. */
INLINE T expm1_(T x) {
    T scale;
    const T e = reduced_expm1(x, &scale);
    return scale * e + (scale - 1);
}

/* 2 atanh(s) = log((1 + s) / (1 - s)) for |s| <= 1/3, by its series. */
INLINE T twice_atanh(T s) {
    const T z = s * s;
    return 2 * s * ATANH_SERIES;
}

/* log(1 + x) for 0 <= x <= 1. */
INLINE T log1p_(T x) { return twice_atanh(x / (2 + x)); }

/* log x for 0 < x < infinity, normal. */
INLINE T log_(T x) {
    union { T x; BITS i; } u = { x };
    const int n = (int)((u.i - ROOT_HALF) >> MANTISSA);
    u.i -= (BITS)((UBITS)n << MANTISSA);
    const T f = u.x - 1;
    return (T)n * LN2_HIGH + (twice_atanh(f / (2 + f)) + (T)n * LN2_LOW) + (x - x);
}

/* max(log p, -100) for 0 <= p <= 1. */
INLINE T floored_log(T p) { return p < LOG_FLOOR ? (T)-100 : log_(p); }

/* max(log(1 - p), -100); the second term restores what 1 - p rounds away. */
INLINE T floored_log1m(T p) {
    const T u = 1 - p;
    return u < LOG_FLOOR ? (T)-100 : log_(u) - (p - (1 - u)) / u;
}

/* sigmoid(z) from e = exp(-|z|): nothing overflows, nothing cancels. */
INLINE T sigmoid_of(T z, T e) { return (z < 0 ? e : 1) / (1 + e); }

INLINE T sigmoid_(T z) { return sigmoid_of(z, exp_(-ABS(z))); }

/* z = n ln(2)/2 + r with |r| <= ln(2)/4. tanh r = odd/even by Lambert's continued fraction, whose
   coefficients are whole numbers, and tanh(n ln(2)/2) = (2^n - 1)/(2^n + 1); one division for
   both. Beyond SATURATED the value is 1. */
INLINE T tanh_(T z) {
    const T a = ABS(z) > SATURATED ? COPYSIGN(SATURATED, z) : z;
    union { T x; BITS i; } n = { a * (T)2.8853900817779268 + SHIFT }, power;
    const T r = a - (n.x - SHIFT) * (T)0.34657359027997265, q = r * r;
    power.i = (BITS)((UBITS)(n.i + BIAS) << MANTISSA);
    const T up = power.x + 1, down = power.x - 1;
    const T odd = r * (TANH_ODD), even = TANH_EVEN;
    return (down * even + up * odd) / (up * even + down * odd);
}

INLINE T softplus_(T z) {
    const T a = (z > 0 ? z : 0) + log1p_(exp_(-ABS(z)));
    return z > 20 ? z : a;
}
"""

# Rebuilding the running power every 32 steps bounds its rounding error; starting from the last
# multiple of 32 makes the result independent of how the steps are divided among calls.
POWER = """
/* beta^t, from beta^(t-1) where that is known. */
static double advance_power(double previous, double beta, long t, int known) {
    if (t % 32 == 0) return pow(beta, (double)t);
    if (known) return previous * beta;
    double power = pow(beta, (double)(t - t % 32));
    for (long i = t % 32; i > 0; i--) power *= beta;
    return power;
}
"""


def c_source(program: Program) -> str:
    """The complete C text; exports ``train``."""
    parts = [
        head(program, f"{'Adam' if program.adam else 'SGD'}, {program.rows} rows a step"),
        MATHEMATICS,
        functions(program),
        gather(program),
        _block(program),
        POWER if program.adam else "",
        *(_update(program, index) for index in range(len(program.groups))),
        _train(program),
        _train_replicas(program),
    ]
    return "\n".join(part.strip() for part in parts if part) + "\n"


def head(program: Program, what: str) -> str:
    """A comment on what the text is, types, constants of the mathematics, and sizes."""
    widths = "-".join(str(layer.outputs) for layer in program.layers)
    kind, terms, atanh_terms = ("double", 13, 17) if program.double else ("float", 7, 9)
    suffix = "" if program.double else "f"
    # LN2_HIGH has trailing zeros, so that its products with whole numbers are exact; LOG_FLOOR is
    # exp(-100) or the smallest normal number; ROOT_HALF holds the bits of sqrt(1/2).
    numbers = (
        "BITS int64_t|UBITS uint64_t|BIAS 1023|MANTISSA 52|SHIFT 6755399441055744.0|EXP_MIN -709.0|"
        "LN2_HIGH 6.93147180369123816490e-01|LN2_LOW 1.90821492927058770002e-10|"
        "LOG_FLOOR 3.720075976020836e-44|ROOT_HALF 0x3fe6a09e667f3bcd|SATURATED 20.0|"
        "TANH_ODD (21 * q + 1260) * q + 10395|TANH_EVEN ((q + 210) * q + 4725) * q + 10395"
        if program.double
        else "BITS int32_t|UBITS uint32_t|BIAS 127|MANTISSA 23|SHIFT 12582912.0f|EXP_MIN -88.0f|"
        "LN2_HIGH 0.693359375f|LN2_LOW -2.12194440e-4f|LOG_FLOOR 1.17549435e-38f|"
        "ROOT_HALF 0x3f3504f3|SATURATED 10.0f|"
        "TANH_ODD 10 * q + 105|TANH_EVEN (q + 45) * q + 105"
    )
    factorials = [1.0]
    for k in range(1, terms + 1):
        factorials.append(factorials[-1] * k)
    lines = [
        f"/* {program.layers[0].inputs}-{widths}, {program.loss.name}, {what}. */",
        "#include <math.h>",
        "#include <stdint.h>",
        "#include <string.h>",
        f"typedef {kind} T;",
        "#define INLINE static inline __attribute__((always_inline))",
        f"#define ABS __builtin_fabs{suffix}",
        f"#define COPYSIGN __builtin_copysign{suffix}",
        f"#define SQRT __builtin_sqrt{suffix}",
        *(f"#define {number}" for number in numbers.split("|")),
        f"#define EXP_SERIES {horner([1 / f for f in factorials[2:]], 'r')}",
        f"#define ATANH_SERIES {horner([1 / (2 * k + 1) for k in range(atanh_terms)], 'z')}",
        f"enum {{ D = {program.layers[0].inputs}, K = {program.layers[-1].outputs}, "
        f"P = {program.parameters}, ROWS = {program.rows}, B = {program.block}, "
        f"BLOCKS = {program.blocks} }};",
    ]
    return "\n".join(lines)


def horner(coefficients: list[float], name: str) -> str:
    """C text of the polynomial with these coefficients, lowest first."""
    text = f"(T){coefficients[-1]!r}"
    for coefficient in reversed(coefficients[:-1]):
        text = f"((T){coefficient!r} + {name} * {text})"
    return text


def functions(program: Program) -> str:
    """Activations and the loss, with their slopes."""
    lines = []
    for index, activation in enumerate((layer.activation for layer in program.layers), 1):
        if activation.slope:
            lines.append(f"/* {activation.name} */")
            lines.append(f"INLINE T f{index}(T z) {{ return {activation.value}; }}")
            lines.append(f"INLINE T df{index}(T a) {{ return {activation.slope}; }}")
    lines.append(f"INLINE T loss_value(T v, T t) {{ return {program.loss.value}; }}")
    lines.append(f"INLINE T loss_slope(T v, T t) {{ return {program.loss.slope}; }}")
    return "\n".join(lines)


def gather(program: Program) -> str:
    """Rows into blocks with points innermost; gaps are filled with the first row."""
    return """
static void place(const T *x, const T *y, long row, T *X, T *Y, long at) {
    const long b = at / B, i = at % B;
    for (int j = 0; j < D; j++) X[(b * D + j) * B + i] = x[row * D + j];
    for (int j = 0; j < K; j++) Y[(b * K + j) * B + i] = y[row * K + j];
}

/* The chosen rows (all when order is 0; indices below 0 are left out) as X [block][D][B] and
   Y [block][K][B]; the places behind them repeat the first row. Returns how many there are. */
static long gather(const T *x, const T *y, const int64_t *order, T *X, T *Y) {
    long count = 0, first = 0;
    for (long r = 0; r < ROWS; r++) {
        const long row = order ? order[r] : r;
        if (row < 0) continue;
        if (count == 0) first = row;
        place(x, y, row, X, Y, count++);
    }
    for (long at = count; at < (long)BLOCKS * B; at++) place(x, y, first, X, Y, at);
    return count;
}
"""


def _block(program: Program) -> str:
    """Forward, loss and gradient of one block: adds to G, returns the sum of the losses."""
    ragged = program.batched or program.rows % program.block
    keep = "i < count ? {} : 0" if ragged else "{}"
    last = len(program.layers)
    slope = _slope(program, last, "v")
    lines = [
        "/* Adds the block's gradient to G; returns its sum of losses (first count points). */",
        "INLINE T block(const T *restrict w, const T *restrict a0, const T *restrict y,",
        "               T *restrict G, T share, int count) {",
    ]
    for index, layer in enumerate(program.layers, 1):
        lines.append(f"    _Alignas(64) T a{index}[{layer.outputs} * B];")
    for index in range(1, last + 1):
        lines += forward(program, index)
    lines += [
        "    T sum = 0;",
        "    for (int o = 0; o < K; o++) {",
        '        _Pragma("omp simd reduction(+:sum)")',
        "        for (int i = 0; i < B; i++) {",
        f"            const T v = a{last}[o * B + i], t = y[o * B + i];",
        f"            const T l = loss_value(v, t), s = loss_slope(v, t) * share{slope};",
        f"            sum += {keep.format('l')};",
        f"            a{last}[o * B + i] = {keep.format('s')};",
        "        }",
        "    }",
    ]
    for index in range(last, 0, -1):
        lines += _gradient(program, index)
        if index > 1:
            lines += _back(program, index)
    return "\n".join([*lines, "    return sum;", "}"])


def _slope(program: Program, index: int, name: str) -> str:
    """`` * f'`` of a layer in terms of the activation called name."""
    return f" * df{index}({name})" if program.layers[index - 1].activation.slope else ""


def _split(count: int, unrolled: int) -> tuple[int, int]:
    """How many terms are looped over in eights, and how many are written out."""
    return (count - count % 8, count % 8) if count > unrolled else (0, count)


def _over(program: Program, name: str, count: int) -> list[str]:
    """Head of a loop over units; written out where a step takes as long as a few jumps."""
    few = program.block <= FEW_POINTS and count <= UNROLLED
    pragma = [f'    _Pragma("GCC unroll {count}")'] if few and count > 1 else []
    return [*pragma, f"    for (int {name} = 0; {name} < {count}; {name}++) {{"]


def forward(program: Program, index: int) -> list[str]:
    """Statements that fill a block's activations of one layer from those before."""
    layer = program.layers[index - 1]
    looped, rest = _split(layer.inputs, UNROLLED)
    bias = "0" if layer.bias is None else f"w[{layer.bias} + o]"

    def products(first: str, count: int) -> str:
        return " + ".join(f"u[{first}{j}] * x[({first}{j}) * B + i]" for j in range(count))

    lines = [
        *_over(program, "o", layer.outputs),
        f"        const T *u = w + {layer.weight} + o * {layer.inputs}, *x = a{index - 1};",
        f"        T *z = a{index} + o * B;",
    ]
    start = f"{bias} + " if layer.bias is not None else ""
    if not looped:
        lines += _simd(f"z[i] = {start}{products('', rest)};")
    else:
        lines += _simd(f"z[i] = {bias};")
        lines.append(f"        for (int j = 0; j < {looped}; j += 8)")
        lines += _simd(f"z[i] += {products('j + ', 8)};")
        if rest:
            lines += _simd(f"z[i] += {products(f'{looped} + ', rest)};")
    lines.append("    }")
    if layer.activation.slope:
        a = f"a{index}[i]"
        lines.append('    _Pragma("omp simd")')
        lines.append(f"    for (int i = 0; i < {layer.outputs} * B; i++) {a} = f{index}({a});")
    return lines


def _simd(body: str, reduction: str = "") -> list[str]:
    clause = f" reduction(+:{reduction})" if reduction else ""
    return [
        f'        _Pragma("omp simd{clause}")',
        f"        for (int i = 0; i < B; i++) {{ {body} }}",
    ]


def _gradient(program: Program, index: int) -> list[str]:
    """dL/dW[o, j] = sum_i delta[o, i] x[j, i]; dL/db[o] = sum_i delta[o, i]."""
    layer = program.layers[index - 1]
    looped, rest = _split(layer.inputs, 8)
    lines = [
        *_over(program, "o", layer.outputs),
        f"        const T *d = a{index} + o * B, *x = a{index - 1};",
        f"        T *g = G + {layer.weight} + o * {layer.inputs};",
    ]

    def sums(first: str, count: int, bias: bool) -> list[str]:
        names = [f"s{j}" for j in range(count)] + (["sb"] if bias else [])
        body = " ".join(f"s{j} += d[i] * x[({first}{j}) * B + i];" for j in range(count))
        body += " sb += d[i];" if bias else ""
        out = [f"        T {', '.join(f'{name} = 0' for name in names)};"]
        out += _simd(body, ", ".join(names))
        out += [f"        g[{first}{j}] += s{j};" for j in range(count)]
        if bias:
            out.append(f"        G[{layer.bias} + o] += sb;")
        return out

    if looped:
        lines.append(f"        for (int j = 0; j < {looped}; j += 8) {{")
        lines += sums("j + ", 8, False)
        lines.append("        }")
    if rest or layer.bias is not None:
        lines += sums(f"{looped} + " if looped else "", rest, layer.bias is not None)
    lines.append("    }")
    return lines


def _back(program: Program, index: int) -> list[str]:
    """delta[j, i] = f'(z) sum_o W[o, j] delta[o, i], written over the activation."""
    layer = program.layers[index - 1]
    looped, rest = _split(layer.outputs, UNROLLED)
    slope = _slope(program, index - 1, "a[i]")
    J = layer.inputs

    def products(first: str, count: int) -> str:
        return " + ".join(f"u[({first}{o}) * {J}] * d[({first}{o}) * B + i]" for o in range(count))

    lines = [
        *_over(program, "j", J),
        f"        const T *u = w + {layer.weight} + j, *d = a{index};",
        f"        T *a = a{index - 1} + j * B;",
    ]
    if not looped:
        lines += _simd(f"a[i] = ({products('', rest)}){slope};")
    else:
        lines.append("        _Alignas(64) T sums[B] = { 0 };")
        lines.append(f"        for (int o = 0; o < {looped}; o += 8)")
        lines += _simd(f"sums[i] += {products('o + ', 8)};")
        if rest:
            lines += _simd(f"sums[i] += {products(f'{looped} + ', rest)};")
        lines += _simd(f"a[i] = sums[i]{slope};")
    lines.append("    }")
    return lines


def _update(program: Program, index: int) -> str:
    """One group's update rule as a function of its hyper-parameters h and the step."""
    group = program.groups[index]
    if program.adam:
        before, body = _adam(group)
    else:
        before, body = _sgd(group)
    lines = [
        f"INLINE void update{index}(T *restrict w, const T *restrict G, T *restrict M,",
        "                    T *restrict V, const double *h, double *p) {",
        "    (void)M, (void)V, (void)p;",
        *(f"    {line}" for line in before),
    ]
    for start, stop in group.ranges:
        lines.append('    _Pragma("omp simd")')
        lines.append(f"    for (int q = {start}; q < {stop}; q++) {{")
        lines += [f"        {line}" for line in body]
        lines.append("    }")
    return "\n".join([*lines, "}"])


def _sgd(group: Group) -> tuple[list[str], list[str]]:
    before = ["const T rate = (T)-h[0];"]
    body = ["T g = G[q];"]
    if group.decay:
        before.append("const T decay = (T)h[3];")
        body.append("g += decay * w[q];")
    if group.momentum:
        # p[0] is 1 while the buffer does not exist: it starts as the gradient, undampened.
        before.append("const T momentum = (T)h[1], fresh = p[0] ? 1 : (T)(1 - h[2]);")
        body.append("M[q] = momentum * M[q] + fresh * g;")
        body.append("g = g + momentum * M[q];" if group.nesterov else "g = M[q];")
    return before, [*body, "w[q] += rate * g;"]


def _adam(group: Group) -> tuple[list[str], list[str]]:
    before = [
        "const T c1 = (T)(1 - h[1]), b2 = (T)h[2], c2 = (T)(1 - h[2]), eps = (T)h[3];",
        "const T rate = (T)(-h[0] / (1 - p[0])), root = (T)(1 / sqrt(1 - p[1]));",
    ]
    body = ["T g = G[q];"]
    if group.decay and group.decoupled:
        before.append("const T shrink = (T)(1 - h[0] * h[4]);")
        body.append("w[q] *= shrink;")
    elif group.decay:
        before.append("const T decay = (T)h[4];")
        body.append("g += decay * w[q];")
    body += [
        "M[q] += c1 * (g - M[q]);",
        "V[q] = b2 * V[q] + c2 * g * g;",
        "w[q] += rate * (M[q] / (SQRT(V[q]) * root + eps));",
    ]
    return before, body


def _train(program: Program) -> str:
    """The loop over steps."""
    count = len(program.groups)
    number = "5" if program.adam else "4"
    calls, after = [], []
    for g in range(count):
        h, p = f"h + {6 * g}", f"p + {2 * g}"
        if program.adam:
            for k in (0, 1):
                calls.append(
                    f"        p[{2 * g + k}] = advance_power(p[{2 * g + k}], h[{6 * g + 1 + k}], "
                    f"(long)h[{6 * g + 5}] + s + 1, s > 0);"
                )
        calls.append(f"        update{g}(w, G, M, V, {h}, {p});")
        if not program.adam:
            after.append(f"        p[{2 * g}] = 0;")
    starts = (
        "" if program.adam else f"    for (int g = 0; g < {count}; g++) p[2 * g] = h[6 * g + 4];"
    )
    chosen = "gather(x, y, order + s * ROWS, X, Y)" if program.batched else "ROWS"
    once = "" if program.batched else "    gather(x, y, 0, X, Y);"
    here = "count - b * B < B ? (int)(count - b * B) : B"
    lines = f"""
/* Up to `steps` updates of w. losses[s] is the mean loss before update s; rows receives w after
   the updates numbered in wanted (from 1, increasing). Returns the number of updates, fewer than
   steps when a loss was not finite. h: six numbers per group, h[{number}] of each says whence it
   starts (Adam: updates so far; SGD: 1 when there is no momentum buffer yet). */
int64_t train(int64_t steps, const T *x, const T *y, const int64_t *order, T *restrict w,
              T *restrict M, T *restrict V, const double *restrict h, T *restrict scratch,
              double *restrict losses, int64_t asked, const int64_t *wanted, T *restrict rows) {{
    T *X = scratch, *Y = scratch + (long)BLOCKS * B * D;
    double p[{2 * count}];
    int64_t next = 0;
    (void)order;
{starts}
{once}
    for (int64_t s = 0; s < steps; s++) {{
        const long count = {chosen};
        const T share = (T)(1.0 / ((double)count * K));
        _Alignas(64) T G[P] = {{ 0 }};
        double total = 0;
        for (long b = 0; b < BLOCKS; b++)
            total += block(w, X + b * B * D, Y + b * B * K, G, share, {here});
        losses[s] = total / ((double)count * K);
        if (!__builtin_isfinite(losses[s])) return s;
%s
        if (next < asked && wanted[next] == s + 1) memcpy(rows + P * next++, w, sizeof(T) * P);
    }}
    return steps;
}}
"""
    return lines % "\n".join([*calls, *after])


def _train_replicas(program: Program) -> str:
    """The loop over replicas."""
    return f"""
/* `count` replicas one after the other: w, M, V and rows hold one after the other, and so does h.
   losses: room for `steps` numbers. kept receives the losses before the updates numbered in noted
   (from 0), NaN beyond the one where a replica stopped; done how many updates each did. */
void train_replicas(int64_t count, int64_t steps, const T *x, const T *y, const int64_t *order,
                    T *w, T *M, T *V, const double *h, T *scratch, double *losses,
                    int64_t noted, const int64_t *at, double *kept,
                    int64_t asked, const int64_t *wanted, T *rows, int64_t *done) {{
    for (int64_t r = 0; r < count; r++) {{
        done[r] = train(steps, x, y, order, w + r * P, M + r * P, V + r * P,
                        h + r * {6 * len(program.groups)}, scratch, losses, asked, wanted,
                        rows + r * asked * P);
        for (int64_t i = 0; i < noted; i++)
            kept[r * noted + i] = at[i] <= done[r] ? losses[at[i]] : __builtin_nan("");
    }}
}}
"""
