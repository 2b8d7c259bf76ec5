"""A polynomial of one parameter."""

from collections.abc import Sequence

import torch
from torch import Tensor

from sme.common.errors import SMEError
from sme.common.inputs import number, short
from sme.problems.base import Paths, Problem
from sme.problems.noise.named import named


class Powers:
    """`Σ_k coefficients[k] θᵏ` and its first three derivatives, elementwise."""

    def __init__(self, coefficients: Sequence[float]) -> None:
        self.coefficients = list(coefficients)
        self._derivatives = [self.coefficients]
        for _ in range(3):
            last = self._derivatives[-1]
            self._derivatives.append([k * a for k, a in enumerate(last)][1:])

    def __call__(self, theta: Tensor, derivative: int = 0) -> Tensor:
        total = torch.zeros_like(theta)
        for a in reversed(self._derivatives[derivative]):
            total = total * theta + a
        return total


class Curve(Problem):
    """A loss of one parameter that is a polynomial."""

    _value: Powers

    def loss(self, theta: Paths) -> Tensor:
        return self._value(theta[:, 0])

    def gradient(self, theta: Paths) -> Paths:
        return self._value(theta, 1)

    def hessian(self, theta: Paths, u: Paths) -> Paths:
        return self._value(theta, 2) * u

    def third(self, theta: Paths, u: Paths, w: Paths) -> Paths:
        return self._value(theta, 3) * u * w


class Polynomial(Curve):
    """`f(θ) = Σ_k coefficients[k] θᵏ`, one parameter, noise of size `noise`, Gaussian if no other `law` is named.

    The default, `½θ² + 0.075 θ⁴`, is the smallest problem with a curvature that changes.

    Parameters
    ----------
    law
        of the noise (`sme.problems.noise.named`).
    nu, p, growth, **settings
        of that law.

    Raises
    ------
    SMEError
        for an empty list of coefficients, `noise < 0`, or a law that there is not, or a setting of another law.
    """

    def __init__(self, coefficients: Sequence[float] = (0.0, 0.0, 0.5, 0.0, 0.075), noise: float = 0.3, law: str = "gaussian",
                 nu: float | None = None, p: float | None = None, growth: float | None = None, **settings: float | None) -> None:
        noise = number("noise", noise)
        if isinstance(coefficients, str) or not isinstance(coefficients, Sequence) or not len(coefficients) or not noise >= 0:
            raise SMEError(f"a polynomial needs a list of coefficients and noise ≥ 0, got {short(coefficients)}, noise = {noise}")
        self._value = Powers([number("a coefficient", a) for a in coefficients])
        random, described = named(law, torch.tensor([[noise]], dtype=torch.float64), noise, nu=nu, p=p, growth=growth, **settings)
        self._spec = {"problem": "polynomial", "coefficients": self._value.coefficients, "noise": noise, **described}
        super().__init__(self._at, 1, random, "polynomial")
