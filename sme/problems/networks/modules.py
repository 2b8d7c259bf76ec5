"""Small modules for the presets: perceptrons, convolutional and residual networks, a transformer."""

import itertools
import math
from collections.abc import Callable, Sequence

import torch
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


class Attention(nn.Module):
    """Causal attention of several heads."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads, self.into, self.out = heads, nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in self.into(x).chunk(3, -1))
        scores = q @ k.mT / math.sqrt(q.shape[-1])
        later = torch.ones(scores.shape[-2:], dtype=torch.bool, device=x.device).triu(1)
        seen = scores.masked_fill(later, -math.inf).softmax(-1)
        out: Tensor = self.out((seen @ v).transpose(1, 2).flatten(2))
        return out


class Layer(nn.Module):
    """Attention and a perceptron of twice the width, each behind a norm and beside what goes in."""

    def __init__(self, width: int, heads: int, activation: str) -> None:
        super().__init__()
        self.attend = nn.Sequential(nn.LayerNorm(width), Attention(width, heads))
        self.think = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 2 * width), ACTIVATIONS[activation](),
                                   nn.Linear(2 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attend(x)
        out: Tensor = x + self.think(x)
        return out


class Transformer(nn.Module):
    """From tokens to scores of the next one, of which the embedding is the last layer too."""

    def __init__(self, words: int, tokens: int, width: int, heads: int, layers: int, activation: str) -> None:
        super().__init__()
        self.embed, self.place = nn.Embedding(words, width), nn.Parameter(0.1 * torch.randn(tokens, width))
        nn.init.normal_(self.embed.weight, std=1 / math.sqrt(width))
        self.layers = nn.Sequential(*(Layer(width, heads, activation) for _ in range(layers)), nn.LayerNorm(width))

    def forward(self, tokens: Tensor) -> Tensor:
        scores: Tensor = self.layers(self.embed(tokens) + self.place) @ self.embed.weight.mT
        return scores
