"""A small network that reads digits."""

import itertools
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from sme.errors import SMEError, choose
from sme.inputs import several, whole
from sme.problems.datasets import digits
from sme.problems.network import Network

CLASSES, PIXELS = 10, 8
ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "tanh": nn.Tanh, "softplus": nn.Softplus, "gelu": nn.GELU, "silu": nn.SiLU, "relu": nn.ReLU}


class Residual(nn.Module):
    """`x + φ(layer(x))`."""

    def __init__(self, layer: nn.Module, activation: nn.Module) -> None:
        super().__init__()
        self.layer, self.activation = layer, activation

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.activation(self.layer(x))
        return out


def perceptron(widths: Sequence[int], activation: str) -> nn.Sequential:
    """Linear layers of these widths, the first that of the inputs, with activations between them."""
    parts: list[nn.Module] = []
    for into, out in itertools.pairwise(widths[:-1]):
        parts += [nn.Linear(into, out), ACTIVATIONS[activation]()]
    return nn.Sequential(*parts, nn.Linear(widths[-2], widths[-1]))


def residual(channels: int, activation: str) -> nn.Sequential:
    """A 3 × 3 convolution with stride 2, a residual one, the mean over the pixels, a linear layer."""
    return nn.Sequential(
        nn.Unflatten(1, (1, PIXELS, PIXELS)), nn.Conv2d(1, channels, 3, stride=2, padding=1), ACTIVATIONS[activation](),
        Residual(nn.Conv2d(channels, channels, 3, padding=1), ACTIVATIONS[activation]()),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, CLASSES))


class Digits(Network):
    """Handwritten digits of 8 × 8 pixels (scikit-learn), cross entropy, true minibatches.

    Parameters
    ----------
    hidden
        widths of the hidden layers of a perceptron; `[27]` makes 2 035 parameters.
    channels
        of a residual convolutional network in its place; None: the perceptron.
    activation
        `"tanh"`, `"softplus"`, `"gelu"`, `"silu"`, `"relu"` (order 1 only).
    examples
        so many of the 1 797 to train on, evenly spaced; of the others up to as many are for the test.
    batch_size, sampling, scale, coupling
        of `sme.MinibatchNoise`.
    seed
        of the initial parameters.

    Raises
    ------
    SMEError
        for numbers outside these ranges, or if scikit-learn is not installed.
    """

    def __init__(self, hidden: Sequence[int] = (27,), channels: int | None = None, activation: str = "tanh", examples: int = 256,
                 batch_size: int = 16, sampling: str = "with_replacement", scale: float = 1.0, coupling: str = "independent",
                 seed: int = 0) -> None:
        x, y = digits()
        widths = [whole("a width in hidden", each, 1) for each in several(hidden)]
        examples, choice = whole("examples", examples, 2), choose("activation", activation, ACTIVATIONS)
        if examples >= len(x):
            raise SMEError(f"examples must be below {len(x)}, got {examples}: some must be left for the test")
        train = torch.linspace(0, len(x) - 1, examples, dtype=torch.float64).round().long()
        left = torch.ones(len(x), dtype=torch.bool).index_fill(0, train, False).nonzero()[:, 0]
        test = left[torch.linspace(0, len(left) - 1, min(examples, len(left)), dtype=torch.float64).round().long()]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(whole("seed", seed, 0))
            if channels is None:
                module = perceptron([x.shape[1], *widths, CLASSES], choice)
            else:
                module = residual(whole("channels", channels, 1), choice)
        kind = {"hidden": widths} if channels is None else {"channels": channels}
        self._spec = {"problem": "digits", **kind, "activation": choice, "examples": examples, "seed": seed}
        super().__init__(module, (x[train], y[train]), "cross_entropy", whole("batch_size", batch_size, 1), sampling, scale,
                         coupling, test=(x[test], y[test]), name="digits")

    def describe(self) -> dict[str, object]:
        return self.preset(self._spec)
