"""What the examples say of the noise at one point: its size, skewness and tail, with how sure each is."""

import math
from collections.abc import Iterator

import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor
from torch.func import jvp

from sme.problems.networks.network import Network

GROUPS = 16
"""of a sample of the examples, whose scatter says how far the sample may be off"""
TAIL, FEWEST = 0.05, 10
"""share of the examples that make the tail, and how many at the least"""
DIRECTIONS = 4
"""random ones beside the gradient"""
NORMAL = 1.96
CLOSE = 1e-10
"""share of the largest product with a vector by which a space is closed under them"""


def factor(batch_size: int, count: int) -> float:
    """`Var` of a batch's mean, drawn without replacement, over that of one example: `(1 − B/n)/(B (1 − 1/n))`."""
    return (1 - batch_size / count) / (batch_size * (1 - 1 / count)) if count > 1 else 0.0


def noise(net: Network, theta: Float[Tensor, " d"], batch_size: int, count: int, groups: Tensor) -> pd.DataFrame:
    """`tr Σ/|∇f|²` of one step's gradient, of all parameters and of each group: exact where `net` holds all `count` examples.

    Else `net` holds a sample: `|∇f|²` is freed of its noise, and the interval is that of a jackknife over `GROUPS` parts of it.
    """
    held = len(net.inputs)
    parts = 1 if held == count else min(GROUPS, held)
    weights = torch.zeros(parts, held, dtype=torch.float64)
    weights[torch.arange(held) % parts, torch.arange(held)] = 1.0
    sums, squares = net.examples.weigh(theta.expand(parts, -1), weights, weights)
    sizes, share = weights.sum(1), factor(batch_size, count)

    def ratio(kept: Tensor, mine: Tensor) -> tuple[float, float]:
        n = float(sizes[kept].sum())
        mean, second = sums[kept][:, mine].sum(0) / n, squares[kept][:, mine].sum(0) / n
        spread = float((second - mean * mean).sum()) * (n / (n - 1) if held < count else 1.0)
        signal = float(mean.square().sum()) - (spread / n if held < count else 0.0)
        return spread, signal

    rows = []
    everything = torch.ones_like(groups, dtype=torch.bool)
    named = {"all parameters": everything}
    if int(groups.max()) > 0:
        named |= {f"group {i}": groups == i for i in range(int(groups.max()) + 1)}
    for name, mine in named.items():
        spread, signal = ratio(torch.arange(parts), mine)
        value = share * spread / signal if signal > 0 else math.inf
        low = high = value
        basis = f"all {held} examples: exact for these data"
        if parts > 1:
            left = [ratio(torch.arange(parts)[torch.arange(parts) != i], mine) for i in range(parts)]
            logs = torch.tensor([math.log(max(a, 1e-300) / max(b, 1e-300)) for a, b in left], dtype=torch.float64)
            wide = NORMAL * math.sqrt((parts - 1) / parts * float((logs - logs.mean()).square().sum()))
            low, high, basis = value * math.exp(-wide), value * math.exp(wide), f"{held} of {count} examples, jackknife"
        rows.append({"of": name, "noise_scale": value, "low": low, "high": high, "critical_batch": batch_size * value,
                     "gradient_square": signal, "noise_trace": share * spread, "basis": basis})
    return pd.DataFrame(rows)


def _projections(net: Network, theta: Tensor) -> Iterator[tuple[str, Tensor]]:
    """The gradient of each example along the mean and along random directions, less its mean."""
    generator = torch.Generator().manual_seed(0)
    g = net.gradient(theta[None])[0]
    along = {"the gradient": g, **{f"random {i + 1}": torch.randn(len(g), generator=generator, dtype=g.dtype)
                                   for i in range(DIRECTIONS)}}
    for name, u in along.items():
        if float(u.norm()) == 0:
            continue
        change = jvp(lambda point: net.losses(net.model(point, net.inputs), net.targets), (theta,), (u / u.norm(),))[1]
        yield name, change - change.mean()


def shape(net: Network, theta: Float[Tensor, " d"], batch_size: int) -> tuple[pd.DataFrame, Tensor]:
    """Skewness, excess kurtosis and Hill's tail index of the noise of one example along some directions; the first projection.

    That of a batch is less skewed by `√B`, less peaked by `B`.
    """
    rows, first = [], torch.zeros(0)
    for name, y in _projections(net, theta):
        n, spread = len(y), y.square().mean().sqrt()
        if n < FEWEST or float(spread) == 0:
            continue
        first = y if not len(first) else first
        skew, peak = float((y / spread).pow(3).mean()), float((y / spread).pow(4).mean()) - 3
        top = y.abs().sort(descending=True).values[: max(FEWEST, round(TAIL * n)) + 1]
        hill = 1 / float((top[:-1] / top[-1].clamp(min=1e-300)).log().mean().clamp(min=1e-12))
        rows.append({"along": name, "skewness": skew, "± ": NORMAL * math.sqrt(6 / n), "of a batch": skew / math.sqrt(batch_size),
                     "excess kurtosis": peak, "±": NORMAL * math.sqrt(24 / n), "kurtosis of a batch": peak / batch_size,
                     "tail index": hill, "tail index ±": NORMAL * hill / math.sqrt(len(top) - 1),
                     "basis": f"{n} examples; a finite data set has every moment, the index says how its largest go"})
    return pd.DataFrame(rows), first


def curvatures(net: Network, theta: Float[Tensor, " d"], scale: Float[Tensor, " d"], products: int) -> tuple[float, float]:
    """The least and the largest eigenvalue of `R ∇²f R`, `R = diag(scale)^½`, by Lanczos' method: never beyond the true ones."""
    root, generator = scale.sqrt(), torch.Generator().manual_seed(0)
    first = torch.randn(len(theta), generator=generator, dtype=theta.dtype)
    basis, inner, outer = [first / first.norm()], list[Tensor](), list[Tensor]()
    for _ in range(min(products, len(theta))):
        image = root * net.hessian(theta[None], (root * basis[-1])[None])[0]
        inner.append(basis[-1] @ image)
        known = torch.stack(basis)
        for _ in range(2):  # rounding leaves the first pass short of orthogonal
            image = image - known.mT @ (known @ image)
        size = image.norm()
        if not float(size) > CLOSE * max(float(each.abs()) for each in inner):
            break
        outer.append(size)
        basis.append(image / size)
    beside = torch.diag(torch.stack(outer[: len(inner) - 1]), 1) if len(inner) > 1 else 0.0
    found = torch.linalg.eigvalsh(torch.diag(torch.stack(inner)) + beside, UPLO="U")
    return float(found[0]), float(found[-1])
