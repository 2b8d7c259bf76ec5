"""A small transformer that reads characters."""

import math

import torch
from torch import Tensor, nn

from sme.problems.networks.modules import ACTIVATIONS


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
