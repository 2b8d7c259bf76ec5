"""How the steps of AdaGrad, RMSProp and Adam change along a run."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from sme.problems.base import Problem
from sme.problems.polynomial import Polynomial
from sme.studies.claims.claim import Claim, Found, Number, Panel, curve
from sme.studies.claims.runs import Rule, begun, column, effective, follow, fresh, noisy, spaced

HEREDIA = "Heredia, arXiv 2411.09734"
LOSSES = {"(θ − 4)²": ([16.0, -8.0, 1.0], 4.0), "¼(θ² − 1)²": ([0.25, 0.0, -0.5, 0.0, 0.25], 1.0)}
"""coefficients, and the minimum"""
NOISES = {"no noise": 0.0, "noise 1": 1.0}
STARTS, RUNS = 16, 64
FIRST, EARLY = 1, 10
"""steps from which on AdaGrad's, and RMSProp's and Adam's averages, which begin at 0, are looked at"""


def rules(lr: float) -> dict[str, Rule]:
    """Those of the paper."""
    return {"AdaGrad": fresh("adagrad", lr), "RMSProp": fresh("rmsprop", lr, beta2=0.99),
            "Adam": fresh("adam", lr, 0.9, 0.99)}


def _steps(made: Rule, loss: str, size: float, marks: list[int], seed: int) -> np.ndarray:
    """The effective step after `marks` steps, of runs that start left of the minimum."""
    coefficients, rest = LOSSES[loss]
    problem: Problem = Polynomial(coefficients, noise=size)
    shares = np.full(RUNS, 0.75) if size else np.random.default_rng(seed).uniform(0.3, 0.9, STARTS)
    state = begun(made[0], column((rest * (1 - shares)).tolist()))
    observe = effective(made)
    found = noisy(problem, made, state, marks, observe, seed) if size else follow(problem, made, state, marks, observe)
    return found[..., 0]


def _every(names: tuple[str, ...], lr: float, steps: int, seed: int, first: int) -> Iterator[tuple[str, str, Any, Panel]]:
    """Of each loss and noise the logarithms of the effective step over that at the first one, by optimizer, and the panel."""
    marks = spaced(steps, 60, first)
    for loss in LOSSES:
        for noise, size in NOISES.items():
            logs = {name: (lambda found: np.log(found / found[0]))(_steps(rules(lr)[name], loss, size, marks, seed))
                    for name in names}
            curves = {name: curve(marks, *np.exp(np.quantile(each, (0.5, 0, 1), axis=1))) for name, each in logs.items()}
            panel = Panel(f"{loss}, {noise}", "step", f"effective step over that at step {first}", curves, "xy")
            yield loss, noise, logs, panel


def _of(noise: str) -> str:
    return "starts" if noise == "no noise" else "runs"


def falls(lr: float = 0.1, steps: int = 1500, seed: int = 0) -> Found:
    """AdaGrad's effective step at the end over that at the first step."""
    numbers, panels = [], []
    for loss, noise, logs, panel in _every(("AdaGrad",), lr, steps, seed, FIRST):
        numbers.append(Number.mean(f"{loss}, {noise}", logs["AdaGrad"][-1], _of(noise), geometric=True, most=0.5))
        panels.append(panel._replace(lines={"claimed at the end: below ½": 0.5}))
    return Found(numbers, panels)


def stay(lr: float = 0.1, steps: int = 1500, seed: int = 0) -> Found:
    """By how much more than AdaGrad's the logarithm of RMSProp's and Adam's effective step changes."""
    numbers, panels = [], []
    for loss, noise, logs, panel in _every(("AdaGrad", "RMSProp", "Adam"), lr, steps, seed, EARLY):
        change = {name: np.abs(each[-1]) for name, each in logs.items()}
        numbers += [Number.mean(f"{name}, {loss}, {noise}", change[name] - change["AdaGrad"], _of(noise), most=0.0)
                    for name in ("RMSProp", "Adam")]
        panels.append(panel._replace(lines={"no change": 1.0}))
    return Found(numbers, panels)


BAND = "from the smallest to the largest of the starts or runs, about their median"
CLAIMS = (
    Claim("adagrad_steps_fall", HEREDIA, "on its simulations, as summarised in public",
          "AdaGrad's step sizes decrease naturally along a run.",
          "(θ − 4)² and ¼(θ² − 1)², lr 0.1, 1500 steps; without noise from 16 random starts, with Gaussian gradient noise "
          "of size 1 64 runs", "the paper's; noise is added here",
          "an effective step lr/√Σg² whose factor from the first to the last step is above ½", falls, {"steps": 40}, BAND),
    Claim("rmsprop_adam_steps_stay", HEREDIA, "on its simulations, as summarised in public",
          "RMSProp and Adam, whose averages forget, keep more consistent step sizes than AdaGrad.",
          "(θ − 4)² and ¼(θ² − 1)², lr 0.1, β₁ = 0.9, β₂ = 0.99, 1500 steps; without noise from 16 random starts, with Gaussian "
          "gradient noise of size 1 64 runs", "the paper's; noise is added here",
          "an effective step lr/(√v + ε) whose logarithm changes more than AdaGrad's between step 10 and the end (the number, a "
          "difference of sizes, is above 0)", stay, {"steps": 40}, BAND),
)
