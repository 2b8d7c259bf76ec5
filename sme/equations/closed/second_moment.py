"""What the closed forms with a second moment share."""

from abc import abstractmethod

import torch
from torch import Tensor

from sme.equations.base import Equation, X, join


class SecondMoment(Equation):
    """With a last field `v` that follows `gradient.square` at a rate `c`: `R[y, dW] = 2c (S y)∘(S dW)` in it, 0 in the others."""

    @property
    def rate(self) -> float:
        """`c`, the rule's last memory rate."""
        given: float = getattr(self.optimizer, self.optimizer.memories[-1])
        return given

    @abstractmethod
    def _moment(self, g: Tensor, sigma: Tensor) -> Tensor:
        """What `v` follows."""

    def recall(self, t: float, x: X, past: Tensor, dW: Tensor) -> X:
        theta, *_ = fields = self.split(x)
        return join(*map(torch.zeros_like, fields[:-1]), self.rate * self.square_memory(theta, past, dW))

    def memory_trace(self, t: float, x: X) -> X:
        theta, *_ = fields = self.split(x)
        return join(*map(torch.zeros_like, fields[:-1]), 2 * self.rate * self.law.variance(theta))
