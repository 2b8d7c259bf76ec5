"""Where along straight lines the operations of a function switch from one smooth branch to another."""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from sme.problems.smooth.switches import Switch

GRID = 24
"""cells into which each line is cut to find the switches"""
FINER = 60
"""most halvings or secants of a cell"""
DONE = 4e-15
"""share of the line to which a switch is known"""

Look = Callable[[Tensor, Float[Tensor, "points d"]], Sequence[Switch]]
"""from the number of each point's line and the point to what every operation decides there"""


def cuts(look: Look, base: Float[Tensor, "lines d"], along: Float[Tensor, "lines d"], low: Float[Tensor, " lines"],
         high: Float[Tensor, " lines"]) -> Float[Tensor, "lines cuts"]:
    """The places `s` in `[low, high]` at which `look` at `base + s along` switches, sorted.

    There are as many columns as the line with most has; the other lines have `high` in those that they do not need. Two
    switches of one entry within a cell are not seen.
    """
    lines = torch.arange(len(base), device=base.device)
    place = low.unsqueeze(1) + torch.linspace(0, 1, GRID + 1, dtype=base.dtype) * (high - low).unsqueeze(1)
    found = look(lines.repeat_interleave(GRID + 1), (base.unsqueeze(1) + place.unsqueeze(2) * along.unsqueeze(1)).flatten(0, 1))
    if not found:
        return high.unsqueeze(1)[:, :0]
    pattern, value = (torch.cat([part.reshape(len(part), -1) for part in parts], 1).reshape(len(base), GRID + 1, -1)
                      for parts in zip(*found, strict=True))
    changes = (pattern[:, 1:] != pattern[:, :-1]) & torch.isfinite(pattern[:, 1:]) & torch.isfinite(pattern[:, :-1])
    line, cell, entry = changes.nonzero(as_tuple=True)
    if not len(line):
        return high.unsqueeze(1)[:, :0]
    roots = _refined(look, (line, entry), base[line], along[line], (place[line, cell], place[line, cell + 1]),
                     (pattern[line, cell, entry], value[line, cell, entry], value[line, cell + 1, entry]))
    count = torch.zeros(len(base), dtype=torch.long).index_add_(0, line, torch.ones_like(line))
    column = torch.arange(len(line)) - (count.cumsum(0) - count)[line]
    kept = high.unsqueeze(1).repeat(1, int(count.max()))
    kept[line, column] = roots
    return kept.sort(1).values


def _refined(look: Look, which: tuple[Tensor, Tensor], base: Tensor, along: Tensor, cell: tuple[Tensor, Tensor],
             ends: tuple[Tensor, Tensor, Tensor]) -> Float[Tensor, " roots"]:
    """The switch within each cell: by the secant of the number that is 0 there, then just beyond it, or halving."""
    (a, b), (first, at_a, at_b), (line, entry) = cell, ends, which
    near = DONE * ((b - a).abs() * GRID + a.abs())
    for turn in range(FINER):
        secant = a - at_a * (b - a) / (at_b - at_a)
        beyond = secant + torch.where(b - secant > secant - a, near, -near) * (turn % 3)
        inside = (beyond > a) & (beyond < b) & (at_a * at_b < 0) & torch.tensor(turn % 3 != 2)
        middle = torch.where(inside, beyond, 0.5 * (a + b))
        found = look(line, base + middle.unsqueeze(1) * along)
        pattern, value = (torch.cat([part.reshape(len(part), -1) for part in parts], 1).gather(1, entry.unsqueeze(1)).squeeze(1)
                          for parts in zip(*found, strict=True))
        left = pattern == first
        exact = (value == 0) & torch.isfinite(value)
        a, at_a = torch.where(left | exact, middle, a), torch.where(left | exact, value, at_a)
        b, at_b = torch.where(left & ~exact, b, middle), torch.where(left & ~exact, at_b, value)
        if bool(((b - a) <= 2 * near).all()):
            break
    return 0.5 * (a + b)
