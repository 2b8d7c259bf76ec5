"""The quadratic model problem."""

import torch
from torch import Tensor

from sme.common.errors import SMEError
from sme.common.inputs import TORCH_SEEDS, number, room, seed_of, whole
from sme.problems.base import Paths, Problem
from sme.problems.noise.named import named

MOST = 2**14
"""parameters: a random basis of so many takes `dim³` operations, some minutes"""


class Quadratic(Problem):
    """`f(θ) = ½ θᵀAθ` with noise of factor `S = noise · A`, Gaussian if no other `law` is named.

    `dim = 2` without a seed is `A = [[1, ½], [½, 1]]`. Otherwise `A` has eigenvalues evenly
    spaced from ½ to 3/2 (the same range) in a random basis drawn with `seed`.

    Parameters
    ----------
    law
        of the noise (`sme.problems.noise.named`): Student's and affine noise is independent between parameters, of size `noise`.
    nu, p, growth, **settings
        of that law.

    Raises
    ------
    SMEError
        for a dimension below 1 or beyond 16384, `noise < 0`, or a law that there is not, or a setting of another law.
    """

    def __init__(self, dim: int = 2, noise: float = 0.25, seed: int | None = None, law: str = "gaussian", nu: float | None = None,
                 p: float | None = None, growth: float | None = None, **settings: float | None) -> None:
        dim, noise = whole("dim", dim, 1), number("noise", noise)
        room(f"a matrix of {dim} × {dim} numbers", dim, dim)
        if dim > MOST:
            raise SMEError(f"a quadratic has at most {MOST} parameters, got dim = {dim}, whose basis would take hours: "
                           "give less, or an sme.Problem of your own")
        if not noise >= 0:
            raise SMEError(f"a quadratic needs noise ≥ 0, got {noise}: give 0 or more")
        if dim != 2 or seed is not None:
            seed = seed_of(0 if seed is None else seed, TORCH_SEEDS)
        self.a = self._matrix(dim, seed)
        random, described = named(law, noise * self.a, noise, nu=nu, p=p, growth=growth, **settings)
        self._spec = {"problem": "quadratic", "dim": dim, "noise": noise, "seed": seed, **described}
        super().__init__(self._form, dim, random, "quadratic")

    def _form(self, theta: Tensor) -> Tensor:
        return 0.5 * theta @ (self.a @ theta)

    @staticmethod
    def _matrix(dim: int, seed: int | None) -> Tensor:
        if seed is None:
            return torch.tensor([[1.0, 0.5], [0.5, 1.0]], dtype=torch.float64)
        generator = torch.Generator().manual_seed(seed)
        basis, _ = torch.linalg.qr(torch.randn(dim, dim, generator=generator, dtype=torch.float64))
        a = (basis * torch.linspace(0.5, 1.5, dim, dtype=torch.float64)) @ basis.T
        return 0.5 * (a + a.T)

    def loss(self, theta: Paths) -> Tensor:
        return 0.5 * (theta * self.gradient(theta)).sum(-1)

    def gradient(self, theta: Paths) -> Paths:
        return (self.a @ theta.T).T

    def hessian(self, theta: Paths, u: Paths) -> Paths:
        return (self.a @ u.T).T

    def third(self, theta: Paths, u: Paths, w: Paths) -> Paths:
        return torch.zeros_like(theta)
