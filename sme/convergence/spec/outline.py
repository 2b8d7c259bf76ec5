"""What the tables of a study need to know of it, as plain data."""

import json
import math
import re
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from sme.common.errors import SMEError, reason
from sme.common.identity import hashing
from sme.common.identity.numerics import NUMERICS, right, said, written
from sme.common.storage import seal
from sme.equations.drivers.names import MINIBATCHES
from sme.equations.registry import SKEWNESS
from sme.optimizers.grid import StepGrid
from sme.optimizers.regimes import BATCH_EQUIVALENT

FILE = "spec.json"
WORDS = {"minibatch": ("minibatch", '"batch_size"', "SVAG"), "network": ('"module"', '"examples"', '"start"'),
         "distribution": ('"distribution"',), "signs": ('"gaussian"',),
         "written": ("LayerNorm", "InstanceNorm", "layer_norm", '"heads"'),
         "epochs": ("reshuffled",), **dict.fromkeys(("quadrature", "transformed", "poisson", "shifted", "sampled"), ())}
"""in the description of a problem that uses a part; the package's own problems have no signs in question, and what is newer than
the telling of parts has no word"""
OPTIONAL = ("lack", "series", "doubts", "tail", "origin", "method", "older")
"""what `spec.json` leaves out where there is none"""
BESIDE = ("numerics", "specification", "recipe")
"""what it has beside the outline"""


@dataclass(frozen=True)
class StudyMetadata:
    """The names and numbers of a study; `spec.json` holds them with the whole specification."""

    study: str
    optimizer: str
    regime: str
    problem: str
    brownian: str
    """or the name of another model, which has its own"""
    horizon: float
    times: tuple[float, ...]
    observables: tuple[str, ...]
    obstruction: str
    """the symbol of what keeps the equation from order 2; empty if nothing does"""
    lack: str = ""
    """that no order is claimed of a model and why; empty if order 1 is"""
    series: str = ""
    """`√τ` of a model without an order under skewed noise in the batch-equivalent regime, where no `obstruction` says so"""
    parts: tuple[str, ...] = tuple(NUMERICS)
    """of the code that its numbers come from (see `numerics`)"""
    doubts: dict[str, str] = field(default_factory=dict)
    """by observable, `infinite mean` or `infinite variance` where the discrete run has none (`sme.convergence.fit.tails`)"""
    tail: float = math.inf
    """the order that the tail of the noise leaves in general, whatever the equation"""
    origin: str = ""
    """whose the equation is, in a sentence, where it is the caller's"""
    method: str = ""
    """how its numbers are had, where it is not by random paths"""
    older: int | dict[str, int] = field(default_factory=dict)
    """the numbers of these parts when it was made, where they have been raised since and it is right all the same"""

    def grid(self, steps: int) -> StepGrid:
        """So many steps to the horizon."""
        return StepGrid(self.horizon, steps)

    @property
    def halves(self) -> bool:
        """Whether the errors are series in `√τ`: those of skewed noise, also where the driver knows its third cumulant.

        Source: docs/theory/measurement.md, section 7.
        """
        known = bool(self.series) or self.obstruction == SKEWNESS
        return known or (self.regime == BATCH_EQUIVALENT.name and self.brownian in MINIBATCHES)

    @property
    def numerics(self) -> int | dict[str, int]:
        """The numbers of these parts."""
        return self.older or written(self.parts)

    def write(self, folder: Path, specification: dict[str, Any], recipe: dict[str, Any]) -> None:
        """Write `spec.json` with the specification in words, and what it can be made from again."""
        seal.write(folder / FILE, {"numerics": self.numerics, **self._said(), "specification": specification, "recipe": recipe})

    def _said(self) -> dict[str, Any]:
        """The fields, without those that may be left out and are empty."""
        return {name: value for name, value in asdict(self).items() if name not in OPTIONAL or value not in ("", {}, math.inf)}

    @classmethod
    def read(cls, folder: Path) -> "StudyMetadata":
        """Read `spec.json`.

        Raises
        ------
        SMEError
            if it is missing, damaged, of another study than the folder's name says, or of other numerics.
        """
        path = folder / FILE
        data = opened(folder)
        try:
            fields = {name: data[name] for name in cls.__dataclass_fields__ if name not in (*OPTIONAL, "parts")}
            fields.update((name, tuple(data[name])) for name in ("times", "observables"))
            fields.update(lack=data.get("lack", ""), series=data.get("series", ""),
                          doubts=dict(data.get("doubts", {})), tail=float(data.get("tail", math.inf)),
                          origin=data.get("origin", ""), method=data.get("method", ""))
            fields["parts"] = tuple(data["parts"]) if "parts" in data else _parts(data)
            found = cls(**fields)
            found._check(data["specification"])
            current = found.numerics
            if data["numerics"] != current and right(data["numerics"], found.parts):
                return replace(found, older=data["numerics"])
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as fault:
            raise _damaged(path, fault) from fault
        if data["numerics"] != current:
            raise SMEError(f"{path} is of numerics {said(data['numerics'])}, not {said(current)}: its points cannot be read "
                           "any more. Run its command again for a study beside it, or install the version of sme that its tables "
                           "name")
        return found

    def _check(self, specification: dict[str, Any]) -> None:
        """Raise `ValueError` where the names and numbers are not those of the specification (older files have no checksum)."""
        texts = (self.study, self.optimizer, self.regime, self.problem, self.brownian, self.obstruction, self.lack, self.series,
                 *self.observables, *self.parts, *self.doubts, *self.doubts.values(), self.origin, self.method)
        if not all(isinstance(each, str) for each in texts):
            raise ValueError("a name that is no text")
        if self.study != "-".join((self.optimizer, self.regime, self.problem, self.brownian, self.study[-8:])):
            raise ValueError(f"its parts are not those of {self.study}")
        wanted = {"horizon": self.horizon, "times": list(self.times), "regime": self.regime}
        lacking = [name for name, value in wanted.items() if specification[name] != value or isinstance(value, bool)]
        if not self.tail >= 0:
            raise ValueError(f"an order {self.tail}")
        if lacking or list(specification["observables"]) != list(self.observables) or not math.isfinite(self.horizon):
            raise ValueError(f"{', '.join(lacking) or 'observables'} that are not those of its specification")

    @staticmethod
    def recipe(folder: Path) -> dict[str, Any] | None:
        """What the specification can be made from again (`Specification.remake`); None if there is nothing."""
        found = opened(folder).get("recipe")
        return found if isinstance(found, dict) else None

    @staticmethod
    def earlier(folder: Path) -> bool:
        """Whether the specification names own code by bytecode, as version 0.2.0 did."""
        text = (folder / FILE).read_text(encoding="utf-8")
        return re.search(r'"function [^"]* sha256 [0-9a-f]{16}"', text) is not None


def opened(folder: Path) -> dict[str, Any]:
    """What `spec.json` says, once its checksum is right and its specification has the name that it goes by.

    Raises
    ------
    SMEError
        if it is missing, damaged, or of another study than the folder's name says.
    """
    path = folder / FILE
    try:
        data, _ = seal.read(path, older=(*StudyMetadata.__dataclass_fields__, *BESIDE))
        name, digest = str(data["study"]), hashing.hashed(data["specification"], data["numerics"])
        if name[-9:] != f"-{digest}":
            raise ValueError(f"its specification is not that of {name}")
        if re.fullmatch(r".+-[0-9a-f]{8}", folder.name) and folder.name != name:
            raise ValueError(f"it is that of {name}")
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as fault:
        raise _damaged(path, fault) from fault
    return data


def _damaged(path: Path, fault: Exception) -> SMEError:
    return SMEError(f"{path} is not a whole specification ({reason(fault)}): run its study's command again to have "
                    "it written again; the points beside it are kept")


def _parts(data: dict[str, Any]) -> tuple[str, ...]:
    """Those that a study may use that was written before they were told apart."""
    said = json.dumps(data["specification"]["problem"])
    return tuple(part for part in NUMERICS if part not in WORDS or any(word in said for word in WORDS[part]))
