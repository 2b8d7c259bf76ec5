"""A problem as the equations see it where the law transforms the gradient: the mean of what a step takes in place of `∇f`."""

import copy

import torch
from jaxtyping import Float
from torch import Tensor
from torch.func import jvp

from sme.problems.base import Paths, Problem


class Driven(Problem):
    """The loss of `problem`, and for `∇f` the mean `E φ(ĝ)` of the law's transformed gradient, which need be no gradient.

    It is differentiated forwards, whatever the loss's own derivatives are made by.
    """

    problem: Problem

    @classmethod
    def of(cls, problem: Problem) -> Problem:
        """The problem itself, unless its law transforms the gradient."""
        if not problem.noise.transforms or isinstance(problem, Driven):
            return problem
        made = object.__new__(cls)
        kept = {name: each for name, each in vars(problem).items() if name not in ("gradient", "hessian", "third")}
        vars(made).update(kept)
        made.problem, made.numerics = problem, (*problem.numerics, "transformed")
        made.start, made.kinks, made.bends, made.lack = problem.start, problem.kinks, problem.bends, problem.lack
        return made

    def loss(self, theta: Paths) -> Float[Tensor, " paths"]:
        return self.problem.loss(theta)

    def gradient(self, theta: Paths) -> Paths:
        return self.noise.mean(theta, self.problem.gradient)

    def hessian(self, theta: Paths, u: Paths) -> Paths:
        return jvp(self.gradient, (theta,), (u,))[1]

    def third(self, theta: Paths, u: Paths, w: Paths) -> Paths:
        return jvp(lambda point: self.hessian(point, u), (theta,), (w,))[1]

    def agree(self, theta: Float[Tensor, " d"] | None = None) -> None:
        self.problem.agree(theta)

    def to(self, device: torch.device) -> "Problem":
        return Driven.of(self.problem.to(device))

    def describe(self) -> dict[str, object]:
        return self.problem.describe()

    def __copy__(self) -> "Driven":
        made = object.__new__(Driven)
        vars(made).update(vars(self))
        made.problem = copy.copy(self.problem)
        return made
