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


class Block(nn.Module):
    """`x + conv(φ(norm(conv(φ(norm(x))))))`, of 3 × 3 convolutions."""

    def __init__(self, channels: int, activation: str) -> None:
        super().__init__()
        parts: list[nn.Module] = []
        for _ in range(2):
            parts += [nn.GroupNorm(2, channels), ACTIVATIONS[activation](), nn.Conv2d(channels, channels, 3, padding=1)]
        self.layers = nn.Sequential(*parts)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.layers(x)
        return out


def convolutional(pixels: int, width: int, classes: int, activation: str) -> nn.Sequential:
    """Of square pictures: two 5 × 5 convolutions with stride 2, of `width` and `2 width` channels, and a linear layer."""
    room(f"convolutions of {width} channels", 2 * width * pixels**2 // 16, classes)
    return nn.Sequential(
        nn.Unflatten(1, (1, pixels, pixels)), nn.Conv2d(1, width, 5, stride=2, padding=2), ACTIVATIONS[activation](),
        nn.Conv2d(width, 2 * width, 5, stride=2, padding=2), ACTIVATIONS[activation](), nn.Flatten(),
        nn.Linear(2 * width * (pixels // 4) ** 2, classes))


def residual_blocks(pixels: int, width: int, classes: int, activation: str) -> nn.Sequential:
    """Of square pictures: two stages of a 3 × 3 convolution with stride 2 and a block, the mean over pixels, a linear layer."""
    room(f"convolutions of {width} channels", 36 * width, 2 * width)
    return nn.Sequential(
        nn.Unflatten(1, (1, pixels, pixels)), nn.Conv2d(1, width, 3, stride=2, padding=1), Block(width, activation),
        nn.Conv2d(width, 2 * width, 3, stride=2, padding=1), Block(2 * width, activation),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2 * width, classes))
