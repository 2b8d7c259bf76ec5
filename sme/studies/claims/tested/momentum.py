"""Momentum: where it is stable, in a narrow valley, and at a saddle."""

import math

import numpy as np
import torch
from torch import Tensor

from sme.optimizers.adam import Adam
from sme.problems.base import Problem
from sme.problems.noise.gaussian import GaussianNoise
from sme.studies.claims.claim import Claim, Found, Number, Panel, curve
from sme.studies.claims.runs import Rule, begun, follow, fresh

PAGE = "expositions of momentum"
EDGE = "Cohen et al., arXiv 2103.00065 and 2207.14484"


def quiet(loss: object, dim: int, name: str) -> Problem:
    """A loss without noise."""
    return Problem(loss, dim, GaussianNoise(torch.zeros(dim, 1, dtype=torch.float64)), name)  # type: ignore[arg-type]


def diagonal(curvatures: Tensor) -> Problem:
    """`½ Σ λᵢ θᵢ²`."""
    return quiet(lambda theta: 0.5 * (curvatures * theta * theta).sum(), len(curvatures), "diagonal")


def limits(lr: float = 0.1, cells: int = 201, steps: int = 1000) -> Found:
    """The largest curvature at which a run on a quadratic does not grow, over the claimed one."""
    cases: dict[str, tuple[Rule, float]] = {"gradient descent": (fresh("sgd", lr), 2 / lr)}
    for beta in (0.5, 0.9):
        cases[f"momentum {beta:g}"] = fresh("momentum", lr, beta), 2 * (1 + beta) / lr
    averaged = Adam(c1=0.1 / lr, c2=1e-200, eps=0.0, v_floor=0.0), lr
    cases["Adam, β₁ = 0.9, second moment held at 1"] = averaged, 38 / lr
    shares, numbers, curves = np.linspace(0.9, 1.1, cells), [], {}
    for name, ((rule, tau), claimed) in cases.items():
        theta = torch.ones(1, cells, dtype=torch.float64)
        problem = diagonal(torch.from_numpy(shares * claimed))
        ends = follow(problem, (rule, tau), begun(rule, theta, v=1.0), [steps - 1, steps], lambda state: state["theta"].abs())
        grown = np.maximum(*ends[:, 0])
        ends_at = np.array([0.0, *shares, math.inf])
        last = int((grown < 1.0).sum())
        low, high = ends_at[last], ends_at[last + 1]
        numbers.append(Number(name, (low + high) / 2, low, high, 0.99, 1.01, "deterministic, between two curvatures looked at"))
        curves[name] = curve(shares, np.clip(grown, 1e-12, 1e12))
    return Found(numbers, [Panel(f"½λθ², {steps} steps", "curvature over the claimed limit", "size at the end, over the start",
                                 curves, "y", {"start": 1.0})])


def _tuned(kappa: float) -> dict[str, Rule]:
    """The best constants on a quadratic with curvatures from 1 to κ."""
    root = math.sqrt(kappa)
    return {"gradient descent": fresh("sgd", 2 / (1 + kappa)),
            "momentum": fresh("momentum", (2 / (1 + root)) ** 2, ((root - 1) / (root + 1)) ** 2),
            "Nesterov": fresh("nesterov", 1 / kappa, (root - 1) / (root + 1))}


def valley(kappas: tuple[float, ...] = (10, 30, 100, 300, 1000), near: float = 1e-6, shown: float = 30.0) -> Found:
    """The exponent of κ in the number of steps until a millionth of the way is left."""
    steps: dict[str, list[int]] = {}
    for kappa in kappas:
        for name, made in _tuned(kappa).items():
            state = begun(made[0], torch.ones(1, 2, dtype=torch.float64))
            marks = list(range(math.ceil(8 * kappa if name == "gradient descent" else 25 * math.sqrt(kappa))))
            found = follow(diagonal(torch.tensor([1.0, kappa], dtype=torch.float64)), made, state, marks,
                           lambda state: state["theta"].norm(dim=-1, keepdim=True))[:, 0, 0]
            far = np.flatnonzero(found > near * found[0])
            steps.setdefault(name, []).append(marks[far[-1]] + 1)
    numbers = []
    for name, counts in steps.items():
        slopes = np.diff(np.log(counts)) / np.diff(np.log(kappas))
        least, most = (0.85, math.inf) if name == "gradient descent" else (-math.inf, 0.65)
        value, low, high = (float(each(slopes)) for each in (np.mean, np.min, np.max))
        numbers.append(Number(f"{name}: exponent of κ", value, low, high, least, most,
                              "deterministic, from the least to the most between neighbouring κ"))
    paths = {}
    for name, made in _tuned(shown).items():
        state = begun(made[0], torch.tensor([[1.0, 0.3]], dtype=torch.float64))
        found = follow(diagonal(torch.tensor([1.0, shown], dtype=torch.float64)), made, state, list(range(25)),
                       lambda state: state["theta"])[:, 0]
        paths[name] = curve(found[:, 0], found[:, 1])
    return Found(numbers, [Panel("steps to 1e-6", "condition number κ", "steps", {
        name: curve(kappas, counts) for name, counts in steps.items()}, "xy", points=True),
        Panel(f"25 steps in a valley, κ = {shown:g}", "θ along the valley", "θ across", paths, points=True)])


def _saddle(theta: Tensor) -> Tensor:
    return 0.5 * theta[0] ** 2 - 0.5 * theta[1] ** 2 + 0.25 * theta[1] ** 4


def saddle(lr: float = 0.05, beta: float = 0.9, starts: int = 16, steps: int = 1500, seed: int = 0) -> Found:
    """The steps that momentum takes to leave a saddle, over those of gradient descent."""
    offset = 10 ** np.random.default_rng(seed).uniform(-6, -2, starts)
    theta = torch.stack([torch.ones(starts, dtype=torch.float64), torch.from_numpy(offset)], 1)
    rules = {"gradient descent": fresh("sgd", lr), "momentum, same lr": fresh("momentum", lr, beta),
             "Nesterov, same lr": fresh("nesterov", lr, beta),
             "momentum, same lr/(1 − β)": fresh("momentum", lr * (1 - beta), beta),
             "Nesterov, same lr/(1 − β)": fresh("nesterov", lr * (1 - beta), beta)}
    problem, left, curves = quiet(_saddle, 2, "saddle"), {}, {}
    for name, made in rules.items():
        found = follow(problem, made, begun(made[0], theta), list(range(steps + 1)), lambda state: state["theta"][:, 1:])[..., 0]
        left[name] = np.argmax(found > 0.5, axis=0).astype(float)
        curves[name] = curve(range(steps + 1), np.abs(found[:, 0]))
    base = left.pop("gradient descent")
    numbers = [Number.mean(name, np.log(each / base), "starts", geometric=True, most=1.0) for name, each in left.items()]
    last = int(base.max())
    return Found(numbers, [Panel("½x² − ½y² + ¼y⁴, one start", "step", "|y|, away from the saddle", {
        name: {key: values[: last + 1] for key, values in each.items()} for name, each in curves.items()}, "y",
        {"left it": 0.5})])


CLAIMS = (
    Claim("stability_limits", EDGE, "stability on a quadratic",
          "On a quadratic gradient descent is stable up to the curvature 2/η, momentum up to 2(1 + β)/η, and Adam with "
          "β₁ = 0.9 up to 38/η of the preconditioned one.",
          "½λθ² of 201 curvatures around the limit, 1000 steps", "the statement itself",
          "a run that grows below, or does not above, by more than 1 %", limits, {"cells": 21, "steps": 100}),
    Claim("valley", PAGE, "pathological curvature",
          "In a valley of condition number κ gradient descent needs some κ steps, momentum and Nesterov's method some √κ.",
          "a quadratic with two curvatures, 1 and κ = 10 to 1000, each rule with its best constants", "an illustration there",
          "an exponent of κ in the number of steps below 0.85 for gradient descent, above 0.65 for the others", valley,
          {"kappas": (10, 30, 100)}, fitted=("kappas",)),
    Claim("saddle", PAGE, "saddle points", "Momentum and Nesterov's method leave a saddle sooner than gradient descent.",
          "½x² − ½y² + ¼y⁴ from 16 random starts near the saddle, β = 0.9", "an illustration there",
          "a number of steps until |y| > ½ over that of gradient descent which is above 1", saddle, {"steps": 400, "starts": 4}),
)
