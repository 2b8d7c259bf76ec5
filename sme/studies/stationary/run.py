"""Stationary variances of every rule: closed forms, the linearised equation, the exact chain where it is known, and long runs."""

import math
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import torch
from scipy.special import erf, stdtr

from sme.common.process.processes import spread
from sme.common.process.progress import progress
from sme.equations.chain import Chain
from sme.equations.rest.law import Stationary, stationary
from sme.optimizers.adam import Adam
from sme.optimizers.base import Optimizer, State
from sme.optimizers.hyperparameters import Hyperparameters
from sme.optimizers.regimes import BALLISTIC
from sme.optimizers.rmsprop import RMSProp
from sme.optimizers.rmspropw import RMSPropW
from sme.optimizers.scaling_rules import scale
from sme.optimizers.sgd import SGD
from sme.optimizers.signsgd import SignSGD
from sme.problems.base import Problem
from sme.problems.noise.independent.student import StudentNoise
from sme.problems.polynomial import Polynomial
from sme.simulate.discrete import averages
from sme.studies.stationary import formulas as closed

SEED = 0
PATHS = 262_144
"""runs of each case"""
SETTLE, AVERAGE = 2.0, 4.0
"""times the longest memory: so long a run, begun in the predicted law, is left to settle, and then averaged"""
H, S, NU = 1.0, 2.0, 3
"""curvature, standard deviation of the noise, and for Student's t degrees of freedom, `S` times the variate"""
DELTA = 4
"""times the batch size"""
SIMULATED, LINEAR, EXACT, SECOND = "simulated", "linearised equation", "chain, exact", "to second order"


def slope(nu: float) -> float:
    """`ℓ_ν`, of `E sign(g + t)` at `g = 0`: twice the density of Student's t at 0."""
    return 2 * math.gamma((nu + 1) / 2) / (math.gamma(nu / 2) * math.sqrt(nu * math.pi))


def gaussian_mean(g: np.ndarray) -> np.ndarray:
    """`E sign(ĝ)` for Gaussian noise."""
    return erf(g / (S * math.sqrt(2)))


def student_mean(g: np.ndarray) -> np.ndarray:
    """`E sign(ĝ)` for Student's t."""
    return 2 * stdtr(NU, g / S) - 1


@dataclass(frozen=True)
class Case:
    """A rule on `½ h θ²` at one step size, and what is known of its variance by name."""

    name: str
    optimizer: Optimizer
    tau: float
    known: dict[str, float]
    noise: float = S
    student: bool = False

    @property
    def problem(self) -> Problem:
        """The quadratic with its noise."""
        if self.student:
            return Problem(_half_square, 1, StudentNoise(NU, S), "quadratic")
        return Polynomial([0.0, 0.0, 0.5 * H], noise=self.noise)


def _half_square(theta: torch.Tensor) -> torch.Tensor:
    return 0.5 * H * theta.square().sum()


def _signs(name: str, tau: float, slope: float, mean: closed.Mean, student: bool) -> Case:
    known = {"closed form": closed.signs(tau, H, slope), "with the noise's curvature": closed.signs_linear(tau, H, slope),
             "equation, exact": closed.signs_equation(tau, H, mean), EXACT: closed.signs_chain(tau, H, mean)}
    return Case(name, SignSGD(), tau, known, student=student)


def _rescaled() -> list[Case]:
    """AdamW at one batch size; at `DELTA` times that with the square-root rule; and with its weight decay left as it was."""
    base = Hyperparameters("adamw", 0.01, beta1=0.99, beta2=0.99, eps=0.0, weight_decay=1.0)
    large, less, found = scale(base, DELTA, "square_root"), S / math.sqrt(DELTA), []
    for name, given, noise in (("AdamW", base, S), (f"AdamW, {DELTA} × batch, scaled", large, less),
                               (f"AdamW, {DELTA} × batch, decay kept", replace(large, weight_decay=base.weight_decay), less)):
        optimizer, tau, *_ = given.uncorrected("ballistic", denominator="previous")
        form = closed.adaptive(tau, H, noise, given.weight_decay, optimizer.rates()["c1"])
        found.append(Case(name, optimizer, tau, {"closed form": form}, noise))
    return found


def cases() -> list[Case]:
    """Every row of the table."""
    exact, tau = {"c": 1.0, "eps": 0.0, "v_floor": 0.0}, 0.02
    one = {"c1": 1.0, "c2": 1.0, "eps": 0.0, "v_floor": 0.0}
    return [
        Case("SGD", SGD(), tau, {"closed form": closed.sgd(tau, H, S), EXACT: closed.sgd_chain(tau, H, S)}),
        _signs("signSGD", tau, math.sqrt(2 / math.pi) / S, gaussian_mean, False),
        _signs(f"signSGD, Student's t, ν = {NU}", tau, slope(NU) / S, student_mean, True),
        Case("RMSProp", RMSProp(**exact), tau, {"closed form": closed.adaptive(tau, H, S)}),  # type: ignore[arg-type]
        Case("Adam", Adam(**one), tau, {"closed form": closed.adaptive(tau, H, S)}),  # type: ignore[arg-type]
        Case("RMSPropW", RMSPropW(**exact, decay=1.0), 0.01,  # type: ignore[arg-type]
             {"closed form": closed.adaptive(0.01, H, S, 1.0)}),
        *_rescaled(),
    ]


def simulate(case: Case, law: Stationary, paths: int, seed: int) -> tuple[float, float]:
    """The variance of long discrete runs that start in the predicted law, and its standard error."""
    burn, steps = (math.ceil(span / float(-law.rates.real.max()) / case.tau) for span in (SETTLE, AVERAGE))
    generator = torch.Generator().manual_seed(seed)
    values, vectors = torch.linalg.eigh(law.state_covariance)
    normal = torch.randn(2 * ((paths + 1) // 2), len(values), generator=generator, dtype=torch.float64)
    x = torch.cat(list(law.mean.values())) + normal * values.clamp(min=0).sqrt() @ vectors.T
    start = dict(zip(case.optimizer.fields, x.split(1, -1), strict=True))
    if isinstance(case.optimizer, SignSGD):  # the lattice that the exact law is of
        start = {"theta": case.tau * (start["theta"] / case.tau).round()}

    def square(state: State) -> torch.Tensor:
        return state["theta"].square()

    each = averages(Chain(case.problem, case.optimizer, BALLISTIC, case.tau), start, burn, steps, square, len(x), seed)
    return float(each.mean()), float(each.std() / math.sqrt(len(each)))


def rows(case: Case, paths: int, seed: int = SEED) -> pd.DataFrame:
    """A row for each way to the variance of one case."""
    law = stationary(case.problem, case.optimizer, case.tau)
    value, stderr = simulate(case, law, paths, seed)
    leading = float(law.covariance()[0, 0])
    further = {} if law.second is None else {SECOND: leading + case.tau**2 * float(law.second.covariance[0, 0])}
    known = [(source, number, 0.0) for source, number in {**case.known, LINEAR: leading, **further}.items()]
    table = pd.DataFrame([*known, (SIMULATED, value, stderr)], columns=["source", "variance", "stderr"])
    return table.assign(case=case.name, tau=case.tau, curvature=H, noise=case.noise,
                        decay=getattr(case.optimizer, "decay", 0.0), c1=getattr(case.optimizer, "c1", math.nan))[
        ["case", "tau", "curvature", "noise", "decay", "c1", "source", "variance", "stderr"]]


def measure(paths: int = PATHS, processes: int = 1) -> pd.DataFrame:
    """The rows of every case, in order."""
    work = [(case, paths) for case in cases()]
    done = progress(spread(rows, work, processes), total=len(work), unit="case")
    return pd.concat(list(done), ignore_index=True)
