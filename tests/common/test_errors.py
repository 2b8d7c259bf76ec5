"""Bad input from Python, part by part; tests/cli/test_bad_inputs.py has the table of whole messages."""

import pytest
import torch

import sme

START = {"theta": torch.tensor([1.0, 0.5])}


def study(**changes):
    arguments = {"problem": sme.Quadratic(), "optimizer": sme.RMSProp(), "tau": 1 / 4, "start": START, "paths": 1, **changes}
    return sme.weak_error(arguments.pop("problem"), arguments.pop("optimizer"), **arguments)


@pytest.mark.parametrize(("changes", "words"), [
    ({"tau": 0}, ["positive", "0"]),
    ({"tau": -0.1}, ["positive", "-0.1"]),
    ({"tau": "a quarter"}, ["number", "a quarter", "1/16"]),
    ({"tau": 0.3}, ["0.3", "whole number", "0.3333333333333333", "1/n"]),
    ({"order": 3}, ["order", "3", "1 or 2"]),
    ({"order": []}, ["order", "empty"]),
    ({"brownian": "none", "order": 2}, ["order 1 only", "independent"]),
    ({"brownian": "independant"}, ["independant", "did you mean 'independent'"]),
    ({"regime": "balistic"}, ["balistic", "did you mean 'ballistic'"]),
    ({"start": {}}, ["theta", "start"]),
    ({"start": torch.ones(2)}, ["start", "map"]),
    ({"start": {**START, "w": torch.ones(2)}}, ["'w'", "theta, v"]),
    ({"start": {**START, "v": torch.tensor([-1.0, 1.0])}}, ["v", "-1.0", "≥ 0"]),
    ({"device": "cuda:7"}, ["cuda:7", "cpu"]),
    ({"device": "tpu"}, ["tpu", "cpu"]),
    ({"paths": 0}, ["paths", "0", "≥ 1"]),
    ({"seed": -1}, ["seed", "-1"]),
    ({"processes": 0}, ["processes", "auto"]),
    ({"times": [0.1]}, ["0.1", "multiple of tau"]),
    ({"observables": ["|theta|^3"]}, ["|theta|^3", "did you mean '|theta|^2'"]),
    ({"observables": {"m": lambda s: s["m"].sum(-1)}}, ["'m'", "theta, v"]),
    ({"observables": {}}, ["observables", "empty"]),
    ({"observables": {"bad": lambda s: s["theta"].nothing()}}, ["bad", "fails", "nothing"]),
    ({"times": [0.25, 0.25 + 1e-13]}, ["different multiples"]),
    ({"times": 1e-12}, ["none of them 0"]),
    ({"start": {"theta": "one"}}, ["theta", "real tensor"]),
    ({"start": {"theta": torch.ones(2, dtype=torch.complex64)}}, ["must be a real tensor"]),
    ({"device": None}, ["device", "cpu"]),
    ({"results": "/dev/null"}, ["results", "folder"]),
    ({"paths": 10, "tolerance": 5}, ["tolerance", "5"]),
    ({"paths": 1.5}, ["paths", "1.5"]),
    ({"problem": "quadratic"}, ["problem", "quadratic"]),
    ({"regime": "batch_equivalent", "brownian": "none", "order": 1}, ["no order"]),
    ({"tau": 1 / 4, "optimizer": sme.Adam(bias_correction=True, t0=0.3)}, ["t0", "0.3"]),
])
def test_weak_error_refuses(changes, words):
    with pytest.raises(sme.SMEError) as caught:
        study(**changes)
    for word in words:
        assert word in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("make", "words"), [
    (lambda: sme.RMSProp(c=-1), ["c", "-1", "> 0"]),
    (lambda: sme.RMSProp(eps=-1), ["eps", "-1"]),
    (lambda: sme.Adam(denominator="old"), ["old", "previous, updated"]),
    (lambda: sme.Adam(bias_correction=True), ["t0", "bias_correction"]),
    (lambda: sme.Adam(t0=1.0), ["t0", "bias_correction"]),
    (lambda: sme.Adam(clock=(1,)), ["clock"]),
    (lambda: sme.Adam(clock=None), ["clock"]),
    (lambda: sme.Adam(bias_correction="false", t0=1.0), ["bias_correction", "True or False"]),
    (lambda: sme.Adam(t0=float("inf"), bias_correction=True), ["t0", "finite"]),
    (lambda: sme.RMSProp(eps=float("inf")), ["eps", "finite"]),
    (lambda: sme.RMSProp(c="fast"), ["c must be a number", "fast"]),
    (lambda: sme.GaussianNoise("noise"), ["factor", "noise"]),
    (lambda: sme.Problem(None, 2, sme.GaussianNoise(torch.eye(2))), ["loss", "None"]),
    (lambda: sme.Problem(lambda t: t.sum(), 2, sme.GaussianNoise(torch.eye(2)), name="../x"), ["name", "../x"]),
    (lambda: sme.MinibatchNoise(lambda t, x: t.sum(), torch.ones(3), 1), ["(X,)"]),
    (lambda: sme.Quadratic(seed="x"), ["seed", "x"]),
    (lambda: sme.Polynomial("123"), ["coefficients", "123"]),
    (lambda: sme.GaussianNoise(torch.ones(2)), ["(d, m)", "(2,)"]),
    (lambda: sme.GaussianNoise(torch.tensor([[float("inf")]])), ["not finite"]),
    (lambda: sme.Problem(lambda t: t.sum(), 3, sme.GaussianNoise(torch.eye(2))), ["2 rows", "dim = 3"]),
    (lambda: sme.Problem(lambda t: t.sum(), 2, sme.GaussianNoise(lambda t: t)), ["(2, 2)", "(2,)"]),
    (lambda: sme.Problem(lambda t: t.sum(), 0, sme.GaussianNoise(torch.eye(2))), ["dim", "0"]),
    (lambda: sme.Problem(lambda t: t.sum(), 2, torch.eye(2)), ["gradient law"]),
    (lambda: sme.MinibatchNoise(lambda t, x: t.sum(), (torch.ones(3),), 0), ["batch_size", "0"]),
    (lambda: sme.MinibatchNoise(lambda t, x, y: t.sum(), (torch.ones(3), torch.ones(4)), 1), ["[3, 4]"]),
    (lambda: sme.Logistic(features=31), ["31", "30"]),
    (lambda: sme.Logistic(examples=1), ["examples", "≥ 2"]),
    (lambda: sme.Logistic(examples=1000), ["examples", "569"]),
    (lambda: sme.Quadratic(dim=0), ["dim"]),
    (lambda: sme.Polynomial([]), ["coefficients"]),
])
def test_parts_refuse(make, words):
    with pytest.raises(sme.SMEError) as caught:
        make()
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize(("problem", "words"), [
    (sme.Problem(lambda t: t.log().sum(), 2, sme.GaussianNoise(torch.eye(2))), ["loss", "not finite", "start"]),
    (sme.Problem(lambda t: t, 2, sme.GaussianNoise(torch.eye(2))), ["scalar", "(2,)"]),
    (sme.Problem(lambda t: t.square().sum(), 2, sme.GaussianNoise(lambda t: t.diag() / 0 * 0 + t.diag() / 0)),
     ["noise variance", "not finite"]),
    (sme.Problem(lambda t: t.square().sum(), 2, sme.MinibatchNoise(lambda t, x: (t * x).sum(), (torch.eye(2),))),
     ["mean of the per-example losses"]),
    (sme.Problem(lambda t: (torch.ones(2) @ t), 2, sme.GaussianNoise(torch.eye(2))), ["loss", "float64"]),
])
def test_a_problem_that_is_not_finite_at_the_start_is_refused(problem, words):
    with pytest.raises(sme.SMEError) as caught:
        study(problem=problem, start={"theta": torch.tensor([-1.0, 1.0])})
    for word in words:
        assert word in str(caught.value)
