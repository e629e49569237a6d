"""Two interleaving half circles."""

from __future__ import annotations

import numpy as np

from toyml.data.memory import Arrays, InMemory


def moons(n: int, noise: float, generator: np.random.Generator) -> Arrays:
    """Two half circles of radius 1, the second turned over and moved by (1, 0.5).

    Args:
        n: Number of points; the first class has n // 2.
        noise: Standard deviation of Gaussian noise on both coordinates.
        generator: Source of the angles and the noise.

    Returns:
        x [n, 2] and y [n, 1], in random order.

    Raises:
        ValueError: Fewer than two points, or negative noise.
    """
    if n < 2:
        raise ValueError(f"n is {n}; two moons need at least 2 points")
    if noise < 0:
        raise ValueError(f"noise is {noise}; a standard deviation has to be 0 or more")
    y = np.arange(n) >= n // 2
    angle = generator.uniform(0, np.pi, n)
    sign = np.where(y, -1.0, 1.0)
    x = np.stack([y + sign * np.cos(angle), y * 0.5 + sign * np.sin(angle)], axis=1)
    x += noise * generator.standard_normal((n, 2))
    order = generator.permutation(n)
    return x[order], y[order, None].astype(np.float64)


class Moons(InMemory):
    """Two interleaving half circles with Gaussian noise, a two-class problem no line solves.

    Args:
        n: Number of points.
        noise: Standard deviation of the noise.
        seed: Seed of the data and of the row order.
        batch_size: Rows per step; ``null`` is the full batch, one step per pass over the data.
        shuffle: Draw a new row order for every pass (mini-batches only).
        block_size: Optimizer steps per block, the unit of checkpoints and early stopping.
        validation: Number of held-out points.

    Raises:
        ValueError: Fewer than two points, or negative noise.
    """

    def __init__(
        self,
        n: int = 1000,
        noise: float = 0.1,
        seed: int = 0,
        batch_size: int | None = None,
        shuffle: bool = True,
        block_size: int = 500,
        validation: int = 0,
    ) -> None:
        super().__init__(batch_size, shuffle, seed, block_size, validation)
        self.n, self.noise = n, noise
        self.arrays()  # a wrong n or noise is an error here, not in the middle of a fit

    def sample(self, held_out: bool) -> Arrays:
        """Draw the training or the held-out points."""
        generator = np.random.default_rng([self.seed, int(held_out)])
        return moons(self.validation if held_out else self.n, self.noise, generator)
