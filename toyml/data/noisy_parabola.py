"""A noisy parabola, for a line to be fitted to."""

from __future__ import annotations

import numpy as np

from toyml.data.memory import Arrays, InMemory


def noisy_parabola(n: int, noise: float, generator: np.random.RandomState) -> Arrays:
    r"""Points around a parabola, rounded to float32.

    .. math:: x_i \sim N(0, 1), \qquad y_i = \tfrac34 x_i^2 + x_i + 2 + \text{noise} \cdot N(0, 1)

    All x are drawn before the first y. The parabola is evaluated in float32, the noise is added in
    float64 and the sum rounded to float32: losses of float32 training depend on every bit of it.

    Args:
        n: Number of points.
        noise: Standard deviation of the noise on y.
        generator: NumPy's legacy generator; it gives the draws of ``np.random.seed``.

    Returns:
        x [n, 1] and y [n, 1]: float64 that hold float32 values.

    Raises:
        ValueError: Fewer than two points, or a negative noise.

    Example:
        >>> x, y = noisy_parabola(50, 0.3, np.random.RandomState(20240215))
        >>> x.shape, bool((y == y.astype(np.float32)).all())
        ((50, 1), True)
    """
    if n < 2:
        raise ValueError(f"n is {n}; a line needs at least 2 points")
    if not 0 <= noise < np.inf:
        raise ValueError(f"noise is {noise}; a standard deviation has to be 0 or more")
    x = generator.randn(n).astype(np.float32)
    parabola = np.float32(0.75) * x**2 + x + np.float32(2.0)
    y = (parabola + noise * generator.randn(n)).astype(np.float32)
    return x[:, None].astype(np.float64), y[:, None].astype(np.float64)


class NoisyParabola(InMemory):
    """Points around y = 0.75 x² + x + 2 with x from a standard normal: a line cannot fit them.

    Args:
        n: Number of points.
        noise: Standard deviation of the noise on y.
        seed: Seed of the data and of the row order.
        batch_size: Rows per step; ``null`` is the full batch, one step per pass over the data.
        shuffle: Draw a new row order for every pass (mini-batches only).
        block_size: Optimizer steps per block, the unit of checkpoints and early stopping.
        validation: Number of held-out points; 0, or at least 2.

    Raises:
        ValueError: Fewer than two points, a negative noise, or a seed out of NumPy's range.
    """

    def __init__(
        self,
        n: int = 50,
        noise: float = 0.3,
        seed: int = 20240215,
        batch_size: int | None = None,
        shuffle: bool = True,
        block_size: int = 500,
        validation: int = 0,
    ) -> None:
        super().__init__(batch_size, shuffle, seed, block_size, validation)
        if seed >= 2**32:
            raise ValueError(f"data seed is {seed}; it has to be below 2**32")
        if validation == 1:
            raise ValueError("validation is 1; give 0 or at least 2 held-out points")
        self.n, self.noise = n, noise
        self.arrays()  # a wrong n or noise is an error here, not in the middle of a fit

    def sample(self, held_out: bool) -> Arrays:
        """Draw the training or the held-out points."""
        # A list seeds another stream than the number alone.
        seed = [self.seed, 1] if held_out else self.seed
        generator = np.random.RandomState(seed)
        return noisy_parabola(self.validation if held_out else self.n, self.noise, generator)
