"""Networks: sums over examples without their gradients, the exact noise of a minibatch, what is refused."""

import functools
import itertools
import math

import pytest
import torch
from torch import nn
from torch.func import grad, hessian, vmap

import sme
from sme.convergence.fit.fieller import factor
from sme.equations.chain import Chain
from sme.equations.registry import equation
from sme.optimizers.regimes import BALLISTIC
from sme.problems.noise.minibatch.layers import LayeredExamples, Single
from sme.problems.noise.minibatch.linear import LinearExamples
from sme.simulate.control_variates.controls import responses
from tests.support.few import few


def data(examples=12, features=5, classes=3):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(examples, features, generator=generator, dtype=torch.float64)
    return x, torch.randint(classes, (examples,), generator=generator)


def perceptron(activation=nn.Tanh):
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(5, 4), activation(), nn.Linear(4, 3, bias=False))


def convolution():
    torch.manual_seed(1)
    parts = nn.Conv1d(1, 2, 3), nn.Tanh(), nn.GroupNorm(1, 2), nn.Flatten(), nn.Linear(6, 3)
    return nn.Sequential(nn.Unflatten(1, (1, 5)), *parts)


def points(problem, paths=4):
    generator = torch.Generator().manual_seed(2)
    return problem.model.start + 0.3 * torch.randn(paths, problem.dim, generator=generator, dtype=torch.float64)


class Layered(nn.Module):
    """One linear layer."""

    def __init__(self, inputs=5):
        super().__init__()
        torch.manual_seed(1)
        self.layer = nn.Linear(inputs, 3)


class Pieces(Layered):
    """The layer sees five rows of each example."""

    def forward(self, x):
        return self.layer(input=x.reshape(-1, 1)).tanh().reshape(len(x), 5, 3).sum(1)


class Decoder(Layered):
    """The layer's weight is used once more beside it."""

    def forward(self, x):
        return nn.functional.linear(torch.tanh(self.layer(x)), self.layer.weight.T)[:, :3]


class Random(Layered):
    def forward(self, x):
        return nn.functional.dropout(self.layer(x), 0.5)


class Mixing(Random):
    def forward(self, x):
        return self.layer(x - x.mean(0))


@pytest.mark.parametrize("module", few([perceptron, convolution, Decoder, functools.partial(Pieces, 1)], 0, 3))
def test_sums_over_the_examples_are_those_of_their_gradients(module):
    problem = sme.Network(module(), data(), batch_size=3)
    examples, theta, single = problem.examples, points(problem), Single(problem.model, problem.losses)
    assert problem.describe() == sme.Network(module(), data(), batch_size=3).describe()
    assert isinstance(examples, LayeredExamples)
    each = vmap(vmap(grad(single), (None, 0, 0)), (0, None, None))(theta, problem.inputs, problem.targets)
    weights, squares = torch.randn(2, 4, 12, dtype=torch.float64)
    u, z = torch.randn_like(theta), torch.randint(12, (4, 3))
    whole = lambda point: vmap(grad(problem._whole))(point)  # noqa: E731
    slopes = torch.func.jvp(lambda point: vmap(vmap(grad(single), (None, 0, 0)), (0, None, None))(
        point, problem.inputs, problem.targets).square().mean(1), (theta,), (u,))[1]
    for mine, expected in [
        (examples.gradient(theta), each.mean(1)), (examples.averages(theta)[1], each.square().mean(1)),
        (examples.weigh(theta, weights)[0], torch.einsum("pn,pnd->pd", weights, each)),
        (examples.weigh(theta, weights, squares)[1], torch.einsum("pn,pnd->pd", squares, each.square())),
        (examples.power(theta, 3), each.pow(3).mean(1)),
        (examples.batch(theta, z), torch.stack([part[rows].mean(0) for part, rows in zip(each, z, strict=True)])),
        (problem.gradient(theta), whole(theta)), (problem.hessian(theta, u), torch.func.jvp(whole, (theta,), (u,))[1]),
        (examples.slope(theta, u)[1], slopes),
    ]:
        torch.testing.assert_close(mine, expected, rtol=1e-10, atol=1e-13)


def test_what_was_computed_is_kept_for_the_same_numbers_alone():
    problem = sme.Network(perceptron(), data())
    whole = torch.cat((points(problem), torch.ones(4, problem.dim)), 1)
    theta, again = whole.split(problem.dim, 1)[0], whole.split(problem.dim, 1)[0]
    first = problem.gradient(theta)
    assert problem.gradient(again) is first  # another view of the same memory
    whole += 0.1
    assert not torch.equal(problem.gradient(whole.split(problem.dim, 1)[0]), first)


def test_per_example_gradients_in_pieces_are_the_same(monkeypatch):
    problem = sme.Network(convolution(), data())
    theta, weights = points(problem), torch.randn(4, 12, dtype=torch.float64)
    whole = [*problem.examples.averages(theta), *problem.examples.weigh(theta, weights, weights)]
    monkeypatch.setattr("sme.problems.noise.minibatch.per_example.CHUNK", 100)
    pieces = [*problem.examples.averages(theta.clone()), *problem.examples.weigh(theta, weights, weights)]
    for a, b in zip(whole, pieces, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize(("optimizer", "sampling", "batch_size"), [
    *few([*itertools.product([sme.RMSProp()], ("with_replacement", "without_replacement"), (1, 4))], 0, 3),
    (sme.Adam(), "with_replacement", 1), pytest.param(sme.Adam(), "without_replacement", 4, marks=pytest.mark.slow)])
def test_the_noise_has_every_entry_of_the_exact_covariance(optimizer, sampling, batch_size):
    """`Cov(δ₂)` of fifty examples and six parameters by enumeration against draws of the equation's noise."""
    torch.manual_seed(3)
    x, y = torch.randn(50, 6, dtype=torch.float64), torch.randn(50, dtype=torch.float64)
    examples = LinearExamples(x, y, lambda p, y: torch.tanh(p) - y, lambda r, y: 1 - (r + y) ** 2)
    law = sme.MinibatchNoise(batch_size=batch_size, examples=examples, sampling=sampling)
    problem = sme.Problem(lambda theta: (torch.log(torch.cosh(x @ theta)) - y * (x @ theta)).mean(), 6, law)
    state = {name: torch.linspace(0.2, 0.8, 6, dtype=torch.float64) for name in optimizer.fields}
    tau, ((z, chance),) = 1e-4, law.quadrature()
    moves = []
    for part in z.split(2**16):
        begin = {name: field.expand(len(part), -1) for name, field in state.items()}
        end = Chain(problem, optimizer, BALLISTIC, tau).step_at(begin, part, 0.0)[0]
        moves.append(torch.cat([(end[name] - begin[name]) / tau for name in optimizer.fields], 1))
    move = torch.cat(moves)
    move = move - chance @ move
    exact = move.T @ (chance.unsqueeze(1) * move)

    modelled, paths = equation(problem, optimizer, BALLISTIC, 1.0, 2), 40_000
    here = torch.cat([state[name] for name in optimizer.fields]).expand(paths, -1)
    noise = modelled.diffuse(0.0, here, torch.randn(paths, modelled.motions, dtype=torch.float64))
    products = noise.unsqueeze(2) * noise.unsqueeze(1)
    error, spread = products.mean(0) - exact, products.std(0) / math.sqrt(paths)
    # Adam's θ moves by m', so that its own noise is of higher order: at this τ a ten-thousandth
    assert (error.abs() <= 5 * spread + 2e-4 * exact.diagonal().max()).all()
    assert (spread < 0.05 * exact.diagonal().max()).all()


@pytest.mark.slow
@pytest.mark.parametrize(("sampling", "batch_size"), [("with_replacement", 1), ("without_replacement", 4)])
def test_fifty_examples_have_order_two(sampling, batch_size):
    torch.manual_seed(3)
    x, y = torch.randn(50, 6, dtype=torch.float64), torch.randn(50, dtype=torch.float64)
    examples = LinearExamples(x, y, lambda p, y: torch.tanh(p) - y, lambda r, y: 1 - (r + y) ** 2)
    law = sme.MinibatchNoise(batch_size=batch_size, examples=examples, sampling=sampling)
    problem = sme.Problem(lambda theta: (torch.log(torch.cosh(x @ theta)) - y * (x @ theta)).mean(), 6, law)
    state = {"theta": torch.linspace(0.2, 0.8, 6), "v": torch.linspace(0.5, 0.9, 6)}
    assert sme.check_order(problem, sme.RMSProp(), states=state).proved == 2


@pytest.mark.parametrize("sampling", few(["with_replacement", "without_replacement", "reshuffled"], 1))
def test_a_few_examples_have_order_two(sampling):
    problem = sme.Network(nn.Sequential(nn.Linear(1, 1), nn.Tanh()), (data(5)[0][:, :1], data(5)[0][:, 1:2]), "mse", 2, sampling)
    assert problem.noise.second_motions
    state = {"theta": problem.model.start, "v": torch.full((2,), 0.6)}
    assert sme.check_order(problem, sme.RMSProp(), states=state).proved == 2


@pytest.mark.parametrize(("build", "words"), [
    (lambda: sme.Network(nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4)), data()), "use GroupNorm or LayerNorm"),
    (lambda: sme.Network(nn.Sequential(nn.Linear(5, 3), nn.Dropout()), data()), "set its p to 0"),
    (lambda: sme.Network(nn.Tanh(), data()), "nothing to optimise"),
    (lambda: sme.Network(lambda x: x, data()), "torch.nn.Module"),
    (lambda: sme.Network(perceptron(), data(), "cross_entropi"), "did you mean 'cross_entropy'"),
    (lambda: sme.Network(perceptron(), data(), lambda out, y: nn.functional.cross_entropy(out, y)), "reduction='none'"),
    (lambda: sme.Network(perceptron(), data(features=4)), "fails on data"),
    (lambda: sme.Network(perceptron(), data(classes=4)), "example 1 is 3, and the module's outputs have 3 classes"),
    (lambda: sme.Network(perceptron(), data(), test=data(features=4)), "fails on test"),
    (lambda: sme.Network(perceptron(), (data()[0], data()[0][:, :1]), "mse"), "the shape of the outputs"),
    (lambda: sme.Network(Random(), data()), "is random or mixes"),
    (lambda: sme.Network(Mixing(), data()), "is random or mixes"),
    (lambda: sme.Network(nn.LazyLinear(3), data()), "lazy layers"),
    (lambda: sme.Network(perceptron(), (data()[0], data()[1][:3])), "give as many of one as of the other"),
    (lambda: sme.Network(perceptron(), data()[0]), "two tensors"),
    (lambda: sme.Digits(examples=1797), "left for the test"),
    (lambda: sme.Digits(activation="tan"), "did you mean 'tanh'"),
    (lambda: sme.BreastCancer(examples=570), "between 2 and 569"),
    (lambda: sme.DiagonalNoise(0.1), "needs dim"),
    (lambda: sme.DiagonalNoise(-0.1, 3), "≥ 0"),
    (lambda: sme.Problem(lambda t: t.sum(), 2, sme.DiagonalNoise([0.1] * 3)), "dim = 2"),
])
def test_what_does_not_fit_is_refused(build, words):
    with pytest.raises(sme.SMEError, match=words):
        build()


class Attention(nn.Module):
    def forward(self, inputs):
        return nn.functional.scaled_dot_product_attention(*[inputs[..., None]] * 3).flatten(-2)


@pytest.mark.slow
def test_a_network_with_kinks_has_order_one_alone():
    problem = sme.Network(perceptron(nn.ReLU), data(), batch_size=2)
    assert problem.kinks == ("relu",)
    equation(problem, sme.RMSProp(), BALLISTIC, 0.1, 1)
    with pytest.raises(sme.SMEError, match=r"kinks \(relu\).*tanh"):
        equation(problem, sme.RMSProp(), BALLISTIC, 0.1, 2)
    assert sme.Network(perceptron(nn.SiLU), data()).kinks == ()
    assert sme.Network(perceptron(Attention), data()).kinks == (), "torch's own softmax of it is smooth where nothing is masked"
    assert sme.Network(perceptron(lambda: nn.ReLU(inplace=True)), data()).kinks == ("relu",)
    far = lambda out, y: nn.functional.huber_loss(out, torch.zeros_like(out), reduction="none").mean(1)  # noqa: E731
    bent = sme.Network(perceptron(), data(), far)
    assert (bent.kinks, bent.bends) == ((), ("huber_loss",))
    equation(bent, sme.RMSProp(), BALLISTIC, 0.1, 2)


def test_its_observables_have_names_and_the_start_is_the_modules():
    problem = sme.Network(perceptron(), data(), batch_size=4, test=data(7))
    theta = points(problem)
    found = {name: function(theta) for name, function in problem.functions().items()}
    assert set(found) == {"accuracy", "error", "test loss", "test accuracy", "test error", "|gradient|", "sharpness",
                          "lowest curvature"}
    torch.testing.assert_close(found["test error"], 1 - found["test accuracy"])
    outputs = torch.stack([problem.model(point, problem.inputs) for point in theta])
    torch.testing.assert_close(found["accuracy"], (outputs.argmax(-1) == problem.targets).double().mean(1))
    torch.testing.assert_close(problem.loss(theta), torch.stack([problem._whole(point) for point in theta]))
    values = torch.linalg.eigvalsh(torch.stack([hessian(problem._whole)(point) for point in theta]))
    values = values.gather(1, values.abs().argsort(1, descending=True))
    apart = values[:, 1].abs() < 0.8 * values[:, 0].abs()  # where the power iteration has converged
    assert apart.any()
    torch.testing.assert_close(found["sharpness"][apart], values[apart, 0], rtol=1e-2, atol=1e-3)
    made = sme.trajectories(problem, sme.RMSProp(), tau=1 / 4, start={}, horizon=0.5, paths=16, substeps=4, backend="torchsde",
                            observables=["loss", "test accuracy"], histogram="loss")
    start = made.table[(made.table["time"] == 0) & (made.table["observable"] == "loss")]["mean"]
    assert start.tolist() == pytest.approx([problem.loss(problem.model.start.unsqueeze(0)).item()] * 3, rel=1e-12)


def followed(problem, **changes):
    asked = {"tau": 1 / 8, "start": {"v": torch.ones(problem.dim)}, "horizon": 0.5, "paths": 64, "substeps": 4, "points": 1,
             "backend": "torchsde", "observables": ["loss", "|theta|^2"], "histogram": "loss", **changes}
    return sme.trajectories(problem, sme.RMSProp(), **asked)


def test_its_response_to_the_noise_leaves_the_means_and_takes_most_of_the_spread(monkeypatch):
    problem = sme.Network(perceptron(), data(), batch_size=4)
    seen = {"order": 1, "observables": ["loss", "|theta|^2", "mean v"]}  # v responds to the square of the noise
    centred = followed(problem, **seen).table
    monkeypatch.setattr("sme.simulate.control_variates.controls.LONGEST", 0)
    plain = followed(problem, **seen).table
    runs = [table[(table["time"] == 0.5) & (table["curve"] == "discrete")]["stderr"].to_numpy() for table in (centred, plain)]
    assert (runs[0] < 0.5 * runs[1]).all()
    ends = [table[(table["time"] == 0.5) & (table["curve"] != "discrete")] for table in (centred, plain)]
    assert (ends[0]["difference_stderr"].to_numpy() < ends[1]["difference_stderr"].to_numpy()).all()
    assert (abs(ends[0]["difference"] - ends[1]["difference"]) < 5 * ends[1]["difference_stderr"]).all()
    assert centred["sd"].to_numpy() == pytest.approx(plain["sd"].to_numpy(), rel=1e-9)  # bands are those of the runs as they are


@pytest.mark.slow
def test_order_two_is_closer_by_a_factor_with_its_interval():
    made = sme.trajectories(sme.Quadratic(), sme.RMSProp(), tau=1 / 4, start={"theta": torch.tensor([1.0, 0.5])}, paths=64,
                            observables=["loss"], histogram="loss", substeps=4)
    end = made.closer[made.closer["time"] == 1]
    assert (end["low"] > 1).all()
    assert "order 2 is closer by" in str(made)
    differences = made.table[(made.table["curve"] == "order 1") & (made.table["time"] > 0)]["difference"]
    assert made.closer["error_1"].tolist() == pytest.approx(differences.tolist(), rel=1e-12)


def test_fiellers_interval_covers_and_says_where_it_is_open():
    generator = torch.Generator().manual_seed(0)
    root = torch.linalg.cholesky(torch.tensor([[1.0, 0.8], [0.8, 1.0]]))
    seen = [factor((torch.tensor([10.0, 3.0]) + root @ torch.randn(2, generator=generator)).tolist(), (1.0, 1.0, 0.8))
            for _ in range(2000)]
    assert abs(sum(low <= 10 / 3 <= high for _, low, high in seen) / 2000 - 0.95) < 0.025
    few = torch.tensor([10.0, 3.0]) + torch.randn(2000, 4, 2, generator=generator) @ root.T
    covered = [factor(part.mean(0).tolist(), (torch.stack((*part.var(0), part.T.cov()[0, 1])) / 4).tolist(), 4) for part in few]
    assert abs(sum(low <= 10 / 3 <= high for _, low, high in covered) / 2000 - 0.95) < 0.025  # of normal quantiles 0.86
    assert factor((5.0, 1.0), (1.0, 1.0, 0.0))[2] == math.inf
    assert factor((-8.0, 2.0), (0.01, 0.01, 0.0))[0] == 4
    assert factor((0.1, 5.0), (1.0, 1.0, 0.0))[1] == 0


def test_independent_noise_is_that_of_its_diagonal_matrix():
    scale = torch.tensor([0.5, 0.2, 0.1], dtype=torch.float64)
    mine, dense = sme.DiagonalNoise(scale), sme.GaussianNoise(scale.diag())
    theta, dW = torch.randn(2, 4, 3, dtype=torch.float64)
    for name, arguments in {"diffuse": (dW,), "second": (dW,), "variance": (), "third": (), "fourth": ()}.items():
        torch.testing.assert_close(getattr(mine, name)(theta, *arguments), getattr(dense, name)(theta, *arguments))


@pytest.mark.parametrize(("problem", "dim"), [
    (lambda: sme.Digits(), 2035), (lambda: sme.Digits(channels=8), 754), (lambda: sme.Diabetes(), 34),
    (lambda: sme.BreastCancer(), 4022)])
def test_the_presets_have_as_many_parameters_as_they_say(problem, dim):
    assert problem().dim == dim


def test_reshuffled_epochs_run_with_a_word_on_what_the_equation_takes_them_for():
    problem = sme.Network(perceptron(), data(), batch_size=5, sampling="reshuffled")  # no divisor of the examples
    with pytest.warns(UserWarning, match="takes them as independent"):
        made = followed(problem, paths=16, horizon=0.25, order=1)
    assert made.table["mean"].notna().all()
    state = {"theta": problem.model.start, "v": torch.ones(problem.dim, dtype=torch.float64)}
    assert responses(Chain(problem, sme.RMSProp(), BALLISTIC, 0.25), state, [1], {"v": lambda s: s["v"].mean(-1)}) is None
