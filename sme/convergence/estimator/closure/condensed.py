"""A minibatch's noise with as few motions as a Gaussian of its covariance needs."""

import copy
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from sme.convergence.estimator.closure.noise import joint
from sme.problems.base import Problem
from sme.problems.noise.base import GradientLaw, Paths
from sme.problems.noise.minibatch.law import MinibatchNoise

ROUNDED = 1e-13
"""share of its trace that is added to a covariance, lest it be singular"""


class Condensed(GradientLaw):
    """`2d` motions in place of one for each example: `S dW¹` and the noise of `ĝ∘ĝ` beside `2 ∇f∘S dW¹` have their covariance.

    It serves equations, not the discrete run, and none that differentiates `S`.
    """

    constant = paired = False

    def __init__(self, law: MinibatchNoise, dim: int) -> None:
        self.law, self.motions, self.second_motions = law, 2 * dim, 0
        self.skewed, self.examples = law.skewed, law.examples
        self._last: tuple[Tensor, Tensor] | None = None

    def _factor(self, theta: Paths) -> Float[Tensor, "paths 2d 2d"]:
        """Of the joint covariance; columns of an equation ask for it at the same states again and again."""
        if self._last is not None:
            before, factor = self._last
            times, rest = divmod(len(theta), len(before))
            if not rest and torch.equal(theta, before.repeat(times, 1)):
                return factor.repeat(times, 1, 1)
        noise, cross, squares = joint(self.law, theta)
        whole = torch.cat((torch.cat((noise, cross), 2), torch.cat((cross.mT, squares), 2)), 1)
        size = whole.diagonal(dim1=1, dim2=2).sum(-1)[:, None, None]
        factor = torch.linalg.cholesky(whole + (ROUNDED * size + 1e-300) * torch.eye(self.motions, dtype=theta.dtype))
        self._last = theta, factor
        return factor

    def diffuse_square(self, theta: Paths, dW: Float[Tensor, "paths motions"]) -> tuple[Paths, Paths]:
        return (self._factor(theta) @ dW.unsqueeze(-1)).squeeze(-1).split(self.motions // 2, -1)  # type: ignore[return-value]

    def diffuse(self, theta: Paths, dW: Float[Tensor, "paths motions"]) -> Paths:
        return self.diffuse_square(theta, dW)[0]

    def second(self, theta: Paths, dW: Tensor) -> Paths:
        return torch.zeros_like(theta)

    def check(self, dim: int) -> None:
        self.law.check(dim)

    def mean(self, theta: Paths, gradient: Any) -> Paths:
        return self.law.mean(theta, gradient)

    def draw(self, *given: Any) -> Tensor:
        return self.law.draw(*given)

    def sample(self, theta: Paths, z: Tensor) -> Paths:
        return self.law.sample(theta, z)

    def variance(self, theta: Paths) -> Paths:
        return self.law.variance(theta)

    def variance_slope(self, theta: Paths, u: Paths) -> Paths:
        return self.law.variance_slope(theta, u)

    def third(self, theta: Paths) -> Paths:
        return self.law.third(theta)

    def fourth(self, theta: Paths) -> Paths:
        return self.law.fourth(theta)

    def describe(self) -> dict[str, object]:
        return self.law.describe()


def condensed(problem: Problem) -> Problem:
    """The problem with such a noise, if it has minibatches of more than a few examples."""
    law = problem.noise
    if type(law) is not MinibatchNoise or law.motions <= 2 * problem.dim:
        return problem
    made = copy.copy(problem)
    made.noise = Condensed(law, problem.dim)
    return made
