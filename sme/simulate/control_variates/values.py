"""Control variates of an equation on each of its levels: its own noise, times the value of what it moves."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from sme.common.identity.owned import PACKAGE, whose
from sme.equations.base import Equation, X

KINDS = 3
"""sums a row: the noise, its product with the state, its squares"""
STAGES = 4
"""combinations of the levels: the coarsest alone; of paths on all levels that again, the extrapolated value, its last move"""
Parts = Sequence[float]
"""of a level in each of these"""

Watch = Callable[[float, X, Tensor, Tensor], None]
"""sees the time, the state, the increment and the noise of each substep"""


@dataclass(frozen=True)
class Values:
    """Derivatives of each row's value function at both ends of step `k`, a row being an observable at a time.

    `Φ_k(x)` is the row's value after noiseless steps from `x` before step `k`, `Φ_k(x, n)` with noise `n` of `ĝ` in that step;
    all are taken at the noiseless run `x̄`. After its time a row has none.
    """

    run: Float[Tensor, "steps 2 state"]
    """`x̄`"""
    slope: Float[Tensor, "steps 2 rows state"]
    """`∂_x Φ`"""
    bend: Float[Tensor, "steps 2 rows state state"]
    """`∂_x ∂_x Φ`"""
    kick: Float[Tensor, "steps rows d"]
    """`½ ∂_n ∂_n Φ_k`, of each parameter by itself"""

    def rows(self, which: slice) -> "Values":
        """Those of some of the rows."""
        return Values(self.run, self.slope[:, :, which], self.bend[:, :, which], self.kick[:, which])


def followed(equation: Equation) -> bool:
    """Whether its noise is known to be of mean zero in every substep, as something linear in the increments is.

    That of the package's own equations is, and of functions that are proposed, which are tried; of another class nobody knows.
    """
    return not equation.samples and whose(type(equation)).partition(".")[0] == PACKAGE


class Valued:
    """The control variates of an equation of which every level is followed, all of mean zero whatever the weights.

    With `y_j` the level's state before its substep `j`, `n_j` the substep's noise as the scheme has it, `w_j = S(y_j) dW_j/√τ`,
    `s` the substep's share of the step, and the derivatives between both ends of the step in proportion:

        Σ_j ∂_xΦ n_j        Σ_j (y_j − x̄_j)·∂_x∂_xΦ n_j        Σ_j ½ ∂_n∂_nΦ (w_j∘w_j − s diag Σ(y_j))

    These are the terms of first and second order by which the noise moves the level's row. They are added up over the levels
    as the scheme adds up the observables, in each of the `STAGES`. Source: docs/theory/measurement.md, section 6, (6.4).
    """

    def __init__(self, values: Values, equation: Equation) -> None:
        self.rows, self.state = values.slope.shape[2:]
        self.d = values.kick.shape[2]
        self.carried = STAGES * KINDS * self.rows if equation.motions else 0
        self.kicks = self.state + 2 * self.d if self.carried else 0
        """numbers of a substep that are looked at: `n`, `w`, `s diag Σ`"""
        parts = (values.kick, values.run, values.slope, values.bend)
        self.shared = torch.cat([part.flatten(1) for part in parts], 1)
        self.sizes = [part[0].numel() for part in parts]

    def chain(self, shared: Float[Tensor, " weights"], centred: Float[Tensor, "paths d"]) -> Float[Tensor, "paths rows"]:
        """The discrete run's step: its centred squares with the weights of the equation's."""
        return centred @ self._weights(shared)[0].T

    def noise(self, equation: Equation, t: float, dt: float, y: X, dW: Float[Tensor, "paths motions"], noise: Tensor
              ) -> Float[Tensor, "paths kicks"]:
        """What is looked at of one substep of a level, from `y` at time `t`: jumps without their mean."""
        share = dt / equation.tau
        law, theta, first, n = equation.law, y[:, : self.d], dW[:, : equation.first], noise[:, : self.state]
        if equation.jumps is not None:
            jumps = torch.as_tensor(equation.jumps, device=y.device)
            mean = (share * jumps).expand(len(y), -1)
            n = n - equation.diffuse(t, y[:, : self.state], mean)
            first = (first - mean) * (equation.tau / jumps) ** 0.5
        w = equation.tau**-0.5 * law.diffuse(theta, first)
        return torch.cat((n.T, w.T, share * law.variance(theta).T)).T

    def substep(self, carry: Float[Tensor, "paths carried"], shared: Float[Tensor, " weights"], y: X,
                kicks: Float[Tensor, "paths kicks"], begin: float, share: float, parts: Parts
                ) -> Float[Tensor, "paths carried"]:
        """The sums with one more substep: from `begin` on, `share` of the step long, of a level with these `parts`."""
        kick, run, slope, bend = self._weights(shared)
        n, w, sigma = kicks.split((self.state, self.d, self.d), -1)
        middle = begin + 0.5 * share
        slope, bend = (ends[0] + middle * (ends[1] - ends[0]) for ends in (slope, bend))
        apart = y[:, : self.state] - (run[0] + begin * (run[1] - run[0]))
        turned = (bend.flatten(0, 1) @ n.T).reshape(self.rows, self.state, -1)
        product = (turned * apart.T).sum(1).T
        each = torch.cat((n @ slope.T, product, (w * w - sigma) @ kick.T), -1)
        return carry + torch.cat([part * each for part in parts], -1)

    def _weights(self, shared: Float[Tensor, " weights"]) -> list[Tensor]:
        rows, state = self.rows, self.state
        kick, run, slope, bend = shared.split(self.sizes)
        return [kick.reshape(rows, self.d), run.reshape(2, state), slope.reshape(2, rows, state),
                bend.reshape(2, rows, state, state)]
