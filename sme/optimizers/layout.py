"""How the fields of a rule stand one after the other in a whole state."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from sme.optimizers.base import State


@dataclass(frozen=True)
class Layout:
    """`x = (θ, m, v, …)`, each of `dim` numbers: its two readings.

    Attributes
    ----------
    fields
        the names, in order.
    dim
        numbers in each.
    """

    fields: Sequence[str]
    dim: int

    def named(self, x: Float[Tensor, "*paths state"]) -> State:
        """The fields of a whole state, by name."""
        return dict(zip(self.fields, x.split(self.dim, -1), strict=True))

    def whole(self, state: State) -> Float[Tensor, "*paths state"]:
        """The whole state of named fields; others are left out."""
        return torch.cat([state[name] for name in self.fields], -1)
