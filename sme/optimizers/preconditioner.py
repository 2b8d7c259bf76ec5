"""The floor under the second moment and the preconditioner `P(v) = 1/(√w(v) + ε)`, with `ε` in one of three places."""

from typing import NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor

from sme.common.derivatives.tracing import traced

EPS_MODES = ("outside", "inside", "average")


class Preconditioner(NamedTuple):
    """`P` and its derivative `P' = dP/dv`, elementwise."""

    value: Tensor
    slope: Tensor


@runtime_checkable
class Preconditioned(Protocol):
    """A rule whose steps are scaled by `P(v)`."""

    def precondition(self, v: Tensor) -> Tensor:
        """`P(v)`, long after the start of bias corrections."""
        ...


def above(v: Tensor, v_floor: float) -> bool:
    """Whether every path is above the floor, where asking costs nothing.

    While an equation is traced there are no values, and a device would have to be waited for: then none is known to be.
    """
    return v.device.type == "cpu" and not traced() and bool((v >= v_floor).all())


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


def places(eps: float, eps_mode: str, root: float | Tensor = 1.0) -> tuple[float | Tensor, float | Tensor | None]:
    """What is added to the root and what under it, for `√γ₂ = root`.

    `(ε√γ₂, None)` outside, `(0, εγ₂)` inside, `(0, None)` where the average `v` holds `ε`.
    """
    if eps_mode == "outside":
        return eps * root, None
    return 0.0, eps * root * root if eps_mode == "inside" else None


def preconditioner(v: Tensor, eps: float | Tensor, v_floor: float,
                   inside: float | Tensor | None = None) -> Preconditioner:
    """`P(v) = 1/(√u + ε)` and `P'(v) = −½ w'(v) P²/√u`, where `u = w(v) + inside`."""
    under = floor(v, v_floor)
    root = (under if inside is None else under + inside).sqrt()
    if v_floor == 0:  # the root may be 0
        value = 1 / (root + eps)
        return Preconditioner(value, -0.5 * value * value / root)
    inverse = 1 / (root * (root + eps))  # one division, the dearest operation here
    value = root * inverse
    ramp = torch.where(v >= v_floor, 1.0, _ramp((v / v_floor).clamp(0, 1)))
    return Preconditioner(value, -0.5 * value * inverse * ramp)
