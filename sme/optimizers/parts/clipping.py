"""A clip of the noisy gradient before a rule, as training loops do it."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sme.common.errors import SMEError, choose
from sme.common.inputs import short, size
from sme.optimizers.base import Optimizer, State
from sme.optimizers.parts.wrapped import Wrapped
from sme.optimizers.regimes import BALLISTIC, Gradient, Regime
from sme.optimizers.regimes import regime as named

NORM, VALUE = KINDS = ("norm", "value")
SLACK = 1e-6
"""what torch adds to a norm before it divides by it"""


@dataclass(frozen=True)
class Clipping(Wrapped):
    r"""A rule that sees the clipped gradient: by its norm over all parameters, or entry by entry, as torch does before a step.

    ```math
    \gamma = \hat g\,\min\Bigl(1, \frac{C}{|\hat g| + 10^{-6}}\Bigr) \qquad\text{or}\qquad \gamma_i = \max(-C, \min(\hat g_i, C))
    ```

    A function of the raw gradient of one step, so ballistic: the shifted equation, of order 2 (the mean step may have kinks, but
    has no jumps). `sme.Clipped` is the same as a law of the noise, with closed forms.

    Parameters
    ----------
    rule
        any update rule.
    limit
        `C > 0`.
    kind
        `"norm"` (`clip_grad_norm_`) or `"value"` (`clip_grad_value_`).

    Raises
    ------
    SMEError
        for another limit or kind; in the batch-equivalent regime.
    """

    limit: float
    kind: str = NORM

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "limit", size("the limit of clip", self.limit, "> 0"))
        choose("kind of clip", self.kind, KINDS)
        if self.signed:
            raise SMEError(f"{self.rule.name} reads the sign of the gradient, which a clip leaves as it is: leave the clip out")

    def suits(self, regime: Regime) -> None:
        super().suits(regime)
        if regime != BALLISTIC:
            raise SMEError("a clip of the gradient has an equation in the ballistic regime alone: in the batch-equivalent one "
                           "its limit would be C₀/√τ, and T₃ and T₄ of one step leave order 1 at most, which is not offered: use "
                           "regime='ballistic'")

    def clipped(self, scaled: Tensor) -> Tensor:
        """`γ`."""
        if self.kind == VALUE:
            return scaled.clamp(min=-self.limit, max=self.limit)
        norm = scaled.square().sum(-1, keepdim=True).clamp(min=1e-300).sqrt()
        return scaled * torch.clamp(self.limit / (norm + SLACK), max=1.0)

    def update(self, state: State, gradient: Gradient, tau: float, t: float) -> State:
        seen, unit = self.clipped(gradient.scaled), gradient.unit
        return self.rule.update(state, Gradient(unit * seen, seen * seen, None, (seen, unit)), tau, t)


def clipping(rule: Optimizer, clip: Any, regime: str | Regime) -> Optimizer:
    """The rule behind `clip`: None for none, a norm, or `("norm", C)` or `("value", C)`.

    Raises
    ------
    SMEError
        for anything else, and in the batch-equivalent regime.
    """
    if clip is None:
        return rule
    kind, limit = (NORM, clip) if not isinstance(clip, list | tuple) else clip if len(clip) == 2 else ("", clip)
    if kind not in KINDS or isinstance(limit, list | tuple):
        raise SMEError(f"clip must be a norm such as 1.0, ('norm', 1.0) or ('value', 0.5), got {short(clip)}")
    made = Clipping(rule, limit, kind)
    made.suits(named(regime))
    return made
