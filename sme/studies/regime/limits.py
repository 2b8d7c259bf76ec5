"""The noise that is measured along a run, and the limits that it and the optimizer's memory are nearest to."""

import math
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from sme.optimizers.hyperparameters import BETAS, LINEAR, Hyperparameters
from sme.optimizers.regimes import REGIMES
from sme.problems.base import Problem
from sme.studies.atlas.cell import MEMORIES, NOISES, Cell, equations
from sme.studies.phases.edge import FAILS, failing, threshold

BOUNDS = (0.25, 0.75, 1.25)
"""of an exponent of the number of steps, halfway between the limits 0, ½ (any in between), 1 and beyond"""
NOISE = {
    "adaptive": ("ballistic: an ODE, the noise enters at order τ",
                 "averaged noise: an ODE whose second moment is the noise's, without ∇f∘∇f",
                 "batch-equivalent: an SDE, drift and noise of one size",
                 "pure diffusion: the drift is lost in the noise"),
    "sgd": ("ballistic: an ODE, the noise enters at order τ", "ballistic: an ODE, the noise enters at order τ",
            "batch-equivalent: an SDE, drift and noise of one size", "pure diffusion: the drift is lost in the noise"),
}
MEMORY = ("a few steps: 1 − β is not small, no equation in powers of τ has it as a variable", "slaved: follows its input",
          "dynamic: a variable of the equation", "frozen: stays near its start")


class Noise(NamedTuple):
    """The noise of the gradient at one point of the noiseless run."""

    step: int
    loss: float
    gradient: float
    """`|∇f|²`"""
    noise: float
    """`tr Σ`"""
    spread: tuple[float, float, float]
    """5, 50 and 95 % quantiles over coordinates of `Σ_ii/(∂_i f)²`"""

    @property
    def ratio(self) -> float:
        """`tr Σ/|∇f|²`."""
        return self.noise / self.gradient if self.gradient > 0 else math.inf


def measure(problem: Problem, step: int, theta: Tensor) -> Noise:
    """The noise at `θ` after so many steps."""
    point = theta[None]
    square, sigma = problem.gradient(point)[0].square(), problem.noise.variance(point)[0]
    spread = (sigma / square).nan_to_num(0.0).quantile(torch.tensor([0.05, 0.5, 0.95], dtype=theta.dtype)).tolist()
    return Noise(step, float(problem.loss(point)), float(square.sum()), float(sigma.sum()), tuple(spread))


def scales(given: Hyperparameters, problem: Problem, seen: Noise, steps: int) -> pd.DataFrame:
    """The scaled variables of both regimes."""
    rows = []
    for name in REGIMES:
        if given.optimizer == "adagrad" and name != "ballistic":
            continue
        optimizer, tau, factor, _ = given.uncorrected(name)
        own: dict[str, Any] = {"ε": optimizer.eps} if hasattr(optimizer, "eps") else {}
        own |= {"λ": optimizer.decay} if hasattr(optimizer, "decay") else {}
        rows.append({"regime": name, "τ": tau, "horizon": steps * tau, **optimizer.rates(), **own,
                     "noise": factor * math.sqrt(seen.noise / problem.dim)})
    return pd.DataFrame(rows)


def exponent(value: float, steps: int) -> float:
    """`log(value)/log(steps)`."""
    if math.isnan(value):
        return math.nan
    return math.log(value) / math.log(steps) if 0 < value < math.inf else math.copysign(math.inf, value - 1)


def limit(value: float, names: tuple[str, ...]) -> str:
    """The limit that an exponent is nearest to."""
    return "the run diverges" if math.isnan(value) else names[int(np.searchsorted(BOUNDS, value))]


def noise(given: Hyperparameters, seen: list[Noise], steps: int) -> pd.DataFrame:
    """The noise at each point, with its limit."""
    names = NOISE["sgd" if given.optimizer in LINEAR else "adaptive"]
    return pd.DataFrame([{
        "step": str(each.step), "loss": each.loss, "|∇f|²": each.gradient, "tr Σ": each.noise, "tr Σ/|∇f|²": each.ratio,
        "a coordinate's, 5, 50, 95 %": " ".join(f"{x:.3g}" for x in each.spread), "exponent": exponent(each.ratio, steps),
        "limit": limit(exponent(each.ratio, steps), names)} for each in seen])


def memory(given: Hyperparameters, steps: int) -> pd.DataFrame:
    """How long each average remembers, with its limit."""
    lengths = {name: 1 / (1 - getattr(given, name)) for name in BETAS[given.optimizer]}
    return pd.DataFrame([{"average": {"beta1": "m", "beta2": "v"}[name], "remembered steps": length,
                          "exponent": exponent(length, steps), "limit": limit(exponent(length, steps), MEMORY)}
                         for name, length in lengths.items()])


def edge(given: Hyperparameters) -> str:
    """Up to where a step is stable on a quadratic, and which equation sees that, in words."""
    first = given.beta1 or 0.0
    known = f"2(1 + β₁)/(1 − β₁) = {threshold(first):.4g}" if first else "2"
    if given.optimizer == "nesterov":  # Jury's condition at the root −1, as for a momentum
        known = f"2(1 + β₁)/((1 − β₁)(1 + 2β₁)) = {threshold(first) / (1 + 2 * first):.4g}"
    said = f"a step is stable on a quadratic while step size × curvature is below {known}"
    if given.optimizer == "nesterov":
        return said
    return (f"{said}. Order 2 fails from step size × curvature {failing(first):.2g} on (a rate is off by {FAILS:.0%}); "
            f"model='midpoint' holds to the optimizer's own limit, a curvature of {threshold(first):.4g}/η for a step η of the "
            "parameter")


def cell(given: Hyperparameters, noise: float, memory: pd.DataFrame) -> str:
    """The cells of the atlas of limits that these exponents lie in, in words; empty without memory or for a run that diverges."""
    if memory.empty or math.isnan(noise) or given.optimizer in LINEAR:
        return ""
    size = list(NOISES)[int(np.searchsorted(BOUNDS, noise))]
    kinds = {row["average"]: list(MEMORIES)[int(np.searchsorted(BOUNDS, row["exponent"]))] for _, row in memory.iterrows()}
    one = set(kinds.values())
    named = next(iter(one)) if len(one) == 1 else ", ".join(f"{kind} for {average}" for average, kind in kinds.items())
    return f"In the atlas of limits (scripts/atlas.py): {size}, {named}: {_equation(given, size, kinds)}"


def _equation(given: Hyperparameters, size: str, kinds: dict[str, str]) -> str:
    """The limit of torch's optimizer, whose averages start at 0 and whose `v` has seen the gradient of its own step."""
    slow, first, order = kinds["v"], kinds.get("m", kinds["v"]), list(MEMORIES)
    if slow == "frozen":
        corrected = ": corrected, they are plain means of what they have seen" if "m" in kinds else ""
        return f"no equation, as averages from 0 do not stay there{corrected}"
    if order.index(first) > order.index(slow):
        return "no equation, as m remembers longer than v"
    few = slow == order[0]
    said = [equations(Cell(size, slow), few or ("m" in kinds and first == slow))]  # an m that follows at once leaves RMSProp
    if few:
        said.append("M (the gradient itself without momentum) and V as the step takes them")
    if "m" in kinds and slow == "dynamic":
        said.append("once the bias correction has died away")
    if given.weight_decay:
        said.append("with −λθ of the weight decay")
    return ", ".join(said)
