"""Gaussian gradient noise with a constant or state-dependent factor."""

import copy
import math
from collections.abc import Callable
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor
from torch.func import vmap

from sme.common.errors import SMEError
from sme.common.identity.hashing import fingerprint
from sme.common.inputs import dense, short, whole
from sme.problems.noise.base import GradientLaw, Named, Paths, Stream

Factor = Float[Tensor, "d m"]
Given = Factor | Callable[[Tensor], Factor]


class GaussianNoise(GradientLaw):
    """`S z` with `z ~ N(0, I_m)`.

    Parameters
    ----------
    factor
        `S`, of shape `(d, m)`, or a callable from `theta` of shape `(d,)` to `(d, m)`.
    motions
        `m`, needed only if `factor` is a callable and `m` differs from `d`.

    Notes
    -----
    The second motion. With a constant factor `F dW²`, `F` the symmetric root of `Σ∘Σ`, on `d`
    motions. With a callable, no root: `Σ∘Σ = Σ_jl (S_j∘S_l)(S_j∘S_l)ᵀ` over the columns of `S`,
    on `m (m + 1) / 2` motions.
    """

    paired = True
    names: ClassVar = {"gaussian": Named(lambda factor, noise, _: GaussianNoise(factor))}

    def __init__(self, factor: Given, motions: int | None = None) -> None:
        if not isinstance(factor, Tensor) and not callable(factor):
            try:
                factor = torch.as_tensor(factor, dtype=torch.float64)
            except (TypeError, ValueError, RuntimeError):
                raise SMEError(f"the noise factor must be a tensor (d, m) or a function of theta, got {short(factor)}") from None
        if isinstance(factor, Tensor):
            factor = dense("the noise factor", factor)
        self.factor = factor.detach().clone() if isinstance(factor, Tensor) else factor  # the caller may change theirs
        self.constant = isinstance(factor, Tensor)
        self._motions = None if motions is None else whole("motions", motions, 1)
        if isinstance(factor, Tensor):
            if factor.dim() != 2:
                raise SMEError(
                    f"the noise factor must have shape (d, m), got {tuple(factor.shape)}: "
                    "use factor.diag() for independent noise"
                )
            if factor.is_complex():
                raise SMEError("the noise factor must be real")
            if not bool(torch.isfinite(factor).all()):
                raise SMEError("the noise factor is not finite")
            self._s = factor.detach().to(torch.float64, copy=True)
            sigma = self._s @ self._s.T
            values, vectors = torch.linalg.eigh(sigma * sigma)
            self._root = math.sqrt(2) * (vectors * values.clamp(min=0).sqrt()) @ vectors.T
            self._variance = sigma.diagonal().clone()
            self.motions, self.second_motions = factor.shape[1], factor.shape[0]

    def check(self, dim: int) -> None:
        if callable(self.factor):
            try:
                value = self.factor(torch.ones(dim, dtype=torch.float64))
            except Exception as fault:
                raise SMEError(f"the noise factor fails at a float64 theta ({dim},): {fault}") from fault
            m = dim if self._motions is None else self._motions
            if not isinstance(value, Tensor) or tuple(value.shape) != (dim, m):
                got = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
                raise SMEError(
                    f"the noise factor must return shape (d, m) = ({dim}, {m}), got {got}: "
                    "give motions=m if m differs from d"
                )
            self.motions, self.second_motions = m, m * (m + 1) // 2
        elif self.factor.shape[0] != dim:
            raise SMEError(
                f"the noise factor has {self.factor.shape[0]} rows but the problem has dim = {dim}: "
                "its shape must be (d, m)"
            )

    def at(self, theta: Paths) -> Float[Tensor, "paths d m"]:
        """`S(θ)` of every path."""
        if self.constant:
            return self._s.expand(len(theta), -1, -1)
        return vmap(lambda point: self.factor(point.clone()))(theta).to(theta.dtype)  # type: ignore[operator]

    def draw(self, increment: Tensor | None, tau: float, stream: Stream, paths: int) -> Tensor:
        if increment is None:
            return stream.normal(paths, self.motions)
        return increment / tau**0.5

    def sample(self, theta: Paths, z: Tensor) -> Paths:
        return self.diffuse(theta, z)

    def diffuse(self, theta: Paths, dW: Tensor) -> Paths:
        if self.constant:
            return (self._s @ dW.T).T
        return (self.at(theta) @ dW.unsqueeze(-1)).squeeze(-1)

    def second(self, theta: Paths, dW: Tensor) -> Paths:
        if self.constant:
            return (self._root @ dW.T).T
        s = self.at(theta)
        upper = torch.triu_indices(self.motions, self.motions, device=dW.device)
        # one motion for each unordered pair of columns: √2 (S_j∘S_l) √2 off, √2 (S_j∘S_j) on the diagonal
        weight = 2 - (2 - math.sqrt(2)) * (upper[0] == upper[1]).to(dW.dtype)
        return torch.einsum("pdk,pdk,pk->pd", s[..., upper[0]], s[..., upper[1]], weight * dW)

    def variance(self, theta: Paths) -> Paths:
        if self.constant:
            return self._variance.unsqueeze(1).expand(-1, theta.shape[0]).T
        return self.at(theta).square().sum(-1)

    def third(self, theta: Paths) -> Paths:
        return torch.zeros_like(theta)

    def sign_mean(self, theta: Paths, g: Paths) -> Paths:
        """`erf(g/√(2σ))`."""
        return torch.erf(g / (2 * self.variance(theta)).sqrt())

    def fourth(self, theta: Paths) -> Paths:
        return 3 * self.variance(theta).square()

    def describe(self) -> dict[str, object]:
        return {"law": "gaussian", "factor": fingerprint(self.factor)}

    def to(self, device: torch.device) -> "GaussianNoise":
        moved = copy.copy(self)
        if self.constant:
            moved._s, moved._root = self._s.to(device), self._root.to(device)
            moved._variance = self._variance.to(device)
        return moved
