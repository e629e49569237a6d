"""A disk inside a ring."""

from __future__ import annotations

import numpy as np

from toyml.data.memory import Arrays, InMemory


def rings(n: int, noise: float, generator: np.random.RandomState) -> Arrays:
    """A disk of radius 1 (class 0) inside a ring of radii 3 to 4 (class 1).

    Radius and angle are uniform, so that the disk is densest at its center. Rows alternate:
    class 0, class 1, class 0, ...; each takes its radius, then its angle, from the stream.

    Args:
        n: Points per class.
        noise: Standard deviation of Gaussian noise on both coordinates, drawn after all points.
        generator: Source of the draws; the legacy generator, whose stream never changes.

    Returns:
        x [2n, 2] and y [2n, 1].

    Raises:
        ValueError: No point, or negative noise.

    Example:
        >>> x, y = rings(1000, 0.0, np.random.RandomState(100))
        >>> x[:2].round(8)
        array([[-0.09634987,  0.53479495],
               [ 1.92087852, -2.83505669]])
        >>> y[:4, 0]
        array([0., 1., 0., 1.])
    """
    if n < 1:
        raise ValueError(f"n is {n}; each class needs at least 1 point")
    if not noise >= 0:
        raise ValueError(f"noise is {noise}; a standard deviation has to be 0 or more")
    draws = generator.random_sample((n, 2, 2))
    radius = draws[..., 0] + [0.0, 3.0]
    angle = 2 * np.pi * draws[..., 1]
    x = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=-1).reshape(-1, 2)
    if noise:
        x += noise * generator.standard_normal(x.shape)
    return x, np.tile([[0.0], [1.0]], (n, 1))


class Rings(InMemory):
    """A disk inside a ring: two classes that no line and no strip separates, but a triangle does.

    Args:
        n: Points per class.
        noise: Standard deviation of Gaussian noise on both coordinates; up to 0.3 or so the
            classes stay apart.
        seed: Seed of the data (as in ``np.random.seed``) and of the row order.
        batch_size: Rows per step; ``null`` is the full batch, one step per pass over the data.
        shuffle: Draw a new row order for every pass (mini-batches only).
        block_size: Optimizer steps per block, the unit of checkpoints and early stopping.
        validation: Held-out points per class.

    Raises:
        ValueError: No point, or negative noise.
    """

    def __init__(
        self,
        n: int = 1000,
        noise: float = 0.0,
        seed: int = 100,
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
        # A list of seeds starts another stream than any single seed.
        seed = [self.seed, 1] if held_out else self.seed
        return rings(
            self.validation if held_out else self.n, self.noise, np.random.RandomState(seed)
        )
