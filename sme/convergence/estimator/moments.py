"""Mergeable moments of many variables."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
from jaxtyping import Float


@dataclass(frozen=True)
class Moments:
    """Count, means and co-moments `M = Σ (x − mean)(x − mean)ᵀ` in float64."""

    count: int
    mean: Float[np.ndarray, " variables"]
    comoment: Float[np.ndarray, "variables variables"]

    @classmethod
    def of(cls, values: Float[np.ndarray, "count variables"]) -> "Moments":
        """The moments of the rows."""
        if not len(values):
            width = values.shape[1]
            return cls(0, np.zeros(width), np.zeros((width, width)))
        mean = values.mean(0)
        centred = values - mean
        return cls(len(values), mean, centred.T @ centred)

    def merge(self, other: "Moments") -> "Moments":
        """The moments of both samples together (Chan, Golub and LeVeque's update)."""
        if not self.count or not other.count:
            return other if not self.count else self
        count = self.count + other.count
        shift = other.mean - self.mean
        mean = self.mean + shift * (other.count / count)
        between = np.outer(shift, shift) * (self.count * other.count / count)
        return Moments(count, mean, self.comoment + other.comoment + between)

    @classmethod
    def merged(cls, parts: Iterable["Moments"]) -> "Moments":
        """All parts together, in their order."""
        return reduce(cls.merge, parts)

    def part(self, columns: Sequence[int]) -> "Moments":
        """Of some of the variables."""
        chosen = np.asarray(columns, dtype=int)
        return Moments(self.count, self.mean[chosen], self.comoment[np.ix_(chosen, chosen)])

    def to_json(self) -> dict[str, Any]:
        """Numbers that JSON keeps to the last bit; the co-moments' lower triangle."""
        lower = self.comoment[np.tril_indices(len(self.mean))]
        return {"count": self.count, "mean": self.mean.tolist(), "comoment": lower.tolist()}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "Moments":
        """The inverse of `to_json`."""
        mean = np.asarray(data["mean"], dtype=np.float64)
        comoment = np.zeros((len(mean), len(mean)))
        comoment[np.tril_indices(len(mean))] = data["comoment"]
        return cls(data["count"], mean, comoment + np.tril(comoment, -1).T)
