"""Bad input: what was given, what is allowed, what to change; from Python and from the command line."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import sme

ROOT = Path(__file__).parent.parent
START = {"theta": torch.tensor([1.0, 0.5])}


def study(**changes):
    arguments = {"problem": sme.Quadratic(), "optimizer": sme.RMSProp(), "tau": 1 / 4, "start": START, "paths": 1, **changes}
    return sme.weak_error(arguments.pop("problem"), arguments.pop("optimizer"), **arguments)


@pytest.mark.parametrize(("changes", "words"), [
    ({"tau": 0}, ["positive", "0"]),
    ({"tau": -0.1}, ["positive", "-0.1"]),
    ({"tau": "a quarter"}, ["number", "a quarter", "1/16"]),
    ({"tau": []}, ["empty"]),
    ({"tau": 0.3}, ["0.3", "whole number", "0.3333333333333333", "1/n"]),
    ({"horizon": -1.0}, ["horizon", "-1"]),
    ({"tau": 1 / 2, "horizon": 5.0, "optimizer": sme.RMSProp(c=2.0)}, ["c τ", "β", "τ < 0.5"]),
    ({"order": 3}, ["order", "3", "1 or 2"]),
    ({"order": []}, ["order", "empty"]),
    ({"brownian": "none", "order": 2}, ["order 1 only", "independent"]),
    ({"brownian": "independant"}, ["independant", "did you mean 'independent'"]),
    ({"regime": "balistic"}, ["balistic", "did you mean 'ballistic'"]),
    ({"start": {}}, ["theta", "start"]),
    ({"start": torch.ones(2)}, ["start", "map"]),
    ({"start": {**START, "w": torch.ones(2)}}, ["'w'", "theta, v"]),
    ({"start": {"theta": torch.ones(3)}}, ["(3,)", "(2,)"]),
    ({"start": {**START, "v": torch.tensor([-1.0, 1.0])}}, ["v", "-1.0", "≥ 0"]),
    ({"start": {"theta": torch.tensor([float("nan"), 1.0])}}, ["not finite"]),
    ({"device": "cuda:7"}, ["cuda:7", "cpu"]),
    ({"device": "tpu"}, ["tpu", "cpu"]),
    ({"paths": 0}, ["paths", "0", "≥ 1"]),
    ({"paths": None, "tolerance": 2.0}, ["tolerance", "between 0 and 1"]),
    ({"budget_s": -1}, ["budget_s", "-1"]),
    ({"seed": -1}, ["seed", "-1"]),
    ({"processes": 0}, ["processes", "auto"]),
    ({"times": [2.0]}, ["times", "horizon"]),
    ({"times": [0.1]}, ["0.1", "multiple of tau"]),
    ({"observables": ["|theta|^3"]}, ["|theta|^3", "did you mean '|theta|^2'"]),
    ({"observables": {"m": lambda s: s["m"].sum(-1)}}, ["'m'", "theta, v"]),
    ({"observables": {"wide": lambda s: s["theta"]}}, ["wide", "(paths,)"]),
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
    ({"optimizer": "adam"}, ["optimizer", "adam"]),
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


COMMANDS = [
    (["tau=0"], ["tau must be positive"]),
    (["tau=[0.25,x]"], ["'x'", "1/16"]),
    (["tau=0.3"], ["whole number of steps"]),
    (["optimizer.c=4"], ["c τ = 4"]),
    (["order=3"], ["order must be 1 or 2"]),
    (["order=2", "brownian=none"], ["order 1 only"]),
    (["regime=batch_equivalnt"], ["did you mean 'batch_equivalent'"]),
    (["optimizer=rmsprob"], ["unknown optimizer 'rmsprob'", "did you mean 'rmsprop'"]),
    (["problem=quadratc"], ["did you mean 'quadratic'"]),
    (["optimizr=adam"], ["optimizr"]),
    (["optimizer.gamma=1"], ["gamma"]),
    (["start.v=-1"], ["v", "negative"]),
    (["start.theta=[1,2,3]"], ["start.theta", "dim = 2"]),
    (["problem.noise=-1"], ["noise ≥ 0"]),
    (["problem.noise=nan"], ["noise ≥ 0"]),
    (["problem.noise=much"], ["noise must be a number", "much"]),
    (["optimizer.c=fast"], ["c must be a number", "fast"]),
    (["optimizer=adam", "optimizer.bias_correction=true"], ["t0"]),
    (["optimizer.denominator=new"], ["previous, updated"]),
    (["device=cuda:9"], ["cuda:9", "cpu"]),
    (["paths=many"], ["paths must be a whole number", "many"]),
    (["observables=[thta]"], ["thta"]),
    (["tau=[0.25"], ["[0.25"]),
    (["+foo=1"], ["unknown setting 'foo'"]),
    (["~tau"], ["tau is missing"]),
    (["start=5"], ["start must be a group"]),
    (["+start.w=1"], ["unknown field in start 'w'"]),
    (["+optimizer.beta=0.9"], ["beta", "c, eps"]),
    (["device=null"], ["device"]),
]


def run(*overrides, results, script="weak_error.py"):
    return subprocess.run([sys.executable, ROOT / "scripts" / script, *overrides, f"results={results}"],
                          capture_output=True, text=True, cwd=results, timeout=300, check=False)


IN_ONE_PROCESS = """
import io, json, runpy, sys
from contextlib import redirect_stderr
script, todo, out = sys.argv[1], json.loads(sys.argv[2]), []
for overrides in todo:
    sys.argv = [script, *overrides]
    stream, code = io.StringIO(), 0
    with redirect_stderr(stream):
        try:
            runpy.run_path(script, run_name="__main__")
        except SystemExit as stop:
            code = stop.code
    out.append([code, stream.getvalue()])
print(json.dumps(out))
"""


def test_the_command_line_refuses_in_one_line_with_exit_code_2(tmp_path):
    """All in one process: what is tested is the same `cli`, without 20 imports of torch."""
    todo = [[*overrides, f"results={tmp_path}"] for overrides, _ in COMMANDS]
    done = subprocess.run([sys.executable, "-c", IN_ONE_PROCESS, str(ROOT / "scripts" / "weak_error.py"), json.dumps(todo)],
                          capture_output=True, text=True, timeout=300, check=True, cwd=tmp_path)
    for (overrides, words), (code, stderr) in zip(COMMANDS, json.loads(done.stdout.splitlines()[-1]), strict=True):
        assert code == 2, (overrides, stderr)
        assert stderr.startswith("error: "), (overrides, stderr)
        assert stderr.count("\n") == 1, (overrides, stderr)
        for word in words:
            assert word in stderr, (overrides, stderr)


def test_the_script_itself_exits_with_2_and_no_traceback(tmp_path):
    done = run("-m", "order=1,3", "tau=0.25", "paths=1", "brownian=none", "processes=1", results=tmp_path)
    assert done.returncode == 2
    assert "order must be 1 or 2" in done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert list(tmp_path.glob("*/errors.csv"))  # the good job of the sweep ran
    done = subprocess.run([sys.executable, ROOT / "scripts" / "collect.py", tmp_path / "nowhere"],
                          capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 2
    assert "is not a folder" in done.stderr
