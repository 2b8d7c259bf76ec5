"""Where the structure of an update rule is read off: states, inputs, times, and sizes over six decades."""

import torch
from jaxtyping import Float
from torch import Tensor

from sme.equations.base import X, join
from sme.optimizers.base import Optimizer

Paths = Float[Tensor, "paths d"]
Inputs = tuple[Paths, Paths, Paths, Paths]
"""two gradients and two squares"""

PROBES = 16
"""paths of size 1"""
SIZES = (1e-3, 1e-2, 0.1, 10.0, 100.0, 1e3)
"""further sizes, so that what acts on large or small states alone, such as a clip of a norm, is seen too"""
EACH = 6
"""paths of each further size"""
EXACT = 1e-9
"""relative difference below which two Taylor terms are equal"""


def probes(optimizer: Optimizer, dim: int) -> tuple[X, Inputs]:
    """States all over the place, and four random inputs."""
    generator = torch.Generator().manual_seed(0)
    uniform = torch.rand((PROBES, (len(optimizer.fields) + 4) * dim), generator=generator, dtype=torch.float64).split(dim, -1)
    parts = [0.05 + 1.5 * part if name in optimizer.nonnegative else 3 * part - 1.5
             for name, part in zip(optimizer.fields, uniform, strict=False)]
    first, second, third, fourth = (2 * part - 1 for part in uniform[len(parts):])
    return join(*parts), (first, second, third, fourth)


def spread(optimizer: Optimizer, dim: int) -> tuple[X, Inputs]:
    """`probes`, and others with states and inputs in other sizes: both alike, one of them, or every field in its own."""
    x, inputs = probes(optimizer, dim)
    generator = torch.Generator().manual_seed(1)
    count, states, seen = len(optimizer.fields), [x], [[part] for part in inputs]
    power = torch.tensor([2.0 if name in optimizer.nonnegative else 1.0 for name in optimizer.fields], dtype=torch.float64)
    for place, size in enumerate(SIZES):
        rows = torch.arange(EACH) + place  # other paths for other sizes
        exponent = torch.stack([power, torch.ones(count), torch.ones(count), torch.zeros(count),
                                *(2 * torch.rand((2, count), generator=generator) - 1)]).to(torch.float64)
        states.append(x[rows] * (size**exponent).repeat_interleave(dim, -1))
        scale = size ** torch.tensor([1.0, 1.0, 0.0, 1.0, 1.0, 0.0], dtype=torch.float64)[:, None]
        for held, part in zip(seen, inputs, strict=True):
            held.append(scale * part[rows])
    return join(*torch.cat(states).split(dim, -1)), tuple(torch.cat(held) for held in seen)  # type: ignore[return-value]


def moments(optimizer: Optimizer) -> tuple[float, ...]:
    """Times at which it is read off."""
    return tuple(optimizer.t0 + after for after in (0.0, 0.37, 1.9))


def home(optimizer: Optimizer, x: X) -> X:
    """The states with every field that has a default at it."""
    parts = x.split(x.shape[1] // len(optimizer.fields), -1)
    return join(*(torch.full_like(part, optimizer.defaults[name]) if name in optimizer.defaults else part
                  for name, part in zip(optimizer.fields, parts, strict=True)))


def close(a: Tensor, b: Tensor, *sizes: Tensor | float, least: float = EXACT) -> bool:
    """Whether two tensors agree, element by element, relative to what they were made from."""
    size = sum((torch.as_tensor(each).abs() for each in sizes), a.abs() + b.abs())
    return bool(((a - b).abs() <= least * size).all())  # not a number is not close
