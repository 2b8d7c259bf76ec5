"""Control variates by the times of their observables: those of a time that is over are not computed any more."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from sme.equations.base import Equation
from sme.simulate.control_variates.controls import Controls, Responses

MOST = 5
"""groups: each computes the noise for itself"""


class Groups:
    """The checkpoints in order, as many of them in each of a few groups, so that one piece of code serves all groups.

    Attributes
    ----------
    count, ends
        how many groups there are, and the step number of each one's last checkpoint. Its weights are 0 after that step; those of
        the step itself are not all 0 (`curvatures`), and their sums are of mean 0 as all are.
    one
        the control variates of a group, all of which are of this form.
    order
        which of the numbers that `Controls` carries for all rows come one after the other, group by group.
    shared
        `(steps, groups · weights)`: what all paths share, group by group.
    """

    def __init__(self, weights: Responses, equation: Equation, marks: Sequence[int]) -> None:
        rows = weights.linear.shape[2]
        self.count = max(each for each in range(1, MOST + 1) if len(marks) % each == 0)
        size = rows // self.count
        every = [Controls(weights.rows(slice(i * size, (i + 1) * size)), equation) for i in range(self.count)]
        self.one, self.ends = every[0], torch.tensor(marks[len(marks) // self.count - 1 :: len(marks) // self.count])
        self.order = torch.arange(self.count * self.one.carried).reshape(-1, self.count, size).transpose(0, 1).flatten()
        self.shared: Float[Tensor, "steps weights"] = torch.cat([each.shared for each in every], 1)

    def grouped(self, carry: Float[Tensor, "paths carried"]) -> Float[Tensor, "carried paths"]:
        """The rows of a block as compiled code has them."""
        return carry.T[self.order]

    def rows(self, grouped: Float[Tensor, "carried paths"]) -> Float[Tensor, "paths carried"]:
        """The inverse of `grouped`."""
        carry = torch.empty_like(grouped)
        carry[self.order] = grouped
        return carry.T
