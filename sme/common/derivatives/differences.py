"""Derivatives of a function that can only be evaluated, each at the step that settles best, with an estimate of its error."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

LEVELS = 10
"""five-point differences, each of half the step of the one before"""
SHIFTS = 2.0 ** -torch.arange(-1.0, LEVELS, dtype=torch.float64)
"""where the function is taken on either side, in units of the first step"""
EPSILON = 2.0**-52
ROUNDED = 4.0
"""rounding errors of one evaluation"""

Values = Float[Tensor, "directions functions"]


class Derivatives(NamedTuple):
    """Along each direction."""

    first: Values
    first_error: Values
    second: Values
    second_error: Values


def derivatives(centre: Float[Tensor, " functions"], sides: Float[Tensor, "directions 2 shifts functions"],
                sizes: Float[Tensor, " directions"]) -> Derivatives:
    """The first and second derivatives by `e` at 0, from the values at `±size · SHIFTS`.

    Of each function and direction the step is taken at which a change of step changes least.
    """
    step = sizes[:, None, None] * SHIFTS[1:, None]
    plus, minus = sides[:, 0], sides[:, 1]
    odd, even = plus - minus, plus + minus
    size = torch.maximum(plus.abs(), minus.abs())
    rounding = ROUNDED * EPSILON * torch.maximum(torch.maximum(size[:, 1:], size[:, :-1]), centre.abs())
    first = (8 * odd[:, 1:] - odd[:, :-1]) / (12 * step)
    second = (16 * even[:, 1:] - even[:, :-1] - 30 * centre) / (12 * step * step)
    return Derivatives(*_settled(first, rounding / step), *_settled(second, 4 * rounding / (step * step)))


def _settled(found: Float[Tensor, "directions levels functions"], rounding: Tensor) -> tuple[Values, Values]:
    change = (found[:, 1:] - found[:, :-1]).abs()
    change = torch.where(torch.isfinite(change), change, torch.inf)
    ahead = torch.cat((change[:, 1:], change[:, -1:]), 1) / 8
    behind = torch.cat((change[:, :1], change[:, :-1]), 1) / 32  # beside a step that settles by accident are others that do not
    behind = torch.where(torch.isfinite(behind), behind, 0.0)
    ahead = torch.where(torch.isfinite(ahead), ahead, 0.0)
    error = torch.maximum(torch.maximum(change, ahead), behind) + rounding[:, :-1]
    error = torch.where(torch.isfinite(error), error, torch.inf)
    best = error.argmin(1, keepdim=True)
    return found.gather(1, best).squeeze(1), error.gather(1, best).squeeze(1)
