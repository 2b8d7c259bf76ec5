"""Runs of optimizers as torch has them, from a fresh start, of many rows at once: with the full gradient, or with noise."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from sme.equations.chain import Chain
from sme.optimizers.base import Optimizer, State
from sme.optimizers.hyperparameters import CORRECTED, Hyperparameters
from sme.optimizers.preconditioner import preconditioner
from sme.optimizers.regimes import BALLISTIC
from sme.problems.base import Problem
from sme.simulate import discrete

Rule = tuple[Optimizer, float]
"""an optimizer in scaled variables, and `τ`"""
Observe = Callable[[State], Float[Tensor, "runs values"]]


def fresh(optimizer: str, lr: float, beta1: float | None = None, beta2: float | None = None, **further: Any) -> Rule:
    """torch's optimizer at its first step: averages of 0, and for Adam the bias correction."""
    made = Hyperparameters(optimizer, lr, beta1, beta2, **further)
    options: dict[str, Any] = {"bias_correction": True, "t0": lr, "clock": (0, 0)} if optimizer in CORRECTED else {}
    rule, tau, *_ = made.scaled(BALLISTIC, **options)
    return rule, tau


def begun(rule: Optimizer, theta: Float[Tensor, "runs d"], **fields: Any) -> State:
    """The state at `θ`, with averages of 0 unless they are given."""
    return {name: theta if name == "theta" else torch.zeros_like(theta) + fields.get(name, 0.0) for name in rule.fields}


def follow(problem: Problem, made: Rule, state: State, marks: Sequence[int],
           observe: Observe) -> Float[np.ndarray, "marks runs values"]:
    """What is observed after so many steps, `marks` ascending, of runs on the full gradient."""
    (rule, tau), found, wanted = made, [], set(marks)
    with torch.no_grad():
        for k in range(marks[-1] + 1):
            if k in wanted:
                found.append(observe(state))
            if k < marks[-1]:
                seen = BALLISTIC.seen(problem.gradient(state["theta"]), tau, rule.signed)
                state = rule.update(state, seen, tau, rule.t0 + k * tau)
    return torch.stack(found).numpy()


def noisy(problem: Problem, made: Rule, state: State, marks: Sequence[int], observe: Observe,
          seed: int) -> Float[np.ndarray, "marks runs values"]:
    """The same with the problem's noise; the runs are of an even number."""
    chain = Chain(problem, made[0], BALLISTIC, made[1])
    return discrete.runs(chain, state, list(marks), observe, len(state["theta"]), seed).numpy()


def effective(made: Rule) -> Callable[[State], Float[Tensor, "runs d"]]:
    """The factor of the (averaged) gradient in a step, `lr/(√v + ε)`, long after the start."""
    rule, tau = made
    return lambda state: tau * preconditioner(state["v"], rule.eps, rule.v_floor).value  # type: ignore[attr-defined]


def spaced(steps: int, count: int = 60, first: int = 1) -> list[int]:
    """About so many steps from the first to the last, evenly spaced in the logarithm."""
    return sorted(set(np.geomspace(first, steps, count).round().astype(int).tolist()))


def even(steps: int, count: int = 60) -> list[int]:
    """About so many steps from 0 to the last, evenly spaced."""
    return sorted(set(np.linspace(0, steps, count + 1).round().astype(int).tolist()))


def column(values: Sequence[float]) -> Float[Tensor, "runs 1"]:
    """Starts of one parameter, a row each."""
    return torch.tensor(values, dtype=torch.float64).unsqueeze(1)
