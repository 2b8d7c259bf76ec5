"""Muon: momentum, made nearly orthogonal."""

from dataclasses import dataclass
from math import prod, sqrt
from typing import Any

import torch
from torch import Tensor

from sme.common.errors import SMEError, choose
from sme.common.inputs import instance, whole
from sme.optimizers.base import State
from sme.optimizers.library.base import LibraryRule

NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
GAINS = ("original", "match_rms_adamw", "none")


@dataclass(frozen=True)
class Muon(LibraryRule):
    r"""Muon of torch.optim, $1 - \beta = c\tau$, with `lr = ητ` in both regimes.

    ```math
    m' = m + c (s - \tau m), \qquad M = m' \quad\text{or, Nesterov's,}\quad cs + (1 - c\tau)\, m', \qquad
    \Delta = -\tau\, \gamma\, \mathrm{NS}(M/|M|)
    ```

    on each matrix of `θ`: five steps `X ↦ aX + (bA + cA²)X`, `A = XXᵀ`, of Newton and Schulz, all in double precision (torch
    rounds to bfloat16 there). Smooth where `M ≠ 0`, so `m` starts at other values than 0.

    Parameters
    ----------
    shapes
        the matrices of `θ`, one after the other; empty for one square matrix.
    c
        memory rate of `m`.
    nesterov
        Nesterov's step, torch's default.
    coefficients, times
        `(a, b, c)`, and how many steps.
    eps
        what `|M|` is at least.
    gain
        `γ` by the shape: `"original"`, `√max(1, rows/columns)`; `"match_rms_adamw"`, `0.2 √max(rows, columns)`; `"none"`, 1.

    Raises
    ------
    SMEError
        for a value outside these ranges, or parameters that are no such matrices.
    """

    shapes: tuple[tuple[int, int], ...] = ()
    c: float = 1.0
    nesterov: bool = True
    coefficients: tuple[float, float, float] = NEWTON_SCHULZ
    times: int = 5
    eps: float = 1e-7
    gain: str = "original"

    fields = ("theta", "m")
    defaults = {"m": 0.1}
    mixes = True

    def __post_init__(self) -> None:
        super().__post_init__()
        instance("nesterov", self.nesterov, bool, "True or False")
        choose("gain", self.gain, GAINS)
        object.__setattr__(self, "times", whole("times", self.times, 0))
        object.__setattr__(self, "shapes", tuple(tuple(whole("rows or columns", n, 1) for n in each) for each in self.shapes))
        object.__setattr__(self, "coefficients", tuple(map(float, self.coefficients)))

    def matrices(self, dim: int) -> tuple[tuple[int, ...], ...]:
        """The shapes of `dim` parameters."""
        side = round(sqrt(dim))
        shapes = self.shapes or ((side, side),)
        if sum(map(prod, shapes)) != dim:
            raise SMEError(f"Muon moves matrices, of {' and '.join(f'{n} × {m}' for n, m in shapes)} numbers, and there are "
                           f"{dim} parameters: give their shapes, as shapes=((rows, columns), …)")
        return shapes

    def step(self, state: State, s: Tensor, square: Tensor, tau: Any, t: Any) -> State:
        m = state["m"] + self.c * (s - tau * state["m"])
        ahead = self.c * s + m - tau * self.c * m if self.nesterov else m
        shapes = self.matrices(ahead.shape[-1])
        parts = ahead.split([prod(shape) for shape in shapes], -1)
        moves = [self._orthogonal(part.unflatten(-1, shape)).flatten(-2) for part, shape in zip(parts, shapes, strict=True)]
        return {"theta": -tau * torch.cat(moves, -1), "m": m}

    def _orthogonal(self, matrix: Tensor) -> Tensor:
        """`γ NS(M/|M|)`."""
        a, b, c = self.coefficients
        rows, columns = matrix.shape[-2:]
        x = matrix.mT if rows > columns else matrix
        x = x / (x * x).sum((-2, -1), keepdim=True).sqrt().clamp(min=self.eps)
        for _ in range(self.times):
            gram = x @ x.mT
            x = a * x + (b * gram + c * gram @ gram) @ x
        gain = {"original": sqrt(max(1.0, rows / columns)), "match_rms_adamw": 0.2 * sqrt(max(rows, columns)), "none": 1.0}
        return gain[self.gain] * (x.mT if rows > columns else x)
