"""What makes a network's equations cheaper: sums in float32 where a pilot allows it, further paths on the coarsest substeps."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import sme
from sme.convergence.spec.specification import Specification
from sme.problems.networks.rounded import RoundedExamples, rounded
from sme.simulate.codegen.ensemble import ensemble
from sme.studies.trajectories import levels, pieces, precision, runs
from sme.studies.trajectories.levels import MORE, EquationEnsemble, Spread, price
from sme.studies.trajectories.runs import _gained
from sme.studies.trajectories.sample import Paths, summary


def network(**changes):
    return sme.Digits(**{"hidden": [4], "examples": 12, "batch_size": 3, **changes})


def setup(problem, rule, order, steps=4):
    start = {"v": torch.full((problem.dim,), 0.05, dtype=torch.float64)}
    spec = Specification.of(problem, rule, "ballistic", None, 0.5, start, ["loss", "|theta|^2"], None)
    return replace(spec.setup(order, steps, "cpu"), finest=4, marks=(1, steps))


@pytest.fixture(scope="module")
def net():
    return network()


def test_rounded_sums_are_those_of_the_examples_to_single_precision(net):
    low, exact = rounded(net).examples, net.examples
    assert isinstance(low, RoundedExamples)
    generator = torch.Generator().manual_seed(3)
    theta = net.start["theta"] + 0.2 * torch.randn(5, net.dim, dtype=torch.float64, generator=generator)
    u = torch.randn(5, net.dim, dtype=torch.float64, generator=generator)
    w = torch.randn(5, exact.count, dtype=torch.float64, generator=generator)
    for ask in (lambda e: e.averages(theta), lambda e: (e.gradient(theta),), lambda e: e.weigh(theta, w, w * w),
                lambda e: e.slope(theta, u), lambda e: (e.power(theta, 3),)):
        for mine, right in zip(ask(low), ask(exact), strict=True):
            assert mine.dtype == torch.float64
            far = float((mine - right).abs().max() / right.abs().max())
            assert 0 < far < 1e-5
    indices = torch.arange(15).reshape(5, 3) % exact.count
    assert torch.equal(low.batch(theta, indices), exact.batch(theta, indices))  # the discrete run stays as it is


def test_what_is_kept_of_a_state_is_found_again_and_not_after_it_is_written_over(net):
    low, theta = rounded(net).examples, net.start["theta"][None].clone()
    before, first = low._low(theta), low.gradient(theta)
    assert low._low(theta) is before
    theta += 0.1
    assert low._low(theta) is not before
    assert float((low.gradient(theta) - net.examples.gradient(theta)).abs().max()) < 1e-5
    assert float((first - low.gradient(theta)).norm()) > 1e-3


def test_the_states_and_the_discrete_run_stay_in_double_precision(net):
    made = setup(net, sme.RMSProp(), 2)
    runs = [ensemble(each, (0, 4, 0, 0), 3) for each in (made, replace(made, rounded=rounded(net)))]
    for run in runs:
        run.advance(4)
    for field in ("theta", "v"):
        assert torch.equal(runs[0].state[field], runs[1].state[field])
    apart = (runs[0].ladders[0].states[0] - runs[1].ladders[0].states[0]).abs().max()
    assert 0 < float(apart) < 1e-4


@pytest.mark.parametrize(("shift", "paths", "fine"), [(0.02, 4, True), (0.08, 4, False), (0.02, 100, False)])
def test_the_pilot_holds_what_rounding_moves_against_the_standard_error(shift, paths, fine):
    """Of the four values -3, -1, 1, 3 the deviation is √(20/3)."""
    values = np.array([-3.0, -1.0, 1.0, 3.0]).reshape(4, 1, 1)
    found = precision.moved(values, values + shift * 2.5, paths)
    assert found == pytest.approx(2.5 * shift / np.sqrt(20 / 3 / paths))
    assert (found <= precision.SHARE) is fine


def test_a_pilot_that_is_lost_or_does_not_vary_keeps_double_precision():
    values = np.ones((4, 1, 1))
    assert precision.moved(values, values + 1e-9, 64) == np.inf
    assert precision.moved(values, values, 64) == 0
    assert precision.moved(values, np.nan * values, 64) == np.inf


def test_the_coarsest_level_alone_is_that_of_the_ladder(net):
    made = setup(net, sme.Adam(), 2)
    whole, alone = ensemble(made, (0, 4, 0, 0), 3, 5), EquationEnsemble(made, (0, 4, 0, 0), 3, 5, (4,))
    for run in (whole, alone):
        run.advance(4)
    assert torch.equal(whole.ladders[0].states[-1], alone.ladders[0].states[0])
    paths = levels.follow(made, (0, 4, 0, 0), range(5, 8), 3)
    right = made.observe(made.fields(whole.ladders[0].states[-1])).numpy()
    assert paths.best[:, :, 2].reshape(6, 2) == pytest.approx(right, rel=1e-13)


def test_an_equation_without_motions_has_one_path_on_each_level(net, monkeypatch):
    monkeypatch.setattr(precision, "LARGE", 1)  # small ones have no pilot
    made = replace(setup(net, sme.RMSProp(), 1), brownian="none")
    whole, alone = ensemble(made, (0, 4, 0, 0), 3), EquationEnsemble(made, (0, 4, 0, 0), 3, levels=(4,))
    for run in (whole, alone):
        run.advance(4)
    assert alone.ladders[0].states[0].shape[0] == 1
    assert torch.equal(whole.ladders[0].states[-1], alone.ladders[0].states[0])
    assert precision._values(made, 0).shape == (4, 2, 2)
    study = sme.trajectories(net, sme.RMSProp(), tau=1 / 2, paths=32, points=1, substeps=4, backend="torchsde", model="ode")
    assert not study.notes
    assert set(study.table["curve"]) == {"discrete", "order 1"}


def samples(pairs, further, close, seed=0):
    """Extrapolated and coarsest values of two equations with a mean of 2 and 3, and further coarsest ones; two observables."""
    rng = np.random.default_rng(seed)

    def both(count, which):
        noise = rng.normal(size=(2, count, 1, 2))
        coarse = which + 2 + noise + np.array([0.5, 0.0])
        return which + 2 + np.array([1, -1]) * noise + close * rng.normal(size=noise.shape), coarse  # the second does not gain

    first = {f"order {i}": Paths(e, e, 0 * e, 0, c) for i in (0, 1) for e, c in [both(pairs, i)]}
    second = {f"order {i}": Paths(c, c, 0 * c, 0) for i in (0, 1) for _, c in [both(further, i)]}
    return first, second


def pooled(spread, first):
    """The pairs on all levels in two pieces."""
    for some in (slice(20), slice(20, None)):
        spread.add({name: each._replace(**{part: getattr(each, part)[:, some] for part in ("best", "path", "bias", "coarse")})
                    for name, each in first.items()})
    return spread


def test_two_levels_have_the_mean_and_its_error_where_they_gain():
    more = 7
    first, second = samples(60, 60 * more, 0.1)
    spread = pooled(Spread({"closer": ("order 0", "order 1")}), first)
    spread.more = more
    spread.further(second)
    e, c = (getattr(first["order 1"], part).mean(0)[:, 0] for part in ("best", "coarse"))
    far = second["order 1"].best.mean(0)[:, 0]
    found = spread.two("order 1")
    assert found.centre[0, 0] == pytest.approx((e - 7 / 8 * c)[:, 0].mean() + 7 / 8 * far[:, 0].mean())
    assert found.stderr[0, 0] == pytest.approx(np.hypot((e - 7 / 8 * c)[:, 0].std(ddof=1) / 60**0.5,
                                                        7 / 8 * far[:, 0].std(ddof=1) / (60 * more)**0.5))
    assert found.centre[0, 1] == pytest.approx(e[:, 1].mean())  # of an observable that does not gain, its paths alone
    assert found.stderr[0, 1] == pytest.approx(e[:, 1].std(ddof=1) / 60**0.5)
    both, one, other = spread.two("closer"), spread.two("order 0"), spread.two("order 1")
    assert both.centre[:2, 0] == pytest.approx(-np.array([one.centre[0], other.centre[0]]))
    assert both.stderr[:2, 0] == pytest.approx(np.array([one.stderr[0], other.stderr[0]]))
    assert abs(found.centre[0, 0] - 3) < 4 * found.stderr[0, 0] < 4 * 0.6 * e[:, 0].std(ddof=1) / 60**0.5
    share = (found.stderr[0, 0] / (e[:, 0].std(ddof=1) / 60**0.5)) ** 2
    assert spread.shares(more)[1] == pytest.approx([share, 1], rel=0.2)  # by another sample of the coarsest


@pytest.mark.parametrize("close", [0.05, 0.5])
@pytest.mark.parametrize("beside", [0.0, 0.8, 30.0])
@pytest.mark.parametrize("discrete", [0.0, 0.02, 0.5])
def test_as_many_are_run_as_make_cost_times_variance_least(close, beside, discrete):
    """Of one observable, in which `e = 2 + n + close δ` and `c = 2 + n`, the best of all numbers is known."""
    rng = np.random.default_rng(1)
    noise = rng.normal(size=(2, 4000, 1, 1))
    e = 2 + noise + close * rng.normal(size=noise.shape)
    spread = Spread({})
    spread.add({"order 1": Paths(e, e, 0 * e, 0, 2 + noise)})
    own, unit = (1 + close**2) / 8000, 1 / 8000  # of pairs' means

    def took(more):
        left = own if not more else unit * ((1 / (more + 1)) ** 2 + close**2 + (more / (more + 1)) ** 2 / more)
        return (1 + more / 7 + beside) * (left + discrete * own)

    best = min(map(took, (0, *MORE)))
    found = spread.settle(beside, np.array([discrete * own]))
    if found:
        assert took(found) < 1.15 * best
        assert took(found) < 0.95 * took(0)
    else:
        assert best > 0.85 * took(0)


def test_where_the_discrete_run_leads_the_error_none_are_run():
    spread = pooled(Spread({}), samples(60, 1, 0.05)[0])
    assert spread.settle(1.0, 0.0)
    assert not spread.settle(1.0, 10.0)


def test_levels_that_are_far_apart_do_not_pay():
    spread = Spread({})
    spread.add(samples(40, 1, 2.0)[0])
    assert not spread.settle(1.0, 0.0)
    assert not Spread({}).settle(1.0, 0.0)


def test_the_price_is_that_of_the_substeps():
    assert price(7) == 2  # one of the coarsest is a seventh of 4 + 2 + 1


def test_only_as_many_pieces_are_run_as_were_settled():
    every = [((0, 4, 0, 0), range(3, 16)), ((0, 4, 0, 1), range(16))]
    assert pieces.first(every, 5) == [((0, 4, 0, 0), range(3, 8))]
    assert pieces.first(every, 20) == [every[0], ((0, 4, 0, 1), range(7))]
    assert pieces.first(every, 99) == every


def test_further_paths_that_diverge_are_counted():
    first, second = samples(10, 70, 0.1)
    spread = Spread({})
    spread.add(first)
    second["order 0"].best[0, 3] = np.inf
    spread.further(second)
    assert spread.lost == 2


def test_a_pair_that_diverged_is_left_out_of_all_variances():
    first = samples(40, 1, 0.1)[0]
    least = Spread({})
    least.add({name: each._replace(**{part: getattr(each, part)[:, 1:] for part in ("best", "path", "bias", "coarse")})
               for name, each in first.items()})
    for each in first.values():
        each.best[0, 0] = np.nan
    spread = Spread({})
    spread.add(first)
    for more in MORE:
        assert spread.shares(more) == pytest.approx(least.shares(more), rel=1e-12)


def test_each_equation_has_what_it_gains_and_two_together_what_both_gain():
    """The first observable gains in both, the second in one alone."""
    first, second = samples(60, 180, 0.1)
    mine = first["order 1"]
    first["order 1"] = mine._replace(best=mine.coarse + 0.01 * mine.best)
    spread = pooled(Spread({"closer": ("order 0", "order 1")}), first)
    assert spread.settle(0.5, 0.0) in MORE
    spread.further(second)
    assert (spread.shares(spread.more) < 1).tolist() == [[True, False], [True, True]]
    plain = np.array([spread._found["all", name].stderr[0] for name in ("order 0", "order 1")])
    found = np.array([spread.two(name).stderr[0] for name in ("order 0", "order 1")])
    assert (found[1] < 0.8 * plain[1]).all()
    assert found[0] == pytest.approx([found[0][0], plain[0][1]])
    assert found[0][0] < 0.8 * plain[0][0]
    both = spread.two("closer").stderr[:2, 0]
    assert both[:, 1] == pytest.approx(plain[:, 1])
    assert both[:, 0] == pytest.approx(found[:, 0])
    said = spread.said(["one", "other"])
    assert said.count("(order 1)") == 2
    assert said.count("(order 0)") == 1


def test_from_a_few_pairs_nothing_is_settled():
    spread = Spread({})
    spread.add(samples(levels.FEWEST - 1, 1, 0.01)[0])
    assert not spread.settle(0.0, 0.0)
    spread.add(samples(1, 1, 0.01)[0])
    assert spread.settle(0.0, 0.0)


def few_runs(net, **changes):
    return sme.trajectories(net, sme.SGD(), **{"tau": 1 / 2, "paths": 40, "order": 1, "points": 1, "observables": ["loss"],
                                               "histogram": "loss", "backend": "torchsde", **changes})


def test_as_many_pairs_are_run_as_were_settled_and_the_discrete_run_is_asked(net, monkeypatch):
    asked, taken, coarse = [], [], runs._coarse

    def settle(spread, beside, discrete):
        asked.append((beside, discrete))
        spread.more = 3
        return 3

    monkeypatch.setattr(Spread, "settle", settle)
    monkeypatch.setattr(runs, "_coarse", lambda setups, numbers, some: taken.append(some) or coarse(setups, numbers, some))
    found = few_runs(net, response=True)
    assert sum(map(len, taken)) == 3 * 20
    assert taken[0].start == 20  # behind the pairs on all levels
    assert asked[0][0] == pytest.approx(runs.DISCRETE_RUN * (1 + 15 * 2))
    end = found.table[(found.table["curve"] == "discrete") & (found.table["time"] == 1)]
    assert asked[0][1] == pytest.approx(end["stderr"].to_numpy() ** 2)
    assert "3 further paths" in str(found)


def test_further_paths_are_not_used_where_one_diverged(net, monkeypatch):
    plain = few_runs(net, multilevel=False)
    coarse = runs._coarse

    def lost(*given):
        found = coarse(*given)
        for each in found.values():
            each.best[0, 0] = np.inf
        return found

    monkeypatch.setattr(Spread, "settle", lambda spread, *given: setattr(spread, "more", 1) or 1)
    monkeypatch.setattr(runs, "_coarse", lost)
    found = few_runs(net)
    assert "diverged, and none of them is used" in str(found)
    assert found.table["mean"].to_numpy() == pytest.approx(plain.table["mean"].to_numpy(), rel=1e-13)


@pytest.mark.parametrize("left", [0.9, 0.2])
def test_discrete_runs_follow_their_response_only_where_the_first_ones_gain_by_it(left):
    """`left`: the share of the variance that the response leaves, of one of two observables at the end."""
    values = np.random.default_rng(3).standard_normal((2, 400, 2, 2))
    less = values * np.array([[1.0, 1.0], [1.0, left**0.5]])
    run = Paths(less, values, 0 * values, 0)
    assert _gained(summary(run, run, np.zeros((0, 0, 2)), ([], []))) == (left < 0.5)


@pytest.mark.parametrize(("response", "gained", "followed"), [("auto", True, True), ("auto", False, False), (True, False, True)])
def test_further_discrete_runs_do_without_where_the_first_gain_nothing(net, monkeypatch, response, gained, followed):
    seen, alone = [], runs._alone
    monkeypatch.setattr(runs, "_gained", lambda discrete: gained)
    monkeypatch.setattr(runs, "_alone", lambda setups, *rest: seen.append(setups) or alone(setups, *rest))
    found = sme.trajectories(net, sme.SGD(), tau=1 / 2, paths=2, order=1, points=1, observables=["loss"], histogram="loss",
                             response=response)
    assert seen
    assert all((each.weights is not None) == followed for setups in seen for each in setups.values())
    assert ("without their linear response" in str(found)) == (not followed)


@pytest.mark.slow
def test_they_find_the_same_means_with_smaller_errors():
    problem, start = network(hidden=[8], examples=64, batch_size=16), {"v": torch.full((610,), 0.05, dtype=torch.float64)}
    found = [sme.trajectories(problem, sme.Adam(v_floor=1e-3), tau=1 / 8, horizon=0.5, paths=64, points=1, substeps=4,
                              start=start, backend="torchsde", observables=["loss"], histogram="loss", multilevel=further)
             for further in (False, True)]
    (plain,), (sharp,) = ((row for row in each.table.itertuples() if (row.time, row.curve) == (0.5, "order 2")) for each in found)
    assert abs(plain.mean - sharp.mean) < 4 * plain.stderr
    assert sharp.stderr < 0.6 * plain.stderr
    assert "further paths" in str(found[1])
    assert "further paths" not in str(found[0])


@pytest.mark.parametrize(("given", "words"), [({"precision": "half"}, "unknown precision"),
                                              ({"multilevel": 3}, "multilevel must be"),
                                              ({"response": False}, "response must be")])
def test_what_there_is_not_is_refused(net, given, words):
    with pytest.raises(sme.SMEError, match=words):
        sme.trajectories(net, sme.SGD(), tau=1 / 2, paths=2, **given)
