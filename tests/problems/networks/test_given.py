"""Modules as people bring them: each runs layer by layer or is refused in one line when the network is made."""

import time
import warnings

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import spectral_norm

import sme
from sme.problems.noise.minibatch.layers import LayeredExamples
from tests.support.few import few

WORDS, TOKENS, WIDTH = 11, 6, 8
CODES = torch.randint(WORDS, (5, TOKENS), generator=torch.Generator().manual_seed(0))
PICTURES = torch.rand(5, 3, 12, 12, generator=torch.Generator().manual_seed(0))
CLASSES = torch.arange(5) % 3


class Translator(nn.Module):
    """`nn.Transformer` as of its tutorial, batch first."""

    def __init__(self):
        super().__init__()
        self.embed, self.out = nn.Embedding(WORDS, WIDTH), nn.Linear(WIDTH, WORDS)
        self.inner = nn.Transformer(WIDTH, 2, 1, 1, 12, activation=F.gelu, batch_first=True)

    def forward(self, codes):
        x = self.embed(codes)
        mask = nn.Transformer.generate_square_subsequent_mask(TOKENS, dtype=x.dtype)
        return self.out(self.inner(x, x, tgt_mask=mask, tgt_is_causal=True))


class Encoder(nn.Module):
    """`nn.TransformerEncoder`, tokens first, with a mask for blanks."""

    def __init__(self):
        super().__init__()
        layer = nn.TransformerEncoderLayer(WIDTH, 2, 12, activation="gelu")
        self.embed = nn.Embedding(WORDS, WIDTH, padding_idx=0)
        self.inner = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.out = nn.Linear(WIDTH, 3)

    def forward(self, codes):
        x = self.inner(self.embed(codes).transpose(0, 1), src_key_padding_mask=(codes == 0) & (codes.flip(1) == 0))
        return self.out(x.mean(0))


class Basic(nn.Module):
    """The block of a residual network, `eval()` for its batch norms."""

    def __init__(self, into, out, stride):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(into, out, 3, stride, 1, bias=False), nn.BatchNorm2d(out)
        self.conv2, self.bn2 = nn.Conv2d(out, out, 3, 1, 1, bias=False), nn.BatchNorm2d(out)
        self.down = nn.Sequential(nn.Conv2d(into, out, 1, stride, bias=False), nn.BatchNorm2d(out))

    def forward(self, x):
        out = F.silu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        out += self.down(x)
        return F.silu(out)


class Patches(nn.Module):
    """A vision transformer's beginning, by views as of einops, with a token of its own in front."""

    def __init__(self):
        super().__init__()
        self.embed, self.norm = nn.Linear(3 * 16, WIDTH), nn.LayerNorm(WIDTH)
        self.first, self.place = nn.Parameter(torch.randn(1, 1, WIDTH)), nn.Parameter(torch.randn(1, 10, WIDTH))
        self.out = nn.Linear(WIDTH, 3)

    def forward(self, x):
        b, c, h, w = x.shape
        x = x.reshape(b, c, h // 4, 4, w // 4, 4).permute(0, 2, 4, 3, 5, 1).reshape(b, -1, 16 * c)
        x = torch.cat((self.first.expand(b, -1, -1), self.embed(x)), 1) + self.place
        x = F.scaled_dot_product_attention(x, x, x)
        return self.out(self.norm(x)[:, 0])


class Heads(nn.Module):
    """Attention by einsum."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(WORDS, WIDTH)
        self.q, self.k, self.v = (nn.Parameter(0.3 * torch.randn(2, WIDTH, 4)) for _ in range(3))
        self.o = nn.Parameter(0.3 * torch.randn(2, 4, WORDS))

    def forward(self, codes):
        x = self.embed(codes)
        q, k, v = (torch.einsum("btd,hde->bhte", x, each) for each in (self.q, self.k, self.v))
        seen = torch.einsum("bhte,bhse->bhts", q, k).softmax(-1)
        return torch.einsum("bhte,hed->btd", seen @ v, self.o)


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed, self.inner = nn.Embedding(WORDS, WIDTH), nn.LSTM(WIDTH, 5, 2, batch_first=True, bidirectional=True)
        self.out = nn.Linear(10, WORDS)

    def forward(self, codes):
        return self.out(self.inner(self.embed(codes))[0])


class Conv1D(nn.Module):
    """The linear layer of GPT-2's code, with its weight the other way round."""

    def __init__(self, into, out):
        super().__init__()
        self.weight, self.bias = nn.Parameter(0.2 * torch.randn(into, out)), nn.Parameter(torch.zeros(out))

    def forward(self, x):
        shape = (*x.shape[:-1], self.weight.shape[1])
        return torch.addmm(self.bias, x.view(-1, x.size(-1)), self.weight).view(shape)


class GPT(nn.Module):
    """A block as of GPT-2, tied weights, a table of places."""

    def __init__(self):
        super().__init__()
        self.wte, self.wpe = nn.Embedding(WORDS, WIDTH), nn.Embedding(TOKENS, WIDTH)
        self.attn, self.proj, self.ln = Conv1D(WIDTH, 3 * WIDTH), Conv1D(WIDTH, WIDTH), nn.LayerNorm(WIDTH)
        self.head = nn.Linear(WIDTH, WORDS, bias=False)
        self.head.weight = self.wte.weight

    def forward(self, codes):
        x = self.wte(codes) + self.wpe(torch.arange(codes.shape[1]))
        q, k, v = (each.view(*each.shape[:2], 2, -1).transpose(1, 2) for each in self.attn(self.ln(x)).split(WIDTH, 2))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).contiguous().view(*x.shape)
        return self.head(x + self.proj(y))


class Doubled(nn.Module):
    """Experts with a gate, and low-rank parts beside a weight that is held fixed."""

    def __init__(self):
        super().__init__()
        self.base, self.gate = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, 2)
        self.base.requires_grad_(False)
        self.a, self.b = nn.Parameter(torch.randn(WIDTH, 2)), nn.Parameter(torch.randn(2, WIDTH))
        self.embed, self.scale, self.out = nn.Embedding(WORDS, WIDTH), nn.Parameter(torch.tensor(0.7)), nn.Linear(WIDTH, WORDS)

    def forward(self, codes):
        x = self.embed(codes)
        share = self.gate(x).softmax(-1)
        return self.out(share[..., :1] * self.base(x) + share[..., 1:] * self.scale * (x @ self.a @ self.b))


PEOPLE = {
    "nn.Transformer": (lambda: Translator().eval(), CODES, CODES.flip(1)),
    "nn.TransformerEncoder": (lambda: Encoder().eval(), CODES, CLASSES),
    "resnet": (lambda: nn.Sequential(Basic(3, 4, 2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)).eval(), PICTURES,
               CLASSES),
    "patches": (Patches, PICTURES, CLASSES), "einsum": (Heads, CODES, CODES.flip(1)), "lstm": (Recurrent, CODES, CODES.flip(1)),
    "gpt": (GPT, CODES, CODES.flip(1)), "experts": (Doubled, CODES, CODES.flip(1)),
    "transposed": (lambda: nn.Sequential(nn.Conv2d(3, 2, 3, 2), nn.Tanh(), nn.ConvTranspose2d(2, 1, 3), nn.Flatten(),
                                         nn.Linear(49, 3)), PICTURES, CLASSES),
    "three axes": (lambda: nn.Sequential(nn.Unflatten(1, (1, 3)), nn.Conv3d(1, 2, 3, 2), nn.Tanh(), nn.Flatten(),
                                         nn.Linear(50, 3)), PICTURES, CLASSES)}


@pytest.mark.parametrize("name", few([*PEOPLE], 3, 6))
def test_modules_of_other_peoples_making_run_layer_by_layer(name):
    build, x, y = PEOPLE[name]
    torch.manual_seed(0)
    problem = sme.Network(build(), (x, y), batch_size=2)
    assert isinstance(problem.examples, LayeredExamples)
    theta = problem.start["theta"]
    point = theta.clone().requires_grad_()
    right = torch.autograd.grad(problem._whole(point), point)[0]
    torch.testing.assert_close(problem.gradient(theta[None])[0], right, rtol=1e-9, atol=1e-13)
    noise = problem.noise.diffuse(theta[None], torch.ones(1, 5, dtype=torch.float64))
    assert float(noise.abs().max()) < 1e-12, "equal weights are those of the mean, which the noise has not"
    assert problem.kinks == ()
    assert problem.lack == ""


def test_a_row_for_blanks_which_no_gradient_moves_is_no_fault():
    torch.manual_seed(0)
    module = nn.Sequential(nn.Embedding(WORDS, WIDTH, padding_idx=0), nn.Tanh(), nn.Flatten(), nn.Linear(TOKENS * WIDTH, 3))
    assert (CODES[:3] == 0).any()
    assert sme.Network(module, (CODES, CLASSES), batch_size=2).lack == ""


class Cast(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(WIDTH, 3)

    def forward(self, x):
        return self.layer(x).float()


class Several(Cast):
    def forward(self, x):
        return self.layer(x), x


FLAT = torch.randn(5, WIDTH)


@pytest.mark.parametrize(("build", "words"), [
    (Cast, "returns float32 for parameters in float64: leave out what casts"),
    (Several, "must return a tensor, got tuple: give a module around it"),
    (lambda: torch.jit.trace(nn.Linear(WIDTH, 3), FLAT), "scripted by torch.jit"),
    (lambda: nn.Linear(WIDTH, 3, device="meta"), "weight is on the device 'meta'"),
    (lambda: nn.Linear(WIDTH, 3, dtype=torch.complex64), "weight is of type complex64"),
    (lambda: spectral_norm(nn.Linear(WIDTH, 3)), "is random or mixes"),
])
def test_what_cannot_run_is_refused_in_one_line_at_once(build, words):
    began = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = build()
        with pytest.raises(sme.SMEError, match=words) as caught:
            sme.Network(module, (FLAT, CLASSES))
    assert "\n" not in str(caught.value)
    assert time.process_time() - began < 5


def test_a_compiled_module_is_its_original_at_any_depth():
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Linear(WIDTH, 4), nn.Tanh(), nn.Linear(4, 3))
    inner = nn.Sequential(nn.Linear(WIDTH, 4), nn.Tanh(), torch.compile(nn.Linear(4, 3)))
    inner.load_state_dict(dict(zip(inner.state_dict(), plain.state_dict().values(), strict=True)))
    own = nn.Sequential(*plain)
    own.compile()
    right = sme.Network(plain, (FLAT, CLASSES))
    for given in (torch.compile(inner), own, nn.DataParallel(plain)):
        made = sme.Network(given, (FLAT, CLASSES))
        assert made.describe() == right.describe()
        assert list(made.model.shapes) == list(right.model.shapes)
    assert type(inner[2]).__name__ == "OptimizedModule", "the module that was given is as it was"


def test_of_few_bits_it_says_that_all_is_in_float64():
    torch.manual_seed(0)
    module = nn.Linear(WIDTH, 3)
    with pytest.warns(UserWarning, match="numbers in bfloat16: they are taken as they are, and all is computed in float64"):
        made = sme.Network(module.to(torch.bfloat16), (FLAT, CLASSES))
    assert torch.equal(made.start["theta"], torch.cat([each.flatten() for each in module.parameters()]).double())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sme.Network(nn.Linear(WIDTH, 3), (FLAT, CLASSES))


def test_it_says_what_a_path_takes_before_it_runs(capsys):
    problem = sme.Network(nn.Linear(WIDTH, 3), (FLAT, CLASSES), batch_size=2)
    for further in (True, False):
        sme.trajectories(problem, sme.SGD(), tau=1 / 2, paths=4, points=1, substeps=4, backend="torchsde", observables=["loss"],
                         histogram="loss", multilevel=further)
        said = capsys.readouterr().err
        assert "27 parameters, 5 examples: a path takes some" in said
        assert ("up to 3.1 times that where further paths" in said) == further


def test_layers_too_large_for_one_path_are_refused(monkeypatch):
    monkeypatch.setattr("sme.problems.networks.network.MOST", 100)
    with pytest.raises(sme.SMEError, match="give fewer examples, or a smaller module"):
        sme.Network(nn.Linear(WIDTH, 3), (FLAT, CLASSES))
