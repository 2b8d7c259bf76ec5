"""How the loss of full-batch Adam moves for rates `a` of the second moment and `b` of the first."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float
from scipy.integrate import solve_ivp
from torch import Tensor, from_numpy

from sme.common.errors import SMEError
from sme.common.inputs import number, whole
from sme.optimizers.hyperparameters import Hyperparameters
from sme.problems.base import Problem
from sme.studies.phases.edge import FREE, GROWING

SMALL, SPIKES, LARGE, DIVERGED = PATTERNS = ("small oscillation", "spikes", "large oscillation", "diverged")
TOLERANCE = 1e-8


def ab(a: float, b: float, eta: float, eps: float = 1e-8) -> Hyperparameters:
    """Adam with `β₁ = 1 − bη` and `β₂ = 1 − aη`: `a` is the rate of `v`, `b` that of `m`, per unit of time `t = kη`.

    For `η → 0` its full-batch run tends to `θ̇ = −m/(√v + ε)`, `ṁ = b(∇f − m)`, `v̇ = a(∇f∘∇f − v)`: in scaled variables
    `sme.Adam(c1=b, c2=a)`, whose order-1 equation without noise this is. (With fixed `β` it tends to `sign_flow`.)

    Raises
    ------
    SMEError
        unless `aη` and `bη` lie in (0, 1).
    """
    a, b, eta = (number(name, value) for name, value in (("a", a), ("b", b), ("eta", eta)))
    for name, rate, beta in (("a", a, "β₂"), ("b", b, "β₁")):
        if not (eta > 0 and 0 < rate * eta < 1):
            raise SMEError(f"{name} η = {rate:g} · {eta:g}, so {beta} = 1 − {name} η is not in (0, 1): give {name} > 0 and η > 0 "
                           "with a product below 1")
    return Hyperparameters("adam", eta, 1 - b * eta, 1 - a * eta, eps)


def sign_flow(problem: Problem, theta: Float[Tensor, " d"], times: Sequence[float], eps: float) -> Float[np.ndarray, "times d"]:
    """`θ̇ = −∇f/(|∇f| + ε)`, what full-batch Adam tends to for `η → 0` with fixed `β₁`, `β₂`, at ascending times from 0 on."""
    def move(_: float, x: np.ndarray) -> np.ndarray:
        gradient = problem.gradient(from_numpy(x)[None])[0].numpy()
        return -gradient / (np.abs(gradient) + eps)

    solved = solve_ivp(move, (0.0, times[-1]), theta.numpy(), "LSODA", times, rtol=TOLERANCE, atol=TOLERANCE)
    return solved.y.T


def predicted(a: float, b: float) -> str:
    """The pattern of the equation of `ab` on a quadratic of curvature `λ`, in the end (docs/theory/limits.md, section 17).

    With `ω² = bλ/√v` it is `θ̈ + (b + v̇/2v)θ̇ + ω²θ = 0`, `v̇ = a(λ²θ² − v)`. Averaged over an oscillation `θ = A cos ∫ω` that is
    fast against `a` and `b`, with `r = λ²A²/v`,

        v̇/v = a(r/2 − 1)        Ȧ/A = −b/2 + a/8 − ar/32        ṙ = r(5a/4 − b − 9ar/16)

    For `b > 5a/4` the gradient falls faster than `√v`, `r → 0`: `v` falls freely as `e^{−at}` until the step size `η/√v` meets
    the edge of stability (see `edge`) with hardly a gradient left to refill it: spikes. Else `r → (16/9)(5/4 − b/a)`, and `A²`
    and `v` fall together as `e^{−(8b − a)t/9}`, or for `b < a/8` grow until the oscillation is no longer fast.
    """
    return SPIKES if b > FREE * a else LARGE if b < GROWING * a else SMALL


def followed(losses: Float[np.ndarray, "steps runs"], edges: Float[np.ndarray, "looks runs"],
             pairs: Sequence[tuple[float, float]], **rules: Any) -> list[str]:
    """What the equation of `ab` says of runs that end where it does, followed and not in the limit (docs/theory/limits.md, 17).

    Large, or diverged, where its own loss is; spikes where it meets the edge before the end and `v` falls freely there
    (`b > FREE a`); else small. The equation itself knows no edge: `edges` are the step size of the run × its curvature, over the
    run's threshold.

    Parameters
    ----------
    losses, edges
        along the equation.
    pairs
        `(a, b)` of each.
    rules
        of `classify`.
    """
    own = classify(losses, **rules)["pattern"]
    with np.errstate(invalid="ignore"):
        met = np.any(edges >= 1, 0).tolist()
    return [pattern if pattern in (LARGE, DIVERGED) else SPIKES if here and b > FREE * a else SMALL
            for pattern, here, (a, b) in zip(own, met, pairs, strict=True)]


def classify(losses: Float[np.ndarray, "steps runs"], *, tail: float = 2 / 3, large: float = 0.12, ratio: float = 50.0,
             floor: float = 0.0, window: int = 1, blowup: float = 1e3) -> pd.DataFrame:
    """Name the pattern of loss curves: columns `mean ratio rise pattern`, a row for each.

    `mean` and `ratio = max/min` are of the last part; `rise` is the largest factor by which the loss of the whole run grows, over
    the smallest before, of the maxima of blocks of `window` steps, `floor` added to both.

    Parameters
    ----------
    losses
        one column for each run, all of one problem.
    tail
        the share of the steps that is the last part.
    large
        a mean above is a large oscillation.
    ratio
        a rise above is a spike. Not `max/min`: a loss that falls evenly by this factor has none.
    floor
        the least loss that matters: oscillations below it are small whatever their factor.
    window
        steps of a block; more than one for a loss that passes through 0 in every oscillation.
    blowup
        a last part with a loss more than so many times the first one, or `large` if that is larger, or not finite, has diverged.

    `tail`, `large` and `ratio` by default as in a replication of the published diagram (which has no floor, takes `max/min`, and
    counts what diverges as large oscillation), not from the paper itself.

    Raises
    ------
    SMEError
        for bad input.
    """
    losses, window = np.asarray(losses, float), whole("window", window, 1)
    for name, value, allowed, good in (("large", large, "> 0", large > 0), ("ratio", ratio, "> 1", ratio > 1),
                                       ("floor", floor, "≥ 0", floor >= 0)):
        if not good:
            raise SMEError(f"{name} must be {allowed}, got {value:g}: no pattern can be told by it")
    if losses.ndim != 2 or not 0 < tail <= 1 or round(tail * len(losses)) < 2 * window:
        raise SMEError(f"tail must be in (0, 1], losses steps × runs, and at least two windows of {window} steps in their last "
                       f"part, got tail = {tail:g} of {len(losses)} steps: take more of them, or a smaller window")
    last = losses[len(losses) - round(tail * len(losses)):]
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        gone = ~(np.isfinite(losses).all(0) & (last.max(0) <= blowup * np.maximum(losses[0], large)))
        starts = np.arange(0, len(losses) - window + 1, window)
        tops = np.maximum.reduceat(losses, starts, axis=0) + floor
        rise = np.fmax.reduce(tops / np.minimum.accumulate(tops))  # 0/0 is no rise
        table = pd.DataFrame({"mean": last.mean(0), "ratio": last.max(0) / last.min(0), "rise": rise})
    table["pattern"] = np.select([gone, table["mean"] > large, table["rise"] > ratio], [DIVERGED, LARGE, SPIKES], SMALL)
    return table
