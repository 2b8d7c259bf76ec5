"""Random configurations of the blind protocol: fixed by a seed, as plain data, before any error is known."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sme.optimizers.adam import Adam
from sme.optimizers.base import Optimizer
from sme.optimizers.momentum import Momentum
from sme.optimizers.rmsprop import RMSProp
from sme.optimizers.sgd import SGD
from sme.problems.base import Problem
from sme.problems.logistic import Logistic
from sme.problems.noise.minibatch.law import MinibatchNoise
from sme.problems.polynomial import Polynomial
from sme.problems.quadratic import Quadratic

SEED = 20_261_130
RULES = ("sgd", "momentum", "rmsprop", "adam")
PROBLEMS, SHARES = ("quadratic", "quartic", "logistic", "network"), (0.35, 0.25, 0.25, 0.15)
REGIMES, BALLISTIC = ("ballistic", "batch_equivalent"), 0.65
OBSERVABLES = ("|theta|^2", "mean theta", "loss")
EXAMPLES = 16
"""of a small network"""


@dataclass(frozen=True)
class _Network:
    """`½ (Σ_j a_j tanh(b_j x) − y)²` of one example, `θ = (a, b)`."""

    def __call__(self, theta: Tensor, x: Tensor, y: Tensor) -> Tensor:
        a, b = theta.chunk(2)
        return 0.5 * ((a * torch.tanh(b * x)).sum() - y).square()


def network(dim: int, batch_size: int) -> Problem:
    """One hidden layer of `dim/2` units, which learns `sin 2x`, with minibatches."""
    x = torch.linspace(-1.0, 1.0, EXAMPLES, dtype=torch.float64)
    law = MinibatchNoise(_Network(), (x, torch.sin(2 * x)), batch_size)
    each = torch.func.vmap(_Network(), in_dims=(None, 0, 0))
    return Problem(lambda theta: each(theta, x, torch.sin(2 * x)).mean(), dim, law, "network")


def drawn(count: int, seed: int = SEED) -> list[dict[str, Any]]:
    """So many configurations; the first ones do not depend on how many there are."""
    return [_one(number, np.random.default_rng((seed, number))) for number in range(count)]


def _one(number: int, random: np.random.Generator) -> dict[str, Any]:
    def between(low: float, high: float) -> float:
        return round(float(random.uniform(low, high)), 3)

    rule, problem = str(random.choice(RULES)), str(random.choice(PROBLEMS, p=SHARES))
    regime = REGIMES[0] if random.random() < BALLISTIC else REGIMES[1]
    steps, horizon = int(random.choice([3, 4, 6, 8, 12, 16])), float(random.choice([0.5, 1.0, 2.0]))
    noise = round(float(np.exp(random.uniform(np.log(0.1), np.log(1.0)))), 3)
    every: dict[str, dict[str, Any]] = {
                "quadratic": {"dim": int(random.integers(1, 7)), "seed": int(random.integers(1, 100)), "noise": noise},
                "quartic": {"coefficients": [0.0, 0.0, between(0.25, 0.75), 0.0, between(0.0, 0.1)], "noise": noise},
                "logistic": {"features": int(random.integers(1, 6)), "batch_size": int(random.choice([4, 8, 16])),
                             "examples": 40},
                "network": {"dim": int(random.choice([2, 4])), "batch_size": int(random.choice([4, 8]))}}
    settings = every[problem]
    dim: int = {"quartic": 1, "logistic": 1 + settings.get("features", 0)}.get(problem) or settings["dim"]
    rates = {"momentum": {"c": between(0.5, 2.0)}, "rmsprop": {"c": between(0.2, 1.5)},
             "adam": {"c1": between(0.5, 2.0), "c2": between(0.2, 1.5)}}.get(rule, {})
    if max([0.0, *rates.values()]) * horizon / steps > 0.9:
        steps = 8
    start: dict[str, list[float]] = {"theta": [between(0.3, 1.2) for _ in range(dim)]}
    if rule in ("rmsprop", "adam"):
        start["v"] = [between(0.5, 1.5)] * dim
    return {"number": number, "rule": rule, "rates": rates, "problem": problem, "settings": settings, "regime": regime,
            "horizon": horizon, "steps": steps, "start": start}


def made(given: dict[str, Any]) -> tuple[Problem, Optimizer, dict[str, Any]]:
    """Problem and optimizer of a configuration, and the other arguments of `sme.certify`."""
    problems: dict[str, Callable[..., Problem]] = {"quadratic": Quadratic, "quartic": Polynomial, "logistic": Logistic,
                                                   "network": network}
    rules: dict[str, Callable[..., Optimizer]] = {"sgd": SGD, "momentum": Momentum, "rmsprop": RMSProp, "adam": Adam}
    problem, optimizer = problems[given["problem"]](**given["settings"]), rules[given["rule"]](**given["rates"])
    start = {name: torch.tensor(value, dtype=torch.float64) for name, value in given["start"].items()}
    return problem, optimizer, {"regime": given["regime"], "horizon": given["horizon"], "start": start,
                                "tau": given["horizon"] / given["steps"], "observables": list(OBSERVABLES)}
