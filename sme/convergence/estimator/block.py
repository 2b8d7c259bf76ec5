"""What one block of antithetic pairs leaves behind: mergeable moments, and counts of what is in none."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from sme.convergence.estimator.moments import Moments
from sme.simulate.ensemble import DIVERGED


@dataclass(frozen=True)
class Gap:
    """One row (an observable at a time) that has no value on some pairs, by itself on the pairs where it has one."""

    columns: tuple[int, ...]
    """of the block's variables: all that are this row's"""
    moments: Moments
    """of these, without control variates: given that there is a value, these have no mean of zero"""
    none: int
    """paths left out because the row is not a number, NaN, on their pair"""
    beyond: int
    """paths left out because it is infinite or beyond `DIVERGED`"""

    def merge(self, other: "Gap") -> "Gap":
        """Both together."""
        return Gap(self.columns, self.moments.merge(other.moments), self.none + other.none, self.beyond + other.beyond)

    def to_json(self) -> dict[str, Any]:
        """For a point's file."""
        return {"columns": list(self.columns), "none": self.none, "beyond": self.beyond, **self.moments.to_json()}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "Gap":
        """The inverse of `to_json`."""
        return cls(tuple(map(int, data["columns"])), Moments.from_json(data), int(data["none"]), int(data["beyond"]))


@dataclass(frozen=True)
class Block:
    """What one block of pairs leaves behind."""

    moments: Moments
    """pair by pair of all kinds of rows one after the other (such as errors, then integrator biases), then of the control
    variates, which are by rows too; 0 where there is a gap"""
    diverged: int
    """paths left out of all moments, since the state of their pair was not finite or beyond `sme.simulate.ensemble.FAR`"""
    floored: int = 0
    """paths whose second moment was below the floor at the start or the end of a step"""
    gaps: dict[int, Gap] = field(default_factory=dict)
    """by row"""

    @classmethod
    def of(cls, values: Float[np.ndarray, "pairs variables"], sound: Bool[np.ndarray, " pairs"], kinds: int, rows: int,
           judged: Bool[np.ndarray, " own"] | None = None, floored: int = 0) -> "Block":
        """The pairs with a `sound` state; a variable that is not `judged` may be anything."""
        own = kinds * rows
        kept = values[sound & (np.abs(values[:, own:]) < DIVERGED).all(-1)]
        good = np.abs(kept[:, :own]) < DIVERGED  # NaN is not
        if judged is not None:
            good[:, ~judged] = True
        good = good.reshape(-1, kinds, rows).all(1)
        gaps = {}
        for row in np.flatnonzero(~good.all(0)):
            columns = row + rows * np.arange(kinds)
            mine, there = kept[:, columns], good[:, row]
            looked = mine if judged is None else mine[:, judged[columns]]
            none = int(2 * np.isnan(looked).any(-1).sum())
            gaps[int(row)] = Gap(tuple(map(int, columns)), Moments.of(mine[there]), none, int(2 * (~there).sum()) - none)
            kept[:, columns] = 0
        return cls(Moments.of(kept), int(2 * (len(values) - len(kept))), floored, gaps)

    def merge(self, other: "Block") -> "Block":
        """Both together."""
        gaps = {row: self.gap(row, other).merge(other.gap(row, self)) for row in sorted({*self.gaps, *other.gaps})}
        return Block(self.moments.merge(other.moments), self.diverged + other.diverged, self.floored + other.floored, gaps)

    def gap(self, row: int, other: "Block") -> Gap:
        """The row by itself; if it has a value on all pairs here, from the columns that it has in another block."""
        if row in self.gaps:
            return self.gaps[row]
        columns = other.gaps[row].columns
        return Gap(columns, self.moments.part(columns), 0, 0)

    @property
    def paths(self) -> int:
        """All, those that diverged too."""
        return 2 * self.moments.count + self.diverged

    def to_json(self) -> dict[str, Any]:
        """For a point's file."""
        data = {"diverged": self.diverged, "floored": self.floored, **self.moments.to_json()}
        return {**data, "gaps": {str(row): gap.to_json() for row, gap in self.gaps.items()}} if self.gaps else data

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "Block":
        """The inverse of `to_json`."""
        gaps = {int(row): Gap.from_json(gap) for row, gap in data.get("gaps", {}).items()}
        return cls(Moments.from_json(data), data["diverged"], data["floored"], gaps)
