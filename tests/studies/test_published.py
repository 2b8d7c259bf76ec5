"""The published equations: each differs from ours in its term alone, which breaks order 2, and costs what it costs directly."""

import math
import re

import numpy as np
import pandas as pd
import pytest
import torch

import sme
from sme.convergence.estimator import paired
from sme.convergence.estimator.paired import prepared, run_shard
from sme.equations.chain import Chain
from sme.equations.literature import variants as terms
from sme.equations.order.one_step import residual
from sme.equations.registry import equation
from sme.optimizers.grid import StepGrid
from sme.optimizers.regimes import regime
from sme.simulate.control_variates import controls
from sme.simulate.setup import Setup
from sme.studies.published import report, run
from tests.support import models
from tests.support.few import few

CASES = {case.kind.__name__: case for case in run.DIFFERENCES}
QUIET = sme.Quadratic(noise=0.0)
QUADRATIC, VARYING, CONSTANT = sme.Quadratic(), run.VARYING, sme.Polynomial()
OFF = {
    "OneMotionRMSProp": (QUIET, sme.RMSProp()), "CubedRMSProp": (CONSTANT, sme.RMSProp(eps=0.0)),
    "FlatVarianceRMSProp": (CONSTANT, sme.RMSProp()), "BentRMSProp": (QUADRATIC, sme.RMSProp()),
    "ScaledHessianRMSProp": (QUADRATIC, sme.RMSProp(c=1.0)), "SwayedRMSProp": (CONSTANT, sme.RMSProp()),
    "OpposedAdam": (QUIET, sme.Adam()), "GrowingAdam": (QUADRATIC, sme.Adam()), "EarlyAdam": (QUADRATIC, sme.Adam()),
    "LeadingAdam": (QUIET, sme.Adam()), "UnscaledAdam": (QUADRATIC, sme.Adam(c1=1.0)),
}
"""where a difference is none: its term is 0, or both have the same"""
TAU = 1 / 8


def coefficients(case, problem, optimizer, kind):
    """Drift and noise of one equation at a few states, by field."""
    one = equation(problem, optimizer, regime(case.regime), TAU, 2, case.brownian, kind)
    generator = torch.Generator().manual_seed(3)
    x = 0.4 + torch.rand(5, problem.dim * len(optimizer.fields), generator=generator, dtype=torch.float64)
    dW = torch.randn(5, one.motions, generator=generator, dtype=torch.float64)
    return torch.stack([one.drift(1.5, x), one.diffuse(1.5, x, dW)])


def change(case, problem, optimizer):
    return coefficients(case, problem, optimizer, case.kind) - coefficients(case, problem, optimizer, None)


@pytest.mark.parametrize("name", OFF)
def test_a_difference_is_none_where_its_term_is_switched_off(name):
    assert change(CASES[name], *OFF[name]).abs().max() < 1e-12
    assert change(CASES[name], CASES[name].problem, CASES[name].optimizer).abs().max() > 1e-4


def written_out(name, t=1.5, theta=0.6, m=0.3, v=0.8, tau=TAU, c=0.7, c1=1.3, c2=0.6, eps=0.1):
    """What the scripts have for one parameter, `name` of their terms and the others as ours: by (function, field)."""
    f1, f2, f3 = theta + 0.3 * theta**3, 1 + 0.9 * theta**2, 1.8 * theta
    s, s1, s2 = (0.3 + 0.2 * math.sin(theta), 0.2 * math.cos(theta), -0.2 * math.sin(theta)) if name in STATE else (0.3, 0, 0)
    var, var1, var2 = s * s, 2 * s * s1, 2 * (s1 * s1 + s * s2)
    n1, n2 = (1, 0) if name == "EarlyAdam" else (2, 1)
    l1, l2 = (math.log(1 - rate * tau) / tau for rate in (c1, c2))
    g1, g2 = (1 - math.exp((t + n * tau) * rate) for n, rate in ((n1, l1), (n2, l2)))
    slope1, slope2 = -l1 * (1 - g1), -l2 * (1 - g2)
    gain = math.sqrt(g2) / g1
    gain1 = (0.5 * slope2 * g1 / math.sqrt(g2) - math.sqrt(g2) * slope1) / g1**2
    p, q = 1 / (math.sqrt(v) + eps), 1 / (math.sqrt(v) + eps * math.sqrt(g2))
    in_time = (1 if name == "GrowingAdam" else -eps) * 0.5 * slope2 * q * q / math.sqrt(g2)
    big = f1 * f1 + var - v
    adam = -gain * q * m + tau / 2 * (c1 * gain * (m - f1) * q - c2 * gain / 2 * q * q / math.sqrt(v) * big * m
                                      + (gain * in_time + gain1 * q) * m)
    return {
        "OneMotionRMSProp": {("diffuse", 1): math.sqrt(tau) * 2 * c * f1 * s},
        "CubedRMSProp": {("drift", 0): -f1 * p - tau / 2 * (f2 * p * p * f1 + c / 2 * p**3 * big * f1)},
        "FlatVarianceRMSProp": {("drift", 1): c * big + tau / 2 * (2 * c * f1 * f2 * f1 * p + c * c * big)},
        "BentRMSProp": {("drift", 0): -f1 * p - tau / 2 * (f2 * p * p * f1 + c / 2 * p * p / math.sqrt(v) * (var - v) * f1
                                                           + 2 * var * f3 * p**3)},
        "ScaledHessianRMSProp": {("diffuse", 0): -(p * s + tau * (c * f2 * p * p * s / 2
                                                                 + c / 4 * p * p / math.sqrt(v) * (var - v) * s))},
        "SwayedRMSProp": {("drift", 1): c * (var - v) + tau * (c * f1 * f1 + c * c / 2 * (var - v) - var1 * f1 * p / 2
                                                              - tau / 2 * p * p * var * var2)},
        "OpposedAdam": {("diffuse", 1): math.sqrt(tau) * c1 * s, ("diffuse", 2): -math.sqrt(tau) * 2 * c2 * f1 * s},
        "GradientAdam": {("drift", 2): c2 * big + tau / 2 * (2 * c2 * f1 * f2 * f1 * q * gain + c2 * c2 * big)},
        "GrowingAdam": {("drift", 0): adam}, "EarlyAdam": {("drift", 0): adam},
        "LeadingAdam": {("diffuse", 1): c1 * s},
        "UnscaledAdam": {("diffuse", 0): -tau / 2 * gain * q * s},
    }[name]


STATE = ("FlatVarianceRMSProp", "SwayedRMSProp")


@pytest.mark.parametrize("name", CASES)
def test_a_term_is_that_of_the_scripts(name):
    case, problem = CASES[name], VARYING if name in STATE else CONSTANT
    optimizer = (sme.RMSProp(c=0.7, eps=0.1) if "m" not in case.optimizer.fields else
                 sme.Adam(c1=1.3, c2=0.6, eps=0.1, bias_correction=True, t0=1.0, clock=(2, 1)))
    one = equation(problem, optimizer, regime(case.regime), TAU, 2, case.brownian, case.kind)
    x = torch.tensor([[0.6, *([0.3] if "m" in optimizer.fields else []), 0.8]], dtype=torch.float64)
    dW = torch.zeros(1, one.motions, dtype=torch.float64)
    dW[:, 0] = 1.0
    found = {"drift": one.drift(1.5, x)[0], "diffuse": one.diffuse(1.5, x, dW)[0]}
    for (function, field), value in written_out(name).items():
        assert float(found[function][field]) == pytest.approx(value, rel=1e-10)


def test_a_momentum_that_is_the_gradient_is_no_difference():
    one, other = (equation(QUADRATIC, sme.Adam(), regime("ballistic"), TAU, 2, "independent", kind)
                  for kind in (None, terms.GradientAdam))
    theta = torch.tensor([[0.7, -0.3]], dtype=torch.float64)
    at = torch.cat((theta, QUADRATIC.gradient(theta), torch.ones_like(theta)), -1)
    assert torch.equal(one.drift(0.0, at), other.drift(0.0, at))
    away = torch.cat((theta, theta, torch.ones_like(theta)), -1)
    assert (other.drift(0.0, away) - one.drift(0.0, away)).ne(0).tolist() == [[False] * 4 + [True] * 2]


@pytest.mark.parametrize("name", CASES)
def test_the_table_says_what_a_difference_changes_in_the_published_quadratic(name):
    case = CASES[name]
    optimizer = run.CORRECTED if "m" in case.optimizer.fields else run.RMS
    changed = change(case, QUADRATIC, optimizer).abs().max()
    assert (changed < 1e-6) == case.quadratic.startswith("none"), changed


@pytest.mark.parametrize("name", few(CASES, *(name for name in CASES if name not in ("SwayedRMSProp", "GrowingAdam"))))
def test_each_difference_breaks_order_two_and_nothing_worse(name):
    case, found = CASES[name], []
    x = torch.cat([models.STATES[field][: case.problem.dim] for field in case.optimizer.fields])
    for tau in run.CHECKED["theirs"]:
        theirs = equation(case.problem, case.optimizer, regime(case.regime), tau, 2, case.brownian, case.kind)
        chain = Chain(case.problem, case.optimizer, regime(case.regime), tau)
        found.append(residual(chain, theirs, x, models.smooth, case.optimizer.t0))
    coarse, fine = found
    largest = coarse.abs().argmax()
    assert 3.9 < coarse[largest] / fine[largest] < 4.1


@pytest.mark.slow
def test_the_cost_is_what_two_runs_say(monkeypatch):
    monkeypatch.setattr(paired, "BLOCK_PAIRS", 64)
    monkeypatch.setattr(controls, "LONGEST", 0)
    monkeypatch.setattr(run, "HORIZON", 0.25)
    case = CASES["ScaledHessianRMSProp"]
    row = run.rows(case, [TAU], 1).query("observable == '|theta|^2'").iloc[0]
    state = {**case.state, "v": torch.ones(2, dtype=torch.float64)}
    means = []
    for kind in (None, case.kind):
        setup = Setup(case.problem, case.optimizer, regime(case.regime), 2, case.brownian, StepGrid(0.25, 2), state, (2,),
                      {"|theta|^2": lambda s: s["theta"].square().sum(-1)}, kind=kind)
        means.append(np.mean([block.moments.mean[0] for block in run_shard(prepared(setup), 0, 0)]))
    assert abs(row["cost"]) > 10 * row["cost_stderr"]
    assert means[0] - means[1] == pytest.approx(row["cost"], abs=8 * row["cost_stderr"])
    assert row["error_published"] == pytest.approx(row["error"] - row["cost"])


@pytest.mark.slow
def test_the_files_hold_what_was_measured(monkeypatch, tmp_path, drawn):
    monkeypatch.setattr(paired, "BLOCK_PAIRS", 32)
    monkeypatch.setattr(controls, "LONGEST", 0)
    monkeypatch.setattr(run, "HORIZON", 0.25)
    monkeypatch.setattr(run, "DIFFERENCES", [CASES["OneMotionRMSProp"]])
    table = run.measure([1 / 8, 1 / 16], 1)
    report.Published(table, folder=tmp_path).save()
    kept = pd.read_csv(tmp_path / "published.csv")
    assert list(kept.columns) == [*run.COLUMNS, "seeds", "version"]
    assert kept["observable"][kept["shown"]].tolist() == ["|v|^2", "|v|^2"]
    words = (tmp_path / "published.md").read_text(encoding="utf-8")
    assert re.search(r"2 \((7\.9|8\.0)", words)
    assert "1 (4.0" in words
    assert (tmp_path / "published.png").stat().st_size > 10_000


def test_local_slopes_are_those_of_powers():
    tau = np.array([1 / 8, 1 / 16, 1 / 32])
    table = pd.DataFrame({"difference": "a", "observable": "b", "tau": tau, "error": -3 * tau**2})
    assert report.slopes(table, "error").tolist()[1:] == pytest.approx([2, 2])
    assert np.isnan(report.slopes(table, "error")[0])
