"""Gradient noise of random signs, even or skewed."""

from typing import ClassVar

import torch
from torch import Tensor

from sme.common.identity.hashing import fingerprint
from sme.problems.noise.base import Named, Paths
from sme.problems.noise.components import ComponentNoise
from sme.problems.noise.gaussian import GaussianNoise, Given
from sme.problems.noise.independent.unit import TwoPoint


class TwoPointNoise(ComponentNoise):
    """`S z`, each `z_j` independently `√((1 − p)/p)` with probability `p`, else `−√(p/(1 − p))`; Rademacher's signs at `p = ½`.

    `E z³ = (1 − 2p)/√(p (1 − p))` and `E z⁴ = 1 + (E z³)²`, the least that there is: a component's square has no noise but
    that of the component, and `ĝ∘ĝ` a second motion `2 (S_j∘S_l) dW²_jl` of each pair `j < l` alone.

    Parameters
    ----------
    factor, motions
        as of `sme.GaussianNoise`.
    p
        the probability of the value above 0.

    Raises
    ------
    SMEError
        unless `0 < p < 1`; for a factor as `sme.GaussianNoise` does.
    """

    names: ClassVar = {"rademacher": Named(lambda factor, noise, _: TwoPointNoise(factor)),
                       "skewed": Named(lambda factor, noise, p: TwoPointNoise(factor, p), "p", 0.2)}

    def __init__(self, factor: Given, p: float = 0.5, motions: int | None = None) -> None:
        super().__init__(TwoPoint(p))
        self._like = GaussianNoise(factor, motions)
        self.constant = self._like.constant

    def check(self, dim: int) -> None:
        self._like.check(dim)
        self.motions = self._like.motions
        self.second_motions = self.motions * (self.motions - 1) // 2

    def powers(self, theta: Paths, power: int, w: Tensor) -> Paths:
        return (self._like.at(theta) ** power @ w.unsqueeze(-1)).squeeze(-1)

    def second(self, theta: Paths, dW: Tensor) -> Paths:
        s = self._like.at(theta)
        one, other = torch.triu_indices(self.motions, self.motions, 1, device=dW.device)
        return 2 * torch.einsum("pdk,pdk,pk->pd", s[..., one], s[..., other], dW)

    def sign_mean(self, theta: Paths, g: Paths) -> Paths:
        return self.unit.sign_mean(g)

    def describe(self) -> dict[str, object]:
        return {"law": "two-point", "p": self.unit.p, "factor": fingerprint(self._like.factor)}  # type: ignore[attr-defined]

    def to(self, device: torch.device) -> "TwoPointNoise":
        moved = TwoPointNoise(self._like.factor, self.unit.p, self._like._motions)  # type: ignore[attr-defined]
        moved._like = self._like.to(device)
        moved.motions, moved.second_motions = self.motions, self.second_motions
        return moved
