"""Points on disk: the mergeable moments of one shard at one (order, steps, seed)."""

import hashlib
import json
import platform
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torchsde

from sme import trials
from sme.block import Block
from sme.errors import SMEError
from sme.files import half_written, write_text
from sme.halving import Halving
from sme.inputs import step_size
from sme.numerics import BASE, said
from sme.paired import BLOCKS, run_shard
from sme.setup import Setup
from sme.version import version

Numerics = int | dict[str, int]
"""as `sme.numerics.written` has it"""


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

    @classmethod
    def compute(cls, setup: Setup, key: Key, study: str, numerics: Numerics = BASE) -> "Point":
        """Run the shard."""
        began = time.perf_counter()
        blocks = run_shard(setup, key.seed, key.shard)
        versions = {"sme": version(), "python": platform.python_version(), "torch": torch.__version__,
                    "torchsde": torchsde.__version__, "numpy": np.__version__}
        tau, regime = setup.tau, setup.regime
        physical = {"tau": step_size(setup.horizon, setup.steps),
                    **setup.optimizer.physical(regime, tau), **setup.problem.noise.physical(regime, tau)}
        return cls(key, study, blocks, physical, {"versions": versions, "device": setup.device,
                                        "seconds": round(time.perf_counter() - began, 3)}, numerics, setup.halving)

    @property
    def paths(self) -> int:
        """Discrete paths, and paths of the equation."""
        return sum(block.paths for block in self.blocks)

    def save(self, folder: Path) -> None:
        """Write the point atomically: the file is there and whole, or not there."""
        data = {"study": self.study, "numerics": self.numerics, **self.key._asdict(), "paths": self.paths,
                "blocks": [block.to_json() for block in self.blocks], "physical": self.physical, **self.provenance,
                **({} if self.halving is None else {"halving": self.halving.to_json()})}
        write_text(folder / self.key.file, json.dumps({**data, "sha256": _sha(data)}))

    @classmethod
    def load(cls, path: Path, study: str, numerics: Numerics = BASE) -> "Point":
        """Read a point of this study.

        Raises
        ------
        SMEError
            if the file is damaged, or belongs to another study or to other numerics.
        """
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            if data.pop("sha256") != _sha(data):
                raise ValueError("its numbers are not those that were written")
            key = Key(*(int(data[name]) for name in Key._fields))
            blocks = [Block.from_json(block) for block in data["blocks"]]
            widths = {len(block.moments.mean) for block in blocks}
            if len(blocks) != BLOCKS or len(widths) != 1:
                raise ValueError("blocks that do not fit together")
            found = (data["study"], data["numerics"], key.file)
            halving = Halving.from_json(data["halving"]) if "halving" in data else None
            provenance = {name: data[name] for name in ("versions", "device", "seconds", "physical")}
        except (OSError, ValueError, KeyError, TypeError, IndexError, AttributeError) as fault:
            raise SMEError(f"{path} is not a whole point ({type(fault).__name__}: {fault}): "
                           "delete it to have it computed again") from fault
        if found != (study, numerics, path.name):
            raise SMEError(f"{path} belongs to {found[0]} (numerics {said(found[1])}, {found[2]}), "
                           f"not to {study} (numerics {said(numerics)}): move it away")
        return cls(key, study, blocks, provenance.pop("physical"), provenance, numerics, halving)


def _sha(data: dict[str, Any]) -> str:
    """Of the numbers as they are written, to find what has changed since."""
    return hashlib.sha256(json.dumps(data).encode()).hexdigest()[:16]


def read(folder: Path, study: str, numerics: Numerics = BASE) -> Iterator[Point]:
    """All whole points in the folder, in a fixed order; what is damaged or half-written is named in a warning and left out."""
    for path in half_written(folder):
        warnings.warn(f"{path} is half-written, by a job that was killed, and is left out: its point is computed again where it "
                      "is asked for; delete the file", stacklevel=2)
    widths: dict[tuple[int, int], tuple[int, Path]] = {}
    for path in sorted(folder.glob("order*.json")):
        try:
            point = Point.load(path, study, numerics)
            width, first = widths.setdefault(point.key[:2], (len(point.blocks[0].moments.mean), path))
            if width != len(point.blocks[0].moments.mean):
                raise SMEError(f"{path} holds other variables than {first.name}, so they cannot be merged: "
                               "delete the one that is wrong to have it computed again")
            yield point
        except SMEError as fault:
            warnings.warn(str(fault), stacklevel=2)
