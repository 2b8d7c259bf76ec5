"""The phases of signSGD: how far a gradient is above its noise, and what the equation is simplified to there."""

import math

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int
from scipy.special import erf
from torch import Tensor

from sme.common.errors import SMEError
from sme.problems.base import Problem
from sme.problems.noise.gaussian import GaussianNoise

NOISY, CLEAR = 1.0, 1.5
"""of `|y|`: phase 3 below the first, phase 1 above the second"""
SLOPE = (math.erf(CLEAR) - math.erf(NOISY)) / (CLEAR - NOISY)
"""`m`, of the chord of `erf` between the two"""
TOUCHED = math.sqrt(math.log(2 / (SLOPE * math.sqrt(math.pi))))
"""where the tangent of `erf` has that slope"""
LOW, HIGH = math.erf(NOISY) - SLOPE * NOISY, math.erf(TOUCHED) - SLOPE * TOUCHED
"""`q⁻`, `q⁺`: `erf` is concave, so it lies between its chord `m y + q⁻` and the parallel tangent `m y + q⁺`"""
REAL = math.sqrt(math.pi) / 2
"""the largest `|y|` at which phase 3's noise, the root of `1 − 4y²/π`, is real"""


def standard(problem: Problem, theta: Float[Tensor, "paths d"]) -> Float[Tensor, "paths d"]:
    """`y = ∇f/√(2σ)`: signSGD's drift is `−erf(y)`, whatever the problem.

    Raises
    ------
    SMEError
        for noise that is not Gaussian.
    """
    if not isinstance(problem.noise, GaussianNoise):
        raise SMEError("the phases of signSGD are told by erf, which needs Gaussian noise: use sme.GaussianNoise")
    return problem.gradient(theta) / (2 * problem.noise.variance(theta)).sqrt()


def phases(problem: Problem, theta: Float[Tensor, "paths d"]) -> Int[Tensor, "paths d"]:
    """The phase of every coordinate: 1 where `|y| > 3/2`, 3 where `|y| < 1`, 2 between.

    That signSGD has three phases, with the bound 3/2, is known from arXiv:2411.15958; what is said of each here is derived
    in docs/theory/rules.md, section 12.
    """
    size = standard(problem, theta).abs()
    return 3 - (size >= NOISY).to(torch.int64) - (size > CLEAR).to(torch.int64)


def simplified(y: Float[np.ndarray, " points"]) -> tuple[Float[np.ndarray, " points"], Float[np.ndarray, " points"]]:
    """The phase's drift; two of them, between which the drift `−erf(y)` lies, in phase 2.

        1: −sign(y)        2: −sign(y) (m |y| + q⁻) and −sign(y) (m |y| + q⁺)        3: −2y/√π = −√(2/π) ∇f/√σ
    """
    size = np.abs(y)

    def drift(offset: float) -> np.ndarray:
        linear = np.where(size > NOISY, SLOPE * size + offset, 2 / math.sqrt(math.pi) * size)
        return -np.sign(y) * np.where(size > CLEAR, 1.0, linear)

    return drift(LOW), drift(HIGH)


def table() -> pd.DataFrame:
    """A row for each phase: where it is, its drift and noise, and the largest errors of either, per unit of time."""
    clear, noisy = 1 - math.erf(CLEAR), 2 / math.sqrt(math.pi) - math.erf(NOISY)
    y = np.linspace(0.0, REAL, 1001)
    noise = np.abs(np.sqrt(1 - erf(y) ** 2) - np.sqrt(np.maximum(1 - 4 * y * y / math.pi, 0.0))).max()
    return pd.DataFrame([
        (1, "|y| > 3/2", "−sign(∇f)", "none", clear, math.sqrt(1 - math.erf(CLEAR) ** 2)),
        (2, "1 ≤ |y| ≤ 3/2", f"−(m y + q), m = {SLOPE:.5f}, {LOW:.5f} ≤ q ≤ {HIGH:.5f} (y > 0)", "√τ √(1 − (m y + q)²)",
         HIGH - LOW,
         math.sqrt(1 - (SLOPE * NOISY + LOW) ** 2) - math.sqrt(1 - (SLOPE * NOISY + HIGH) ** 2)),
        (3, "|y| < 1", "−√(2/π) Σ^(−1/2) ∇f", f"√τ √(1 − (2/π) ∇f²/σ), real for |y| ≤ {REAL:.3f}", noisy, noise),
    ], columns=["phase", "where", "drift", "noise", "error of the drift", "error of the noise, over √τ"])
