"""Where paths of states meet the places at which operations switch."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from sme.problems.smooth.parts import Searched, States, Times
from sme.problems.smooth.switches import Switch

LEAST, MOST, NUMBERS = 8, 64, 2**13
"""contacts of one operation with one path that are looked at, evenly spaced; fewer where their states hold more numbers, as many
paths at once as then leave `MOST` contacts each"""
PARTS, CROSSING, TOUCH = 8, 15, 14
"""into so many parts the way between two states is cut, so often: a crossing is known to rounding, a touch to the root of it"""
TOUCHED = 1e-9
"""share of its largest size on the path at which a number counts as 0"""
DEEP = 0.9
"""to which share of those beside it a number falls at least where a touch is looked for"""
LAST, SHRINKS = 4, 1 / 16
"""of the last cuts, and to which share at most they shrink a number that touches 0: `z² + ε` stays at `ε`"""


class Contacts(NamedTuple):
    """Points of a path at which entries of an operation switch, one a row.

    Attributes
    ----------
    operation, entry
        which operation of the part, and which of its entries.
    t, x
        the point.
    dt, dx
        from the last state of the path before it to the next one.
    """

    operation: Tensor
    entry: Tensor
    t: Times
    x: States
    dt: Times
    dx: States

    def __len__(self) -> int:
        return len(self.t)


def contacts(part: Searched, paths: Sequence[tuple[Times, States]]) -> Contacts:
    """Where paths meet the switches of a part: an entry changes its branch, or its number touches 0. Path after path."""
    paths = [(t, x) for t, x in paths if len(t) > 1]
    if not paths:
        none, empty = torch.zeros(0, dtype=torch.long), torch.zeros(0, dtype=torch.float64)
        return Contacts(none, none, empty, empty[:, None], empty, empty[:, None])
    crossed, touched = [torch.zeros((0, 4), dtype=torch.long)], [torch.zeros((0, 4), dtype=torch.long)]
    largest, many, start = [torch.zeros(0, dtype=torch.float64)], max(LEAST, min(MOST, NUMBERS // paths[0][1].shape[1])), 0
    for number, (t, x) in enumerate(paths):
        for index, found in enumerate(part.at(t, x)):
            for rows, where in ((crossed, _changes(found)), (touched, _minima(found))):
                few = where[torch.linspace(0, len(where) - 1, min(len(where), many)).long()]
                place = torch.tensor([index, number]).expand(len(few), 2)
                rows.append(torch.cat((place[:, :1], few + torch.tensor([start, 0]), place[:, 1:]), 1))
            largest.append(found.value.abs().nan_to_num(0.0).amax(0)[few[:, 1]])
        start += len(t)
    t, x = (torch.cat(column) for column in zip(*paths, strict=True))
    one, two = torch.cat(crossed), torch.cat(touched)
    place = _cross(part, t, x, one)
    middle, kept = _touch(part, t, x, two, torch.cat(largest))
    every, place = torch.cat((one, two[kept])), torch.cat((place, middle[kept]))
    order = every[:, 3].argsort(stable=True)
    every, place = every[order], place[order]
    return _at(t, x, every[:, 0], every[:, 2], every[:, 1], place)


def _at(t: Times, x: States, operation: Tensor, entry: Tensor, segment: Tensor, place: Tensor) -> Contacts:
    """The points at these places of segments; a place beyond 1 is on the next segment."""
    further = (place > 1).long()
    first, place = segment + further, place - further
    dt, dx = t[first + 1] - t[first], x[first + 1] - x[first]
    return Contacts(operation, entry, t[first] + place * dt, x[first] + place.unsqueeze(1) * dx, dt, dx)


def _changes(found: Switch) -> Tensor:
    """Segments and entries whose pattern changes."""
    a, b = found.pattern[:-1], found.pattern[1:]
    return ((a != b) & torch.isfinite(a) & torch.isfinite(b)).nonzero()


def _minima(found: Switch) -> Tensor:
    """Segments and entries from which on the size of the number falls and rises again, in one branch."""
    size, pattern = found.value.abs(), found.pattern
    same = (pattern[1:] == pattern[:-1])
    same = same[1:] & same[:-1]
    around = torch.maximum(size[:-2], size[2:])
    # between points that a number passes at an even pace it is 0 only if it falls to a third of one of those beside
    inside = (size[1:-1] <= size[:-2]) & (size[1:-1] <= size[2:]) & (size[1:-1] <= DEEP * around) & (around > 0) & same
    return inside.nonzero()


def _switches(part: Searched, t: Times, x: States, rows: Tensor, place: Tensor) -> tuple[Tensor, Tensor]:
    """Pattern and number of each row's own entry at a place of its segment."""
    point = _at(t, x, rows[:, 0], rows[:, 2], rows[:, 1], place)
    found, line = part.at(point.t, point.x), torch.arange(len(rows))
    pattern, value = torch.zeros_like(place), torch.zeros_like(place)
    for index in rows[:, 0].unique().tolist():
        own = rows[:, 0] == index
        pattern[own] = found[index].pattern[line[own], rows[own, 2]]
        value[own] = found[index].value[line[own], rows[own, 2]]
    return pattern, value


def _grid(part: Searched, t: Times, x: States, rows: Tensor, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Places that cut each row's interval, and patterns and numbers there, one column for each place."""
    share = torch.arange(1, PARTS, dtype=x.dtype) / PARTS
    place = low.unsqueeze(1) + share * (high - low).unsqueeze(1)
    pattern, value = _switches(part, t, x, rows.repeat_interleave(PARTS - 1, 0), place.reshape(-1))
    return place, pattern.reshape(place.shape), value.reshape(place.shape)


def _cross(part: Searched, t: Times, x: States, rows: Tensor) -> Tensor:
    """Where the pattern of the first state ends."""
    low, high = torch.zeros(len(rows), dtype=x.dtype), torch.ones(len(rows), dtype=x.dtype)
    if not len(rows):
        return low
    first, _ = _switches(part, t, x, rows, low)
    for _ in range(CROSSING):
        place, pattern, _ = _grid(part, t, x, rows, low, high)
        ends = torch.cat((low.unsqueeze(1), place, high.unsqueeze(1)), 1)
        same = (pattern == first.unsqueeze(1)).long().cumprod(1).sum(1, keepdim=True)
        low, high = ends.gather(1, same).squeeze(1), ends.gather(1, same + 1).squeeze(1)
    return (low + high) / 2


def _touch(part: Searched, t: Times, x: States, rows: Tensor, largest: Tensor) -> tuple[Tensor, Tensor]:
    """Where the number is least in size between two states, and whether it is 0 there."""
    low, high = torch.zeros(len(rows), dtype=x.dtype), torch.full((len(rows),), 2.0, dtype=x.dtype)
    if not len(rows):
        return low, torch.zeros(0, dtype=torch.bool)
    earlier = torch.zeros_like(low)
    for cut in range(TOUCH):
        place, _, value = _grid(part, t, x, rows, low, high)
        if cut == TOUCH - LAST:
            earlier = value.abs().amin(1)
        ends = torch.cat((low.unsqueeze(1), place, high.unsqueeze(1)), 1)
        least = value.abs().argmin(1, keepdim=True)
        low, high = ends.gather(1, least).squeeze(1), ends.gather(1, least + 2).squeeze(1)
    middle = (low + high) / 2
    value = _switches(part, t, x, rows, middle)[1].abs()
    return middle, (value <= TOUCHED * largest) & (value <= SHRINKS * earlier)
