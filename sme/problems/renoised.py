"""A problem's loss under another law of the gradient noise."""

import torch
from torch import Tensor

from sme.common.identity.hashing import fingerprint
from sme.problems.base import Function, Paths, Problem
from sme.problems.noise.base import GradientLaw


class Renoised(Problem):
    """The loss of `problem`, with its closed forms, and the law `noise`.

    Raises
    ------
    SMEError
        if the law does not fit.
    """

    def __init__(self, problem: Problem, noise: GradientLaw) -> None:
        self.problem = problem
        super().__init__(problem._loss, problem.dim, noise, problem.name)
        self.start, self.kinks, self.bends, self.numerics = problem.start, problem.kinks, problem.bends, problem.numerics
        self.backward, self.lack, self._agrees = problem.backward, problem.lack, problem._agrees

    def loss(self, theta: Paths) -> Tensor:
        return self.problem.loss(theta)

    def gradient(self, theta: Paths) -> Paths:
        return self.problem.gradient(theta)

    def hessian(self, theta: Paths, u: Paths) -> Paths:
        return self.problem.hessian(theta, u)

    def third(self, theta: Paths, u: Paths, w: Paths) -> Paths:
        return self.problem.third(theta, u, w)

    def functions(self) -> dict[str, Function]:
        return self.problem.functions()

    def to(self, device: torch.device) -> "Renoised":
        return Renoised(self.problem.to(device), self.noise.to(device))

    def describe(self) -> dict[str, object]:
        return {**fingerprint(self.problem), "noise": fingerprint(self.noise)}
