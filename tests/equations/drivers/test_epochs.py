"""Reshuffled epochs, against sums over all permutations that share no code with the package."""

import itertools
import math

import numpy as np
import pytest
import torch

import sme
from sme.equations.derived.ballistic import DerivedBallistic
from sme.equations.drivers import epochs
from sme.equations.order.one_step import Generator
from sme.equations.registry import equation
from sme.optimizers.regimes import BALLISTIC
from tests.support.few import few

CURVE, SHIFT = np.array([0.6, 1.3, 2.1, 0.2, 1.7, 0.9]), np.array([0.9, -0.4, 0.3, 1.1, -1.2, 0.5])


def example(theta, a, b):
    return 0.5 * a * theta[0] ** 2 + b * theta[0] * torch.cos(0.3 * theta[0]) + 0.05 * theta[0] ** 4


def slopes(theta, n):
    return CURVE[:n] * theta + SHIFT[:n] * (np.cos(0.3 * theta) - 0.3 * theta * np.sin(0.3 * theta)) + 0.2 * theta**3


def problem(n, batch_size, sampling="reshuffled"):
    data = torch.tensor(CURVE[:n]), torch.tensor(SHIFT[:n])
    loss = lambda theta: torch.vmap(example, (None, 0, 0))(theta, *data).mean()  # noqa: E731
    return sme.Problem(loss, 1, sme.MinibatchNoise(example, data, batch_size, sampling=sampling))


RULES = {"sgd": sme.SGD(), "momentum": sme.Momentum(c=1.3), "rmsprop": sme.RMSProp(c=1.4, eps=0.2, denominator="previous"),
         "rmsprop-updated": sme.RMSProp(c=1.4, eps=0.2, denominator="updated"),
         "adam": sme.Adam(c1=1.3, c2=0.9, eps=0.2, bias_correction=False)}
START = {"theta": 0.7, "m": 0.4, "v": 0.8}
EPOCHS = [(name, n, size) for name in RULES for n, size in ((3, 1), (4, 2))]
"""by default each rule once in each regime, and both kinds of epoch"""


def move(name, x, g, tau):
    """One step of the rule, written anew."""
    if name == "sgd":
        return np.array([x[0] - tau * g])
    if name == "momentum":
        m = x[1] + 1.3 * tau * (g - x[1])
        return np.array([x[0] - tau * m, m])
    if name == "adam":
        m, v = x[1] + 1.3 * tau * (g - x[1]), x[2] + 0.9 * tau * (g * g - x[2])
        old = v if RULES[name].denominator == "updated" else x[2]
        return np.array([x[0] - tau * m / (math.sqrt(old) + 0.2), m, v])
    v = x[1] + 1.4 * tau * (g * g - x[1])
    return np.array([x[0] - tau * g / (math.sqrt(v if name.endswith("updated") else x[1]) + 0.2), v])


def batches(n, size):
    """The batches of every epoch, in every order, all equally likely."""
    return [[order[i : i + size] for i in range(0, n, size)] for order in itertools.permutations(range(n))]


def look(x):
    return np.array([math.exp(0.7 * x[0] - 0.4 * x[-1]), math.sin(x[0] + 0.5 * x[-1]), x[0] ** 2 * x[-1], x[-1] ** 2])


def epochs_of(name, n, size, tau, steps):
    ends = []
    for epoch in batches(n, size):
        x = np.array([START[field] for field in RULES[name].fields])
        for batch in epoch[:steps]:
            x = move(name, x, slopes(x[0], n)[list(batch)].mean(), tau)
        ends.append(look(x))
    return np.mean(ends, 0)


def modelled(name, n, size, tau, steps, sampling="reshuffled"):
    """Expectations of the equation, to `O(τ³)` over these steps: its ODE by Runge and Kutta, and its noise at the start."""
    eq = equation(problem(n, size, sampling), RULES[name], BALLISTIC, tau, 2)
    x = torch.tensor([[START[field] for field in RULES[name].fields]], dtype=torch.float64)
    generator, noise = Generator(eq, lambda z: z), 0.0
    for u in generator.noise(0.0, x)[:, 0].numpy() if eq.motions else ():
        e = 1e-3 / max(abs(u).max(), 1e-12)
        bend = (look(x[0].numpy() + e * u) + look(x[0].numpy() - e * u) - 2 * look(x[0].numpy())) / e**2
        noise = noise + 0.5 * steps * tau * bend
    h = steps * tau
    k1 = eq.drift(0.0, x)
    k2 = eq.drift(0.0, x + 0.5 * h * k1)
    k3 = eq.drift(0.0, x + 0.5 * h * k2)
    x = x + h / 6 * (k1 + 2 * k2 + 2 * k3 + eq.drift(0.0, x + h * k3))
    return look(x[0].numpy()) + noise


def ratio(name, n, size, sampling="reshuffled", tau=2.0**-9):
    steps = n // size
    left = [np.abs(epochs_of(name, n, size, h, steps) - modelled(name, n, size, h, steps, sampling)).max()
            for h in (tau, tau / 2)]
    return left[0] / left[1]


@pytest.mark.parametrize(("name", "n", "size"), few(EPOCHS, 1, 4, 7, 8))
def test_an_epoch_is_of_order_two(name, n, size):
    assert 7 < ratio(name, n, size) < 9.2


@pytest.mark.parametrize("most", [1, 120, 2**16])
def test_the_examples_may_be_taken_a_few_at_a_time(monkeypatch, most):
    monkeypatch.setattr(epochs, "AT_ONCE", most)
    eq = equation(problem(5, 1), RULES["rmsprop"], BALLISTIC, 0.1, 2)
    x = torch.tensor([[0.7, 0.8], [-0.3, 0.5]], dtype=torch.float64)
    plain = DerivedBallistic(problem(5, 1, "without_replacement"), RULES["rmsprop"], 0.1, 2, "independent")
    drift, each, h = eq.drift(0.0, x) - plain.drift(0.0, x), [], 1e-5
    for theta, v in x.tolist():
        g = slopes(theta, 5).mean()
        n = slopes(theta, 5) - g
        bend = (slopes(theta + h, 5) - slopes(theta - h, 5)) / (2 * h)  # of each example
        mean, own = bend.mean(), bend - bend.mean()
        p, down = 1 / (math.sqrt(v) + 0.2), -0.5 / (math.sqrt(v) * (math.sqrt(v) + 0.2) ** 2)
        sigma, kappa = (n**2).mean(), (n**3).mean()
        each.append([-0.5 * (p * (own * p * n).mean() - 1.4 * down * (2 * g * sigma + kappa)),
                     1.4 * (n * mean * p * n + g * own * p * n + n * own * p * n).mean()])
    torch.testing.assert_close(drift, 0.1 * torch.tensor(each, dtype=torch.float64), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("name", ["sgd", "rmsprop"])
def test_independent_steps_are_of_order_one_for_an_epoch(name):
    assert 3.5 < ratio(name, 3, 1, "without_replacement") < 5


@pytest.mark.parametrize(("n", "size"), few([(3, 1), (4, 1), (4, 2), (6, 1), (6, 2), (6, 3)], 0, 2, 4))
def test_the_covariance_of_an_epoch_is_that_of_all_permutations(n, size):
    theta = torch.tensor([[0.7]], dtype=torch.float64)
    steps, g = n // size, slopes(0.7, n)
    noise = np.array([[g[list(batch)].mean() - g.mean() for batch in epoch] for epoch in batches(n, size)])
    pairs = noise.T @ noise / len(noise)
    eq = equation(problem(n, size), RULES["rmsprop"], BALLISTIC, 1.0, 2, "bridge")
    columns = eq.stretch * eq.law.diffuse(theta.expand(n, -1), torch.eye(n, dtype=torch.float64))
    bridge = float((columns**2).sum()) * (np.eye(steps) - 1 / steps)
    np.testing.assert_allclose(bridge, pairs, rtol=0, atol=1e-12)
    squares = (noise**2).sum(1)
    short = equation(problem(n, size), RULES["rmsprop"], BALLISTIC, 1.0, 2)
    x = torch.tensor([[0.7, 0.8]], dtype=torch.float64)
    left = Generator(short, lambda z: z).noise(0.0, x)[:, 0] if short.motions else torch.zeros(1, 2)
    assert abs(float((left[:, 1] ** 2).sum()) / 1.4**2 - squares.var() / steps) < 1e-12
    assert not left[:, 0].any()


def test_the_increments_of_a_bridge_end_at_zero_and_are_those_of_one():
    from sme.convergence.spec.specification import Specification
    from sme.simulate.ensemble import TorchEnsemble

    spec = Specification.of(problem(4, 1), sme.SGD(), "ballistic", "bridge", 1.5, {"theta": torch.tensor([0.7])}, None, None)
    run = TorchEnsemble(spec.setup(2, 12), (1, 12, 0, 0), 20)
    eq, motions = run.ladders[0].equation, 4
    parts = [run._share(k, eq, run.increments.first(k, motions), None) for k in range(12)]
    for epoch in range(3):
        total = sum(part.sum(0) for part in parts[4 * epoch : 4 * epoch + 4])
        assert total.abs().max() < 1e-12
    assert torch.stack(parts).std() > 0.05


def test_what_has_no_bridge_is_said():
    with pytest.raises(sme.SMEError, match="reshuffled"):
        equation(problem(4, 1, "without_replacement"), sme.SGD(), BALLISTIC, 0.1, 2, "bridge")


def kicked(name, x, g, tau):
    """One step of the rule in the batch-equivalent regime, on a scaled gradient."""
    h = math.sqrt(tau)
    if name == "sgd":
        return np.array([x[0] - h * g])
    if name == "momentum":
        m = x[1] + 1.3 * (h * g - tau * x[1])
        return np.array([x[0] - tau * m, m])
    if name == "adam":
        m, v = x[1] + 1.3 * (h * g - tau * x[1]), x[2] + 0.9 * tau * (g * g - x[2])
        old = v if RULES[name].denominator == "updated" else x[2]
        return np.array([x[0] - tau * m / (math.sqrt(old) + 0.2), m, v])
    v = x[1] + 1.4 * tau * (g * g - x[1])
    return np.array([x[0] - h * g / (math.sqrt(v if name.endswith("updated") else x[1]) + 0.2), v])


@pytest.mark.parametrize(("name", "n", "size"), few(EPOCHS, 0, 3, 6, 9))
def test_a_short_epoch_of_large_noise_is_a_flow_of_order_one(name, n, size):
    left = []
    for tau in (2.0**-16, 2.0**-18):
        steps, begin, ends = n // size, np.array([START[field] for field in RULES[name].fields]), []
        for epoch in batches(n, size):
            x = begin
            for batch in epoch:
                g = slopes(x[0], n)
                x = kicked(name, x, g[list(batch)].mean() - (1 - math.sqrt(tau)) * g.mean(), tau)
            ends.append(look(x))
        flow = equation(problem(n, size), RULES[name], sme.optimizers.regimes.BATCH_EQUIVALENT, tau, 1, "none")
        x, h = torch.tensor(begin)[None], steps * tau
        x = x + h * flow.drift(0.0, x + 0.5 * h * flow.drift(0.0, x))
        left.append(np.abs(np.mean(ends, 0) - look(x[0].numpy())).max())
    assert not flow.motions
    assert left[0] / left[1] > 13.5  # τ² over an epoch; a term of τ^{3/2} that is wrong leaves 8


def test_every_example_arrives_once_an_epoch():
    from sme.convergence.spec.specification import Specification
    from sme.simulate.ensemble import TorchEnsemble

    start = {"theta": torch.tensor([0.7])}
    spec = Specification.of(problem(6, 2), sme.SGD(), "batch_equivalent", "arrivals", 1.5, start, None, None)
    run = TorchEnsemble(spec.setup(1, 12), (1, 12, 0, 0), 2000)
    eq = run.ladders[0].equation
    assert eq.epoch == 3
    parts = torch.stack([run._share(k, eq, run.increments.first(k, 6), None) for k in range(3)])
    assert bool((parts.sum((0, 1)) == 1).all())
    shares = parts.mean((1, 2, 3)) * parts.shape[1]
    assert (shares - 1 / 3).abs().max() < 5 * math.sqrt(2 / 9 / (4000 * 6))
