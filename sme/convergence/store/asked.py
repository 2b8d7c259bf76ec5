"""What was asked of a study, beside its points: so that what is missing can be named."""

import json
import warnings
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from sme.common.errors import SMEError, reason
from sme.common.storage.files import listed, read_bytes, sha, write_text
from sme.convergence.store.points import Key
from sme.optimizers.grid import StepGrid

FOLDER = "asked"
"""beside the points"""


@dataclass(frozen=True)
class Requests:
    """The points that runs were asked for, and the tolerance that they had to meet, if any."""

    keys: frozenset[Key] = field(default_factory=frozenset)
    tolerance: float | None = None

    def merge(self, other: "Requests") -> "Requests":
        """Both together; the smaller tolerance."""
        given = [each for each in (self.tolerance, other.tolerance) if each is not None]
        return Requests(self.keys | other.keys, min(given, default=None))

    def missing(self, there: Iterable[Key]) -> list[Key]:
        """The points that are asked for and not there."""
        return sorted(self.keys - set(there))

    def save(self, folder: Path, study: str) -> None:
        """Write one small file into a study's folder, named by its content: only equal jobs write the same one."""
        shards: dict[tuple[int, int, int], list[int]] = defaultdict(list)
        for key in sorted(self.keys):
            shards[key[:3]].append(key.shard)
        rows = [{"order": order, "steps": steps, "seed": seed, "shards": numbers}
                for (order, steps, seed), numbers in shards.items()]
        content = json.dumps({"study": study, "points": rows, "tolerance": self.tolerance})
        path = folder / FOLDER / f"{sha(content.encode())[:8]}.json"
        if not path.exists():
            write_text(path, content)

    @classmethod
    def load(cls, path: Path, study: str) -> "Requests":
        """Read one file of this study (older ones name none).

        Raises
        ------
        SMEError
            if it is damaged, or another study's.
        """
        try:
            content = read_bytes(path)
            if sha(content)[:8] != path.stem:
                raise ValueError("its content is not what was written, by which it is named")
            data = json.loads(content)
            if data.get("study", study) != study:
                raise ValueError(f"it is of {data['study']}")
            keys = frozenset(Key(int(row["order"]), int(row["steps"]), int(row["seed"]), int(shard))
                             for row in data["points"] for shard in row["shards"])
            return cls(keys, None if data["tolerance"] is None else float(data["tolerance"]))
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as fault:
            raise SMEError(f"{path} does not say which points were asked for ({reason(fault)}): "
                           "delete it, and run its command again to have them asked for again") from fault


def read(folder: Path, study: str) -> Requests:
    """All that was asked for of the study in this folder; what is damaged is named in a warning."""
    total = Requests()
    for path in listed(folder / FOLDER, "*.json"):
        try:
            total = total.merge(Requests.load(path, study))
        except SMEError as fault:
            warnings.warn(str(fault), stacklevel=2)
    return total


def named(keys: Iterable[Key], horizon: float) -> str:
    """Points in words: `order 2, tau = 0.0625: shard 3; …`."""
    shards: Mapping[tuple[int, int, int], list[int]] = defaultdict(list)
    for key in sorted(keys):
        shards[key[:3]].append(key.shard)
    parts = [f"order {order}, tau = {StepGrid(horizon, steps).tau:g}, seed {seed}: shard {_ranges(numbers)}"
             for (order, steps, seed), numbers in shards.items()]
    return "; ".join(parts)


def _ranges(numbers: list[int]) -> str:
    """`0-3, 5`."""
    parts: list[list[int]] = []
    for number in numbers:
        if parts and number == parts[-1][-1] + 1:
            parts[-1].append(number)
        else:
            parts.append([number])
    return ", ".join(f"{part[0]}-{part[-1]}" if len(part) > 1 else str(part[0]) for part in parts)
