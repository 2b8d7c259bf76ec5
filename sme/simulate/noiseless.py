"""The noiseless run, beside the equations' drifts alone: what the step size does apart from the noise."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from sme.simulate.setup import Setup

EVALUATIONS = 40_000
"""of a drift, after which it counts as diverged"""
TOLERANCE = 1e-8
LEAST = 1e-100
"""of a field that stays ≥ 0: between a solver's steps rounding takes one that is nearly 0 below it"""


class _TooManyError(Exception):
    """The solver's steps became too small."""


def discrete(setup: Setup, marks: Sequence[int]) -> Float[Tensor, "marks state"]:
    """The state after so many steps of `E[gradient]`, not a number from where it is not finite."""
    x, found = setup.whole(1)[0], []
    for k in range(max(marks)):
        found.append(x)
        new = setup.chain.mean_step(setup.fields(x), setup.chain.time(k))
        x = setup.layout.whole(new)
    return torch.stack([*found, x])[list(marks)]


def drift(setup: Setup, order: int, marks: Sequence[int], tolerance: float = TOLERANCE,
          evaluations: int | None = None) -> Float[Tensor, "marks state"]:
    """`x' = b + τ b₁` (at order 1 `b`) at the times of these steps, not a number from where it diverges."""
    from scipy.integrate import solve_ivp  # takes half a second, and few runs ask for it

    equation, count, most = replace(setup, order=order).equation(), 0, evaluations or EVALUATIONS
    start = setup.whole(1)[0]
    stays = torch.tensor([name in setup.optimizer.nonnegative for name in setup.optimizer.fields])
    stays = stays.repeat_interleave(setup.problem.dim)

    def move(t: float, x: np.ndarray) -> np.ndarray:
        nonlocal count
        count += 1
        if count > most or not np.isfinite(x).all():
            raise _TooManyError
        at = torch.from_numpy(x)
        return equation.drift(t, torch.where(stays, at.clamp(min=LEAST), at)[None])[0].numpy()

    times = np.array([setup.chain.time(k) for k in marks])
    unit = float(start.abs().max()) or 1.0
    found = np.full((len(marks), len(start)), np.nan)
    try:
        solved = solve_ivp(move, (setup.chain.time(0), times[-1]), start.numpy(), "DOP853", times, rtol=tolerance,
                           atol=tolerance**1.5 * unit)
        found[: solved.y.shape[1]] = solved.y.T
    except _TooManyError:
        pass
    return torch.from_numpy(found)
