"""How far halving the substep moves an equation's observables: a bias that is not 0 where one difference of levels is."""

import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from sme.equations.base import Equation
from sme.simulate.ensemble import LEVELS, ExtrapolatedPath
from sme.simulate.integrators.schemes import scheme
from sme.simulate.setup import Setup

TWICE = tuple(2 * level for level in LEVELS)
"""the levels of the same ladder on substeps twice as long"""
LONGEST = 4096
"""substeps beyond which a run goes without: they are short, and so is what is left of the bias"""


@dataclass(frozen=True)
class Halving:
    """`D(2h)`, the move of the first stage of the extrapolation on substeps twice as long, without noise, row by row."""

    power: int
    """of the substep in `D(h)`"""
    moves: Float[np.ndarray, " rows"]

    def bias(self, move: Float[np.ndarray, " rows"]) -> Float[np.ndarray, " rows"]:
        """`D(h)`, or with its sign `|2^p D(h) − D(2h)|/(2^p − 1)`, how far halving moves the second stage, if that is larger."""
        factor = 2**self.power
        second = np.abs(factor * move - self.moves) / (factor - 1)
        return np.where(second > np.abs(move), np.copysign(second, move), move)  # not where it is not a number

    def less(self, other: "Halving") -> "Halving":
        """Of the difference of two equations."""
        return Halving(self.power, self.moves - other.moves)

    def to_json(self) -> dict[str, Any]:
        """For a point's file."""
        return {"power": self.power, "moves": self.moves.tolist()}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "Halving":
        """The inverse of `to_json`."""
        return cls(int(data["power"]), np.asarray(data["moves"], dtype=np.float64))


def halving(setup: Setup, equation: Equation) -> Halving | None:
    """Along the noiseless run; None beyond `LONGEST` substeps, where there are too few, or of samples."""
    kind = scheme(equation)
    substeps = setup.substeps(kind)
    if equation.samples or setup.marks[-1] * substeps > LONGEST or substeps % TWICE[-1]:
        return None
    still = copy.copy(equation)
    still.first = still.second = 0
    still.remembers = still.fades = False
    still.jumps, still.epoch = None, 0
    ladder, moves = ExtrapolatedPath(still, setup.whole(1), TWICE), []
    for k in range(setup.marks[-1]):
        ladder.step(k, setup.chain.time(k), torch.zeros(substeps, 1, 0, dtype=torch.float64))
        if k + 1 in setup.marks:
            moves.append(ladder.values(lambda x: setup.observe(setup.fields(x)))[1])
    return Halving(kind.powers[1], torch.cat(moves).flatten().cpu().numpy())
