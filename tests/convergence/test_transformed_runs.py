"""Whole runs of raw rules and of laws of a transformed gradient, against means of one step by sums of their own."""

import itertools
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from scipy.stats import norm

import sme
from sme.convergence.cost import weight
from sme.convergence.runner import Runner

pytestmark = pytest.mark.usefixtures("tiny_runs", "undrawn")

POINTS = np.random.default_rng(5).normal(size=(6, 2))
LIMIT, SIZE, SIGMA, TAU = 0.7, 0.45, 0.4, 0.125
START = np.array([0.9, 0.4])


@dataclass(frozen=True)
class Clip(sme.Optimizer):
    """The norm is clipped within the rule."""

    def update(self, state, gradient, tau, t):
        size = gradient.scaled.square().sum().clamp(min=1e-300).sqrt()
        return {"theta": state["theta"] - gradient.step * torch.clamp(LIMIT / size, max=1.0)}


def own_clip(g):
    return g * np.minimum(1, LIMIT / np.linalg.norm(g, axis=-1, keepdims=True))


def example(theta, x):
    return 0.5 * (theta - x).square().sum() + 0.1 * (theta @ x).square()


def batches(wrap):
    points = torch.from_numpy(POINTS)
    return sme.Problem(lambda theta: torch.stack([example(theta, x) for x in points]).mean(), 2,
                       wrap(sme.MinibatchNoise(example, (points,), 1)))


def quartic(wrap):
    return sme.Problem(lambda theta: (0.5 * theta**2 + 0.075 * theta**4).sum(), 1,
                       wrap(sme.GaussianNoise(torch.tensor([[SIZE]], dtype=torch.float64))))


def of_batches():
    """`(γ, probability)` at the start."""
    each = START - POINTS + 0.2 * (POINTS @ START)[:, None] * POINTS
    return own_clip(each), np.full(6, 1 / 6)


def of_normal():
    z, w = np.polynomial.legendre.leggauss(40)
    g = START[0] + 0.3 * START[0] ** 3
    ends = [-9.0, (-LIMIT - g) / SIZE, (LIMIT - g) / SIZE, 9.0]
    points = np.concatenate([a + 0.5 * (b - a) * (1 + z) for a, b in itertools.pairwise(ends)])
    weights = np.concatenate([0.5 * (b - a) * w for a, b in itertools.pairwise(ends)]) * norm.pdf(points)
    return np.clip(g + SIZE * points, -LIMIT, LIMIT)[:, None], weights


CASES = {
    "clipped": (quartic, lambda law: sme.Clipped(law, LIMIT), sme.SGD(), of_normal, 0.0),
    "clip in the rule": (quartic, lambda law: law, Clip(), of_normal, 0.0),
    "clipped batch": (batches, lambda law: sme.Clipped(law, LIMIT), sme.SGD(), of_batches, 0.0),
    "private": (batches, lambda law: sme.Private(law, LIMIT, SIGMA), sme.SGD(), of_batches, SIGMA * LIMIT),
    "batch clipped in the rule": (batches, lambda law: law, Clip(), of_batches, 0.0),
}


def squares(case):
    """`E |θ|²` after one step."""
    moments, added = CASES[case][3:]
    values, weights = moments()
    start = START[: values.shape[1]]
    ends = start - TAU * values
    return float(weights @ np.square(ends).sum(1)) + TAU**2 * added**2 * len(start)


def test_what_takes_long_says_so_before_it_is_computed():
    def computed(*_):
        raise sme.SMEError("enough")

    problem = batches(lambda law: sme.Clipped(law, LIMIT))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(weight, "LONG_S", 1e-3)
        patch.setattr(Runner, "_compute", computed)
        with pytest.warns(UserWarning, match=r"computed at every path .* these 2 shards take up to some \d+ min"), \
                pytest.raises(sme.SMEError, match="enough"):
            sme.weak_error(problem, sme.SGD(), tau=[0.5, 0.25], paths=1, start={"theta": torch.from_numpy(START)}, order=1,
                           horizon=0.5, backend="torchsde")


SLOW = ("clipped", "clip in the rule", "clipped batch", "private")  # sums at every path


@pytest.mark.parametrize("case", [pytest.param(case, marks=[pytest.mark.slow] * (case in SLOW)) for case in CASES])
def test_a_study_and_trajectories_have_the_mean_of_one_step(case):
    given, wrap, optimizer, *_ = CASES[case]
    problem = given(wrap)
    start = {"theta": torch.from_numpy(START[: problem.dim])}
    shared = {"start": start, "order": 2, "horizon": TAU, "backend": "torchsde", "observables": "|theta|^2"}
    wanted = squares(case)
    curves = sme.trajectories(problem, optimizer, tau=TAU, paths=256, points=2, **shared).table
    last = curves[(curves["time"] == TAU) & (curves["curve"] == "discrete")].iloc[0]
    assert abs(last["mean"] - wanted) < 5 * last["stderr"]
    found = curves[(curves["time"] == TAU) & (curves["curve"] == "order 2")].iloc[0]
    assert abs(found["mean"] - wanted) < 5 * found["stderr"] + 0.002
    assert found["stderr"] < 0.003
    row = sme.weak_error(problem, optimizer, tau=TAU, paths=1, **shared).errors.iloc[0]
    assert row["diverged"] == 0
    assert abs(row["error"]) < 5 * row["stderr"] + 0.002
    assert row["stderr"] < 0.02
