"""What the differences of the published equations cost: orders by the one-step test and weak errors, ours beside theirs."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import pandas as pd
import torch
from torch import Tensor

from sme.common.inputs import whole
from sme.common.process.processes import spread
from sme.common.process.progress import progress
from sme.convergence.api import weak_error
from sme.convergence.comparison.run import compare
from sme.convergence.spec.effort import Execution
from sme.equations.base import Equation
from sme.equations.literature import variants as terms
from sme.equations.order.check import check_order
from sme.equations.order.order_check import OrderCheck
from sme.optimizers.adam import Adam
from sme.optimizers.base import Optimizer
from sme.optimizers.regimes import BATCH_EQUIVALENT
from sme.optimizers.rmsprop import RMSProp
from sme.problems.base import Problem
from sme.problems.noise.gaussian import GaussianNoise
from sme.problems.polynomial import Polynomial
from sme.problems.quadratic import Quadratic

TAU = (1 / 16, 1 / 32)
PATHS = 2**15
HORIZON = 1.0
CHECKED = {"ours": (2.0**-9, 2.0**-10), "theirs": (2.0**-14, 2.0**-15)}
"""step sizes of the moment test: of theirs so small that the term leads in the residual; of ours it would be rounding there"""
SEEDS = (0, 1)
"""of the weak error of ours, and of the difference: independent of each other"""
COLUMNS = ["difference", "scheme", "published", "ours", "where", "quadratic", "problem", "order", "ratio", "order_published",
           "ratio_published", "shown", "tau", "observable", "error", "stderr", "integrator_bias", "cost", "cost_stderr",
           "cost_bias", "error_published", "stderr_published", "bias_published"]


class Varying(Polynomial):
    """`½ θ² + 0.075 θ⁴` with the noise `0.3 + 0.2 sin θ`."""

    def __init__(self) -> None:
        super().__init__()
        self.name, self.noise = "varying", GaussianNoise(lambda theta: (0.3 + 0.2 * torch.sin(theta)).unsqueeze(0))
        self.noise.check(1)

    def describe(self) -> dict[str, object]:
        return {**super().describe(), "noise": self.noise.describe()}


@dataclass(frozen=True)
class Difference:
    """One term of a published equation beside ours, and a case in which it is active."""

    kind: type[Equation]
    scheme: str
    published: str
    ours: str
    where: str
    """where it matters"""
    quadratic: str
    """what it does in the equation of the published quadratic experiment; begins with `none` if it changes nothing"""
    problem: Problem
    optimizer: Optimizer
    regime: str
    shown: str = "|theta|^2"
    """the observable of the picture and of the printed table"""
    start: dict[str, list[float]] = field(default_factory=lambda: {"theta": [1.0, 0.5]})

    @property
    def brownian(self) -> str:
        """Of both sides: with step memory in the batch-equivalent regime, where independent motions are not of order 2."""
        return "step_memory" if self.regime == BATCH_EQUIVALENT.name else "independent"

    @property
    def state(self) -> dict[str, Tensor]:
        """The start as tensors."""
        return {name: torch.tensor(value, dtype=torch.float64) for name, value in self.start.items()}

    def check(self, side: str) -> OrderCheck:
        """The moment test of `"ours"` or of `"theirs"`, on this case."""
        return check_order(self.problem, self.optimizer, self.regime, 2, self.brownian, tau=CHECKED[side],
                           kind=self.kind if side == "theirs" else None)


RMS, ADAM = RMSProp(eps=1e-6), Adam(eps=1e-6)
CORRECTED = Adam(eps=1e-6, bias_correction=True, t0=1.0, clock=(2, 1))
BALLISTIC, BATCH = "ballistic", BATCH_EQUIVALENT.name
QUADRATIC = Quadratic()
POLYNOMIAL = Polynomial()
"""½ θ² + 0.075 θ⁴, noise 0.3"""
VARYING = Varying()
DIFFERENCES = (
    Difference(terms.OneMotionRMSProp, "RMSProp, ballistic", "noise on v: √τ 2c g∘S dW¹", "… + √τ c √2 (Σ∘Σ)^½ dW²",
               "any noise", "active", QUADRATIC, RMS, BALLISTIC, "|v|^2"),
    Difference(terms.CubedRMSProp, "all four", "P′ = −½ P³", "P′ = −½ P²/√v", "ε > 0 (0.1 in Poly and NN)", "none: ε ≈ 0",
               POLYNOMIAL, RMSProp(), BALLISTIC, "mean v", {"theta": [0.8]}),
    Difference(terms.FlatVarianceRMSProp, "RMSProp and Adam, ballistic", "b₁_v: no term in ∂σ", "+½ c ∂σ(P∘g)",
               "noise that depends on θ (Poly)", "none: Σ constant", VARYING, RMSProp(), BALLISTIC, "mean v", {"theta": [0.8]}),
    Difference(terms.BentRMSProp, "RMSProp, batch-equivalent", "b₁_θ: −P∘(D_θθ:∇²g)", "+¼ P∘(D_θθ:∇²g)",
               "∇³f ≠ 0 (Poly, NN)", "none: ∇³f = 0", POLYNOMIAL, RMSProp(), BATCH, start={"theta": [0.8]}),
    Difference(terms.ScaledHessianRMSProp, "RMSProp, batch-equivalent", "noise on θ: −τ c ½ P∘H(P∘S) dW¹", "−τ ½ P∘H(P∘S) dW¹",
               "c ≠ 1", "active", QUADRATIC, RMS, BATCH),
    Difference(terms.SwayedRMSProp, "RMSProp, batch-equivalent", "b₁_v: −½ ∂σ(P∘g) − ½ τ D_θθ:∇²σ",
               "+½ c ∂σ(P∘g) − ¼ c D_θθ:∇²σ", "noise that depends on θ (Poly)", "none: Σ constant",
               VARYING, RMSProp(), BATCH, "mean v", {"theta": [0.8]}),
    Difference(terms.OpposedAdam, "Adam, both regimes", "noise on v: −√τ 2c₂ g∘S dW¹", "+√τ 2c₂ g∘S dW¹", "any noise", "active",
               QUADRATIC, ADAM, BALLISTIC, "|v|^2"),
    Difference(terms.GradientAdam, "Adam, ballistic", "b₁_v: c₂ Γ g∘H(P∘g)", "c₂ Γ g∘H(P∘m)", "m ≠ g", "active", QUADRATIC, ADAM,
               BALLISTIC, "mean v"),
    Difference(terms.GrowingAdam, "Adam, both regimes", "b₁_θ: ∂_t P = +P² ∂_t √γ₂", "−ε P² ∂_t √γ₂", "bias correction", "active",
               QUADRATIC, CORRECTED, BALLISTIC),
    Difference(terms.EarlyAdam, "Adam, both regimes", "γ₁(t + τ), γ₂(t)", "γ₁(t + 2τ), γ₂(t + τ)", "bias correction", "active",
               QUADRATIC, CORRECTED, BALLISTIC, "mean v"),
    Difference(terms.LeadingAdam, "Adam, batch-equivalent", "noise on m: c₁ S dW¹", "c₁ (1 + ½ τ c₁) S dW¹", "any noise",
               "active", QUADRATIC, ADAM, BATCH, "|m|^2"),
    Difference(terms.UnscaledAdam, "Adam, batch-equivalent", "noise on θ: −½ τ Γ P∘S dW¹", "−½ τ c₁ Γ P∘S dW¹",
               "c₁ ≠ 1 (MLP: c₁ = 100; here 2)", "none: c₁ = 1", QUADRATIC, Adam(c1=2.0, eps=1e-6), BATCH),
)


def ratio(found: OrderCheck) -> float:
    """Residual over that at half the step size, where the residual is largest."""
    coarse = found.residuals[found.residuals["ratio"].notna()]
    return float(coarse["ratio"][coarse["residual"].abs().idxmax()])


def rows(case: Difference, tau: Sequence[float], paths: int) -> pd.DataFrame:
    """One difference: its orders, and for each `τ` and observable the weak errors of ours and of theirs and the cost."""
    ours, theirs = case.check("ours"), case.check("theirs")
    study = weak_error(case.problem, case.optimizer, regime=case.regime, order=2, brownian=case.brownian, tau=list(tau),
                       start=case.state, horizon=HORIZON, paths=paths, seed=SEEDS[0])
    side = study.specification(), 2
    how = Execution.of(SEEDS[1], "cpu", 1, "auto", paths, None, None)
    found = compare(side, side, [side[0].steps(each) for each in tau], paths, how, (study.errors, study.errors), case.kind).table
    found = found.rename(columns={"difference": "cost", "stderr": "cost_stderr", "integrator_bias": "cost_bias"})
    table = study.errors.merge(found[["tau", "observable", "cost", "cost_stderr", "cost_bias"]], on=["tau", "observable"])
    return table.assign(
        difference=case.kind.__name__, scheme=case.scheme, published=case.published, ours=case.ours, where=case.where,
        quadratic=case.quadratic, problem=case.problem.name, shown=table["observable"] == case.shown,
        order=ours.proved, ratio=ratio(ours), order_published=theirs.proved, ratio_published=ratio(theirs),
        error_published=table["error"] - table["cost"], stderr_published=(table["stderr"]**2 + table["cost_stderr"]**2)**0.5,
        bias_published=table["integrator_bias"].abs() + table["cost_bias"].abs())[COLUMNS]


def measure(tau: Sequence[float] = TAU, paths: int = PATHS, processes: int = 1,
            which: Sequence[int] | None = None) -> pd.DataFrame:
    """The rows of every difference, in order, or of those with the numbers `which`.

    Raises
    ------
    SMEError
        for a number that none has.
    """
    last = len(DIFFERENCES)
    chosen = range(1, last + 1) if which is None else [whole("a difference", each, 1, last) for each in which]
    work = [(DIFFERENCES[number - 1], tau, paths) for number in chosen]
    done = progress(spread(rows, work, processes), total=len(work), unit="difference")
    return pd.concat(list(done), ignore_index=True)
