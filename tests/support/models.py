"""Small problems with everything switched on: curvature that changes, noise that does not commute."""

import torch
from torch import Tensor

import sme

FACTOR = torch.tensor([[0.5, 0.2], [-0.1, 0.4]], dtype=torch.float64)
WEIGHTS = torch.tensor([0.5, 0.4, 0.3], dtype=torch.float64)
SLOPES = torch.tensor([[0.9, 0.5], [-1.0, 0.4], [0.3, -1.1]], dtype=torch.float64)
PHASES = torch.tensor([0.5, 0.2, -0.1, 0.4], dtype=torch.float64)
TURNS = torch.tensor([[0.1, 0.3], [0.4, -0.1], [0.1, 0.2], [-0.3, 0.3]], dtype=torch.float64)


def bent(theta: Tensor) -> Tensor:
    """A loss whose every derivative is alive, in few operations."""
    return WEIGHTS @ torch.exp(SLOPES @ theta)


def varying(theta: Tensor) -> Tensor:
    """A factor that depends on the state and does not commute with itself."""
    return torch.sin(PHASES + TURNS @ theta).reshape(2, 2)


def example_loss(theta: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """A non-linear model of one example."""
    return 0.5 * (torch.tanh(theta @ x) - y) ** 2 + 0.1 * (theta**3).sum() * x[0]


def gaussian(state_dependent: bool) -> sme.Problem:
    return sme.Problem(bent, 2, sme.GaussianNoise(varying if state_dependent else FACTOR))


def line(state_dependent: bool = True) -> sme.Problem:
    """One parameter, and noise that depends on it: what two of the others have, in a few operations."""
    def factor(theta: Tensor) -> Tensor:
        return (0.5 + 0.2 * torch.sin(theta + 0.4)).reshape(1, 1)

    return sme.Problem(lambda theta: torch.exp(0.9 * theta[0]) + 0.5 * torch.exp(-theta[0]), 1,
                       sme.GaussianNoise(factor if state_dependent else FACTOR[:1, :1]))


def minibatch(batch_size: int, examples: int = 3, **options: object) -> sme.Problem:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(examples, 2, generator=generator, dtype=torch.float64)
    y = torch.randn(examples, generator=generator, dtype=torch.float64)
    noise = sme.MinibatchNoise(example_loss, (x, y), batch_size, **options)

    def loss(theta: Tensor) -> Tensor:  # the mean of example_loss, in fewer operations
        return 0.5 * (torch.tanh(x @ theta) - y).square().mean() + 0.1 * x[:, 0].mean() * (theta**3).sum()

    return sme.Problem(loss, 2, noise)


STATES = {
    "theta": torch.tensor([0.7, -0.4], dtype=torch.float64),
    "m": torch.tensor([0.3, 0.5], dtype=torch.float64),
    "v": torch.tensor([0.6, 0.9], dtype=torch.float64),
}


def state(optimizer: sme.Optimizer) -> Tensor:
    return torch.cat([STATES[name] for name in optimizer.fields])


def smooth(x: Tensor) -> Tensor:
    """Test functions: every linear functional's exponential sees all moments of the step."""
    n = len(x)
    directions = torch.sin(torch.arange(1.0, 4 * n + 1, dtype=x.dtype).reshape(4, n) * 1.7)
    powers = torch.stack([x.square().sum(), x[0] ** 2 * x[-1], x[-2] * x[-1], x.prod()])
    return torch.cat((torch.exp(directions @ x / n**0.5), powers))
