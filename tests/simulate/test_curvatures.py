"""Second-order control variates: mean zero for every rule and law, and a smaller standard error."""

import dataclasses
import itertools
import math

import numpy as np
import pytest
import torch

import sme
from sme.convergence.estimator import paired
from sme.convergence.estimator.crossfit import estimate
from sme.convergence.spec.specification import Specification
from sme.equations.registry import equation
from sme.optimizers.base import Optimizer
from sme.optimizers.regimes import REGIMES
from sme.simulate.control_variates.controls import Controls, Valuing
from sme.simulate.control_variates.curvatures import curvatures
from sme.simulate.ensemble import ExtrapolatedPath, TorchEnsemble
from tests.support import models

START = {"theta": torch.tensor([1.0, 0.5])}
FOUR = {"theta": torch.full((4,), 0.5), "v": torch.full((4,), 0.2)}


def blocks(problem, optimizer, regime="ballistic", brownian="independent", steps=8, start=START, times=None, pairs=512):
    """Blocks without and with these control variates, and how many variables are not controls."""
    setup = Specification.of(problem, optimizer, regime, brownian, 1.0, start, None, times).setup(2, steps)
    with torch.no_grad():
        setup = paired.prepared(setup)
        kinds = (dataclasses.replace(setup, weights=weights)
                 for weights in (dataclasses.replace(setup.weights, curvatures=None), setup.weights))
        runs = [[paired.run_block(kind, (0, steps, 0, block), pairs).moments for block in range(4)] for kind in kinds]
    return *runs, 3 * len(setup.observables) * len(setup.marks)


def test_those_of_minibatches_have_mean_zero_over_every_batch_and_every_increment():
    """Exactly, by enumeration: increments of two values each, in two substeps of one step, and all batches of two of three."""
    problem, optimizer = models.minibatch(2), sme.RMSProp(c=0.5)
    spec = Specification.of(problem, optimizer, "ballistic", None, 1.0, {"theta": torch.tensor([0.7, -0.4])}, None, None)
    with torch.no_grad():
        setup = paired.prepared(spec.setup(2, 4))
        equation, controls, chain = setup.equation(), Controls(setup.weights, setup.equation()), setup.chain
        assert (equation.motions, controls.kicks, controls.followed) == (5, 8, 0)
        signs = torch.tensor(list(itertools.product((-1.0, 1.0), repeat=10)), dtype=torch.float64)
        dW = (setup.tau / 2) ** 0.5 * signs.reshape(-1, 2, 5).transpose(0, 1)
        start = setup.whole(1024) + 0.1 * torch.arange(4)  # off the noiseless run
        ladder = ExtrapolatedPath(equation, start, (1, 2))
        valuing = Valuing(controls, equation, controls.shared[1], (2, 1), ((1.5, 0.3, 0.6, 0.2), (-0.5, 0.7, 1.1, -0.4)), 1024)
        ladder.step(1, chain.time(1), dW, valuing.watch)
        mine = valuing.step(start.new_zeros(1024, controls.carried))
        batches = torch.tensor(list(itertools.product(range(3), repeat=2)))
        x = start[:9]
        noise = problem.noise.sample(x[:, :2], batches)
        theirs = controls.chain(x.new_zeros(9, controls.carried), controls.shared[1], x, noise, problem.noise.variance(x[:, :2]))
    rows = len(setup.observables)
    assert mine.shape[1] == 16 * rows
    for values, there in ((mine, range(4 * rows, 16 * rows)), (theirs, range(4 * rows))):
        size = values.abs().amax(0)
        assert (size[there] > 1e-6).all()
        assert (values.mean(0).abs() < 1e-14 + 1e-13 * size).all()
    odd = [each.reshape(1024, rows) for each in mine[:, 4 * rows :].split(rows, 1)]
    assert all((each + each.flip(0)).abs().amax() > 1e-6 for each in odd), "of an antithetic pair something is left"


def test_jumps_are_looked_at_without_their_mean():
    """Exactly: both jumps of each example in a substep come with the chances that make the mean and the variance Poisson's."""
    problem, optimizer = models.minibatch(2), sme.RMSProp(c=0.5)
    start = {"theta": torch.tensor([0.7, -0.4])}
    spec = Specification.of(problem, optimizer, "batch_equivalent", "poisson", 1.0, start, None, None)
    with torch.no_grad():
        setup = paired.prepared(spec.setup(1, 4))
        equation, controls = setup.equation(), Controls(setup.weights, setup.equation())
        assert equation.jumps is not None
        mean = float(equation.jumps[0]) / 2
        draws = torch.tensor(list(itertools.product((-1.0, 1.0), repeat=3)), dtype=torch.float64) * mean**0.5 + mean
        y = setup.whole(8) + 0.1 * torch.arange(4)
        noise = equation.diffuse(0.25, y, draws)
        kicks = controls.valued.noise(equation, 0.25, setup.tau / 2, y, draws, noise)
        n, w, sigma = kicks.split((4, 2, 2), -1)
    assert n.abs().amax() > 1e-3
    assert noise.mean(0).abs().amax() > 1e-4, "the jumps themselves have a mean"
    assert n.mean(0).abs().amax() < 1e-15
    torch.testing.assert_close((w * w).mean(0), sigma.mean(0), rtol=1e-12, atol=0)
    torch.testing.assert_close(2 * sigma, problem.noise.variance(y[:, :2]), rtol=1e-12, atol=0)


class Even(sme.Equation):
    """Noise with a mean, which no equation should have."""

    small_noise = True

    def drift(self, t, x):
        return -self.problem.gradient(x)

    def diffuse(self, t, x, dW):
        noise = self.law.diffuse(x, dW[:, : self.first])
        return 0.5 * noise * noise - self.tau**0.5 * noise


def test_the_noise_of_another_class_is_not_taken_for_one_of_mean_zero():
    start = {"theta": torch.tensor([0.4, -0.3])}
    problem = sme.Logistic(features=1, examples=6, batch_size=2)
    arguments = {"tau": 1 / 4, "order": 1, "start": start, "paths": 32768, "observables": ["mean theta"], "processes": 1}
    found = sme.weak_error(problem, sme.SGD(), model=Even, **arguments).errors
    spec = Specification.of(problem, sme.SGD(), "ballistic", None, 1.0, start, ["mean theta"], None)
    with torch.no_grad():
        ready = paired.prepared(dataclasses.replace(spec.setup(1, 4), kind=Even))
        assert ready.weights.curvatures.values is None
        run = TorchEnsemble(dataclasses.replace(ready, weights=None), (1, 4, 0, 0), 4096)
        run.advance(4)
        best, _ = run.ladders[0].values(lambda x: ready.observe(ready.fields(x)))
        apart = (ready.observe(run.state) - best).unflatten(0, (2, -1)).mean(0)[:, 0]
        noise = apart.std() / len(apart) ** 0.5
        assert paired.prepared(spec.setup(1, 4)).weights.curvatures.values is not None
    assert abs(float(found["error"].iloc[0]) - float(apart.mean())) < 4 * float(noise)


RULES = {"sgd": sme.SGD(), "momentum": sme.Momentum(), "rmsprop": sme.RMSProp(denominator="updated"), "adam": sme.Adam(),
         "adamw": sme.AdamW(), "adagrad": sme.AdaGrad()}


@pytest.mark.parametrize("rule", RULES)
def test_the_noise_of_the_packages_equations_is_linear_in_the_increments(rule):
    optimizer, problem = RULES[rule], sme.Logistic(features=2, examples=7, batch_size=2)
    made = [equation(problem, optimizer, REGIMES[regime], 0.25, order, driver) for regime, order, driver in (
        ("ballistic", 1, "independent"), ("ballistic", 2, "independent"), ("batch_equivalent", 1, "independent"),
        ("batch_equivalent", 1, "poisson"))]
    x = 0.1 + torch.rand(5, len(optimizer.fields) * 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for each in made:
        u, w = torch.randn(2, 5, each.motions, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
        one, other, both = (each.diffuse(0.5, x, dW) for dW in (u, w, 2 * u - 3 * w))
        assert one.abs().amax() > 1e-3
        torch.testing.assert_close(both, 2 * one - 3 * other, rtol=1e-10, atol=1e-13)


def test_values_are_the_derivatives_of_what_becomes_of_a_state():
    """By central differences of the noiseless run from both ends of a step, and of the noise of that step."""
    problem = sme.Logistic(features=1, examples=12)
    spec = Specification.of(problem, sme.RMSProp(c=0.7), "ballistic", None, 1.0,
                            {"theta": torch.tensor([0.4, -0.3]), "v": torch.tensor([0.2, 0.3])}, None, [0.5, 1.0])
    setup = spec.setup(2, 4)
    chain, rows = setup.chain, 2 * len(setup.observables)
    with torch.no_grad():
        values = curvatures(chain, setup.start, setup.marks, setup.observables).values

        def row(step, x, n=None):
            """All rows from the state before a step on, with noise in that step."""
            found, state = [], x
            for k in range(step, 4):
                fields = setup.fields(state)
                mean = problem.gradient(fields["theta"][None])[0]
                expected = chain.expected(fields["theta"], mean)
                if n is not None and k == step:
                    expected = expected._replace(step=expected.step + setup.tau * n, square=expected.square + 2 * mean * n)
                new = setup.optimizer.update(fields, expected, setup.tau, chain.time(k))
                state = torch.cat([new[name] for name in setup.optimizer.fields], -1)
                if k + 1 in setup.marks:
                    found.append(setup.observe(setup.fields(state[None]))[0])
            before = setup.observe(setup.fields(x.reshape(1, -1)))[0]
            return torch.cat([before] * (step in setup.marks) + found)

        run = [setup.whole(1)[0]]
        for k in range(4):
            run.append(setup.layout.whole(chain.mean_step(setup.fields(run[-1]), chain.time(k))))
        for k in (0, 1, 2, 3):
            there = rows // 2 if k >= 2 else 0  # what is left after the first checkpoint
            for end in range(2):
                torch.testing.assert_close(values.run[k, end], run[k + end], rtol=1e-12, atol=1e-14)
                whole = row(k + end, run[k + end])
                seen = len(whole) - (rows - there)
                for i, e in enumerate(1e-4 * torch.eye(4, dtype=torch.float64)):
                    up, down = row(k + end, run[k + end] + e), row(k + end, run[k + end] - e)
                    torch.testing.assert_close(values.slope[k, end, there:, i], ((up - down) / 2e-4)[seen:], rtol=1e-5, atol=1e-7)
                    second = (up - 2 * whole + down) / 1e-8
                    torch.testing.assert_close(values.bend[k, end, there:, i, i], second[seen:], rtol=1e-3, atol=1e-5)
                assert not values.slope[k, end, :there].any()
                assert not values.bend[k, end, :there].any()
            for i, n in enumerate(1e-3 * torch.eye(2, dtype=torch.float64)):
                whole, up, down = (row(k, run[k], s * n) for s in (0, 1, -1))
                kick = 0.5 * (up - 2 * whole + down)[len(whole) - (rows - there) :] / 1e-6
                torch.testing.assert_close(values.kick[k, there:, i], kick, rtol=1e-3, atol=1e-5)


def test_a_checkpoint_leaves_the_weights_of_the_others_as_they_are():
    several, start = (0.25, 0.75, 1.0), {"theta": torch.tensor([0.9, -0.4])}

    def weights(times):
        setup = Specification.of(sme.Quadratic(), sme.Adam(c1=0.7), "ballistic", None, 1.0, start, None, times).setup(2, 8)
        with torch.no_grad():
            found = curvatures(setup.chain, setup.start, setup.marks, setup.observables)
        rows = len(setup.observables)
        return [getattr(found, name).unflatten(1, (-1, len(times), rows)) for name in ("noise", "shift", "area")]

    together = weights(several)
    for i, time in enumerate(several):
        for all_, alone in zip(together, weights([time]), strict=True):
            steps = len(alone)
            torch.testing.assert_close(all_[:steps, :, i], alone[:, :, 0], rtol=1e-13, atol=1e-15)
            assert not all_[steps:, :, i].any(), "no weight on what comes after the checkpoint"


def noisy(theta):
    return torch.diag(0.2 + 0.1 * torch.tanh(theta))


@pytest.mark.parametrize(("problem", "optimizer", "changes"), [
    pytest.param(sme.Quadratic(), sme.Adam(), {"times": [0.5, 1.0], "pairs": 256}, marks=pytest.mark.slow),
    (sme.Quadratic(), sme.RMSProp(denominator="updated"), {"brownian": "step_memory", "pairs": 256}),
    (sme.Quadratic(), sme.SGD(), {}),
    pytest.param(sme.Quadratic(), sme.Signum(), {}, marks=pytest.mark.slow),
    pytest.param(sme.Quadratic(), sme.Adam(), {"regime": "batch_equivalent", "pairs": 256}, marks=pytest.mark.slow),
    pytest.param(sme.Problem(lambda t: t.square().sum() / 2, 2, sme.GaussianNoise(noisy)), sme.Adam(),
                 {"steps": 4, "pairs": 64}, marks=pytest.mark.slow),
    pytest.param(sme.Logistic(examples=12), sme.RMSProp(), {"start": FOUR, "steps": 4, "pairs": 128}, marks=pytest.mark.slow),
], ids=lambda part: getattr(part, "name", None))
def test_every_control_variate_has_mean_zero(problem, optimizer, changes):
    plain, curved, first = blocks(problem, optimizer, **changes)
    assert len(curved[0].mean) > len(plain[0].mean)
    whole = curved[0].merged(curved)
    spread = np.sqrt(whole.comoment.diagonal() / (whole.count - 1) / whole.count)
    assert (abs(whole.mean[first:]) < 5 * spread[first:] + 1e-15).all()
    np.testing.assert_array_equal(whole.mean[:first], plain[0].merged(plain).mean[:first])


@pytest.mark.parametrize(("optimizer", "largest"), [
    (sme.Adam(), 0.4), pytest.param(sme.RMSProp(), 0.5, marks=pytest.mark.slow)], ids=["adam", "rmsprop"])
def test_they_shrink_the_standard_error(optimizer, largest):
    plain, curved, first = blocks(sme.Quadratic(), optimizer, steps=16)
    (means, before), (others, after) = estimate(plain, first), estimate(curved, first)
    rows = slice(first // 3)
    assert (after[rows] < largest * before[rows]).all()
    assert (abs(means - others)[rows] < 5 * before[rows]).all()


def test_they_are_the_mixed_derivatives_of_the_noiseless_run():
    spec = Specification.of(sme.Polynomial([0, 0, 0.5, 0.1, 0.075], 0.3), sme.Adam(), "ballistic", "independent", 1.0,
                            {"theta": torch.tensor([0.8])}, ["loss", "|v|^2"], None)
    setup = spec.setup(2, 4)
    chain, regime = setup.chain, setup.regime
    weights = curvatures(chain, setup.start, setup.marks, setup.observables)

    def end(step, from_, noise, entry, u):
        """The observables with a bump in the state before step `step` and one in its noise."""
        state = setup.whole(1)
        for k in range(4):
            if k == step:
                state = state + from_
            fields = setup.fields(state)
            mean, n, q = setup.problem.gradient(fields["theta"]), noise * (entry == 0) * u, noise * (entry == 1) * u
            seen = regime.expected(mean, setup.problem.noise.variance(fields["theta"]), setup.tau)
            if k == step:
                seen = seen._replace(step=seen.step + setup.tau * n, square=seen.square + 2 * mean * n + q)
            new = setup.optimizer.update(fields, seen, setup.tau, k * setup.tau)
            state = torch.cat([new[name] for name in setup.optimizer.fields], -1)
        return setup.observe(setup.fields(state))[0]

    for step in (0, 3):
        for i, bump in enumerate(1e-4 * torch.eye(3, dtype=torch.float64)):
            for entry in range(2):
                slope = sum(a * b * end(step, a * bump, 1e-4, entry, b) for a in (1, -1) for b in (1, -1)) / 4e-8
                torch.testing.assert_close(weights.noise[step, 2 * entry : 2 * entry + 2, i], slope, rtol=1e-4, atol=1e-6)


def test_the_values_of_each_level_shrink_standard_errors_and_the_noise_of_the_bias():
    setup = Specification.of(sme.Logistic(features=1, examples=12), sme.RMSProp(), "ballistic", None, 1.0,
                             {"theta": torch.full((2,), 0.5), "v": torch.full((2,), 0.2)}, None, None).setup(2, 8)
    with torch.no_grad():
        setup = paired.prepared(setup)
        folds = [paired.run_block(setup, (0, 8, 0, block), 256).moments for block in range(4)]
    rows, first = len(setup.observables), 3 * len(setup.observables)
    kept = [*range(first + 3 * rows)]
    without = [fold.part(kept) for fold in folds]
    (means, before), (others, after) = estimate(without, first), estimate(folds, first)
    assert np.median((after / before)[:rows]) < 0.025
    assert np.median((after / before)[rows : 2 * rows]) < 0.03
    assert (after[: 2 * rows] < 0.25 * before[: 2 * rows]).all()
    assert (abs(means - others)[:rows] < 5 * before[:rows]).all()


class Clocked(Optimizer):
    """A rule whose time must be a number."""

    fields = ("theta",)

    def update(self, state, gradient, tau, t):
        return {"theta": state["theta"] - (1 + math.exp(-t)) * gradient.step - 0.1 * gradient.step * state["theta"]}


class Tensored(Clocked):
    def update(self, state, gradient, tau, t):
        factor = 1 + torch.exp(-torch.as_tensor(t, dtype=torch.float64))
        return {"theta": state["theta"] - factor * gradient.step - 0.1 * gradient.step * state["theta"]}


def made(optimizer, start=START, steps=4, problem=None):
    spec = Specification.of(problem or sme.Quadratic(), optimizer, "ballistic", "independent", 1.0, start, None, None)
    setup = spec.setup(1, steps)
    return curvatures(setup.chain, setup.start, setup.marks, setup.observables)


def test_a_rule_that_wants_its_time_as_a_number_is_taken_step_by_step():
    number, tensor = made(Clocked()), made(Tensored())
    torch.testing.assert_close(number.noise, tensor.noise)
    torch.testing.assert_close(number.shift, tensor.shift)


def test_signs_and_large_problems_go_without():
    assert made(sme.SignSGD()) is None
    assert made(sme.Adam(), {"theta": torch.ones(100)}, problem=sme.Quadratic(100)) is None
    assert made(sme.Adam(), {"theta": torch.ones(10)}, problem=sme.Quadratic(10)) is not None
