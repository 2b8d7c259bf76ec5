"""Logistic regression on real data with real minibatches."""

import torch
from torch import Tensor
from torch.nn.functional import softplus

from sme.common.errors import SMEError
from sme.common.inputs import number, whole
from sme.problems.base import Paths, Problem
from sme.problems.datasets import breast_cancer
from sme.problems.noise.minibatch.law import MinibatchNoise
from sme.problems.noise.minibatch.linear import LinearExamples
from sme.problems.noise.minibatch.per_example import Examples
from sme.problems.noise.wrapped.importance import ImportanceNoise


def _residual(prediction: Tensor, target: Tensor) -> Tensor:
    """The derivative of `softplus(p) − y p`."""
    return torch.sigmoid(prediction) - target


def _curvature(residual: Tensor, target: Tensor) -> Tensor:
    """The derivative of the residual: `σ(p) (1 − σ(p))`."""
    p = residual + target
    return p * (1 - p)


class Logistic(Problem):
    """`f(θ) = mean_i (log(1 + exp(x_i·θ)) − y_i x_i·θ)` on the breast-cancer data, minibatches with replacement.

    Features are standardised, and a constant 1 is put in front: `d = features + 1`.

    Parameters
    ----------
    features
        the first so many of the 30.
    batch_size
        `B`.
    examples
        so many, evenly spaced over the 569 (a quick version); None: all.
    importance
        draws examples with probabilities proportional to the sizes of their gradients where every coordinate of θ is this number;
        None: all alike.

    Raises
    ------
    SMEError
        for numbers outside these ranges, or if scikit-learn is not installed.
    """

    def __init__(self, features: int = 3, batch_size: int = 8, examples: int | None = None,
                 importance: float | None = None) -> None:
        x, y = breast_cancer()
        features = whole("features", features, 1)
        examples = None if examples is None else whole("examples", examples, 2)
        if not 1 <= features <= x.shape[1]:
            raise SMEError(f"features must lie between 1 and {x.shape[1]}, got {features}: give fewer")
        if examples is not None and examples > len(x):
            raise SMEError(f"examples must lie between 2 and {len(x)}, got {examples}: give fewer, or null for all")
        rows = torch.linspace(0, len(x) - 1, examples or len(x), dtype=torch.float64).round().long()
        x, y = x[rows, :features], y[rows]
        self.features = torch.cat((torch.ones(len(x), 1, dtype=torch.float64), x), 1)
        self.targets = y
        self._spec = {"problem": "logistic", "data": "breast_cancer", "features": features, "batch_size": batch_size,
                      "examples": "all" if examples is None else f"{examples} evenly spaced"}
        each = LinearExamples(self.features, y, _residual, _curvature)
        noise = MinibatchNoise(batch_size=batch_size, examples=each)
        if importance is not None:
            self._spec["importance"] = number("importance", importance)
            point = torch.full((1, features + 1), number("importance", importance), dtype=torch.float64)
            sizes = each.residual(self.features @ point[0], y).abs() * self.features.norm(dim=1)
            noise = ImportanceNoise(sizes, batch_size=batch_size, examples=each)
        super().__init__(self._at, features + 1, noise, "logistic")

    def loss(self, theta: Paths) -> Tensor:
        p = self.features @ theta.T
        return (softplus(p) - self.targets.unsqueeze(1) * p).mean(0)

    @property
    def _examples(self) -> Examples:
        return self.noise.examples  # type: ignore[attr-defined, no-any-return]

    def gradient(self, theta: Paths) -> Paths:
        return self._examples.averages(theta)[0]

    def hessian(self, theta: Paths, u: Paths) -> Paths:
        return self._examples.slope(theta, u)[0]
