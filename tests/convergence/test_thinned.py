"""Few pairs on all levels, most on the coarsest alone: the same means, however few, by either backend."""

import dataclasses

import numpy as np
import pytest
import torch

import sme
from sme.common.storage.records import Records
from sme.convergence.estimator import paired, thinned
from sme.convergence.estimator.crossfit import estimate
from sme.convergence.spec.specification import Specification
from sme.simulate.codegen.ensemble import CompiledEnsemble
from sme.simulate.codegen.program import source
from sme.simulate.ensemble import TorchEnsemble
from tests.support.compiler import needs_compiler

START = {"theta": torch.tensor([0.6, -0.3]), "v": torch.tensor([0.3, 0.2])}


def setup(order=2, steps=4, regime="ballistic", driver=None, problem=None, times=None, observables=None):
    problem = problem or sme.Logistic(features=1, examples=12, batch_size=3)
    spec = Specification.of(problem, sme.RMSProp(), regime, driver, 1.0, START, observables, times)
    with torch.no_grad():
        return paired.prepared(spec.setup(order, steps))


def found(made, pairs=1024, shards=1):
    """Means and standard errors of all rows, errors first and then biases."""
    with torch.no_grad():
        folds = [paired.run_block(made, (0, made.steps, shard, block), pairs) for shard in range(shards) for block in range(4)]
    rows = len(made.observables) * len(made.marks)
    mean, stderr = estimate([block.moments for block in folds], 2 * rows)
    return mean.reshape(2, rows), stderr.reshape(2, rows), folds


@pytest.mark.parametrize(("regime", "times"), [("ballistic", None), ("batch_equivalent", None),
                                               pytest.param("ballistic", [0.5, 1.0], marks=pytest.mark.slow)])
def test_few_pairs_on_all_levels_give_the_means_of_all(regime, times):
    whole = setup(order=1, regime=regime, times=times)
    whole = dataclasses.replace(whole, source=source(whole))
    mean, stderr, _ = found(whole, 2048)
    for share in (4, 16):
        few, noise, folds = found(dataclasses.replace(whole, thinned=share), 2048, shards=2)
        assert [fold.paths for fold in folds] == [4096] * 8
        assert (abs(few - mean) < 4.5 * np.hypot(stderr, noise)).all()
        assert (noise < 8 * stderr).all()
        assert (abs(few[0]) > 10 * noise[0]).any(), "the errors are seen, so that a wrong sign or weight would be"


@pytest.mark.slow
@pytest.mark.parametrize(("regime", "driver"), [("ballistic", None), ("batch_equivalent", "poisson")])
def test_standard_errors_with_few_pairs_are_those_of_repeated_runs(regime, driver):
    made = setup(order=1, regime=regime, driver=driver)
    made = dataclasses.replace(made, source=source(made), thinned=16)
    rows, means, stderrs = len(made.observables), [], []
    with torch.no_grad():
        for seed in range(60):
            folds = [paired.run_block(made, (seed, made.steps, 0, block)).moments for block in range(4)]
            mean, stderr = estimate(folds, 2 * rows)
            means.append(mean)
            stderrs.append(stderr)
    ratio = np.std(means, axis=0, ddof=1) / np.mean(stderrs, axis=0)
    assert (ratio > 0.65).all()
    assert (ratio < 1.4).all()
    assert 0.85 < ratio.mean() < 1.15


def test_the_errors_of_a_portion_add_up_to_those_of_all_levels():
    """Pair by pair: d − q and F (q − e) are what the levels of a path say, and the last move F times its own."""
    made = setup()
    with torch.no_grad():
        run = TorchEnsemble(made, (0, 4, 0, 0), 32)
        run.advance(4)
        discrete, ladder = made.observe(run.state), run.ladders[0]
        best, move = ladder.values(lambda x: made.observe(made.fields(x)))
        coarsest = made.observe(made.fields(ladder.levels[2]))
        whole, few = (thinned.Portion(made, (1, 2, 4), 0, 32, times) for times in (1.0, 8.0))
        torch.testing.assert_close(whole.error(discrete, ladder), (discrete - best, move))
        torch.testing.assert_close(few.error(discrete, ladder), (discrete - coarsest + 8 * (coarsest - best), 8 * move))
        alone = TorchEnsemble(dataclasses.replace(made, finest=2), (0, 4, 0, 0), 32, 32, (1,))
        alone.advance(4)
        error, last = thinned.Portion(alone.setup, (1,), 32, 32, 1.0).error(made.observe(alone.state), alone.ladders[0])
    torch.testing.assert_close(error, made.observe(alone.state) - made.observe(made.fields(alone.ladders[0].levels[0])))
    assert not last.any()


def test_portions_take_every_pair_once_and_weigh_to_nothing():
    made = dataclasses.replace(setup(), thinned=16)
    for pairs in (1, 5, 16, 300, 4096):
        parts = list(thinned.portions(made, pairs))
        assert [each.first for each in parts] == [0, *np.cumsum([each.pairs for each in parts])[:-1]]
        assert sum(each.pairs for each in parts) == pairs
        assert abs(sum(each.pairs * each.known[0] for each in parts)) < 1e-9
        assert parts[0].times == pytest.approx(pairs / parts[0].pairs)
    assert [each.levels for each in parts] == [(1, 2, 4), (1,)]
    assert parts[1].setup.finest == made.substeps(TorchEnsemble(made, (0, 4, 0, 0), 1).ladders[0].scheme) // 4


@needs_compiler
@pytest.mark.parametrize(("regime", "driver", "features"), [("ballistic", None, 1), ("batch_equivalent", "poisson", 1),
                                                            pytest.param("ballistic", None, 8, marks=pytest.mark.slow)])
def test_compiled_and_torchsde_follow_the_coarsest_level_alike(regime, driver, features, monkeypatch):
    problem = sme.Logistic(features=features, examples=12, batch_size=3)
    monkeypatch.setitem(START, "theta", torch.linspace(0.6, -0.3, features + 1))
    monkeypatch.setitem(START, "v", torch.full((features + 1,), 0.2))
    made = setup(1 if driver else 2, regime=regime, driver=driver, problem=problem, observables=["|theta|^2"])
    made = dataclasses.replace(made, finest=2)
    with torch.no_grad():
        fast = CompiledEnsemble(dataclasses.replace(made, source=source(made)), (0, 4, 0, 0), 70, 7, (1,))
        slow = TorchEnsemble(made, (0, 4, 0, 0), 70, 7, (1,))
        for run in (fast, slow):
            run.advance(2)
            run.advance(4)
    assert [len(ladder.levels) for ladder in fast.ladders] == [1] * len(slow.ladders)
    for mine, theirs in zip(fast.ladders, slow.ladders, strict=True):
        torch.testing.assert_close(mine.levels[0], theirs.levels[0], rtol=1e-12, atol=1e-13)
    torch.testing.assert_close(fast.carry, slow.carry, rtol=1e-10, atol=1e-13)
    assert torch.equal(fast.floored, slow.floored)


def test_the_share_is_the_cheapest_for_the_noise_that_a_trial_shows():
    share = thinned._share
    assert [share(np.array([ratio]), 16) for ratio in (0.0, 0.01, 0.03, 0.1, 0.5, 2.0)] == [16, 16, 16, 8, 2, 1]
    assert share(np.array([0.0]), 4) == 4
    assert share(np.array([]), 16) == 1
    assert share(np.array([0.0, 0.0, 1e6]), 16) == 1
    assert share(np.array([0.01, 0.01, 0.01, 4.0]), 16) == 8, "one row in four that loses does not decide for all"


def test_only_minibatches_are_thinned_and_few_enough_numbers_of_them():
    records = Records(None)
    with torch.no_grad():
        made = thinned.thinned(setup(), 4096, 4096, records)
        assert made.thinned in (4, 8, 16)
        assert thinned.thinned(setup(), 4096, 100, Records(None)).thinned == made.thinned, "in pieces as well"
        assert thinned.thinned(setup(), 64, 64, records).thinned == 1, "too few pairs to fit on"
        many = setup(steps=8, times=[0.125 * k for k in range(1, 9)])
        assert thinned._most(many, 4096) == 2
        gaussian = Specification.of(sme.Quadratic(), sme.RMSProp(), "ballistic", None, 1.0, START, None, None).setup(2, 4)
        assert thinned.thinned(paired.prepared(gaussian), 4096, 4096, records).thinned == 1
        plain = setup(order=1, driver="none")
        assert thinned.thinned(plain, 4096, 4096, records).thinned == 1


def test_a_row_without_a_value_leaves_the_share_to_the_others():
    made = setup(observables={"|theta|^2": lambda s: s["theta"].square().sum(-1), "log": lambda s: torch.log(s["theta"][..., 1])})
    with torch.no_grad():
        assert len(thinned._ratios(made, 4096)) == 1
