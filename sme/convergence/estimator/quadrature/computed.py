"""The point of one order and step size by quadrature, on disk in the place of shards."""

import math
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float

from sme.common.errors import SMEError, reason
from sme.common.identity.numerics import BASE, said
from sme.common.storage import seal
from sme.common.storage.files import half_written, write_text
from sme.common.version import UNKNOWN
from sme.convergence.estimator.estimates import Estimates
from sme.convergence.spec.outline import StudyMetadata
from sme.convergence.store.points import KINDS, Key, Numerics
from sme.simulate.halving import Halving

UNSETTLED = "not settled by quadrature: method=monte_carlo, or smaller tau, may settle it"
"""of a row without a number"""


@dataclass(frozen=True)
class Computed:
    """Numbers with bounds, by kind and row; see `sme.convergence.estimator.quadrature.settle.Settled`."""

    key: Key
    study: str
    values: Float[np.ndarray, "kinds rows"]
    bounds: Float[np.ndarray, "kinds rows"]
    diverged: float
    floored: float
    physical: dict[str, Any]
    """the hyperparameters in the terms of torch.optim"""
    provenance: dict[str, Any]
    numerics: Numerics = BASE
    halving: Halving | None = None
    """none: the integrator biases are judged already"""

    exact: ClassVar[bool] = True
    paths: ClassVar[int] = 0

    @staticmethod
    def merged(members: "Sequence[Computed]", kinds: int, rows: int) -> Estimates:
        """What the one point says: its bounds are in the place of standard errors."""
        one = members[0]
        lost = [UNSETTLED if math.isnan(value) else "" for value in one.values[0]]
        return Estimates(one.values, one.bounds, lost, 0, one.diverged, one.floored)

    @property
    def version(self) -> str:
        """Of sme, that made it."""
        return str(self.provenance.get("versions", {}).get("sme", UNKNOWN))

    def save(self, folder: Path) -> None:
        """Write the point atomically."""
        numbers = {"values": _told(self.values), "bounds": _told(self.bounds), "diverged": self.diverged, "floored": self.floored}
        data = {"study": self.study, "numerics": self.numerics, **self.key._asdict(), **numbers, "physical": self.physical,
                **self.provenance}
        write_text(folder / self.key.file, seal.text(data))

    @classmethod
    def load(cls, path: Path, outline: StudyMetadata) -> "Computed":
        """Read a point of this study.

        Raises
        ------
        SMEError
            if the file is damaged, or belongs to another study or to other numerics.
        """
        try:
            data, _ = seal.read(path)
            key = Key(*(int(data[name]) for name in Key._fields))
            shape = KINDS.get(key.order, 1), len(outline.observables) * len(outline.times)
            values, bounds = (np.array(data[name], dtype=float).reshape(shape) for name in ("values", "bounds"))
            provenance = {name: data[name] for name in ("versions", "device", "seconds")}
            found, physical = (data["study"], data["numerics"], key.file), data["physical"]
            diverged, floored = float(data["diverged"]), float(data["floored"])
        except (OSError, ValueError, KeyError, TypeError, IndexError, AttributeError) as fault:
            raise SMEError(f"{path} is not a whole point ({reason(fault)}): delete it to have it computed again") from fault
        if found != (outline.study, outline.numerics, path.name):
            raise SMEError(f"{path} belongs to {found[0]} (numerics {said(found[1])}, {found[2]}), "
                           f"not to {outline.study} (numerics {said(outline.numerics)}): move it away")
        return cls(key, outline.study, values, bounds, diverged, floored, physical, provenance, outline.numerics)


def _told(numbers: np.ndarray) -> list[list[float | None]]:
    """For JSON, which has no word for what is not a number."""
    return [[None if math.isnan(each) else each for each in row] for row in numbers.tolist()]


def read(folder: Path, outline: StudyMetadata) -> Iterator[Computed]:
    """The study's whole points in the folder, in a fixed order; a warning names what is damaged and left out."""
    for path in half_written(folder):
        warnings.warn(f"{path} is half-written, by a job that was killed, and is left out: its point is computed again where it "
                      "is asked for; delete the file", stacklevel=2)
    for path in sorted(folder.glob("order*.json")):
        try:
            yield Computed.load(path, outline)
        except SMEError as fault:
            warnings.warn(str(fault), stacklevel=2)
