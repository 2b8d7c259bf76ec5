"""Stationary variances of every rule: closed forms, the linearised equation, the exact chain where it is known, and long runs."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from scipy.special import erf
from scipy.stats import t

from sme.common.output.figure import printed
from sme.common.output.provenance import Provenance
from sme.common.output.text import grid
from sme.common.process.processes import spread
from sme.common.process.progress import progress
from sme.common.storage.files import write_text
from sme.common.version import version
from sme.equations.chain import Chain
from sme.equations.stationary import Stationary, stationary
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
from sme.studies.stationary import picture, sign_phases, sign_picture

NAME, SEED = "stationary", 0
PATHS = 262_144
"""runs of each case"""
SETTLE, AVERAGE = 2.0, 4.0
"""times the longest memory: so long a run, begun in the predicted law, is left to settle, and then averaged"""
H, S, NU = 1.0, 2.0, 3
"""curvature, standard deviation of the noise, and for Student's t degrees of freedom, `S` times the variate"""
DELTA = 4
"""times the batch size"""
SIMULATED, LINEAR, EXACT = "simulated", "linearised equation", "chain, exact"


def slope(nu: float) -> float:
    """`ℓ_ν`, of `E sign(g + t)` at `g = 0`: twice the density of Student's t at 0."""
    return float(2 * t.pdf(0.0, nu))


def gaussian_mean(g: np.ndarray) -> np.ndarray:
    """`E sign(ĝ)` for Gaussian noise."""
    return erf(g / (S * math.sqrt(2)))


def student_mean(g: np.ndarray) -> np.ndarray:
    """`E sign(ĝ)` for Student's t."""
    return 2 * t.cdf(g / S, NU) - 1


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
    law = stationary(case.optimizer, case.problem, case.tau)
    value, stderr = simulate(case, law, paths, seed)
    known = [(source, number, 0.0) for source, number in
             {**case.known, LINEAR: float(law.covariance()[0, 0])}.items()]
    table = pd.DataFrame([*known, (SIMULATED, value, stderr)], columns=["source", "variance", "stderr"])
    return table.assign(case=case.name, tau=case.tau, curvature=H, noise=case.noise,
                        decay=getattr(case.optimizer, "decay", 0.0), c1=getattr(case.optimizer, "c1", math.nan))[
        ["case", "tau", "curvature", "noise", "decay", "c1", "source", "variance", "stderr"]]


def measure(paths: int = PATHS, processes: int = 1) -> pd.DataFrame:
    """The rows of every case, in order."""
    work = [(case, paths) for case in cases()]
    done = progress(spread(rows, work, processes), total=len(work), unit="case")
    return pd.concat(list(done), ignore_index=True)


TITLE = "Stationary laws"
WORDS = f"""Variances of `θ` at rest on `½ h θ²`, `h = {H:g}`, gradient noise of standard deviation `s = {S:g}`
(for Student's t: {S:g} times the variate), ballistic; RMSProp and Adam with `c = 1`, `ε = 0` and no floor, weight decay 1 where
there is one. "Closed form" is right to leading order, its error O(τ²), and so is the linearised equation of order 1, whatever the
rule; "chain, exact" is the discrete run's own law, by detailed balance for signSGD; "simulated" is the discrete run, with its
standard error. Off: how far that is from the exact chain, or where there is none from the closed form, which is off by a share of
size τ."""
RULE = f"""The last two rows have {DELTA} times the batch size, `κ = {DELTA}` of `sme.scale(…, rule="square_root")`: learning rate
and weight decay times {math.isqrt(DELTA)}, `1 − β` times {DELTA}. With all of them the stationary variance, and so the loss,
stays; with the weight decay left as it was it does not."""
SIGNS = """What signSGD's equation is made of: the slope `ℓ` of `E sign(ĝ)` at 0 for noise of scale 1, and its values."""
PHASES = "Phases of signSGD, Gaussian noise, `y = ∇f/√(2σ)`; errors of each simplified equation are the largest in its phase."


def text(table: pd.DataFrame, style: str = "simple") -> str:
    """Variances, what they rest on and the phases, in one of tabulate's styles."""
    sources = [name for name in dict.fromkeys(table["source"]) if name != SIMULATED]
    made = []
    for (case, tau), part in table.groupby(["case", "tau"], sort=False):
        values, seen = part.set_index("source")["variance"], part[part["source"] == SIMULATED].iloc[0]
        against = values.get(EXACT, values["closed form"])
        made.append({"case": case, "τ": f"{tau:g}", **{name: _digits(values.get(name)) for name in sources},
                     SIMULATED: f"{seen['variance']:.6f} ± {seen['stderr']:.0e}",
                     "off": f"{100 * (seen['variance'] / against - 1):+.2f} ± {100 * seen['stderr'] / against:.2f} %"})
    slopes = pd.DataFrame([
        ("Gaussian", "erf(g/√2)", f"{math.sqrt(2 / math.pi):.5f}"), ("Student's t, ν = 2", "g/√(2 + g²)", f"{slope(2):.5f}"),
        ("Student's t, ν = 3", "2 F₃(g) − 1", f"{slope(3):.5f}"),
    ], columns=["noise", "E sign(ĝ)", "slope"])
    phases = sign_phases.table().map(lambda x: f"{x:.4f}" if isinstance(x, float) else str(x))
    title = f"# {TITLE}" if style == "github" else TITLE
    parts = [title, WORDS, grid(pd.DataFrame(made), style), RULE, SIGNS, grid(slopes, style), PHASES,
             grid(phases, style), str(provenance())]
    return "\n\n".join(parts)


def _digits(value: float | None) -> str:
    return "–" if value is None else f"{value:.6f}"


def provenance() -> Provenance:
    """The code that made the numbers, and its seed."""
    return Provenance(NAME, (version(),), (SEED,))


def write(table: pd.DataFrame, folder: Path, paths: int) -> Sequence[Path]:
    """Write `stationary.csv`, `.md` and `.png`, and `sign_phases.png`."""
    path = folder / f"{NAME}.csv"
    write_text(path, provenance().csv(table))
    write_text(path.with_suffix(".md"), text(table, "github") + "\n")
    with printed():
        picture.draw(table, provenance(), path.with_suffix(".png"))
        sign_picture.draw(provenance(), folder / "sign_phases.png", min(paths, 512))
    return path, path.with_suffix(".md"), path.with_suffix(".png"), folder / "sign_phases.png"
