"""Hyperparameters, scaling rules and SVAG: against torch, worked numbers, `physical`, and enumeration."""

import itertools
import math
import warnings

import numpy as np
import pytest
import torch

import sme
from sme.common.random.increments import Draws, Increments
from sme.convergence.estimator import paired
from sme.equations.chain import Chain
from sme.optimizers.hyperparameters import Hyperparameters
from sme.optimizers.regimes import regime
from sme.optimizers.scaling_rules import largest
from sme.problems.noise.wrapped.svag import SVAGNoise
from sme.problems.renoised import Renoised
from sme.simulate.discrete import runs
from sme.studies.scaling.distances import jackknifed
from tests.support import models

GIVEN = {
    "sgd": Hyperparameters("sgd", 0.02, batch_size=32, steps=640),
    "rmsprop": Hyperparameters("rmsprop", 0.01, beta2=0.98, eps=1e-4, batch_size=32, steps=640),
    "adam": Hyperparameters("adam", 0.01, 0.96, 0.98, 1e-4, batch_size=32, steps=640),
    "adamw": Hyperparameters("adamw", 0.01, 0.96, 0.98, 1e-4, 0.05, batch_size=32, steps=640),
}
CASES = pytest.mark.parametrize("given", GIVEN.values(), ids=GIVEN)
REGIMES = pytest.mark.parametrize("place", ["ballistic", "batch_equivalent"])


def values(given):
    return {name: value for name, value in vars(given).items() if isinstance(value, int | float)}


@CASES
@REGIMES
def test_scaled_hyperparameters_are_those_that_physical_takes_back(given, place):
    optimizer, tau, *_ = given.uncorrected(place)
    again = Hyperparameters.physical(optimizer, place, tau, given.batch_size, given.steps)
    assert again.optimizer == given.optimizer
    assert values(again) == pytest.approx(values(given) | ({"eps": 1e-8} if given.optimizer == "sgd" else {}), rel=1e-12)


@CASES
def test_hyperparameters_are_read_off_torch_and_make_it_again(given):
    made = given.torch([torch.nn.Parameter(torch.ones(2))])
    if given.optimizer == "sgd":
        given = Hyperparameters("sgd", given.lr, batch_size=32, steps=640)
    assert Hyperparameters.of(made, 32, 640) == given


@pytest.mark.parametrize("name", ["sgd", "rmsprop", "adamw"])
@REGIMES
def test_a_chain_in_scaled_variables_takes_the_steps_of_torch(name, place):
    given, problem, steps = GIVEN[name], models.minibatch(2), 12
    options = {"bias_correction": True, "t0": 1.0} if name == "adamw" else {}
    optimizer, tau, noise, square = given.scaled(place, **options)
    chain = Chain(problem, optimizer, regime(place), tau)
    state = {field: models.STATES["theta"][None] if field == "theta" else torch.zeros(1, 2, dtype=torch.float64)
             for field in optimizer.fields}
    theta = torch.nn.Parameter(models.STATES["theta"].clone())
    torch_optimizer, law = given.torch([theta]), problem.noise
    for k in range(steps):
        z = torch.tensor([[k % 3, (k * k) % 3]])
        theta.grad = law.examples.batch(theta.detach()[None], z)[0]
        torch_optimizer.step()
        at = state["theta"]
        scaled = regime(place).gradient(problem.gradient(at), noise * law.sample(at, z), tau)
        state = chain.optimizer.update(state, scaled, tau, k * tau)
        torch.testing.assert_close(state["theta"][0], theta.detach(), rtol=1e-12, atol=1e-14)
    if name == "rmsprop":
        torch.testing.assert_close(state["v"][0] / square, torch_optimizer.state[theta]["square_avg"], rtol=1e-12, atol=0)


MORE = {
    "damped": Hyperparameters("momentum", 0.2, 0.85, dampening=0.85),
    "half": Hyperparameters("momentum", 0.05, 0.9, dampening=0.4),
    "plain": Hyperparameters("momentum", 0.01, 0.8), "nesterov": Hyperparameters("nesterov", 0.02, 0.9),
    "adagrad": Hyperparameters("adagrad", 0.3, eps=1e-3),
}


@pytest.mark.parametrize("name", MORE)
def test_momentum_and_adagrad_take_the_steps_of_torch(name):
    given, problem = MORE[name], models.gaussian(False)
    optimizer, tau, _, square = given.scaled()
    theta = torch.nn.Parameter(models.STATES["theta"].clone())
    made = given.torch([theta])
    assert Hyperparameters.of(made) == given
    sum_at_start = torch.tensor([0.4, 0.9], dtype=torch.float64)
    if name == "adagrad":
        made.state[theta]["sum"] = sum_at_start.clone()
    if given.dampening:  # torch's first buffer is undamped, unless there is one
        made.state[theta]["momentum_buffer"] = torch.zeros(2, dtype=torch.float64)
    state = {"theta": models.STATES["theta"], "m": torch.zeros(2, dtype=torch.float64), "v": square * sum_at_start}
    for k in range(7):
        theta.grad = problem.gradient(theta.detach()[None])[0] + 0.1 * k
        made.step()
        scaled = regime("ballistic").seen(problem.gradient(state["theta"][None])[0] + 0.1 * k, tau)
        state = optimizer.update({field: state[field] for field in optimizer.fields}, scaled, tau, k * tau)
        torch.testing.assert_close(state["theta"], theta.detach(), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", ["damped", "nesterov", "adagrad"])
def test_their_hyperparameters_come_back(name):
    optimizer, tau, *_ = MORE[name].scaled()
    assert values(Hyperparameters.physical(optimizer, "ballistic", tau)) == pytest.approx(
        values(MORE[name]) | ({} if name == "adagrad" else {"eps": 1e-8}), rel=1e-12)


@pytest.mark.parametrize("name", ["adam", "adamw"])
def test_bias_correction_is_kept_and_the_start_is_said(name):
    given = GIVEN[name]
    theta = torch.nn.Parameter(torch.tensor([0.7, -0.2], dtype=torch.float64))
    made = given.torch([theta])
    with pytest.warns(UserWarning, match=r"corrects its bias.*t0 = τ = 0.01.*bias_correction=False"):
        optimizer, tau, *_ = Hyperparameters.of(made).scaled()
    fresh = given.scaled(t0=tau, clock=(0, 0)).optimizer
    state = {"theta": theta.detach().clone(), "m": torch.zeros(2, dtype=torch.float64), "v": torch.zeros(2, dtype=torch.float64)}
    other = dict(state)
    for k in range(9):
        theta.grad = torch.cos(theta.detach() + k)
        made.step()
        state = optimizer.update(state, regime("ballistic").seen(torch.cos(state["theta"] + k), tau), tau, k * tau)
        time = fresh.t0 + k * tau
        other = fresh.update(other, regime("ballistic").seen(torch.cos(other["theta"] + k), tau), tau, time)
        for mine in (state, other):
            torch.testing.assert_close(mine["theta"], theta.detach(), rtol=1e-12, atol=1e-14)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not given.scaled(bias_correction=False).optimizer.bias_correction
        assert given.scaled(t0=3 * tau).optimizer.t0 == 3 * tau
        assert given.scaled(memory=0.0).optimizer.t0 == 0


@pytest.mark.parametrize(("schedule", "lr", "said"), [
    (lambda o: torch.optim.lr_scheduler.StepLR(o, 1), 4e-3, "0.004, not the present lr = 0.0004"),
    (lambda o: torch.optim.lr_scheduler.LinearLR(o, 0.25), 4e-3, "0.004, not the present lr = 0.001"),
    (lambda o: torch.optim.lr_scheduler.LambdaLR(o, lambda k: min(1.0, max(0, k - 1) / 5)), 4e-3, "not the present lr = 0"),
    (lambda o: torch.optim.lr_scheduler.OneCycleLR(o, 0.05, total_steps=50), 2e-3,
     "as it stands, though there are max_lr = 0.05"),
])
def test_a_schedulers_base_rate_is_read_and_said(schedule, lr, said):
    optimizer = torch.optim.Adam([ONE], lr=4e-3)
    scheduler = schedule(optimizer)
    optimizer.step()
    scheduler.step()
    with pytest.warns(UserWarning, match="a scheduler drives") as caught:
        assert of(optimizer).lr == pytest.approx(lr)
    assert said in str(caught[0].message)


def test_a_memory_of_two_steps_is_warned_of():
    with pytest.warns(UserWarning, match=r"kappa = 5 takes 1 − beta1 to 0\.5, a memory of less than 2\.5 steps"):
        sme.scale(Hyperparameters("adam", 1e-3, 0.9, 0.99), 5)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sme.scale(Hyperparameters("adam", 1e-3, 0.9, 0.99), 3.9)


def test_the_square_root_rule_gives_the_worked_numbers():
    new = sme.scale(Hyperparameters("adamw", 1e-4, 0.9, 0.96, 1e-8, 0.03, 448, 500), "3200/448")
    assert new.batch_size == 3200
    assert new.steps == 70
    for name, known in {"lr": 2.6726124e-4, "beta1": 0.28571429, "beta2": 0.71428571, "eps": 3.7416574e-9,
                        "weight_decay": 0.0801784}.items():
        digits = 6 if name == "weight_decay" else 8
        assert float(f"{getattr(new, name):.{digits - 1}e}") == known


@CASES
@pytest.mark.parametrize("kappa", [0.5, 2, 8])
def test_a_rule_is_tau_times_kappa_with_the_same_rates_and_eps(given, kappa):
    for rule, place in [("linear", "ballistic")] + [("square_root", "batch_equivalent")] * (given.optimizer != "sgd"):
        (old, tau, *_), new = given.uncorrected(place), sme.scale(given, kappa, rule)
        assert (new.batch_size, new.steps) == (32 * kappa, 640 / kappa)
        optimizer, stretched, noise, _ = new.uncorrected(place)
        assert stretched == pytest.approx(kappa * tau, rel=1e-12)
        assert {k: v for k, v in vars(optimizer).items() if isinstance(v, float)} == pytest.approx(
            {k: v for k, v in vars(old).items() if isinstance(v, float)}, rel=1e-10)
        if place == "batch_equivalent":  # the scaled covariance, noise² Σ¹/B, too
            assert noise**2 / new.batch_size == pytest.approx(given.uncorrected(place).noise ** 2 / given.batch_size, rel=1e-12)


def test_the_default_rule_is_linear_for_sgd_alone():
    assert sme.scale(GIVEN["sgd"], 4) == sme.scale(GIVEN["sgd"], 4, "linear")
    assert sme.scale(GIVEN["rmsprop"], 4) == sme.scale(GIVEN["rmsprop"], 4, "square_root")


def test_steps_that_are_not_whole_are_rounded_with_a_warning():
    with pytest.warns(UserWarning, match=r"640 steps over kappa = 3 are 213.333: rounded to 213"):
        assert sme.scale(GIVEN["adam"], 3).steps == 213
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sme.scale(GIVEN["adam"], "1/4")


def of(made):
    return Hyperparameters.of(made)


ONE, TWO = (torch.nn.Parameter(torch.ones(n)) for n in (1, 2))
BAD = [
    (lambda: sme.scale(GIVEN["adam"], 25), ["1 − beta1 = 0.04", "kappa < 25"]),
    (lambda: sme.scale(GIVEN["rmsprop"], 60), ["beta2", "kappa < 50"]),
    (lambda: sme.scale(GIVEN["adam"], 0), ["kappa", "positive", "0"]),
    (lambda: sme.scale(GIVEN["adam"], -2), ["kappa", "-2"]),
    (lambda: sme.scale(GIVEN["adam"], math.nan), ["kappa", "nan"]),
    (lambda: sme.scale(GIVEN["adam"], 1.3), ["41.6", "whole", "42/32"]),
    (lambda: sme.scale(GIVEN["adam"], 0.001), ["0.032", "1/32"]),
    (lambda: sme.scale(GIVEN["sgd"], 2, "square_root"), ["square-root", "linear"]),
    (lambda: sme.scale(GIVEN["adam"], 2, "root"), ["root", "square_root", "linear"]),
    (lambda: sme.scale(sme.Adam(), 2), ["Hyperparameters", "torch.optim"]),
    (lambda: sme.scale(GIVEN["adam"], 2, batch_size=0), ["batch_size", "0"]),
    (lambda: sme.svag(GIVEN["adam"], 0), ["ell", "0"]),
    (lambda: sme.svag(GIVEN["adam"], 1.5), ["ell", "1.5"]),
    (lambda: SVAGNoise(sme.Adam(), 2), ["law"]),
    (lambda: SVAGNoise(SVAGNoise(models.gaussian(False).noise, 2), 2), ["SVAG"]),
    (lambda: SVAGNoise(models.gaussian(False).noise, 2, "adam"), ["adam", "adaptive"]),
    (lambda: SVAGNoise(models.minibatch(2, 5, sampling="reshuffled").noise, 2), ["reshuffled", "with_replacement"]),
    (lambda: Hyperparameters("lion", 1), ["lion", "adamw"]),
    (lambda: Hyperparameters("adam", 1e-3, 0.9), ["beta2", "None"]),
    (lambda: Hyperparameters("rmsprop", 1e-3, 0.9, 0.9), ["beta1", "0.9"]),
    (lambda: Hyperparameters("rmsprop", 1e-3, beta2=1.0), ["beta2", "[0, 1)"]),
    (lambda: Hyperparameters("sgd", 0), ["lr", "> 0"]),
    (lambda: Hyperparameters("sgd", 1, weight_decay=0.1), ["weight_decay", "loss"]),
    (lambda: Hyperparameters("adam", 1, 0.0, 0.9).scaled(), ["c1", "β"]),
    (lambda: Hyperparameters.physical(sme.Signum(), "ballistic", 0.1), ["signum", "sme.Adam"]),
    (lambda: Hyperparameters.physical(sme.RMSProp(eps_mode="inside"), "ballistic", 0.1), ["rmsprop_inside", "outside"]),
    (lambda: of(torch.optim.RMSprop([ONE], 0.1, momentum=0.9)), ["momentum", "0.9", "rmsprop"]),
    (lambda: of(torch.optim.RMSprop([ONE], 0.1, centered=True)), ["centered"]),
    (lambda: of(torch.optim.SGD([ONE], 0.1, momentum=0.9, weight_decay=0.1)), ["weight_decay", "momentum", "loss"]),
    (lambda: of(torch.optim.Adagrad([ONE], lr_decay=0.1)), ["lr_decay"]),
    (lambda: of(torch.optim.NAdam([ONE])), ["NAdam", "Adagrad"]),
    (lambda: Hyperparameters("adagrad", 0.1).scaled("batch_equivalent"), ["adagrad", "ballistic"]),
    (lambda: Hyperparameters("nesterov", 0.1, 0.9, dampening=0.5), ["dampening", "0.5", "nesterov"]),
    (lambda: Hyperparameters("momentum", 0.1), ["beta1"]),
    (lambda: sme.scale(Hyperparameters("momentum", 0.1, 0.9), 2), ["momentum", "rmsprop"]),
    (lambda: of(torch.optim.Adam([ONE], amsgrad=True)), ["amsgrad", "running maximum"]),
    (lambda: of(torch.optim.Rprop([ONE])), ["Rprop", "previous gradient"]),
    (lambda: of(torch.optim.NAdam([ONE])), ["NAdam", "sme.from_torch(optimizer)", "sme.scale"]),
    (lambda: of(torch.optim.Adam([ONE], weight_decay=0.1)), ["weight_decay", "adamw"]),
    (lambda: of(torch.optim.SGD([{"params": [ONE]}, {"params": [TWO], "lr": 1.0}], 0.1)), ["groups", "lr = 0.1, 1.0"]),
]


@CASES
@pytest.mark.parametrize("ell", [1, 2, 5])
def test_svag_keeps_the_batch_equivalent_equation(given, ell):
    (old, tau, noise, _), made = given.uncorrected("batch_equivalent"), sme.svag(given, ell)
    new, smaller, factor, _ = made.hyperparameters.uncorrected("batch_equivalent")
    gain = ell if given.optimizer == "sgd" else ell**2
    assert made.hyperparameters.steps == 640 * gain
    assert made.hyperparameters.lr == pytest.approx(given.lr / ell)
    assert smaller == pytest.approx(tau / gain, rel=1e-12)
    assert {k: v for k, v in vars(new).items() if isinstance(v, float)} == pytest.approx(
        {k: v for k, v in vars(old).items() if isinstance(v, float)}, rel=1e-10)
    assert sum(made.weights) == pytest.approx(1)  # the mean is ∇f
    assert factor**2 * sum(w * w for w in made.weights) == pytest.approx(noise**2, rel=1e-12)
    if ell == 1:
        assert made.weights == (1.0, 0.0)
        assert values(made.hyperparameters) == pytest.approx(values(given))


def second_columns(law, theta):
    """`second` column by column."""
    lines = law.second_columns()
    return law.second(theta.expand(len(lines), -1), lines)


@pytest.mark.parametrize(("ell", "kind"), [(1, "adaptive"), (2, "adaptive"), (3, "sgd")])
def test_svag_noise_has_the_moments_of_its_enumeration_and_the_exact_covariance_of_its_square(ell, kind):
    problem = models.minibatch(1)
    law, theta = SVAGNoise(problem.noise, ell, kind), models.STATES["theta"][None]
    z = torch.tensor(list(itertools.product(range(3), repeat=2))).unsqueeze(-1)
    noise, g = law.sample(theta.expand(len(z), -1), z), problem.gradient(theta)
    for name, power in {"variance": 2, "third": 3, "fourth": 4}.items():
        torch.testing.assert_close(getattr(law, name)(theta)[0], noise.pow(power).mean(0), rtol=1e-10, atol=1e-14)
    gain = ell if kind == "sgd" else ell**2
    torch.testing.assert_close(law.third(theta), (3 * gain - 1) / (2 * gain**1.5) * problem.noise.third(theta))
    both = torch.cat((noise, (g + noise) ** 2), -1)
    exact = (both - both.mean(0)).T @ (both - both.mean(0)) / len(both)
    first, skew = law.diffuse_square(theta.expand(law.motions, -1), torch.eye(law.motions, dtype=torch.float64))
    first = torch.cat((first, 2 * g * first + skew), -1)
    for dim in (2, 0):  # known to be few, or not
        problem.noise.sized(dim)
        square = second_columns(law, theta)
        second = torch.cat((torch.zeros_like(square), square), -1)
        torch.testing.assert_close(first.T @ first + second.T @ second, exact, rtol=1e-10, atol=1e-14)


def test_svag_of_gaussian_noise_is_gaussian_and_turns_on_an_antithetic_path():
    inner = models.gaussian(state_dependent=True).noise
    law, theta = SVAGNoise(inner, 3), models.STATES["theta"].expand(5, -1)
    law.check(2)
    torch.testing.assert_close(law.fourth(theta), inner.fourth(theta))
    assert not law.skewed
    columns, sigma = second_columns(law, theta[:1]), models.varying(theta[0]) @ models.varying(theta[0]).T
    torch.testing.assert_close(columns.T @ columns, 2 * sigma * sigma, rtol=1e-12, atol=1e-15)
    dW = torch.randn(5, law.second_motions, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(law.second(theta, -dW), -law.second(theta, dW))


def test_svag_draws_two_independent_minibatches_with_the_covariance_of_the_law():
    problem, paths = models.minibatch(2), 60_000
    law, theta = SVAGNoise(problem.noise, 4), models.STATES["theta"].expand(60_000, -1)
    z = law.draw(None, 0.1, Draws((0,), 0, paths // 2, torch.device("cpu")), paths)
    assert z.shape == (paths, 2, 2)
    assert (z[:, 0] == z[:, 1]).double().mean() == pytest.approx(1 / 3, abs=0.01)
    noise = law.sample(theta, z)
    error = noise.square().var(0) ** 0.5 / paths**0.5
    assert ((noise.square().mean(0) - law.variance(theta[:1])[0]).abs() < 5 * error).all()


def test_svag_noise_drives_a_chain_in_its_scaled_variables():
    """ℓ minibatch pairs of one seed: the same steps as the weighted physical gradients through torch."""
    problem, ell = models.minibatch(2), 2
    made = sme.svag(Hyperparameters("rmsprop", 0.1, beta2=0.9, eps=1e-2, batch_size=2), ell)
    optimizer, tau, factor, _ = made.hyperparameters.scaled("batch_equivalent")
    law, theta = SVAGNoise(problem.noise, ell), torch.nn.Parameter(models.STATES["theta"].clone())
    torch_optimizer = made.hyperparameters.torch([theta])
    state = {"theta": models.STATES["theta"][None], "v": torch.zeros(1, 2, dtype=torch.float64)}
    increments = Increments((0,), 1, 1, tau, torch.device("cpu"))
    for k in range(8):
        z = law.draw(None, tau, increments.draws(k), 2)[:1]
        point = theta.detach()[None]
        theta.grad = sum(w * problem.noise.examples.batch(point, z[:, i])[0] for i, w in enumerate(made.weights))
        torch_optimizer.step()
        # the law of the batch-equivalent problem is that of the first optimizer's: factor·ℓ its S, whatever ℓ is
        noise = factor * ell * law.sample(state["theta"], z)
        seen = regime("batch_equivalent").gradient(problem.gradient(state["theta"]), noise, tau)
        state = optimizer.update(state, seen, tau, 0.0)
        torch.testing.assert_close(state["theta"][0], theta.detach(), rtol=1e-11, atol=1e-13)


def test_the_largest_kappa_is_that_of_the_shortest_memory():
    assert largest(GIVEN["adam"]) == pytest.approx(25)
    assert largest(GIVEN["sgd"]) == math.inf


def line(noise_batch=2):
    """Six examples on a line, whose gradients are closed forms."""
    return sme.Logistic(features=1, batch_size=noise_batch, examples=6)


START = torch.full((2,), 0.5, dtype=torch.float64)


def test_runs_are_those_of_torch_and_bands_and_distances_are_their_statistics(tmp_path, drawn):
    given = [Hyperparameters("adam", 0.01, 0.9, 0.99, steps=32), Hyperparameters("sgd", 0.1, steps=32)]
    found = sme.collapse(line(), given, START, kappa=(1, 4, 16), points=2, runs=6, results=tmp_path)
    assert set(zip(found.table["optimizer"], found.table["rule"], found.table["kappa"], strict=True)) == {
        ("adam", "square_root", 1), ("adam", "square_root", 4), ("adam", "linear", 1), ("adam", "linear", 4),
        ("sgd", "linear", 1), ("sgd", "linear", 4), ("sgd", "linear", 16)}  # κ (1 − β₁) = 1.6 is left out
    ends = found.table.groupby(["optimizer", "rule", "kappa"])["epoch"].max()
    assert (ends == 32 * 2 / 6).all()
    assert found.table.groupby(["optimizer", "rule", "kappa"])["epoch"].agg(tuple).nunique() == 1
    assert (found.distances["stderr"] > 0).all()
    assert found.distances.set_index(["optimizer", "rule", "kappa"])["share"]["adam", "linear", 4] == pytest.approx(0.4)
    assert {path.name for path in found.folder.iterdir()} == {
        "scaling.csv", "distances.csv", "leaves.csv", "scaling.md", "scaling.pdf", "scaling.png"}
    assert set(found.leaves["part"]) == {"whole", "early", "late"}
    g, law = line().gradient(START[None]), line().noise
    assert found.noise == pytest.approx(float(law.variance(START[None]).sum() / g.square().sum()))
    assert "adam" in str(found)


def test_the_distance_is_that_of_the_means_with_the_chance_taken_off():
    generator = np.random.default_rng(0)
    shift, count, draws = np.linspace(0.2, 0.4, 9)[:, None], 12, 120
    noise = 0.3 * generator.standard_normal((draws, 2, 9, count))
    found = np.array([jackknifed(shift + one, other) for one, other in noise])
    true = math.sqrt((shift**2).mean())
    assert found[:, 0].mean() == pytest.approx(true, abs=0.012)  # with the chance left in 0.33 in place of 0.307
    assert found[:, 1].mean() == pytest.approx(found[:, 0].std(), rel=0.2)
    distance, error = np.array([jackknifed(one, other) for one, other in noise]).T  # where there is none
    assert (distance < 2 * error).mean() > 0.9
    assert error.min() > 0.01


def test_the_discrete_run_of_adam_is_torchs_from_a_fresh_start():
    problem, given = line(), Hyperparameters("adam", 0.05, 0.8, 0.9, 1e-3)
    optimizer, tau, *_ = given.scaled("ballistic", bias_correction=True, t0=given.lr, clock=(0, 0))
    zero = torch.zeros(2, dtype=torch.float64)
    found = runs(Chain(problem, optimizer, regime("ballistic"), tau), {"theta": START, "m": zero, "v": zero}, [0, 3, 6],
                 lambda state: state["theta"], 4, 7)
    assert found.shape == (3, 4, 2)
    assert (found[0] == START).all()
    theta = torch.nn.Parameter(START.clone())
    torch_optimizer, increments = given.torch([theta]), Increments((7, 6, 0, 0), 2, 1, tau, torch.device("cpu"))
    for k in range(6):
        z = problem.noise.draw(None, tau, increments.draws(k), 4)[:1]
        theta.grad = problem.noise.examples.batch(theta.detach()[None], z)[0]
        torch_optimizer.step()
        if k == 2:
            torch.testing.assert_close(found[1, 0], theta.detach(), rtol=1e-12, atol=0)
    torch.testing.assert_close(found[2, 0], theta.detach(), rtol=1e-12, atol=0)


def test_the_collapse_of_the_right_rule_is_exact_where_the_equation_is():
    """SGD without noise to speak of and a tiny step: the linear rule changes nothing that can be seen, half the rate does."""
    problem = line(noise_batch=64)
    found = sme.collapse(problem, [Hyperparameters("sgd", 1e-3, steps=64)], START, kappa=(1, 8), points=4, runs=4)
    assert found.distances["distance"].item() < 1e-3
    half = sme.collapse(problem, [Hyperparameters("sgd", 1e-3, steps=32)], START, kappa=(1, 8), points=4, runs=4)
    ends = [each.table.query("kappa == 1")["mean"].iloc[-1] for each in (found, half)]
    assert abs(math.log(ends[0] / ends[1])) > 3e-3


@pytest.mark.slow
def test_svag_study_tells_the_discrete_runs_from_the_equation(tmp_path, monkeypatch, drawn):
    monkeypatch.setattr(paired, "BLOCK_PAIRS", 16)
    given = Hyperparameters("rmsprop", 0.25, beta2=0.97, eps=0.4)
    found = sme.svag_study(line(1), given, START, ell=(1, 2), steps=2, observables=["mean v"], paths=1,
                           backend="torchsde", plain=True, results=tmp_path)
    assert found.table["steps"].tolist() == [2, 2, 8, 8]
    assert found.table["tau"].tolist() == pytest.approx([1 / 16, 1 / 16, 1 / 64, 1 / 64])
    errors = found.table.set_index(["noise", "ell"])["error"]
    assert errors["SVAG", 1] == pytest.approx(errors["minibatch", 1], rel=1e-9)  # ℓ = 1 is the optimizer itself
    assert abs(errors["SVAG", 2]) < 0.5 * abs(errors["SVAG", 1])
    assert {path.name for path in found.folder.iterdir()} == {"svag.csv", "svag.md", "svag.pdf", "svag.png"}


SIXTEEN = Hyperparameters("sgd", 0.1, steps=16)
STUDIES = [
    (lambda: sme.collapse(models.gaussian(False), [GIVEN["sgd"]], START), ["minibatch"]),
    (lambda: sme.collapse(line(), [GIVEN["sgd"]], START, kappa=(2, 4)), ["kappa", "1"]),
    (lambda: sme.collapse(line(), [Hyperparameters("sgd", 0.1)], START), ["steps"]),
    (lambda: sme.collapse(line(), [GIVEN["sgd"]], START, rules=["root"]), ["root", "linear"]),
    (lambda: sme.collapse(line(), [GIVEN["sgd"]], START, rules="root"), ["'root'", "linear"]),
    (lambda: sme.collapse(line(), [GIVEN["sgd"]], START, kappa=(1, -2)), ["kappa", "-2"]),
    (lambda: sme.collapse(line(), [SIXTEEN], START, kappa=(1, 3), points=2), ["kappa = 3", "16 steps"]),
    (lambda: sme.collapse(line(), [SIXTEEN], START, kappa=(1, 8), points=4), ["2 steps", "points = 4"]),
    (lambda: sme.collapse(line(), [SIXTEEN, SIXTEEN], START, points=2), ["each once", "sgd"]),
    (lambda: sme.collapse(line(), [SIXTEEN], START, rules=["square_root"], points=2), ["nothing to run"]),
    (lambda: sme.collapse(line(), [SIXTEEN], START[:1], points=2), ["shape (1,)", "dim = 2"]),
    (lambda: sme.svag_study(line(), GIVEN["sgd"], START, ell=()), ["ell is empty"]),
    (lambda: sme.svag_study(line(), 0.1, START), ["Hyperparameters", "0.1"]),
    (lambda: sme.svag_study(models.gaussian(False), GIVEN["sgd"], START), ["minibatch"]),
    (lambda: sme.svag_study(line(), GIVEN["sgd"], START, ell=(0,)), ["ell", "0"]),
]


@pytest.mark.parametrize(("wrong", "said"), [*BAD, *STUDIES])
def test_bad_input_is_named(wrong, said):
    with pytest.raises(sme.SMEError) as caught:
        wrong()
    for word in said:
        assert word in str(caught.value)


def test_a_problem_with_another_law_keeps_its_loss_and_takes_the_short_way_to_the_gradient():
    inner = line()
    tau, ell = 1 / 16, 3
    law = sme.MinibatchNoise(batch_size=2, examples=inner.noise.examples, scale=ell * tau**0.5)  # `ℓ = 1` has `τ ℓ²`
    problem = Renoised(inner, SVAGNoise(law, ell))
    theta = torch.stack((START, 2 * START))
    for name, arguments in {"loss": (), "gradient": (), "hessian": (theta,), "third": (theta, theta)}.items():
        torch.testing.assert_close(getattr(problem, name)(theta, *arguments), getattr(inner, name)(theta, *arguments))
    assert problem.describe() != inner.describe()
    chain = Chain(problem, sme.SGD(), regime("batch_equivalent"), tau)
    z = problem.noise.draw(None, tau, Draws((0,), 0, 1, torch.device("cpu")), 2)
    torch.testing.assert_close(chain.run({"theta": theta}, z, 0), chain.step({"theta": theta}, z, 0)[0])


def test_settings_are_what_older_studies_were_named_by():
    assert set(GIVEN["adam"].settings()) == {"optimizer", "lr", "beta1", "beta2", "eps", "weight_decay", "batch_size", "steps"}
    assert MORE["half"].settings()["dampening"] == 0.4


def _parameters():
    return [torch.nn.Parameter(torch.zeros(2, 2, dtype=torch.float64))]


@pytest.mark.parametrize("regime", ["ballistic", "batch_equivalent"])
@pytest.mark.parametrize(("make", "tau"), [
    (lambda own: own.Muon(_parameters(), lr=0.02, momentum=0.95, weight_decay=0.1), None),
    (lambda own: own.NAdam(_parameters(), lr=0.01, betas=(0.9, 0.99), momentum_decay=0.02, eps=1e-3), None),
    (lambda own: own.RMSprop(_parameters(), lr=0.01, centered=True, momentum=0.9, eps=1e-3), 0.1),
    (lambda own: own.SGD(_parameters(), lr=0.03, momentum=0.9, dampening=0.9), None),
    (lambda own: own.SGD(_parameters(), lr=0.03, momentum=0.9, nesterov=True), 0.1),
    (lambda own: own.Adadelta(_parameters(), lr=0.02, rho=0.95, weight_decay=0.3), None),
    (lambda own: own.Adagrad(_parameters(), lr=0.1, lr_decay=0.01), 0.01)])
def test_any_class_of_torch_is_scaled_by_its_own_powers(make, tau, regime):
    """The rule of the scaled optimizer at κτ is the rule of the given one at τ."""
    old, kappa = make(torch.optim), 3.0
    new = sme.scale(old, kappa, "linear" if regime == "ballistic" else "square_root", batch_size=8, steps=300)
    assert (new.batch_size, new.steps) == (24, 100)
    step = tau or {"Adadelta": 1, "Muon": 1, "SGD": 1}.get(type(old).__name__, 2 if regime == "batch_equivalent" else 1)
    step = tau or old.param_groups[0]["lr"] ** step
    one, other = (sme.from_torch(each, regime=regime, tau=at, t0=1200 * step) for each, at in (
        (old, step), (new.torch(_parameters()), kappa * step)))
    assert vars(one).keys() == vars(other).keys()
    for name, value in vars(one).items():
        assert getattr(other, name) == (pytest.approx(value, rel=1e-9) if isinstance(value, float) else value), name
    assert type(old).__name__ in str(new)


def test_scaling_of_two_groups_and_what_changes_one_thing_alone():
    groups = [{"params": _parameters(), "weight_decay": 0.1}, {"params": _parameters(), "weight_decay": 0.0}]
    new = sme.scale(torch.optim.AdamW(groups, lr=0.01, betas=(0.9, 0.99)), 4)
    assert [group["weight_decay"] for group in new.groups] == pytest.approx([0.2, 0.0])
    assert len(new.torch([_parameters(), _parameters()]).param_groups) == 2
    with pytest.raises(sme.SMEError, match="there are 2 groups"):
        new.torch(_parameters())
    given = Hyperparameters("adam", 1e-3, 0.9, 0.99, 1e-8, batch_size=32, steps=600)
    kept = sme.scale(given, 3, "half_life")
    assert (kept.lr, kept.beta1, kept.batch_size, kept.steps) == (1e-3, 0.9, 96, 200)
    assert math.log(0.5) / math.log(kept.beta2) * 96 == pytest.approx(math.log(0.5) / math.log(0.99) * 32)
    assert sme.scale(given, 3, "none") == Hyperparameters("adam", 1e-3, 0.9, 0.99, 1e-8, batch_size=96, steps=600)
    for optimizer, rule, words in ((torch.optim.SGD(_parameters(), lr=0.1), "half_life", "of beta2, which sgd has not"),
                                   (torch.optim.Muon(_parameters()), "half_life", "is for sgd, rmsprop"),
                                   (torch.optim.Muon(_parameters(), momentum=0.6), "linear", "use kappa < 2.5"),
                                   (torch.optim.Rprop(_parameters()), "auto", "Rprop has no")):
        with pytest.raises(sme.SMEError, match=words):
            sme.scale(optimizer, 3, rule)
