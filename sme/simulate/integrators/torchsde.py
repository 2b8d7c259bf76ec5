"""torchsde drives a scheme over one optimizer step, in integer time."""

import torch
from jaxtyping import Float
from torch import Tensor
from torchsde import BaseBrownian, sdeint

from sme.equations.base import Equation, join
from sme.simulate.control_variates.values import Watch
from sme.simulate.integrators.recorded import Recorded
from sme.simulate.integrators.schemes import Scheme


class _Given(BaseBrownian):
    """Hands out increment number `k − first` when asked for `(k, k + 1)`."""

    def __init__(self, dW: Float[Tensor, "substeps paths motions"], first: int) -> None:
        self.dW, self.first = dW, first

    def __call__(self, ta, tb=None, return_U=False, return_A=False):  # type: ignore[no-untyped-def]
        return self.dW[int(ta) - self.first]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({tuple(self.dW.shape)})"

    dtype = property(lambda self: self.dW.dtype)
    device = property(lambda self: self.dW.device)
    # torchsde draws a probe of this shape before it starts: one motion is enough for its checks
    shape = property(lambda self: torch.Size((self.dW.shape[1], 1)))
    levy_area_approximation = "none"


class _Integer:
    """An equation whose unit of time is one substep: torchsde's Euler adds `1.0 · (dt f) + n`."""

    noise_type, sde_type = "general", "ito"

    def __init__(self, equation: Equation, scheme: Scheme | Recorded, dt: float, start: float, first: int,
                 watch: Watch | None) -> None:
        self.equation, self.scheme, self.dt = equation, scheme, dt
        self.start, self.first, self.watch = start, first, watch
        self.probed = False

    def f_and_g_prod(self, k: Tensor, x: Tensor, dW: Tensor) -> tuple[Tensor, Tensor]:
        if not self.probed:  # torchsde's first call only looks at shapes
            self.probed = True
            self.since = torch.zeros_like(dW)  # the motion since the optimizer's step began
            return x, x
        t = self.start + (int(k) - self.first) * self.dt
        f, n = self.scheme.step(self.equation, t, self.dt, x, dW, self.since)
        if self.watch is not None:
            self.watch(t, x, dW, n)
        self.since = self.since + dW if self.equation.remembers else dW
        return self.dt * f, n


def integrate(equation: Equation, scheme: Scheme | Recorded, x: Float[Tensor, "paths state"],
              dW: Float[Tensor, "substeps paths motions"], step: int, t: float, watch: Watch | None = None
              ) -> Float[Tensor, "paths state"]:
    """`x` after optimizer step number `step`, which begins at time `t`, on the given increments.

    The grid is exact: torchsde sees the times `step·r, step·r + 1, …` with `dt = 1.0`, `r` the
    number of substeps, and calls the scheme exactly `r` times.
    """
    r = dW.shape[0]
    first = step * r
    sde = _Integer(equation, scheme, equation.tau / r, t, first, watch)
    ts = torch.tensor([first, first + r], dtype=torch.float64)
    end = sdeint(sde, x, ts, bm=_Given(dW, first), dt=1.0, method="euler")[-1]
    return join(end)  # torchsde stacks what it returns path by path
