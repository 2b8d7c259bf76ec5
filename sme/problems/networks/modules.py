"""Small modules for the presets: perceptrons and a residual convolutional network."""

import itertools
from collections.abc import Callable, Sequence

from torch import Tensor, nn

from sme.common.inputs import room

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
    room(f"layers of {', '.join(map(str, widths))}", sum(into * out for into, out in itertools.pairwise(widths)))
    parts: list[nn.Module] = []
    for into, out in itertools.pairwise(widths[:-1]):
        parts += [nn.Linear(into, out), ACTIVATIONS[activation]()]
    return nn.Sequential(*parts, nn.Linear(widths[-2], widths[-1]))


def residual(pixels: int, channels: int, classes: int, activation: str) -> nn.Sequential:
    """Of square pictures: a 3 × 3 convolution with stride 2, a residual one, the mean over the pixels, a linear layer."""
    room(f"convolutions of {channels} channels", 9, channels, channels)
    return nn.Sequential(
        nn.Unflatten(1, (1, pixels, pixels)), nn.Conv2d(1, channels, 3, stride=2, padding=1), ACTIVATIONS[activation](),
        Residual(nn.Conv2d(channels, channels, 3, padding=1), ACTIVATIONS[activation]()),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes))
