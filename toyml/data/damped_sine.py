"""A sine whose amplitude falls from left to right."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from toyml.data.memory import Arrays, InMemory

FREQUENCY, DECAY = 3.0, 8.0


def damped_sine(
    length: float = 10.0, step: float = 0.1, flipped: bool = False, symmetric: bool = False
) -> Arrays:
    r"""The function :math:`y = \sin(3x)\, e^{-x/8}` on :math:`-L, -L + s, \dots` below L.

    Args:
        length: L, half the length of the interval.
        step: s, the distance of neighbouring points.
        flipped: Reverse the values over the same points, so that the amplitude grows.
        symmetric: The control: :math:`y = \sin(3x)` without the envelope, on the grid moved by
            half the length of what it lacks at the right, so that x and -x occur together.

    Returns:
        x [n, 1] and y [n, 1], x increasing.

    Raises:
        ValueError: A length or step that is not positive, or fewer than two points.

    Example:
        >>> x, y = damped_sine()
        >>> x.shape, round(float((y**2).mean()), 6)
        ((200, 1), 1.256773)
        >>> x, y = damped_sine(1.0, 0.5, symmetric=True)
        >>> x[:, 0]
        array([-0.75, -0.25,  0.25,  0.75])
    """
    if not (length > 0 and step > 0):
        raise ValueError(f"length is {length} and step {step}; both have to be above 0")
    x = np.arange(-length, length, step)
    if len(x) < 2:
        raise ValueError(
            f"step is {step} and length {length}, which is one point; give a smaller step"
        )
    if symmetric:
        x = step * (np.arange(len(x)) - (len(x) - 1) / 2)
    y = np.sin(FREQUENCY * x) * (1.0 if symmetric else np.exp(-x / DECAY))
    return x[:, None], (y[::-1] if flipped else y)[:, None]


class DampedSine(InMemory):
    """A damped sine on a grid: its left end is 12 times as high as its right end.

    Args:
        length: Half the length of the interval.
        step: Distance of neighbouring points; the number of points is about 2 length / step.
        n: Number of points, instead of a step: the step becomes 2 length / n.
        flipped: Reverse the values, so that the amplitude grows from left to right.
        symmetric: The control: no envelope, and a grid on which x and -x occur together.
        noise: Standard deviation of Gaussian noise on y.
        seed: Seed of the noise and of the row order.
        batch_size: Rows per step; ``null`` is the full batch, one step per pass over the data.
        shuffle: Draw a new row order for every pass (mini-batches only).
        block_size: Optimizer steps per block, the unit of checkpoints and early stopping.

    Raises:
        ValueError: A size out of range.
    """

    def __init__(
        self,
        length: float = 10.0,
        step: float = 0.1,
        n: int | None = None,
        flipped: bool = False,
        symmetric: bool = False,
        noise: float = 0.0,
        seed: int = 0,
        batch_size: int | None = None,
        shuffle: bool = True,
        block_size: int = 500,
    ) -> None:
        super().__init__(batch_size, shuffle, seed, block_size)
        if n is not None and n < 2:
            raise ValueError(f"n is {n}; the sine needs at least 2 points")
        if not noise >= 0:
            raise ValueError(f"noise is {noise}; a standard deviation has to be 0 or more")
        self.length, self.step, self.n = length, step, n
        self.flipped, self.symmetric, self.noise = flipped, symmetric, noise
        self.arrays()  # a wrong size is an error here, not in the middle of a fit

    def sample(self, held_out: bool) -> Arrays:
        """The points of the grid."""
        step = self.step if self.n is None else 2 * self.length / self.n
        x, y = damped_sine(self.length, step, self.flipped, self.symmetric)
        if self.n is not None:
            x, y = x[: self.n], y[: self.n]  # arange may round up by a point
        return x, y + self._noise(y.shape)

    def _noise(self, shape: tuple[int, ...]) -> NDArray[np.float64]:
        if not self.noise:
            return np.zeros(shape)
        return self.noise * np.random.default_rng(self.seed).standard_normal(shape)
