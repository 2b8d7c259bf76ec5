"""What every law made of a law shares."""

import copy
from collections.abc import Callable
from typing import Self

from sme.problems.noise.base import GradientLaw, Paths


class WrappedNoise(GradientLaw):
    """A law made of `law`, which says what it lacks and what its mean gradient is."""

    law: GradientLaw

    @property
    def told(self) -> GradientLaw:
        """The law as it was given."""
        return self.law

    @property
    def lack(self) -> str:  # type: ignore[override]
        return self.told.lack

    def check_mean(self, theta: Paths, gradient: Paths) -> None:
        self.told.check_mean(theta, gradient)

    def mean(self, theta: Paths, gradient: Callable[[Paths], Paths]) -> Paths:
        return self.law.mean(theta, gradient)

    def bound(self, gradient: Callable[[Paths], Paths]) -> Self:
        made = copy.copy(self)
        made.law = self.law.bound(gradient)
        return made
