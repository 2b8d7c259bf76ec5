"""The floor under the second moment and the preconditioner `P(v) = 1/(√w(v) + ε)`."""

from typing import NamedTuple

import torch
from torch import Tensor


class Preconditioner(NamedTuple):
    """`P` and its derivative `P' = dP/dv`, elementwise."""

    value: Tensor
    slope: Tensor


def _ramp(s: Tensor) -> Tensor:
    """The C³ smoothstep `35 s⁴ − 84 s⁵ + 70 s⁶ − 20 s⁷` from 0 to 1."""
    squared = s * s
    return squared * squared * (35 + s * (-84 + s * (70 - 20 * s)))


def floor(v: Tensor, v_floor: float) -> Tensor:
    """`w(v)`: `v` itself for `v ≥ δ`, `δ/2` for `v ≤ 0`, between them a C⁴ monotone blend.

    `w(v) = δ/2 + ∫₀^v ramp(u/δ) du` with a C³ `ramp` from 0 to 1, `δ = v_floor`; `δ = 0` is
    no floor. It is part of the model: the discrete run and every equation read `√v` as `√w(v)`.
    """
    if v_floor == 0:
        return v
    s = (v / v_floor).clamp(0, 1)
    squared = s * s
    blend = squared * squared * s * (7 + s * (-14 + s * (10 - 2.5 * s)))
    return torch.where(v >= v_floor, v, v_floor * (0.5 + blend))


def preconditioner(v: Tensor, eps: float | Tensor, v_floor: float) -> Preconditioner:
    """`P(v) = 1/(√w(v) + ε)` and `P'(v) = −½ w'(v) P²/√w(v)`."""
    root = floor(v, v_floor).sqrt()
    value = 1 / (root + eps)
    slope = -0.5 * value * value / root
    if v_floor > 0:
        slope = torch.where(v >= v_floor, slope, slope * _ramp((v / v_floor).clamp(0, 1)))
    return Preconditioner(value, slope)
