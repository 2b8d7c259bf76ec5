"""Adam's bias correction as a smooth function of time."""

from dataclasses import dataclass

import torch
from torch import Tensor

from sme.common.derivatives.tracing import traced


@dataclass(frozen=True)
class Correction:
    """`Γ = √γ₂/γ₁` and `√γ₂` at time `t`, with their derivatives in `t`."""

    gain: float | Tensor
    root: float | Tensor
    gain_slope: float | Tensor = 0.0
    root_slope: float | Tensor = 0.0


NONE = Correction(1.0, 1.0)


def log_decay(c: float, tau: float | Tensor, memory: float = 1.0) -> Tensor:
    """`log(1 − cτ^q)/τ`; for `q = memory = 1` smooth in `τ` at 0, where it is `−c`."""
    if memory != 1:
        return torch.log1p(-torch.as_tensor(c * tau**memory, dtype=torch.float64)) / tau
    x = torch.tensor(c * tau, dtype=torch.float64) if isinstance(tau, float | int) else c * tau
    small = x.abs() < 0.01
    series = 1 + x * (1 / 2 + x * (1 / 3 + x * (1 / 4 + x * (1 / 5 + x * (1 / 6 + x * (1 / 7 + x / 8))))))
    if not isinstance(tau, Tensor) and not traced() and bool(small):  # one branch is enough for a number or a power series
        return -c * series
    safe = torch.where(small, 0.5, x)
    return torch.where(small, -c * series, c * torch.log1p(-safe) / safe)


def correction(t: float | Tensor, tau: float | Tensor, c1: float, c2: float,
               clock: tuple[int, int], memory: float = 1.0) -> Correction:
    """`γᵢ(t) = 1 − (1 − cᵢτ^q)^{t/τ + nᵢ} = 1 − exp((t + nᵢτ) log(1 − cᵢτ^q)/τ)`, `q = memory`, exact in `τ`.

    `clock = (n₁, n₂)`; step `k` is at `t = kτ`, so `(1, 1)` is the clock of `torch.optim.Adam`.
    """
    rate1, rate2 = log_decay(c1, tau, memory), log_decay(c2, tau, memory)
    decay1, decay2 = ((t + n * tau) * rate for n, rate in zip(clock, (rate1, rate2), strict=True))
    gamma1, gamma2 = -torch.expm1(decay1), -torch.expm1(decay2)
    root = gamma2.sqrt()
    gain = root / gamma1
    root_slope = -rate2 * torch.exp(decay2) / (2 * root)
    gain_slope = root_slope / gamma1 + gain * rate1 * torch.exp(decay1) / gamma1
    return Correction(gain, root, gain_slope, root_slope)
