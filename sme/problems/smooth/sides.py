"""What the mean step does on the two sides of a switch: values and slopes from one side each."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from sme.problems.smooth.contacts import Contacts
from sme.problems.smooth.parts import States, Times

OFFSETS = (2e-4, 4e-5)
"""in units of the way between two states of a path; a kink is one at both"""
JUMP, KINK, SLOPE = 1e-5, 1e-6, 1e-3
"""least jump, in units of the size of the function; least change of slope, in units of that over one step of the path, and of the
slope"""
ROUNDING = 1e-4
"""share of the largest number that counts as a size of every other"""
STAYS, SETTLED = 0.9, 0.7
"""share of a jump, and of a change of slope, that must be left when the offsets shrink; those of a smooth function fall with a
power of them, and that of a continuous one falls too"""
STEEP = 1.1
"""growth of a slope, when the offsets shrink, from which on it has no limit"""

Field = Callable[[Times, States], States]


class Sides(NamedTuple):
    """Of every contact: whether a function jumps there, has a kink, or cannot be told."""

    jump: Tensor
    kink: Tensor
    unclear: Tensor


def sides(field: Field, at: Contacts, size: Tensor) -> tuple[Sides, Sides]:
    """The limits of two functions side by side at contacts of a path, from before and from behind.

    `size` is that of every entry at most places.
    """
    jumps, kinks, steep, finite = [], [], [], []
    for offset in OFFSETS:
        values = _around(field, at, offset)
        near, far, third = values[:, 0], values[:, 1], values[:, 2]
        limit, slope = 3 * near - 3 * far + third, (-5 * near + 8 * far - 3 * third) / (2 * offset)
        jumps.append((limit[1] - limit[0]).abs())
        kinks.append((slope[1] + slope[0]).abs())  # the slopes lead away from the contact
        steep.append(slope.abs().amax(0))
        finite.append(torch.isfinite(values).all(1).all(0))
    own = (near.abs().amax(0) + steep[1]).nan_to_num(0.0)  # a touch is known to the root of rounding
    size = own + ROUNDING * torch.cat([each.amax(-1, keepdim=True).expand_as(each) for each in (own + size).chunk(2, -1)], -1)
    clear = finite[0] & finite[1]
    jump = (jumps[1] > JUMP * size) & (jumps[1] > STAYS * jumps[0]) & clear
    turned = kinks[1] > SLOPE * steep[1]
    kink = turned & (kinks[1] > KINK * size) & (kinks[1] > SETTLED * kinks[0]) & clear
    wild = (steep[1] > STEEP * steep[0]) & (steep[1] * OFFSETS[1] > 1e-3 * JUMP * size)
    rows = ([each.any(-1) for each in part.chunk(2, -1)] for part in (jump, kink & ~jump, (wild & ~jump) | ~clear))
    first, second = zip(*rows, strict=True)
    return Sides(*first), Sides(*second)


def _around(field: Field, at: Contacts, offset: float) -> Tensor:
    """The function before and behind each contact, at one, two and three offsets: `(2, 3, contacts, state)`."""
    steps = [side * k * offset for side in (-1, 1) for k in (1, 2, 3)]
    t = torch.cat([at.t + step * at.dt for step in steps])
    x = torch.cat([at.x + step * at.dx for step in steps])
    return field(t, x).reshape(2, 3, len(at), -1)
