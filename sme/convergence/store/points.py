"""Points on disk: the mergeable moments of one shard at one (order, steps, seed)."""

import math
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from sme.common.errors import SMEError, reason
from sme.common.identity.numerics import BASE, said
from sme.common.storage import seal
from sme.common.storage.files import half_written, listed, write_text
from sme.common.version import UNKNOWN
from sme.convergence.estimator import trials
from sme.convergence.estimator.block import Block
from sme.convergence.estimator.estimates import Estimates, estimates
from sme.convergence.estimator.paired import BLOCKS
from sme.convergence.spec.outline import StudyMetadata
from sme.simulate.halving import Halving

Numerics = int | dict[str, int]
"""as `sme.common.identity.numerics.written` has it"""
LIMIT = 2**30
"""bytes of a point: the co-moments of very many observables"""
KINDS = {1: 2, 2: 3}
"""columns of each row by order: the error, the integrator bias, and of order 2 the error of order 1"""


class Key(NamedTuple):
    """What a point is called: the numbers are a function of these and of the study."""

    order: int
    steps: int
    seed: int
    shard: int

    @property
    def trial(self) -> bool:
        """Whether it only decides how many others a tolerance takes, and is in no table."""
        return self.shard >= trials.FIRST

    @property
    def file(self) -> str:
        """Its file's name."""
        return f"order{self.order}-steps{self.steps}-seed{self.seed}-shard{self.shard}.json"


@dataclass(frozen=True)
class Point:
    """The blocks of one shard, and how they were computed."""

    key: Key
    study: str
    blocks: list[Block]
    physical: dict[str, Any]
    """the hyperparameters in the terms of torch.optim"""
    provenance: dict[str, Any]
    numerics: Numerics = BASE
    halving: Halving | None = None
    """of the equation without noise; None in points from before there was one"""
    variables: tuple[tuple[str, ...], tuple[float, ...]] | None = None
    """the observables and the times of its rows, the times outermost; None in points from before they were named"""

    exact: ClassVar[bool] = False
    """whether its numbers have no random error"""

    @staticmethod
    def merged(members: "Sequence[Point]", kinds: int, rows: int) -> Estimates:
        """What all of these say together."""
        return estimates([[point.blocks[i] for point in members] for i in range(BLOCKS)], kinds, rows)

    @property
    def paths(self) -> int:
        """Discrete paths, and paths of the equation."""
        return sum(block.paths for block in self.blocks)

    @property
    def version(self) -> str:
        """Of sme, that made it."""
        return str(self.provenance.get("versions", {}).get("sme", UNKNOWN))

    def save(self, folder: Path) -> None:
        """Write the point atomically: the file is there and whole, or not there."""
        named = {} if self.variables is None else {"observables": list(self.variables[0]), "times": list(self.variables[1])}
        data = {"study": self.study, "numerics": self.numerics, **self.key._asdict(), **named, "paths": self.paths,
                "blocks": [block.to_json() for block in self.blocks], "physical": self.physical, **self.provenance,
                **({} if self.halving is None else {"halving": self.halving.to_json()})}
        write_text(folder / self.key.file, seal.text(data))

    @classmethod
    def load(cls, path: Path, study: str, numerics: Numerics = BASE) -> "Point":
        """Read a point of this study.

        Raises
        ------
        SMEError
            if the file is damaged, or belongs to another study or to other numerics.
        """
        try:
            data, _ = seal.read(path, limit=LIMIT)
            key = Key(*(int(data[name]) for name in Key._fields))
            blocks = [Block.from_json(block) for block in data["blocks"]]
            widths = {len(block.moments.mean) for block in blocks}
            if len(blocks) != BLOCKS or len(widths) != 1:
                raise ValueError("blocks that do not fit together")
            found = (data["study"], data["numerics"], key.file)
            halving = Halving.from_json(data["halving"]) if "halving" in data else None
            variables = (tuple(data["observables"]), tuple(data["times"])) if "observables" in data else None
            provenance = {name: data[name] for name in ("versions", "device", "seconds", "physical")}
        except (OSError, ValueError, KeyError, TypeError, IndexError, AttributeError) as fault:
            raise SMEError(f"{path} is not a whole point ({reason(fault)}): "
                           "delete it to have it computed again") from fault
        if found != (study, numerics, path.name):
            raise SMEError(f"{path} belongs to {found[0]} (numerics {said(found[1])}, {found[2]}), "
                           f"not to {study} (numerics {said(numerics)}): move it away")
        return cls(key, study, blocks, provenance.pop("physical"), provenance, numerics, halving, variables)

    def fits(self, outline: StudyMetadata) -> bool:
        """Whether its rows are those of the study (of an older point only that there are as many)."""
        if len(self.blocks[0].moments.mean) < KINDS.get(self.key.order, 1) * len(outline.observables) * len(outline.times):
            return False
        if self.variables is None:
            return True
        (names, times), wanted = self.variables, outline.times
        return names == outline.observables and len(times) == len(wanted) and all(map(math.isclose, times, wanted))


Seen = dict[Path, tuple[tuple[int, ...], Point]]
"""points that were read, each with what its file was like then"""


def read(folder: Path, outline: StudyMetadata, seen: Seen | None = None) -> Iterator[Point]:
    """The study's whole points in the folder, in a fixed order; a warning names what is damaged or half-written and left out.

    A file is read once: those that are as they were `seen` are not read again.
    """
    seen = {} if seen is None else seen
    for path in half_written(folder):
        warnings.warn(f"{path} is half-written, by a job that was killed, and is left out: its point is computed again where it "
                      "is asked for; delete the file", stacklevel=2)
    widths: dict[tuple[int, int], tuple[int, Path]] = {}
    for path in listed(folder, "order*.json"):
        try:
            point = _loaded(path, outline, seen)
            if not point.fits(outline):
                raise SMEError(f"{path} holds other observables or times than its study's spec.json names: delete it to have it "
                               "computed again")
            width, first = widths.setdefault(point.key[:2], (len(point.blocks[0].moments.mean), path))
            if width != len(point.blocks[0].moments.mean):
                raise SMEError(f"{path} holds other variables than {first.name}, so they cannot be merged: "
                               "delete the one that is wrong to have it computed again")
            yield point
        except SMEError as fault:
            warnings.warn(str(fault), stacklevel=2)


def _loaded(path: Path, outline: StudyMetadata, seen: Seen) -> Point:
    try:
        now = path.stat()
        like: tuple[int, ...] = (now.st_ino, now.st_size, now.st_mtime_ns, now.st_ctime_ns)
    except OSError:  # gone, or in the way
        like = ()
    before, point = seen.get(path, ((), None))
    if point is None or not like or like != before or point.numerics != outline.numerics:
        point = Point.load(path, outline.study, outline.numerics)
        seen[path] = like, point
    return point
