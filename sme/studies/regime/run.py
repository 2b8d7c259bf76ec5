"""Which regime an optimizer is in: its physical hyperparameters against the noise of a problem."""

import math
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from sme.common.errors import SMEError
from sme.common.identity.hashing import digest, fingerprint
from sme.common.identity.numerics import used
from sme.common.inputs import LONG, whole
from sme.common.output.report import Report
from sme.common.output.text import grid
from sme.common.process.turns import entry
from sme.convergence.spec import effort
from sme.equations.registry import parts_of
from sme.optimizers.base import initial
from sme.optimizers.grid import StepGrid
from sme.optimizers.hyperparameters import BETAS, LINEAR, Hyperparameters
from sme.optimizers.preconditioner import preconditioner
from sme.optimizers.regimes import BALLISTIC
from sme.problems.base import Problem
from sme.simulate import noiseless
from sme.simulate.setup import Setup
from sme.simulate.stability import Stability, stability
from sme.studies.phases.edge import sharpness
from sme.studies.regime import limits, picture

ORDERS = (1, 2)
CURVE = 60  # points of a curve
ITERATIONS = 100  # of the power iteration for the curvature
FAR = 10.0  # spectral radius of a step's change beyond which no drift is worth solving


@dataclass(frozen=True, repr=False)
class RegimeReport(Report):
    """What `regime_report` finds.

    Attributes
    ----------
    hyperparameters
        the physical ones.
    scales
        a row for each regime: `τ`, horizon, rates, `ε`, `λ`, and the noise of a coordinate, `√(tr Σ/d)`.
    noise
        the noise at the start and after `steps` noiseless steps; `exponent = log(tr Σ/|∇f|²)/log(steps)`.
    memory
        a row for each average: the steps that it remembers, and their exponent.
    curvature
        at the start and the end of the noiseless run: the eigenvalue of `∇²f` largest in size, and that of `s ∇²f`, `s` the
        step size of each parameter.
    stability
        the spectrum of a step (`sme.simulate.stability`).
    errors
        a row for each order: the largest and the last difference of the loss between the noiseless run and the drift, as a
        share of how far the loss went; empty if none was asked for, or if the spectral radius of a step's change is beyond `FAR`.
    curves
        `step order difference` of the loss, what `errors` is from.
    """

    file = "regime"
    name: str
    hyperparameters: Hyperparameters
    steps: int
    scales: pd.DataFrame
    noise: pd.DataFrame
    memory: pd.DataFrame
    curvature: pd.DataFrame
    stability: Stability
    errors: pd.DataFrame
    curves: pd.DataFrame

    @property
    def tables(self) -> dict[str, pd.DataFrame]:
        parts = [table.melt(table.columns[0], var_name="quantity").rename(columns={table.columns[0]: "of"})
                 for table in (self.scales, self.noise, self.memory, self.curvature, self.errors) if len(table)]
        margin = pd.DataFrame({"of": "stability", "quantity": ["radius", "growth", "time"],
                               "value": [self.stability.radius, self.stability.growth, self.stability.time]})
        return {"regime": pd.concat([*parts, margin])}

    def body(self, style: str) -> list[str]:
        shown = [table.map(lambda cell: f"{cell:.4g}" if isinstance(cell, float) else cell)
                 for table in (self.scales, self.noise, self.curvature, self.memory, self.errors) if len(table)]
        tables = [grid(table, style) for table in shown]
        words = [f"{self.hyperparameters}. In scaled variables, 1 − β = cτ:", tables[0],
                 f"Noise along the noiseless run; its exponent is log(tr Σ/|∇f|²)/log({self.steps}), of {self.steps} steps:",
                 tables[1]]
        if len(self.memory):
            words += ["Memory; its exponent is log(remembered)/log(steps):", tables[3]]
            if cell := limits.cell(self.hyperparameters, self.noise["exponent"].iloc[0], self.memory):
                words.append(f"{cell}, with the noise at the start.")
        words += [f"Curvature along the noiseless run; {limits.edge(self.hyperparameters)}:", tables[2], self.margin]
        if len(self.errors):
            last = self.curves["step"].max()
            words += [f"Noiseless, the first {last} of {self.steps} steps, averages started at their means: the loss of the run "
                      "without noise less that of the drift of each order, as a share of the loss's way over these steps. It is "
                      "no error of the noisy run: it leaves out the noise but for its part in E[v], the later steps, and the "
                      "first ones of a run whose averages start at 0 (here: at E[gradient] and E[gradient∘gradient]):",
                      tables[-1]]
        return words

    @property
    def margin(self) -> str:
        """The stability margin in words."""
        seen = self.stability
        if math.isnan(seen.radius):
            return "Stability: a step has no finite Jacobian, so nothing can be said."
        said = f"Stability: the spectral radius of one step's change is {seen.radius:.3g} at step {seen.time / seen.tau:.0f}"
        if shares := [1 - getattr(self.hyperparameters, name) for name in BETAS[self.hyperparameters.optimizer]]:
            said += f" (the averages alone give {max(shares):.3g}, the largest 1 − β)"
        said += "; an equation in powers of τ can be trusted below 1, "
        if seen.trusted:
            return said + "as here."
        limit = "the discrete run itself is unstable there" if not seen.stable else "the discrete run is still stable"
        return (f"{said}so this run is outside. Of the equations model='midpoint' alone sees the limit that it runs into; "
                f"{limit}.")

    def draw(self, path: Path) -> Path:
        return picture.draw(self.noise, self.memory, self.curves, self.steps, str(self.hyperparameters), self.provenance, path)


@entry
def regime_report(problem: Problem, hyperparameters: Hyperparameters | torch.optim.Optimizer, theta: Float[Tensor, " d"], *,
                  steps: int = 1000, compared: int = 200, results: str | Path | None = None) -> RegimeReport:
    """Say which regime a run is in, from hyperparameters and the noise that is measured on the problem.

    `sme.diagnose` says it of a module, its data and a torch optimizer in one paragraph, and how far its batch may grow.

    Everything is deterministic: the noise is that of the problem's law (with its batch size) along the noiseless run, in which
    every step takes `E[gradient]`; the averages start at their means.

    Parameters
    ----------
    problem
        with the noise of one step's gradient.
    hyperparameters
        physical ones, or a torch optimizer to read them off.
    theta
        where the run starts.
    steps
        of the run, at least 2; they decide what is large: drift grows like their number, noise like its root.
    compared
        over so many steps the noiseless run is compared with the drifts of order 1 and 2; 0: not at all.
    results
        folder; tables and a picture go to `regime/<name>` in it. None: in memory.

    Raises
    ------
    SMEError
        for bad input.
    """
    given = hyperparameters
    if isinstance(given, torch.optim.Optimizer):
        given = Hyperparameters.of(given)
    if not isinstance(given, Hyperparameters) or not isinstance(problem, Problem):
        raise SMEError("regime_report takes an sme.Problem and sme.Hyperparameters (or a torch optimizer), got "
                       f"{type(problem).__name__} and {type(given).__name__}")
    if given.optimizer == "adagrad":
        raise SMEError("adagrad's sum of squares has no mean to start the noiseless run at: regime_report is for sgd, momentum, "
                       "nesterov, rmsprop, adam and adamw")
    steps, compared = whole("steps", steps, 2, LONG), whole("compared", compared, 0)
    given = replace(given, steps=steps)
    root = effort.place(results, "regime")
    with torch.no_grad():
        setup = _setup(problem, given, theta, steps)
        parts = used(problem, problem.noise, *parts_of(problem, setup.optimizer, setup.regime))
        own = digest({"of": fingerprint([problem, given.settings(), theta, compared])}, parts)
        name = f"{given.optimizer}-{problem.name}-{own}"
        marks = sorted({0, steps, *np.linspace(0, min(compared, steps), CURVE + 1).round().astype(int).tolist()})
        states = noiseless.discrete(setup, marks)
        seen = [limits.measure(problem, k, states[marks.index(k), : problem.dim]) for k in (0, steps)]
        margin = stability(setup)
        bends = _curvature(setup, states[[0, -1]])
        curves = _curves(setup, marks, states, 0 if margin.radius > FAR else min(compared, steps))
    made = RegimeReport(name, given, steps, limits.scales(given, problem, seen[0], steps), limits.noise(given, seen, steps),
                        limits.memory(given, steps), bends, margin, _errors(curves, problem, states, marks), curves,
                        folder=root and root / name)
    return made.saved()


def _setup(problem: Problem, given: Hyperparameters, theta: Tensor, steps: int) -> Setup:
    """The ballistic run, whose variables are the physical ones, with averages at their means."""
    # a floor where ε is all that is left, for parameters whose gradient is always 0
    optimizer, tau, *_ = given.uncorrected(BALLISTIC, **({} if given.optimizer in LINEAR else {"v_floor": given.eps**2}))
    at = initial(optimizer, {"theta": theta}, problem.dim)["theta"]
    problem.check(at)
    point = at[None]
    g, sigma = problem.gradient(point)[0], problem.noise.variance(point)[0]
    averages = {"theta": at, "m": g, "v": g * g + sigma}
    return Setup(problem, optimizer, BALLISTIC, 1, "independent", StepGrid.of(tau, steps),
                 {field: averages[field] for field in optimizer.fields}, (steps,), {})


def _curvature(setup: Setup, states: Tensor) -> pd.DataFrame:
    """At the start and the end of the noiseless run; no number where that is not finite."""
    d, optimizer = setup.problem.dim, setup.optimizer
    theta, u = states[:, :d], torch.randn(d, generator=torch.Generator().manual_seed(0), dtype=states.dtype).expand(2, d)
    fields = dict(zip(optimizer.fields, states.split(d, -1), strict=True))
    scale = torch.full_like(theta, setup.tau)
    if "v" in fields:
        scale = scale * preconditioner(fields["v"], getattr(optimizer, "eps", 0.0), optimizer.v_floor).value
    plain, _ = sharpness(setup.problem, theta, torch.ones_like(theta), u, ITERATIONS)
    scaled, _ = sharpness(setup.problem, theta, scale, u, ITERATIONS)
    return pd.DataFrame({"step": ["0", str(setup.steps)], "curvature, ∇²f": plain.tolist(),
                         "step size × curvature": scaled.tolist()})


def _curves(setup: Setup, marks: list[int], states: Tensor, compared: int) -> pd.DataFrame:
    within = [k for k in marks if k <= compared]
    if not compared:
        return pd.DataFrame(columns=["step", "order", "difference"])
    dim, rows = setup.problem.dim, []
    loss = setup.problem.loss(states[: len(within), :dim])
    for order in ORDERS:
        found = setup.problem.loss(noiseless.drift(setup, order, within)[:, :dim])
        rows.append(pd.DataFrame({"step": within, "order": order, "difference": (loss - found).numpy()}))
    return pd.concat(rows, ignore_index=True)


def _errors(curves: pd.DataFrame, problem: Problem, states: Tensor, marks: list[int]) -> pd.DataFrame:
    if curves.empty:
        return pd.DataFrame()
    loss = problem.loss(states[: marks.index(curves["step"].max()) + 1, : problem.dim])
    way = float(loss.max() - loss.min()) or math.nan  # a run that stays where it is
    rows = []
    for order, group in curves.groupby("order"):
        share = group["difference"].abs().to_numpy() / way
        rows.append({"drift": f"order {order}", "largest difference": float(share.max()), "at step": str(
            group["step"].to_numpy()[np.nan_to_num(share, nan=np.inf).argmax()]), "last difference": float(share[-1])})
    return pd.DataFrame(rows)
