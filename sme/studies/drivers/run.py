"""What the structure of the noise does to an equation's accuracy, and which driver mends it: one problem, every noise."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from sme.common.errors import SMEError, choose
from sme.common.identity.hashing import hashed
from sme.common.inputs import number, seed_of, several
from sme.common.process.turns import entry
from sme.convergence.api import weak_error
from sme.convergence.estimator.quadrature.method import METHODS, MONTE_CARLO, QUADRATURE
from sme.convergence.spec import effort
from sme.equations.drivers.names import DRIVERS
from sme.optimizers.adam import Adam
from sme.optimizers.base import Optimizer
from sme.optimizers.regimes import BALLISTIC, BATCH_EQUIVALENT
from sme.optimizers.rmsprop import RMSProp
from sme.optimizers.sgd import SGD
from sme.problems.base import Problem
from sme.problems.noise.minibatch.law import MinibatchNoise
from sme.problems.polynomial import Polynomial
from sme.studies.drivers.report import Drivers

TAU, PATHS = ("1/4", "1/8", "1/16", "1/32"), 4 * effort.SHARD_PATHS
"""by default"""
SIZE = 0.6
"""of the noise of every law: the same covariance"""
VALUES, BATCH = (3.0, 1.0, 0.0, -0.4, -0.6, -0.8, -1.0, -1.2), 2
"""the examples' own slopes, skewed, and the examples of a batch"""
START = {"theta": 0.8, "m": 0.0, "v": 0.6}
RULES: dict[str, Optimizer] = {"sgd": SGD(), "rmsprop": RMSProp(c=1.0, eps=0.2, v_floor=0.02),
                               "adam": Adam(c1=1.5, c2=1.0, eps=0.2, v_floor=0.02, bias_correction=False)}
NU = 9.0
"""degrees of freedom of the heavy-tailed noise, of variance `ν/(ν − 2)` in units of its size"""
NAMED = {"gaussian": {"law": "gaussian", "noise": SIZE}, "skewed": {"law": "skewed", "p": 0.15, "noise": SIZE},
         "heavy-tailed": {"law": "student", "nu": NU, "noise": SIZE * (1 - 2 / NU) ** 0.5}}
SAMPLED = ("with_replacement", "without_replacement", "reshuffled")


def cube(state: dict[str, Tensor]) -> Tensor:
    """`θ³`, which sees skewness."""
    return state["theta"][:, 0] ** 3


def square(state: dict[str, Tensor]) -> Tensor:
    """`θ²`."""
    return state["theta"][:, 0] ** 2


def curve(theta: Tensor) -> Tensor:
    """The loss of every law's problem, `½θ² + 0.075 θ⁴`."""
    return 0.5 * theta[0] ** 2 + 0.075 * theta[0] ** 4


def example(theta: Tensor, slope: Tensor) -> Tensor:
    """The loss of one example."""
    return curve(theta) + slope * theta[0]


def problems() -> dict[str, Problem]:
    """One loss with noise of one covariance and every structure, by name."""
    found: dict[str, Problem] = {name: Polynomial(**given) for name, given in NAMED.items()}  # type: ignore[arg-type]
    values = torch.tensor(VALUES, dtype=torch.float64)
    values = values - values.mean()
    for sampling in SAMPLED:
        law = MinibatchNoise(example, (values,), BATCH, sampling=sampling)
        scale = SIZE / float(law.variance(torch.zeros(1, 1, dtype=torch.float64))[0, 0]) ** 0.5
        found[sampling] = Problem(curve, 1, law.changed(scale=scale), name="curve")
    return found


@entry
def drivers(rule: str = "rmsprop", noises: Sequence[str] | None = None, regimes: Sequence[str] = ("ballistic",
            "batch_equivalent"), tau: Sequence[float | str] = TAU, horizon: float = 1.0,
            paths: int = PATHS, seed: int = 0, processes: int | str = 1, backend: str = "auto",
            results: str | Path | None = None, method: str = MONTE_CARLO) -> Drivers:
    """Errors over τ of one problem under every structure of its noise, with every driver that there is for it.

    The noises are Gaussian, skewed and heavy-tailed, of independent steps, and those of a skewed data set whose minibatches are
    drawn with or without replacement, or as reshuffled epochs. All have one covariance, so that what differs is structure alone.

    Parameters
    ----------
    rule
        `sgd`, `rmsprop` or `adam`.
    noises, regimes
        some of them; default all that `method` has.
    tau, horizon, paths, seed, processes, backend
        as for `weak_error`.
    results
        folder; a table, a picture and the studies behind them, which are not computed again, go to `drivers/<rule>` in it, by
        quadrature to `drivers/<rule>-quadrature`, and of settings that are not the defaults to one with eight digits behind.
        None: in memory.
    method
        `"monte_carlo"` or `"quadrature"`, without random paths, of independent steps and all drivers but `step_memory`.

    Raises
    ------
    SMEError
        for a name that there is not, or as `weak_error`.
    """
    optimizer, every = RULES[choose("rule", rule, RULES)], problems()
    drawn = choose("method", method, METHODS) == MONTE_CARLO
    had = [name for name, problem in every.items() if drawn or problem.noise.independent_steps]
    sampling: dict[str, Any] = {"paths": paths, "seed": seed, "backend": backend} if drawn else {}
    names = had if noises is None else list(dict.fromkeys(choose("noise", each, every) for each in several(noises)))
    places = [choose("regime", each, (BALLISTIC.name, BATCH_EQUIVALENT.name)) for each in several(regimes)]
    length, root, seed = number("horizon", horizon), effort.place(results, "drivers"), seed_of(seed)
    told = {"noises": names, "regimes": places, "tau": [number("tau", each) for each in several(tau)],
            "horizon": length, **({"paths": str(paths), "seed": seed} if drawn else {})}
    usual = {"noises": had, "regimes": [BALLISTIC.name, BATCH_EQUIVALENT.name], "tau": [number("tau", each) for each in TAU],
             "horizon": 1.0, **({"paths": str(PATHS), "seed": 0} if drawn else {})}
    called = "-".join([rule, *([] if drawn else [QUADRATURE]), *([] if told == usual else [hashed(told, {})])])
    place = root and root / called
    start = {field: torch.tensor([START[field]], dtype=torch.float64) for field in optimizer.fields}
    rows = list[pd.DataFrame]()
    for regime in (each for each in (BALLISTIC, BATCH_EQUIVALENT) if each.name in places):
        for name in names:
            there, lack = len(rows), SMEError("")
            for driver in (each for each in DRIVERS if drawn or each != "step_memory"):
                for order in (2, 1):
                    try:
                        study = weak_error(every[name], optimizer, tau=tau, start=start, regime=regime.name, order=order,
                                           driver=driver, horizon=length, observables={"theta^2": square, "theta^3": cube},
                                           processes=processes, method=method, results=place, **sampling)
                    except SMEError as fault:  # this driver is not one for this noise, or has not this order
                        lack = fault if driver == "independent" else lack
                        continue
                    slopes = study.slopes.set_index("observable")
                    for observable, part in study.errors.groupby("observable", sort=False):
                        own = slopes.loc[observable]
                        rows.append(part.assign(regime=regime.name, noise=name, driver=driver, slope=own["slope"],
                                                slope_low=own["slope_low"], slope_high=own["slope_high"]))
                    break
            if len(rows) == there:  # no driver at all: what was given is in the way
                raise lack
    if not rows:
        raise SMEError("noises or regimes is empty: give such as noises=[gaussian] regimes=[ballistic,batch_equivalent]")
    table = pd.concat(rows, ignore_index=True)[
        ["regime", "noise", "driver", "order", "observable", "tau", "error", "stderr", "integrator_bias", "slope", "slope_low",
         "slope_high", "paths"]]
    return Drivers(f"drivers-{called}", table, seed, folder=place).saved()
