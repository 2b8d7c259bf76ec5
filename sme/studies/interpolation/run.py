"""AdaBayes between SGD and Adam: its learning rate over the size of the gradient, at its fixed point and as a filter."""

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from sme.common.errors import SMEError
from sme.common.inputs import room, whole
from sme.common.process.turns import entry
from sme.optimizers.adabayes import AdaBayes
from sme.optimizers.adabayes_filter import AdaBayesFilter
from sme.optimizers.base import Optimizer, updated
from sme.optimizers.regimes import BALLISTIC

PRIOR = 0.5
"""`a`; only `√v/a` and `aτ` matter"""
RATIOS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)
"""`√v/a`"""
TAUS = (1 / 4, 1 / 16, 1 / 64)
PATHS, SETTLED, LENGTH, SEED = 2048, 16.0, 8.0, 0
"""of the runs on random gradients: paths, the time before and that of the average, in memories `1/(2a)`"""
LEAST = 1e-6
"""the smallest `τ`, of some ten million steps"""
CURVES = ("fixed point", "filter, constant gradients", "filter, Gaussian gradients")


@entry
def measure(taus: Sequence[float] = TAUS, paths: int = PATHS) -> pd.DataFrame:
    """The step per unit of momentum and of `τ` in the stationary state, relative to SGD's `1/(2a)`.

    Columns `curve ratio tau rate stderr`: `ratio = √v/a` with `v = E ĝ∘ĝ`, of the fixed point without `τ`; of the filter on
    gradients of constant size, and as a mean over time and paths on Gaussian ones. All are steps of the update rules.
    """
    root = PRIOR * torch.tensor(RATIOS, dtype=torch.float64)
    parts = [_rows(CURVES[0], math.nan, _rate(AdaBayes(prior=PRIOR, v_floor=0.0), {"v": root.square()}, root, 1.0))]
    if not taus:
        raise SMEError("tau is empty: give at least one step size, such as 1/16")
    for tau in taus:
        if not LEAST <= tau < math.inf:
            raise SMEError(f"tau must be finite and at least {LEAST:g}, got {tau:g}: give a larger step size")
        rule = AdaBayesFilter(prior=PRIOR, denominator="updated")
        generator = torch.Generator().manual_seed(SEED)
        numbers = [whole("paths", paths, 2), len(root)]
        room(f"paths = {paths}", *numbers, 4)
        memories = 0.5 / PRIOR / tau
        before, during = (math.ceil(length * memories) for length in (SETTLED, LENGTH))
        still, p = torch.ones_like(root), torch.ones(numbers, dtype=torch.float64)
        total = torch.zeros_like(p)
        for k in range(before + during):
            still = _after(rule, {"p": still}, root, tau)["p"]
            p = _after(rule, {"p": p}, root * torch.randn(numbers, generator=generator, dtype=torch.float64), tau)["p"]
            total = total + (k >= before) * p
        parts.append(_rows(CURVES[1], tau, _rate(rule, {"p": still}, root, tau)))
        mean = 2 * PRIOR * total / during
        parts.append(_rows(CURVES[2], tau, mean.mean(0), mean.std(0) / math.sqrt(len(mean))))
    return pd.concat(parts, ignore_index=True)


def limits(ratio: np.ndarray) -> pd.DataFrame:
    """The fixed point against SGD and Adam, whose rates relative to SGD's are 1 and `2a/√v`, and to what the distances tend."""
    fixed = 2 / (1 + np.sqrt(1 + ratio**2))
    return pd.DataFrame({"ratio": ratio, "rate": fixed, "to_sgd": 1 - fixed, "sgd_leading": ratio**2 / 4,
                         "to_adam": 1 - fixed * ratio / 2, "adam_leading": 1 / ratio})


def _after(rule: Optimizer, state: dict[str, Tensor], gradient: Tensor, tau: float) -> dict[str, Tensor]:
    """The state after a step from `θ = 0` that sees this gradient in its squares, and `m = 1`, which stays, in its momentum."""
    whole_state = {"theta": torch.zeros_like(gradient), "m": torch.ones_like(gradient), **state}
    seen = BALLISTIC.seen(gradient, tau)
    return updated(rule, whole_state, seen._replace(step=tau * whole_state["m"]), tau, 0.0)


def _rate(rule: Optimizer, state: dict[str, Tensor], gradient: Tensor, tau: float) -> Tensor:
    """`−Δθ/(τ m)` of a step, relative to `1/(2a)`."""
    return -2 * PRIOR * _after(rule, state, gradient, tau)["theta"] / tau


def _rows(curve: str, tau: float, rate: Tensor, stderr: Tensor | None = None) -> pd.DataFrame:
    return pd.DataFrame({"curve": curve, "ratio": RATIOS, "tau": tau, "rate": rate.numpy(),
                         "stderr": math.nan if stderr is None else stderr.numpy()})
