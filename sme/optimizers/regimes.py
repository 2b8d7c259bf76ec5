"""How the gradient scales with the step size τ."""

from dataclasses import dataclass
from typing import NamedTuple, NoReturn

from jaxtyping import Float
from torch import Tensor

from sme.common.errors import NotOfferedError, SMEError, choose

ONE_GRADIENT = ("A rule sees one gradient, at its own θ, as gradient.step (τ ĝ), gradient.square (ĝ∘ĝ), gradient.scaled (ĝ) and, "
                "if it is signed, gradient.sign. What takes more is not offered: a gradient at another point (SAM, "
                "extragradient), a second draw, the previous gradient (Adan), a Hessian product (Sophia)")


class RawGradientError(SMEError):
    """A rule that takes the raw gradient of one step apart, so that it is no function of averages of gradient and square."""


class Gradient(NamedTuple):
    """What an update rule sees of a noisy gradient `ĝ`."""

    step: Float[Tensor, "*paths d"]
    """`τ · gradient` in scaled variables, the parameter increment of plain SGD."""
    square: Float[Tensor, "*paths d"]
    """`ĝ∘ĝ`, what a second moment averages."""
    sign: Float[Tensor, "*paths d"] | None = None
    """`h^step_power sign(ĝ)`, a step of signs; None for an optimizer that is not `signed`."""
    seen: tuple[Float[Tensor, "*paths d"], float] | None = None
    """`scaled` and `unit`; None where a rule is expanded in averages of the other parts."""

    @property
    def scaled(self) -> Float[Tensor, "*paths d"]:
        """`ĝ` itself, for a rule that clips, normalises or compares it: `step = unit · scaled`."""
        return self._parts[0]

    @property
    def unit(self) -> float:
        """`h^step_power`: `τ` ballistic, `√τ` batch-equivalent."""
        return self._parts[1]

    @property
    def _parts(self) -> tuple[Float[Tensor, "*paths d"], float]:
        if self.seen is None:
            raise RawGradientError("the rule reads gradient.scaled or gradient.unit, the raw gradient of one step")
        return self.seen

    def __getattr__(self, name: str) -> NoReturn:
        raise NotOfferedError(f"gradient.{name} is not offered. {ONE_GRADIENT}")


@dataclass(frozen=True)
class Regime:
    """A scaling of gradient and step, with `h = √τ` (docs/theory/scaling.md, section 1).

    `ĝ = h^mean_power ∇f + S z`, `gradient.step = h^step_power ĝ`, `gradient.square = ĝ∘ĝ`,
    `gradient.sign = h^step_power sign(ĝ)` if asked for.
    """

    name: str
    mean_power: float
    step_power: float

    def gradient(self, mean: Tensor, noise: Tensor, tau: float, sign: bool = False) -> Gradient:
        """The scaled gradient from the mean gradient `∇f` and the noise `S z`; with its sign if `sign`."""
        return self.seen(tau ** (self.mean_power / 2) * mean + noise, tau, sign)

    def seen(self, scaled: Tensor, tau: float, sign: bool = False) -> Gradient:
        """The scaled gradient `ĝ` as an update rule sees it."""
        step = tau ** (self.step_power / 2)
        return Gradient(step * scaled, scaled * scaled, step * scaled.sign() if sign else None, (scaled, step))

    def expected(self, mean: Tensor, variance: Tensor, tau: float) -> Gradient:
        """`E[gradient]`: `step = τ ∇f`, `square = h^(2 mean_power) ∇f∘∇f + diag Σ`."""
        unit, scaled = tau ** (self.step_power / 2), tau ** (self.mean_power / 2) * mean
        return Gradient(step=tau * mean, square=tau**self.mean_power * mean * mean + variance, seen=(scaled, unit))


BALLISTIC = Regime("ballistic", mean_power=0, step_power=2)
BATCH_EQUIVALENT = Regime("batch_equivalent", mean_power=1, step_power=1)
REGIMES = {regime.name: regime for regime in (BALLISTIC, BATCH_EQUIVALENT)}


def regime(name: "str | Regime") -> Regime:
    """The regime of that name."""
    return name if isinstance(name, Regime) else REGIMES[choose("regime", name, REGIMES)]
