"""States on the way to every switch, and words for the places where they lie."""


import torch
from torch import Tensor

from sme.optimizers.base import Optimizer
from sme.optimizers.layout import Layout
from sme.problems.smooth.contacts import Contacts
from sme.problems.smooth.parts import States, Times

SCALES = (0.3, 3.0, 30.0)
"""sizes of the boxes of states"""
CORNERS, BETWEEN = 9, 8
"""states that a path through one of them joins by straight lines, and points on each line"""
AFTER = 2.0
"""time after the start up to which they lie"""
SAME = 1e-7
"""relative difference below which a number is the same at all contacts"""


def wander(optimizer: Optimizer, dim: int, start: Tensor | None = None) -> list[tuple[Times, States]]:
    """Paths through boxes of states of several sizes, about the start of the problem where it has one; each passes through 0."""
    generator = torch.Generator().manual_seed(0)
    paths = []
    for scale in SCALES:
        corners = []
        for name in optimizer.fields:
            uniform = torch.rand((CORNERS, dim), generator=generator, dtype=torch.float64)
            corner = scale * (0.02 + uniform) if name in optimizer.nonnegative else scale * (2 * uniform - 1)
            if name == "theta" and start is not None:
                corner = start.to(torch.float64) + corner
            elif name not in optimizer.nonnegative:
                corner[2::3] = -0.8 * corner[1::3]  # the line to it leads through 0
            corners.append(corner)
        points = torch.cat(corners, -1)
        times = optimizer.t0 + AFTER * torch.rand(CORNERS, generator=generator, dtype=torch.float64)
        paths.append((_between(times.unsqueeze(1)).squeeze(1), _between(points)))
    return paths


def _between(corners: Tensor) -> Tensor:
    share = torch.arange(BETWEEN, dtype=corners.dtype).reshape(1, -1, 1) / BETWEEN
    lines = corners[:-1, None] + share * (corners[1:] - corners[:-1])[:, None]
    return torch.cat((lines.flatten(0, 1), corners[-1:]))


def place_of(at: Contacts, layout: Layout) -> str:
    """The number of the state that is the same at all contacts; without one, the state at the first."""
    parts = layout.named(at.x)
    for name, part in parts.items():
        close = SAME * (1 + float(part.abs().max()))
        for text, value in (*_entries(name, part, at.entry), *([(f"|{name}|", part.norm(dim=-1))] if layout.dim > 1 else [])):
            middle = float(value.mean())
            plain = 0.0 if abs(middle) <= close else float(f"{middle:.4g}")
            if abs(middle - plain) <= close and bool((value - middle).abs().max() <= close):
                return f"where {text} = {plain:g}"
    first = ", ".join(f"{name} = {[float(f'{each:.3g}') for each in part[0].tolist()[:4]]}" for name, part in parts.items())
    return f"at places like {first}"


def _entries(name: str, part: Tensor, entry: Tensor) -> list[tuple[str, Tensor]]:
    """The entry that switches, of a field, and of one coordinate alone."""
    dim = part.shape[1]
    own = []
    if bool((entry < dim).all()):
        value = part.gather(1, entry.unsqueeze(1)).squeeze(1)
        own = [(name, value), (f"|{name}|", value.abs())]
    return own if dim == 1 else [*own, *((f"{name}[{i}]", part[:, i]) for i in range(min(dim, 8)))]
