r"""A multilayer perceptron with backpropagation by hand.

Everything is in PyTorch's layout: weights [out, in], rows of data [n, d], and parameters in the
order of ``net.parameters()`` (weight, bias, weight, bias, ...), so that the two can be compared
array by array.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Protocol

import numpy as np

from toyml.reference.losses import Loss, sigmoid
from toyml.reference.optimizers import Array, Optimizer


class Activation(Protocol):
    """An elementwise function and its derivative."""

    def value(self, z: Array) -> Array:
        """The activation of a pre-activation."""

    def derivative(self, z: Array, a: Array) -> Array:
        """Its derivative at z, where it has the value a."""


class Sigmoid:
    r""":math:`\sigma(z)`, derivative :math:`a(1 - a)`."""

    def value(self, z: Array) -> Array:
        """The activation."""
        return sigmoid(z)

    def derivative(self, z: Array, a: Array) -> Array:
        """Its derivative."""
        return (1 - a) * a


class Tanh:
    r""":math:`\tanh z`, derivative :math:`1 - a^2`."""

    def value(self, z: Array) -> Array:
        """The activation."""
        return np.asarray(np.tanh(z))

    def derivative(self, z: Array, a: Array) -> Array:
        """Its derivative."""
        return 1 - a * a


class ReLU:
    r""":math:`\max(z, 0)`, derivative 1 for z > 0 and 0 elsewhere, as in PyTorch at 0."""

    def value(self, z: Array) -> Array:
        """The activation."""
        return np.maximum(z, 0)

    def derivative(self, z: Array, a: Array) -> Array:
        """Its derivative."""
        return (z > 0).astype(z.dtype)


class Identity:
    """No activation."""

    def value(self, z: Array) -> Array:
        """The activation."""
        return z

    def derivative(self, z: Array, a: Array) -> Array:
        """Its derivative."""
        return np.ones_like(z)


class MLP:
    r"""Layers :math:`a_l = f_l(a_{l-1} W_l^T + b_l)`, a linear model where there is but one.

    Args:
        weights: One matrix [out, in] per layer; copied.
        biases: One vector [out] per layer, or none at all.
        activations: One per layer, the output's last.

    Raises:
        ValueError: Shapes that do not chain, or lists of different lengths.

    Example:
        >>> net = MLP([np.array([[1.0]])], [np.array([1.0])], [Identity()])
        >>> net.forward(np.array([[2.0], [4.0]]))
        array([[3.],
               [5.]])
    """

    def __init__(
        self,
        weights: Sequence[Array],
        biases: Sequence[Array] | None,
        activations: Sequence[Activation],
    ) -> None:
        check_layers(weights, biases, len(activations))
        self.weights = [np.array(w) for w in weights]
        self.biases = None if biases is None else [np.array(b) for b in biases]
        self.activations = list(activations)

    @property
    def parameters(self) -> list[Array]:
        """The arrays that training changes, in the order of ``net.parameters()``."""
        if self.biases is None:
            return list(self.weights)
        pairs = zip(self.weights, self.biases, strict=True)
        return [each for pair in pairs for each in pair]

    def layers(self, x: Array) -> list[tuple[Array, Array]]:
        """Pre-activations and activations of every layer.

        Args:
            x: [n, d].

        Returns:
            (z, a), each [n, out], by layer.
        """
        done: list[tuple[Array, Array]] = []
        a = x
        for i, (w, activation) in enumerate(zip(self.weights, self.activations, strict=True)):
            z = a @ w.T
            if self.biases is not None:
                z = z + self.biases[i]
            a = activation.value(z)
            done.append((z, a))
        return done

    def forward(self, x: Array) -> Array:
        """The output [n, k] for rows [n, d]."""
        return self.layers(x)[-1][1]

    def gradients(self, x: Array, y: Array, loss: Loss) -> list[Array]:
        r"""Gradient of the loss by every parameter (Rumelhart, Hinton and Williams 1986).

        .. math:: \delta_l = (\delta_{l+1} W_{l+1}) \circ f_l'(z_l), \qquad
           \partial W_l = \delta_l^T a_{l-1}, \qquad \partial b_l = \sum_n \delta_l

        Args:
            x: [n, d].
            y: [n, k].
            loss: What is differentiated.

        Returns:
            In the order and the shapes of :attr:`parameters`.

        Raises:
            ValueError: Targets whose shape is not the output's.
        """
        layers = self.layers(x)
        output = layers[-1][1]
        if output.shape != y.shape:
            raise ValueError(
                f"targets have shape {y.shape} and outputs {output.shape}; make them equal, "
                "or the difference broadcasts"
            )
        inputs = [x, *(a for _, a in layers[:-1])]
        upstream = loss.gradient(output, y)
        gradients: list[Array] = []
        for i in reversed(range(len(layers))):
            z, a = layers[i]
            delta = upstream * self.activations[i].derivative(z, a)
            bias = [] if self.biases is None else [delta.sum(0)]
            gradients = [delta.T @ inputs[i], *bias, *gradients]
            upstream = delta @ self.weights[i]
        return gradients


def train(
    net: MLP, optimizer: Optimizer, loss: Loss, x: Array, y: Array, steps: int
) -> Iterator[list[Array]]:
    """Train on the full batch and hand out the parameters of every step.

    Args:
        net: Trained in place.
        optimizer: Takes the gradients.
        loss: What is minimised.
        x: [n, d].
        y: [n, k].
        steps: Number of updates, at least 0.

    Yields:
        Copies of the parameters after 0, 1, ..., ``steps`` updates.

    Raises:
        ValueError: A negative number of steps, or targets whose shape is not the output's.

    Example:
        >>> from toyml.reference import MSE, SGD
        >>> net = MLP([np.array([[1.0]])], [np.array([1.0])], [Identity()])
        >>> x, y = np.array([[2.0], [4.0]]), np.array([[7.0], [11.0]])
        >>> *_, (w, b) = train(net, SGD(lr=0.1, weight_decay=1.0), MSE(), x, y, steps=1)
        >>> round(float(w[0, 0]), 12), round(float(b[0]), 12)
        (4.1, 1.9)
    """
    if steps < 0:
        raise ValueError(f"steps is {steps}; it has to be at least 0")
    yield [p.copy() for p in net.parameters]
    for _ in range(steps):
        optimizer.step(net.parameters, net.gradients(x, y, loss))
        yield [p.copy() for p in net.parameters]


def check_layers(
    weights: Sequence[Array], biases: Sequence[Array] | None, activations: int
) -> None:
    """Refuse layers that do not chain."""
    shapes = [np.shape(w) for w in weights]
    flat = not shapes or any(len(shape) != 2 for shape in shapes)
    if flat or any(below[0] != above[1] for below, above in pairwise(shapes)):
        raise ValueError(f"weights have shapes {shapes}; give [out, in], each in the out before")
    if len(shapes) != activations:
        raise ValueError(f"{len(shapes)} weights and {activations} activations; give one a layer")
    if biases is not None and [np.shape(b) for b in biases] != [s[:1] for s in shapes]:
        raise ValueError(
            f"biases have shapes {[np.shape(b) for b in biases]}; weights {shapes} need "
            f"{[s[:1] for s in shapes]}"
        )
