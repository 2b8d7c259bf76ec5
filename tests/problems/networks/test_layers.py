"""Sums over the examples layer by layer: equal to those of single gradients, with a rule for every layer and without."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

import sme
from sme.problems.networks.network import LOSSES
from sme.problems.noise.minibatch import layers, rules
from sme.problems.noise.minibatch.clipped import clipped
from sme.problems.noise.minibatch.flat import FlatModule
from sme.problems.noise.minibatch.layers import LayeredExamples, Single
from sme.problems.noise.minibatch.per_example import LossExamples

TOKENS, WORDS, WIDTH, COUNT = 5, 7, 6, 4
"""tokens of an example, and how many there are to choose from; features; examples"""


class Tokens(nn.Module):
    """Tokens through an embedding and layers; scores of the next one."""

    def __init__(self, layer, width=WIDTH, tied=False):
        super().__init__()
        self.embed, self.layer, self.head = nn.Embedding(WORDS, WIDTH), layer, nn.Linear(width, WORDS, bias=False)
        self.place = nn.Parameter(0.3 * torch.randn(TOKENS + 2, WIDTH))
        if tied:
            self.head.weight = self.embed.weight

    def forward(self, tokens):
        out = self.layer(self.embed(tokens) + self.place[: tokens.shape[1]])
        return self.head(out[0] if isinstance(out, tuple) else out)


class Own(nn.Module):
    """Attention from plain parameters, as people write it: products with views, sums, tokens cut out."""

    def __init__(self):
        super().__init__()
        self.qkv, self.out = nn.Parameter(0.5 * torch.randn(WIDTH, 3 * WIDTH)), nn.Parameter(0.5 * torch.randn(2, 3, WIDTH))
        self.gain, self.shift = nn.Parameter(torch.rand(WIDTH) + 0.5), nn.Parameter(torch.randn(1, 1, WIDTH))

    def forward(self, x):
        q, k, v = ((x @ part).unflatten(-1, (2, 3)).transpose(1, 2) for part in self.qkv.chunk(3, 1))
        seen = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        out = torch.einsum("bhtf,hfe->bte", seen, self.out)
        return (x + out) / self.gain - 0.3 * self.shift


class Attend(nn.Module):
    def __init__(self, **settings):
        super().__init__()
        self.attend = nn.MultiheadAttention(WIDTH, 2, **settings)

    def forward(self, x):
        x = x if self.attend.batch_first else x.transpose(0, 1)
        out = self.attend(x, x, x, attn_mask=nn.Transformer.generate_square_subsequent_mask(TOKENS, dtype=x.dtype))[0]
        return out if self.attend.batch_first else out.transpose(0, 1)


class Squared(nn.Module):
    """Without a rule: a weight that is used as its square."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(WIDTH, WIDTH))

    def forward(self, x):
        return x @ (self.weight * self.weight.sin())


def picture(*layers):
    return nn.Sequential(nn.Unflatten(1, (1, 6, 6)), *layers, nn.Flatten(), nn.LazyLinear(3))


CONVOLVED = {
    "two convolutions": lambda: picture(nn.Conv2d(1, 3, 3, stride=2, padding=1), nn.Tanh(), nn.Conv2d(3, 2, 2)),
    "groups": lambda: picture(nn.Conv2d(1, 4, 3, padding="same"), nn.GroupNorm(2, 4), nn.Tanh(),
                              nn.Conv2d(4, 4, 2, groups=2, dilation=2)),
    "residual": lambda: picture(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2), nn.GELU(), nn.Conv2d(2, 2, 3, bias=False)).eval(),
    "of one axis": lambda: nn.Sequential(nn.Unflatten(1, (4, 9)), nn.Conv1d(4, 3, 3, stride=2), nn.InstanceNorm1d(3, affine=True),
                                         nn.Tanh(), nn.Flatten(), nn.LazyLinear(3)),
    "weight norm": lambda: nn.Sequential(weight_norm(nn.Linear(36, 2)), nn.Tanh(), nn.Linear(2, 40), nn.Linear(40, 3)),
}
READ = {
    "layer norm": lambda: Tokens(nn.Sequential(nn.LayerNorm(WIDTH), nn.Linear(WIDTH, WIDTH), nn.GELU())),
    "rms norm, tied": lambda: Tokens(nn.RMSNorm(WIDTH), tied=True),
    "own attention": lambda: Tokens(Own()),
    "attention": lambda: Tokens(Attend(batch_first=True)),
    "attention, tokens first": lambda: Tokens(Attend(add_bias_kv=True)),
    "encoder": lambda: Tokens(nn.TransformerEncoderLayer(WIDTH, 2, 8, 0.1, "gelu", batch_first=True).eval()),
    "lstm": lambda: Tokens(nn.LSTM(WIDTH, 4, batch_first=True), 4),
    "gru": lambda: Tokens(nn.GRU(WIDTH, 4, 2, batch_first=True), 4),
    "without a rule": lambda: Tokens(Squared()),
}
LACKING = {"attention, tokens first": {"layer.attend.bias_k", "layer.attend.bias_v"},
           "weight norm": {"0.parametrizations.weight.original1"}, "without a rule": {"layer.weight"}}


def examples(name):
    """By layers, and one by one."""
    torch.manual_seed(1)
    if name in READ:
        module, x = READ[name](), torch.randint(WORDS, (COUNT, TOKENS))
        y = torch.randint(WORDS, (COUNT, TOKENS))
    else:
        module, x, y = CONVOLVED[name](), torch.randn(COUNT, 36), torch.arange(COUNT) % 3
        module(x)  # shapes
    x = x.to(torch.float64) if x.is_floating_point() else x
    model, losses = FlatModule(module), LOSSES["cross_entropy"]
    model.written = True
    return LayeredExamples(model, losses, x, y), LossExamples(Single(model, losses), (x, y), guarded=True)


@pytest.mark.parametrize("name", [*CONVOLVED, *READ])
def test_sums_layer_by_layer_are_those_of_single_gradients(name):
    mine, right = examples(name)
    assert set(mine._lost) == LACKING.get(name, set())
    assert mine.gains()
    theta = mine.model.start + 0.2 * torch.randn(2, mine.model.dim, dtype=torch.float64)
    (weights, squares), u = torch.randn(2, 2, COUNT, dtype=torch.float64), torch.randn_like(theta)
    shares = torch.rand(COUNT, dtype=torch.float64)
    for of in (lambda each: each.averages(theta), lambda each: each.weigh(theta, weights, squares),
               lambda each: each.slope(theta, u), lambda each: [each.power(theta, 3), each.power(theta, 4, shares)],
               lambda each: [clipped(each, 0.5).gradient(theta)]):
        for a, b in zip(of(mine), of(right), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("name", [*CONVOLVED, *READ])
def test_paths_in_pieces_are_the_same_paths(name, monkeypatch):
    mine = examples(name)[0]
    theta = mine.model.start + 0.2 * torch.randn(5, mine.model.dim, dtype=torch.float64)
    weights, squares = torch.randn(2, 5, COUNT, dtype=torch.float64)
    u = torch.randn_like(theta)

    def sums():
        at = theta.clone()
        return [*mine.averages(at), *mine.weigh(at, weights, squares), *mine.slope(at, u)]

    whole, kept = sums(), mine._pass(theta)
    monkeypatch.setattr(layers, "HELD", 2 * mine.held)
    for a, b in zip(sums(), whole, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-11, atol=1e-14)
    sizes = [[side.shape for side in part] if isinstance(part, rules.Product) else part.shape for part in kept]
    assert sizes == [[side.shape for side in part] if isinstance(part, rules.Product) else part.shape
                     for part in mine._pass(theta)]


def test_what_is_the_same_for_all_paths_is_held_once():
    model = FlatModule(nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 2)))
    made = LayeredExamples(model, LOSSES["cross_entropy"], torch.randn(COUNT, 4, dtype=torch.float64), torch.arange(COUNT) % 2)
    passed = made._pass(model.start + torch.randn(6, model.dim, dtype=torch.float64))
    dims = {part.into.shape[-1]: part.into.dim() for part in passed if isinstance(part, rules.Product)}
    assert dims == {4: 3, 3: 4}  # the examples without an axis of the paths, the hidden layer with one


@pytest.mark.parametrize("name", [*CONVOLVED, *READ])
def test_products_with_the_hessian_are_symmetric_and_equal_differences(name):
    mine = examples(name)[0]
    theta = mine.model.start + 0.2 * torch.randn(1, mine.model.dim, dtype=torch.float64)
    u, w = torch.randn(2, *theta.shape, dtype=torch.float64)
    (along, slope), other = mine.slope(theta, u), mine.slope(theta, w)[0]
    assert float(((along * w).sum() - (other * u).sum()).abs()) < 1e-10 * float(along.norm() * w.norm())
    h = 2e-3 / float(u.norm())
    far = [mine.averages(theta + k * h * u) for k in (-2, -1, 1, 2)]
    for which, found in enumerate((along, slope)):
        a, b, c, d = (each[which] for each in far)
        assert float((found - (a - d + 8 * (c - b)) / (12 * h)).norm()) < 1e-8 * float(found.norm())


def test_a_rule_for_a_module_of_ones_own_takes_the_place_of_single_gradients(monkeypatch):
    monkeypatch.setattr(rules, "RULES", rules.RULES)
    monkeypatch.setitem(rules.RULES, Squared, None)

    @sme.layer_rule(Squared)
    def squared(delta, module, x):
        by_matrix = torch.einsum("bti,bto->io", x, delta)
        return {"weight": by_matrix * (module.weight.sin() + module.weight * module.weight.cos())}

    mine, right = examples("without a rule")
    assert not mine._lost
    theta = mine.model.start + 0.2 * torch.randn(2, mine.model.dim, dtype=torch.float64)
    for a, b in zip(mine.averages(theta), right.averages(theta), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-13)


def test_a_wrong_rule_is_not_believed(monkeypatch):
    monkeypatch.setitem(rules.RULES, Squared, lambda delta, module, x: {"weight": torch.einsum("bti,bto->io", x, delta)})
    assert not examples("without a rule")[0].gains()


@pytest.mark.parametrize("given", [3, torch.Tensor, "linear"])
def test_a_rule_is_for_functions_and_modules(given):
    with pytest.raises(sme.SMEError, match="a function of torch or a class of modules"):
        sme.layer_rule(given)
