"""Weak errors without random paths: against closed moments and Monte Carlo, kept on disk, refused where there are none."""

import math

import numpy as np
import pandas as pd
import pytest
import torch

import sme
from sme.common.errors import SMEError
from sme.convergence.cost import offer
from sme.convergence.estimator import linear, paired
from sme.convergence.estimator.quadrature import settle
from sme.convergence.estimator.quadrature.frames import Course, Frame, Scale
from sme.convergence.estimator.quadrature.sweep import observed
from sme.convergence.spec.specification import Specification

EXAMPLES = torch.tensor([[-0.6], [0.1], [1.0]], dtype=torch.float64)


def start(**fields):
    return {name: torch.tensor([value], dtype=torch.float64) for name, value in fields.items()}


def example(theta, x):
    """`½ (θ − x)² + 0.05 x θ³`: its gradient's law changes with θ."""
    return 0.5 * (theta - x).square().sum() + 0.05 * (x * theta**3).sum()


def sampled():
    """Two of three examples."""
    return sme.Problem(lambda theta: torch.stack([example(theta, x) for x in EXAMPLES]).mean(), 1,
                       sme.MinibatchNoise(example, (EXAMPLES,), 2))


SIX = {
    "sgd, ballistic": (sme.Polynomial, sme.SGD(), "ballistic", start(theta=0.9)),
    "momentum, batch-equivalent": (sme.Polynomial, sme.Momentum(), "batch_equivalent", start(theta=0.7, m=0.2)),
    "rmsprop, ballistic": (sme.Polynomial, sme.RMSProp(c=0.8), "ballistic", start(theta=0.9, v=0.7)),
    "adam, batch-equivalent": (sme.Polynomial, sme.Adam(), "batch_equivalent", start(theta=0.7, v=0.8)),
    "S(θ), rmsprop, ballistic": (lambda: sme.Polynomial(noise=0.2, law="affine", growth=0.1), sme.RMSProp(), "ballistic",
                                 start(theta=0.7, v=0.8)),
    "minibatch, sgd, ballistic": (sampled, sme.SGD(), "ballistic", start(theta=0.9)),
}


DEAR = ("momentum, batch-equivalent", "minibatch, sgd, ballistic")
"""those that take a processor longer than all others"""


def spec(problem, optimizer, regime="ballistic", begin=None, observables=None, horizon=1.0):
    return Specification.of(problem, optimizer, regime, None, horizon, begin, observables, None)


def beside(which, **how):
    """The errors of both methods, in one table."""
    problem, optimizer, regime, begin = SIX[which]
    arguments = {"regime": regime, "start": begin, **how}
    few = {} if "paths" in how else {"backend": "torchsde", "shards": 0}
    drawn = sme.weak_error(problem(), optimizer, **arguments, **few)
    arguments.pop("paths", None)
    exact = sme.weak_error(problem(), optimizer, **arguments, method="quadrature")
    return pd.merge(drawn.errors, exact.errors, on=["order", "tau", "observable", "at"], suffixes=("", "_exact"))


@pytest.mark.parametrize("which", [pytest.param(each, marks=pytest.mark.slow) if each in DEAR else each for each in SIX])
def test_monte_carlo_agrees(which, monkeypatch):
    """Both have the same chain, scheme and substeps, so that nothing but noise and bound stands between them."""
    monkeypatch.setattr(paired, "BLOCK_PAIRS", 128)
    both = beside(which, tau=1 / 4, horizon=0.5, observables=["|theta|^2", "mean theta"])
    apart = (both["error"] - both["error_exact"]).abs()
    assert (apart < 4.5 * both["stderr"] + both["stderr_exact"]).all(), both
    assert (both["stderr_exact"] < both["stderr"]).any(), both
    assert both["paths_exact"].eq(0).all()


@pytest.mark.slow
@pytest.mark.parametrize("which", SIX)
def test_monte_carlo_agrees_with_many_paths(which):
    both = beside(which, tau=[1 / 4, 1 / 8, 1 / 16], paths=65_536)
    apart = (both["error"] - both["error_exact"]).abs()
    assert (apart < 4 * both["stderr"] + both["stderr_exact"]).all(), both


@pytest.mark.parametrize("regime", ["ballistic", "batch_equivalent"])
@pytest.mark.parametrize("order", [1, 2])
def test_closed_moments_are_found(regime, order):
    """SGD on a quadratic in two dimensions: linear, so that its polynomials are exact but for the scheme's own bias."""
    begin, seen = {"theta": torch.tensor([1.0, -0.4])}, ["|theta|^2", "mean theta"]
    setup = spec(sme.Quadratic(), sme.SGD(), regime, begin, seen).setup(order, 8)
    found, wanted = settle.settled(setup), linear.exact(setup)
    for i, name in enumerate(setup.observables):
        error, bias, bound = found.values[0, i], found.values[1, i], found.bounds[0, i]
        assert abs(error - wanted[name]) < abs(bias) + bound + 1e-12
        assert bound < 1e-10
        assert abs(bias) < 0.05 * abs(wanted[name])


def test_the_bound_holds(monkeypatch):
    """The error at the last of more rungs is within the bound of the first few."""
    setup = spec(sme.Polynomial(noise=0.4), sme.RMSProp(), "batch_equivalent", start(theta=0.8, v=0.6), horizon=0.5).setup(1, 4)
    few = settle.settled(setup)
    monkeypatch.setattr(settle, "SHARE", 0.0)
    monkeypatch.setattr(settle, "BIASED", 0.0)
    best = settle.settled(setup)
    assert (abs(few.values - best.values) <= few.bounds + best.bounds).all()
    assert (best.bounds[0] <= few.bounds[0]).all()
    assert (best.bounds[0] < few.bounds[0]).any()


def test_the_bound_holds_where_an_equation_has_negative_second_moments():
    """A large noise and a short memory: of 2^24 paths of `experiment=hard order=2 tau=1/32`, 0.007707(11) and 0.0008104(11)."""
    hard = sme.Polynomial(noise=0.7), sme.RMSProp(c=2.0, eps=0.1, v_floor=0.04)
    found = settle.settled(spec(*hard, "batch_equivalent", start(theta=0.8, v=0.6), ["|theta|^2", "mean v"]).setup(2, 32))
    for value, bound, drawn, noise in zip(found.values[0], found.bounds[0], (0.007707, 0.0008104), (1.1e-5, 1.1e-6), strict=True):
        assert bound < 1e-5
        assert abs(value - drawn) < bound + 2 * noise


def test_a_floor_that_the_equation_alone_sees_is_told():
    hard = sme.Polynomial(noise=0.7), sme.RMSProp(c=2.0, eps=0.1, v_floor=0.04)
    setup = spec(*hard, "batch_equivalent", start(theta=0.8, v=0.6), ["|theta|^2"]).setup(2, 16)
    assert settle._pilot(setup)[2] == 0
    assert settle.settled(setup).floored > 0


@pytest.mark.parametrize(("steps", "rung", "bound"), [
    ([8.0, 4.0, 1.0, 0.5], 3, 0.5),  # they come closer
    ([8.0, 0.1, 4.0, 2.0], 3, 2.0),  # alike by chance: neither the change before nor the next one says so
    ([1.0, 0.5, 0.4, 3.0, 50.0], 1, 1.0),  # they do not come closer: the first change
    ([4.0, 2.0, 1.9, 60.0], 1, 4.0),
    ([8.0, 2.0, 0.1], 2, 1.0),  # half of the change before
    ([8.0, 1.0, 1.5, 1.6, 2.0], 4, 2.0),  # almost as good, and later
])
def test_a_rung_counts_as_far_as_its_neighbours_confirm_it(steps, rung, bound):
    changes = [torch.full((2, 1, 1), step, dtype=torch.float64) for step in steps]
    values = [torch.full((2, 1, 1), float(i), dtype=torch.float64) for i in range(len(steps))]
    found = settle._best(values, changes, kinked=False)
    assert [float(each[0, 0, 0]) for each in found] == [rung, bound]
    assert float(settle._best(values, changes, kinked=True)[1][0, 0, 0]) == max(bound, steps[0])


def test_jumps_lead_no_second_moment_below_0():
    study = Specification.of(sampled(), sme.RMSProp(), "batch_equivalent", "poisson", 0.5, start(theta=0.9, v=0.6), None, None)
    setup = study.setup(1, 2)
    assert not settle._courses(setup, settle._pilot(setup)[0])[1][0].scale.both


def test_where_runs_see_the_floor_bounds_are_wider_and_it_is_told():
    """With what an equation hides beside its state."""
    found = {}
    for floor in (1e-3, 0.45):
        rule, begin = sme.RMSProp(c=2.0, eps=0.1, v_floor=floor), start(theta=0.8, v=0.6)
        study = Specification.of(sme.Polynomial(noise=0.7), rule, "batch_equivalent", "fast_memory", 0.25, begin, None, None)
        found[floor] = settle.settled(study.setup(2, 4))
    assert found[1e-3].floored == 0
    assert found[0.45].floored > 0
    low, high = (np.nan_to_num(each.bounds[0], nan=np.inf) for each in found.values())
    assert (high > 2 * low).all()


def test_all_batches_are_summed_over():
    """Two steps of SGD on batches: the sum over all pairs of batches."""
    setup = spec(sampled(), sme.SGD(), begin=start(theta=0.9), observables=["|theta|^2", "mean theta"], horizon=0.5).setup(1, 2)
    z, weights = next(setup.problem.noise.quadrature())
    states, chances = setup.whole(1), torch.ones(1, dtype=torch.float64)
    for k in range(2):
        count = len(states)
        moved = setup.chain.run(setup.fields(states.repeat(len(z), 1)), z.repeat_interleave(count, 0), k)
        states, chances = setup.layout.whole(moved), weights.repeat_interleave(count) * chances.repeat(len(z))
    wanted = chances @ setup.observe(setup.fields(states))
    assert len(states) == len(z) ** 2 > 30
    with torch.no_grad():
        course = settle._courses(setup, settle._pilot(setup)[0])[0]
        found = observed(setup, next(settle._steps(setup)), course.frames(8, 1.0))[0]
    assert torch.allclose(found, wanted, rtol=1e-6, atol=0)


def test_polynomials_are_orthonormal_and_pass_from_frame_to_frame():
    cov = torch.tensor([[0.4, 0.1], [0.1, 0.2]], dtype=torch.float64)
    plain = Scale(torch.zeros(2, dtype=torch.float64))
    one, two = (Frame(0, 1, torch.tensor(mean, dtype=torch.float64), wider * cov, 5, plain)
                for mean, wider in (([0.3, 1.0], 1.0), ([0.5, 0.8], 2.0)))
    gram = one.project @ one.functions(one.nodes)
    assert torch.allclose(gram, torch.eye(21, dtype=torch.float64), atol=1e-11)

    def cubic(x):
        return x[:, 0] ** 3 - 2 * x[:, 0] * x[:, 1] + 1

    x = torch.tensor([[1.2, 0.1]], dtype=torch.float64)
    passed = one.functions(x) @ (one.project @ two.functions(one.nodes)) @ (two.project @ cubic(two.nodes))
    assert passed.item() == pytest.approx(cubic(x).item(), rel=1e-10)


def test_frames_follow_the_run():
    """Short ones while the spread of a start grows, and each as wide as what it serves."""
    torch.manual_seed(5)
    states = torch.cat((torch.zeros(1, 400, 1), torch.randn(40, 400, 1).cumsum(0))).double()
    frames = Course.of(states, torch.tensor([False])).frames(3, 1.0)
    lengths = [frame.end - frame.begin for frame in frames]
    assert sum(lengths) == 40
    assert 1 <= lengths[0] < max(lengths) < 40
    assert [frame.begin for frame in frames[1:]] == [frame.end for frame in frames[:-1]]


def test_what_is_near_0_is_taken_by_its_logarithm():
    spread = torch.tensor([1.0, 1.5, 2.0, 0.5], dtype=torch.float64)
    states = spread[None, :, None].expand(2, 4, 3) + torch.tensor([0.0, 9.0, 0.0])
    scale = Scale.of(states, torch.tensor([True, True, False]))
    assert (scale.least > 0).tolist() == [True, False, False]
    assert torch.allclose(scale.states(scale.coordinates(states[0])), states[0])
    assert scale.coordinates(torch.tensor([[-3.0, 1.0, 1.0]], dtype=torch.float64)).isfinite().all()


def test_what_a_motion_leads_below_0_is_bent():
    states = torch.tensor([1.0, 1.5, 2.0, 0.5], dtype=torch.float64)[None, :, None].expand(2, 4, 1)
    scale = Scale.of(states, torch.tensor([True]), both=True)
    x = torch.tensor([[-3.0], [0.0], [4.0]], dtype=torch.float64)
    assert torch.allclose(scale.states(scale.coordinates(x)), x)
    assert scale.coordinates(x)[0] < 0


def test_a_correction_in_time_is_followed_step_by_step():
    """Adam's bias correction changes the step with its number; without it the step is one and the same."""
    optimizer = sme.Adam(bias_correction=True, t0=1.0)
    setup = spec(sme.Polynomial(), optimizer, begin=start(theta=0.8, v=0.6), horizon=0.5, observables=["mean theta"]).setup(1, 2)
    step = next(settle._steps(setup))
    x = setup.whole(1) * torch.tensor([[1.0], [0.9], [1.1]])
    assert not step.still(x, [1.0, 1.25])
    assert next(settle._steps(spec(sme.Polynomial(), sme.Adam(), begin=start(theta=0.8, v=0.6)).setup(1, 2))).still(x, [0.0, 0.5])
    found = settle.settled(setup)
    z = torch.linspace(-6, 6, 4001, dtype=torch.float64)
    weights = torch.exp(-z * z / 2)
    after = setup.chain.run(setup.fields(setup.whole(1).expand(len(z), -1)), z[:, None], 0)
    twice = [setup.chain.run({name: field[i].expand(len(z), -1) for name, field in after.items()}, z[:, None], 1)["theta"][:, 0]
             for i in range(0, len(z), 25)]
    every = torch.stack([row @ weights for row in twice]) / weights.sum()
    discrete = float(every @ weights[::25] / weights[::25].sum())
    equation = discrete - found.values[0, 0]
    assert abs(equation - 0.8) > 0.05  # it has moved
    assert equation == pytest.approx(_by_euler(setup), abs=3e-3)


def _by_euler(setup):
    """`E θ` of the equation along its noiseless drift, which is near it where the noise is small."""
    x, t, h = setup.whole(1), setup.optimizer.t0, 1e-3
    for k in range(round(setup.grid.horizon / h)):
        x = x + h * setup.equation().drift(t + k * h, x)
    return float(x[0, 0])


def test_a_study_has_a_folder_of_its_own_and_is_found_again(tmp_path, monkeypatch, capsys):
    arguments = {"tau": [1 / 4, 1 / 8, 1 / 16], "start": start(theta=0.9), "times": [0.5, 1.0], "order": 1}
    study = sme.weak_error(sme.Polynomial(), sme.SGD(), **arguments, method="quadrature", results=tmp_path)
    drawn = Specification.of(sme.Polynomial(), sme.SGD(), "ballistic", None, 1.0, start(theta=0.9), None, [0.5, 1.0])
    assert study.name != drawn.name == study.name[:-8] + drawn.name[-8:]
    assert not study.slopes["verdict"].eq("inconsistent").any()
    assert study.slopes["verdict"].eq("consistent").any()
    assert set(study.errors["at"]) == {"end", "t=0.5", "max"}
    assert "numerical bound" in str(study)
    assert "shards" not in str(study)
    monkeypatch.setattr(settle, "settled", lambda setup: pytest.fail("computed again"))
    monkeypatch.setattr("sme.convergence.estimator.quadrature.runner.settled", settle.settled)
    capsys.readouterr()
    again = sme.weak_error(sme.Polynomial(), sme.SGD(), **arguments, method="quadrature", results=tmp_path)
    assert "3 of 3 points found" in capsys.readouterr().out
    pd.testing.assert_frame_equal(again.errors, study.errors)
    pd.testing.assert_frame_equal(sme.load(study.folder).errors, study.errors)
    assert sme.load(study.folder).requested["method"] == "quadrature"
    assert sme.load(study.folder).specification().method == "quadrature"
    damaged = next((study.folder / "points").glob("*.json"))
    damaged.write_text(damaged.read_text().replace('"diverged": 0', '"diverged": 1'))
    with pytest.warns(UserWarning, match="not a whole point"):
        assert len(sme.load(study.folder).points) == 2


@pytest.mark.parametrize(("problem", "optimizer", "more", "said"), [
    (sme.Quadratic(), sme.Adam(), {}, "6 numbers"),
    (sme.Polynomial(), sme.RMSProp(), {"brownian": "step_memory"}, "remembers"),
    (sme.Logistic(features=1, examples=40, batch_size=8), sme.SGD(), {}, "batches"),
], ids=["large", "memory", "batches"])
def test_where_there_is_none_a_sentence_says_so(problem, optimizer, more, said):
    begin = {"theta": torch.full((problem.dim,), 0.5)}
    with pytest.raises(SMEError, match=f"quadrature.*{said}.*monte_carlo"):
        sme.weak_error(problem, optimizer, tau=1 / 4, start=begin, method="quadrature", **more)


def test_settings_of_paths_are_named():
    with pytest.warns(UserWarning, match="paths = 1024.*of no use"):
        sme.weak_error(sme.Polynomial(), sme.SGD(), tau=1 / 2, start=start(theta=0.5), paths=1024, method="quadrature")
    with pytest.raises(SMEError, match="method"):
        sme.weak_error(sme.Polynomial(), sme.SGD(), tau=1 / 2, start=start(theta=0.5), method="cubature")


def test_what_does_not_settle_is_no_number():
    """Most of these runs diverge."""
    problem, optimizer = sme.Polynomial(coefficients=(0, 0, 0.5, 0, 3.0), noise=3.0), sme.RMSProp(c=3.0, v_floor=0.05)
    setup = spec(problem, optimizer, "batch_equivalent",
                 start(theta=1.5, v=0.0)).setup(1, 4)
    assert settle._pilot(setup)[1] > 0.5
    found = settle.settled(setup)
    assert math.isnan(found.values[0, 0])
    assert math.isnan(found.bounds[0, 0])


def test_a_plan_names_it_where_it_is_cheaper():
    arguments = {"tau": [1 / 4], "start": start(theta=0.5), "order": 1}
    own = sme.plan(sme.Polynomial(), sme.SGD(), **arguments, method="quadrature")
    assert own.table["paths"].tolist() == [0]
    assert 0 < own.seconds < 60
    setup = spec(sme.Polynomial(), sme.SGD(), begin=start(theta=0.5)).setup(1, 4)
    assert "method=quadrature" in offer.said({(1, 4): setup}, {(1, 4): setup}, 1e6)
    assert not offer.said({(1, 4): setup}, {(1, 4): setup}, 0.0)
    wide = {(1, 4): spec(sme.Quadratic(), sme.Adam(), begin={"theta": torch.ones(2)}).setup(1, 4)}
    assert not offer.said(wide, wide, 1e6)


@pytest.mark.parametrize("parts", [
    lambda: (sme.Problem(lambda x: 0.5 * x.square().sum(), 1, sme.Clipped(sme.GaussianNoise([[0.3]]), 0.5)), sme.SGD()),
    lambda: (sme.Problem(lambda x: 0.5 * x.square().sum(), 1, sme.Signed(sme.GaussianNoise([[0.3]]))), sme.SGD()),
    lambda: (sme.Polynomial(), sme.Lion())], ids=["clipped", "signed", "raw"])
def test_a_step_that_is_not_smooth_in_its_noise_is_refused(parts):
    problem, rule = parts()
    with pytest.raises(SMEError, match="not smooth in its Gaussian noise"):
        sme.weak_error(problem, rule, order=1, tau=1 / 4, start=start(theta=0.5), method="quadrature")
