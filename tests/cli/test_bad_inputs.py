"""Bad input, in one table: each message names what was given, what is allowed and what to do, and nothing is lost."""

import dataclasses
import errno
import io
import json
import os
import resource
import runpy
import shutil
import sys
import threading
import tracemalloc
import warnings
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pandas as pd
import pytest
import torch

import sme
from sme.common.storage import seal
from sme.common.storage.files import PART
from sme.convergence import collect, findings
from sme.convergence.estimator import paired
from sme.convergence.estimator.moments import Moments
from sme.convergence.output import picture
from sme.convergence.spec.specification import Specification
from sme.convergence.store.points import Point
from sme.simulate.backend import compiled_setups
from sme.simulate.codegen.ensemble import ensemble
from tests.support.tiny import tiny

ROOT = Path(__file__).parents[2]
START = {"theta": torch.tensor([1.0, 0.5])}
MINE, COLLECT, ORDERS, PANELS = "weak_error.py", "collect.py", "check_order.py", "panels.py"
REGIME, SVAG, SCALING, DIAGNOSE = "regime.py", "svag.py", "scaling.py", "diagnose.py"

COMMANDS = [  # script, arguments, what was given, what is allowed, what to do
    (MINE, ["tau=0"], "got 0", "positive", "such as 1/16"),
    (DIAGNOSE, ["module=os.getcwd", "data=os.getcwd"], "got '/", "must be a torch module", "give module=mine.net"),
    (DIAGNOSE, ["module=os.system", "data=os.getcwd"], "module=os.system", "a torch module", "a function without arguments"),
    ("certify.py", ["measured=/dev/zero"], "'/dev/zero'", "the path of a models.csv", "not a regular file"),
    ("drivers.py", ["tau=abc"], "'abc'", "a number", "such as 0.0625"),
    (MINE, ["tau=[0.25,x]"], "'x'", "a number", "such as 0.0625 or 1/16"),
    (MINE, ["tau=1e-9", "paths=1"], "tau = 1e-09", "random numbers that a path has", "larger tau"),
    (MINE, ["optimizer=sgd", "problem.dim=16385"], "dim = 16385", "at most 16384", "give less"),
    (SCALING, ["experiment=rounds", "kappa=[2,4]"], "[2, 4]", "one kappa with 1", "such as kappa=[4]"),
    (SCALING, ["experiment=rounds", "kappa=[x]"], "'x'", "kappa must be", "whole number"),
    (MINE, ["tau=[0.25"], "[0.25", "name=value", "list in quotes"),
    (MINE, ["tau"], "'tau'", "name=value", "write"),
    (MINE, ["tau={a:1}"], "tau={a:1}", "of the kind that stands there", "give a value"),
    (MINE, ["~tau"], "tau is missing", "default", "leave it out of the command"),
    (MINE, ["optimizer.c=4"], "c τ = 4", "(0, 1)", "use τ < 0.25 or a smaller c"),
    (MINE, ["optimizer.c=fast"], "'fast'", "c must be a number", "such as 0.0625"),
    (MINE, ["optimizer=rmsprob"], "'rmsprob'", "adagrad, adam", "did you mean 'rmsprop'"),
    (MINE, ["optimizer=null"], "NoneType", "a string", "leave the group out"),
    (MINE, ["optimizr=adam"], "'optimizr'", "allowed are regime, order", "did you mean 'optimizer'"),
    (MINE, ["optimizer.gamma=1"], "setting of optimizer 'gamma'", "c, eps", "give one of these"),
    (MINE, ["+optimizer.beta=0.9"], "setting of RMSProp 'beta'", "c, eps", "give one of these"),
    (MINE, ["optimizer._target_=nowhere.X"], "'nowhere.X'", "installed", "give a dotted path"),
    (MINE, ["problem=quadratc"], "'quadratc'", "polynomial, quadratic", "did you mean 'quadratic'"),
    (MINE, ["start.v=-1"], "-1.0", "v ≥ 0", "left out"),
    (MINE, ["device=null"], "None", "auto, cpu", "use one of"),
    (MINE, ["paths=many"], "'many'", "whole number ≥ 1", "give 1 or more"),
    (MINE, ["+foo=1"], "'foo'", "problem, optimizer, tau", "give one of these"),
    (MINE, ["+shards=0", "tolerance=0.1"], "shards = 0", "as they are", "leave out one"),
    (MINE, ["results=/dev/null/x"], "/dev/null/x", "can be written to", "Give "),
    (COLLECT, ["results=/nowhere"], "/nowhere", "folder", "give the folder that holds the studies"),
    (COLLECT, [f"results={ROOT / 'README.md'}"], "README.md", "folder", "give the folder that holds the studies"),
    (COLLECT, ["results=1999"], "got 1999", "path of a folder", "quotes of its own"),
    (COLLECT, ["results=null"], "got None", "path of a folder", "give it as text"),
    (PANELS, ["task=errors", "name=x", "studies=[a]"], "['a']", "path of a folder", "give it as text"),
    (PANELS, ["task=errors", "name=x", "results=.", "conditions=7"], "'7'", "name=value", "such as horizon=10"),
    (PANELS, ["task=errors", "name=x", "results=.", "conditions='horizon=7,8'"], "horizon=7,8", "0 results", "run their command"),
    (MINE, ["_target_=sme.nothing"], "sme.nothing", "no task of this package", "leave it as it is"),
    ("atlas.py", ["results=6"], "got 6", "a folder that can be written to", "Give another folder"),
    (ORDERS, ["optimizers=[]"], "got []", "or null for all", "give names"),
    (ORDERS, ["optimizers=rmsprob"], "'rmsprob'", "adagrad, adam", "did you mean 'rmsprop'"),
    (ORDERS, ["optimizers=sgd", "processes=-1"], "got -1", "≥ 1", "'auto' is one a core"),
    (ORDERS, ["optimizers=sgd", f"results={ROOT / 'README.md'}"], "README.md", "can be written to", "Give another folder"),
    (REGIME, ["+foo=1"], "'foo'", "steps, compared", "give one of these"),
    (REGIME, ["problem=diabetes", "problem.noise=0.1", "batch=2"], "batch = 2", "no minibatch's", "leave it out"),
    (REGIME, ["problem=digits", "problem.hidden=null"], "got None", "a width in hidden", "give 1 or more"),
    (SVAG, ["start=null"], "got None", "a group of settings", "leave it out"),
    (SVAG, ["~start"], "start is missing", "default", "leave it out of the command"),
    (SCALING, ["optimizers.adam=3"], "'adam': 3", "group of optimizers", "optimizers must be"),
    (PANELS, ["task=errors", "name=../x"], "'../x'", "letters, digits", "names files"),
    (PANELS, ["task=histograms", "name=x", "results=/nowhere"], "/nowhere", "is not a folder", "give the folder"),
    (PANELS, ["task=errors", "name=x", "results=.", "problem.dim=2"], "problem.dim=2", "0 results", "run their command"),
]

FEW = COMMANDS[1::2]
"""by default"""

PASSED_ON = [  # that tests/common/test_errors.py and the table below ask the library for, and the command line passes on
    (MINE, ["tau=0.3"], "tau = 0.3", "whole number of steps", "use tau = 0.3333333333333333, or 1/n"),
    (MINE, ["tau=1e-12"], "tau = 1e-12", "at most", "give fewer paths"),
    (MINE, ["optimizer.denominator=new"], "'new'", "previous, updated", "give one of these"),
    (MINE, ["optimizer=adam", "optimizer.bias_correction=true"], "t0 = 0", "t0 > 0", "such as t0=2"),
    (MINE, ["problem=logistic", "problem.features=99"], "got 99", "between 1 and 30", "give fewer"),
    (MINE, ["problem.noise=-1"], "got -1", "noise ≥ 0", "give 0 or more"),
    (MINE, ["order=3"], "got 3", "1 or 2", "must be"),
    (MINE, ["order=2", "brownian=none"], "driver='none'", "order 1 only", "use driver='independent'"),
    (MINE, ["regime=batch_equivalnt"], "'batch_equivalnt'", "ballistic, batch_equivalent", "did you mean"),
    (MINE, ["problem=logistic", "regime=batch_equivalent"], "batch-equivalent", "order 1/2", "use regime='ballistic'"),
    (MINE, ["start.theta=[1,2,3]"], "3 values", "dim = 2", "give 1 to 2"),
    (MINE, ["+start.w=1"], "'w'", "theta, m, v", "give one of these"),
    (MINE, ["device=cuda:9"], "'cuda:9'", "auto, cpu", "use one of"),
    (MINE, ["paths=1e30"], "paths = 1e+30", "at most", "give fewer"),
    (MINE, ["observables=[thta]"], "'thta'", "|theta|^2, |v|^2", "did you mean 'theta[0]'"),
    (MINE, ["processes=0"], "got 0", "≥ 1", "'auto' is one a core"),
    (MINE, ["+shards=-1"], "got -1", "whole number ≥ 0", "give 0 or more"),
    (MINE, ["+shards=7", "paths=1"], "shard 7", "0 to 0", "give more paths"),
]


def in_this_process(todo, folder):
    """Exit code and standard error of each `(script, largest file or 0, arguments)`, without an import of torch for each."""
    unlimited, out = resource.getrlimit(resource.RLIMIT_FSIZE), []
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(picture, "draw", lambda *_: None)
        tiny(patch)
        for script, largest, arguments in todo:
            patch.setattr(sys, "argv", [str(ROOT / "scripts" / script), *arguments])
            code, said = 0, io.StringIO()
            with redirect_stderr(said), redirect_stdout(io.StringIO()):
                try:  # Python is not ended by SIGXFSZ, it hears of a file that is too large
                    resource.setrlimit(resource.RLIMIT_FSIZE, (largest or unlimited[0], unlimited[1]))
                    runpy.run_path(sys.argv[0], run_name="__main__")
                except SystemExit as stop:
                    code = stop.code
                finally:
                    resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
            out.append((code, said.getvalue()))
    return out


def refused(code, stderr):
    assert code == 2, stderr
    assert stderr.startswith("error: "), stderr
    assert stderr.count("\n") == 1, stderr


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    """What the command line says to the table; then to a good job between bad ones, on a full disk, and with room again."""
    refusing, working = tmp_path_factory.mktemp("refusing"), tmp_path_factory.mktemp("working")
    common = {MINE: ["processes=1", f"results={refusing}"]}
    job = ["optimizer=sgd", "observables=[loss]", "horizon=0.5", "paths=32768", "processes=1", f"results={working}"]
    todo = [(script, 0, [*common.get(script, []), *arguments]) for script, arguments, *_ in FEW]
    todo += [(MINE, 0, ["-m", "order=3,1,x", "tau=0.25", *job]), (MINE, 1000, ["order=1", "tau=0.125", *job]),
             (MINE, 0, ["order=1", "tau=[0.25,0.125]", *job])]
    return in_this_process(todo, refusing), refusing, working


def all_refused(rows, said, folder):
    for row, (code, stderr) in zip(rows, said, strict=True):
        refused(code, stderr)
        for word in row[2:]:
            assert word in stderr, row[1]
    assert not list(folder.glob("*/points"))


def test_the_command_line_refuses_in_one_line_with_exit_code_2(answers):
    said, folder, _ = answers
    all_refused(FEW, said[: len(FEW)], folder)


@pytest.mark.slow
def test_the_command_line_refuses_all_others(tmp_path):
    others = [*(row for row in COMMANDS if row not in FEW), *PASSED_ON]
    common = {MINE: ["processes=1", f"results={tmp_path}"]}
    todo = [(script, 0, [*common.get(script, []), *arguments]) for script, arguments, *_ in others]
    all_refused(others, in_this_process(todo, tmp_path), tmp_path)


def test_a_bad_job_stops_no_other_and_a_full_disk_loses_nothing(answers):
    said, _, results = answers
    (code, stderr), (full, fault), (again, rest) = said[len(FEW):]
    refused(code, stderr)
    assert "order must be 1 or 2 (or both), got 3" in stderr  # the first bad one
    refused(full, fault)
    for word in ("cannot write", "File too large", "Nothing that is there was lost", "make room"):
        assert word in fault
    assert (again, rest) == (0, "")
    (folder,) = results.glob("sgd-*")
    assert pd.read_csv(folder / "errors.csv")["tau"].tolist() == [0.25, 0.125]  # of the job in between, and of the last
    assert not list(folder.rglob(f".*{PART}"))


def study(**changes):
    arguments = {"problem": sme.Quadratic(), "optimizer": sme.SGD(), "tau": [1 / 2, 1 / 4], "start": START, "order": 1,
                 "observables": ["loss"], "paths": 1, **changes}
    return sme.weak_error(arguments.pop("problem"), arguments.pop("optimizer"), **arguments)


@pytest.fixture(autouse=True)
def short(monkeypatch):
    tiny(monkeypatch)


PYTHON = [  # what is called with a study, what was given, what is allowed, what to do
    (lambda s: study(tau=float("nan")), "got nan", "positive", "such as 1/16"),
    (lambda s: study(tau=[]), "tau is empty", "one step size", "give at least"),
    (lambda s: study(tau=1 / 2, horizon=5.0, optimizer=sme.RMSProp(c=2.0)), "c τ = 2 · 0.5", "(0, 1)", "use τ < 0.5"),
    (lambda s: study(horizon=float("inf")), "got inf", "positive and finite", "give one such as 1"),
    (lambda s: study(times=[2.0]), "[2.0]", "(0, horizon] = (0, 1]", "leave them out"),
    (lambda s: study(times=[0.1]), "time = 0.1", "multiple of tau = 0.5", "choose one"),
    (lambda s: study(tolerance=2.0), "got 2.0", "between 0 and 1", "such as 0.05"),
    (lambda s: study(budget_s=-1), "got -1", "positive number of seconds", "leave it out"),
    (lambda s: study(seed=1.5), "got 1.5", "whole number ≥ 0", "give 0 or more"),
    (lambda s: study(backend="gpu"), "'gpu'", "auto, compiled, torchsde", "give one of these"),
    (lambda s: study(start={"w": torch.ones(2)}), "'w'", "theta", "give one of these"),
    (lambda s: study(start={"theta": torch.ones(3)}), "(3,)", "dim = 2", "give a tensor of shape (2,)"),
    (lambda s: study(start={"theta": torch.tensor([float("nan"), 1.0])}), "nan", "finite", "give a tensor"),
    (lambda s: study(observables={"wide": lambda s: s["theta"]}), "got (3, 2)", "(paths,)", "reduce the last axis"),
    (lambda s: study(optimizer="adam"), "'adam'", "sme.Optimizer", "such as sme.Adam()"),
    (lambda s: study(paths=1, tolerance=0.1), "tolerance = 0.1", "paths = 1", "give one of them"),
    (lambda s: study(paths=None, shards=[0], tolerance=0.1), "shards = [0]", "a tolerance adds", "leave out one"),
    (lambda s: study(shards=-1), "got -1", "≥ 0", "give 0 or more"),
    (lambda s: study(results=3), "got 3", "folder that can be written to", "Give another folder"),
    (lambda s: s.extend(shards=[5], paths=1), "shard 5", "0 to 0", "give more paths"),
    (lambda s: s.extend(tau=0.3), "tau = 0.3", "whole number of steps", "use tau = 0.3333333333333333"),
    (lambda s: s.compare(study(optimizer=sme.Adam())), "differ in optimizer", "same discrete run", "compare two orders"),
    (lambda s: s.compare(orders=(1, 1)), "order 1, independent", "the same equation", "give the orders"),
    (lambda s: s.compare(study(tau=1 / 8, order=2)), "tau is 0.5, 0.25 and 0.125", "in common", "compare(…, tau="),
    (lambda s: s.compare(orders=(2,)), "(2,)", "two", "orders=(2, 1)"),
    (lambda s: s.compare("adam"), "'adam'", "another one", "give one that sme.weak_error"),
    (lambda s: s.plot("errors.xyz"), "'xyz'", "pdf", "give one of these"),
    (lambda s: sme.load(None), "None", "path", "give it as text"),
    (lambda s: sme.check_order(sme.Quadratic(), sme.SGD(), regime="fast"), "'fast'", "ballistic", "give one of these"),
]


@pytest.fixture(scope="module")
def known():
    with pytest.MonkeyPatch.context() as patch:
        tiny(patch)
        return study()


@pytest.mark.parametrize(("call", "given", "allowed", "do"), PYTHON)
def test_python_refuses(call, given, allowed, do, known):
    with pytest.raises(sme.SMEError) as caught:
        call(known)
    assert "\n" not in str(caught.value)
    for word in (given, allowed, do):
        assert word in str(caught.value)


SHARD = 2 * 4 * 32
"""paths of a tiny shard"""
FIRST = "order1-steps2-seed0-shard0.json"


def rewritten(path, change):
    """A whole point, its sum included, of other content."""
    data = json.loads(path.read_text())
    del data["sha256"]
    change(data)
    path.write_text(seal.text(data))


def edited(path, **changes):
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def half(path):
    part = path.with_name(f".{path.name}.abc{PART}")
    part.write_text(path.read_text()[:100])
    os.utime(part, (1, 1))


def wide(path):
    path = path.with_name(path.name.replace("shard0", "shard1"))
    point = Point.load(path, path.parents[1].name)
    other = Moments.of(torch.ones(8, 9, dtype=torch.float64).numpy())
    blocks = [dataclasses.replace(block, moments=other) for block in point.blocks]
    dataclasses.replace(point, blocks=blocks).save(path.parent)


def blocked(path):
    path.unlink()
    path.mkdir()


def asked(path):
    for each in (path.parents[1] / "asked").iterdir():
        each.write_text("{")


def spec(path):
    return path.parents[1] / "spec.json"


def rebuild(folder):
    collect.rebuild(folder.parent)


def extend(folder, **changes):
    sme.load(folder).extend(tau=[1 / 2, 1 / 4, 1 / 8], **changes)


def full(folder):
    def no_room(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", no_room)
        extend(folder)


OUTLINES = [lambda p: spec(p).write_text('{"numerics"'), lambda p: edited(spec(p), times=None),
            lambda p: rewritten(spec(p), lambda d: d.update(numerics=1)), lambda p: spec(p).unlink()]
FILES = [  # damage to the first point's file or beside it, what is then called, given, allowed, what to do
    (lambda p: p.write_text(p.read_text()[:100]), rebuild, FIRST, "not a whole point", "delete it"),
    (lambda p: p.write_text(""), rebuild, FIRST, "not a whole point", "delete it"),
    (lambda p: p.write_bytes(b"\xff\xfe\x00"), rebuild, FIRST, "not a whole point", "delete it"),
    (lambda p: p.write_text("[1, 2]"), rebuild, FIRST, "not a whole point", "delete it"),
    (lambda p: edited(p, paths=7), rebuild, FIRST, "numbers are not those that were written", "delete it"),
    (lambda p: rewritten(p, lambda d: d.update(study="other")), rebuild, "belongs to other", "not to {name}", "move it away"),
    (lambda p: rewritten(p, lambda d: d.update(numerics=1)), rebuild, "numerics 1", "numerics 2", "move it away"),
    (lambda p: p.rename(p.with_name("order1-steps2-seed5-shard0.json")), rebuild, "seed5", FIRST, "move it away"),
    (wide, rebuild, "other variables", "cannot be merged", "delete the one"),
    (half, rebuild, f".{FIRST}.abc{PART}", "half-written", "delete the file"),
    (blocked, rebuild, FIRST, "not a whole point", "delete it"),
    (blocked, extend, f"cannot write {{folder}}/points/{FIRST}", "Is a directory", "give the right to write there"),
    (asked, rebuild, "asked/", "which points were asked for", "delete it, and run"),
    (OUTLINES[0], rebuild, "spec.json", "whole specification", "run its study's command"),
    (OUTLINES[1], rebuild, "spec.json", "whole specification", "run its study's command"),
    (OUTLINES[2], rebuild, "spec.json", "not that of {name}", "run its study's command"),
    (OUTLINES[3], sme.load, "{folder}", "no spec.json", "give the folder of one study"),
    (lambda p: rewritten(spec(p), lambda d: d.update(recipe=3)), extend, "{name}", "made from", "run its own command"),
    (lambda p: rewritten(spec(p), lambda d: d.update(recipe={"problem": 3})), extend, "a recipe", "group of settings",
     "hand the part"),
    (lambda p: rewritten(spec(p), lambda d: d["recipe"].pop("start")), extend, "{name}", "spec.json says", "hand its parts over"),
    (lambda p: (p.parents[1] / "slopes.csv").write_text('no,"table'), lambda f: collect.join(f.parent),
     "{name}/slopes.csv", "table of slopes", "Delete it"),
    (lambda p: (p.parents[2] / "file").write_text(""), lambda f: study(results=f.parent / "file"),
     "file", "folder that can be written to", "Give another folder"),
    (lambda p: (p.parents[2] / "file").write_text(""), lambda f: study(results=f.parent / "file" / "x"),
     "file/x", "folder that can be written to", "Give another folder"),
    (lambda p: None, full, "cannot write", "No space left on device", "make room"),
    (lambda p: None, lambda f: sme.load(f.parent), "{results}", "no spec.json", "such as {name}"),
    (lambda p: None, lambda f: sme.load(f, optimiser=sme.SGD()), "'optimiser'", "problem, optimizer", "did you mean 'optimizer'"),
    (lambda p: None, lambda f: sme.load(f, optimizer=sme.Adam()), "{name}", "they make adam-", "Restore them"),
    (lambda p: shutil.rmtree(p.parent), lambda f: sme.load(f).extend(), "no points", "both order and tau", "such as order=2"),
]


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """A study of two step sizes with two shards each."""
    with pytest.MonkeyPatch.context() as patch:
        tiny(patch)
        return study(results=tmp_path_factory.mktemp("kept"), paths=2 * 32768).folder


@pytest.mark.parametrize(("damage", "act", "given", "allowed", "do"), FILES)
def test_files_are_named_and_nothing_is_lost(damage, act, given, allowed, do, kept, tmp_path, monkeypatch):
    monkeypatch.setattr(findings.picture, "draw", lambda *_: None)
    folder = tmp_path / kept.name
    shutil.copytree(kept, folder)
    place, tables = folder / "points", (folder / "errors.csv").read_bytes()
    before = {path.name: path.read_bytes() for path in place.iterdir()}
    damage(place / FIRST)
    healthy = [name for name, content in before.items() if (place / name).is_file() and (place / name).read_bytes() == content]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            act(folder)
            refusal = []
        except sme.SMEError as fault:
            refusal = [str(fault)]
        collect.rebuild(tmp_path)
    words = [word.format(folder=folder, results=tmp_path, name=kept.name) for word in (given, allowed, do)]
    said = [str(warning.message) for warning in caught] + refusal
    assert any(all(word in message for word in words) for message in said), said
    assert not any("\n" in message for message in said)
    assert all((place / name).read_bytes() == before[name] for name in healthy)
    assert not [path for path in folder.rglob(f".*{PART}") if "abc" not in path.name]
    if not healthy or damage in OUTLINES:  # nothing to make the tables from: they stay
        assert (folder / "errors.csv").read_bytes() == tables
        return
    found = pd.read_csv(folder / "errors.csv").set_index("tau")["paths"]
    for steps in (2, 4):
        assert found[1 / steps] == SHARD * sum(f"-steps{steps}-" in name for name in healthy)


def test_a_reader_finds_a_whole_point_while_two_jobs_write_it(kept, tmp_path):
    one = Point.load(kept / "points" / FIRST, kept.name)
    two = dataclasses.replace(one, provenance={**one.provenance, "device": "another " * 1000})
    one.save(tmp_path)
    seen, done = set(), threading.Event()

    def write(point):
        while not done.is_set():
            point.save(tmp_path)

    jobs = [threading.Thread(target=write, args=(each,)) for each in (one, two)]
    for job in jobs:
        job.start()
    try:
        for _ in range(300):
            found = Point.load(tmp_path / FIRST, kept.name)  # refuses what is not whole
            seen.add(len(found.provenance["device"]))
            assert found.blocks[0].moments.mean.tolist() == one.blocks[0].moments.mean.tolist()
    finally:
        done.set()
        for job in jobs:
            job.join()
    assert len(seen) == 2
    assert [path.name for path in tmp_path.iterdir()] == [FIRST]


def many(horizon):
    """SGD at τ = 1/1000 down a slope of 1, compiled, with noise: the mean of a pair has gone as far as time has passed."""
    problem = sme.Polynomial([0.0, -1.0], noise=0.1)
    spec = Specification.of(problem, sme.SGD(), "ballistic", "independent", horizon, {"theta": torch.zeros(1)}, None, None)
    steps = spec.steps("1/1000")
    (setup,) = compiled_setups({(1, steps): paired.prepared(spec.setup(1, steps))}, must=True).values()
    tracemalloc.start()
    run = ensemble(setup, (0, steps, 0, 0), 4)
    run.advance(steps)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return setup, run, peak


def test_many_steps_end_on_time_and_need_no_more_memory():
    _, _, short = many(20.0)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    setup, run, long = many(200.0)
    assert long < 1.5 * short + 10_000
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 10_000  # KiB: less than 50 bytes a step
    assert setup.steps == 200_000
    assert setup.chain.time(200_000 - 1) == pytest.approx(200 - 1 / 1000, rel=1e-15)
    assert run.increments.substeps == run.ladders[0].scheme.fewest
    for x in (run.state["theta"], *run.ladders[0].levels):  # each step and substep was taken once
        assert torch.allclose((x[:4] + x[4:]) / 2, torch.tensor(200.0, dtype=torch.float64), rtol=0, atol=1e-6)
        assert x.std() > 1e-3


def test_the_reference_of_a_long_run_is_that_of_a_short_one(monkeypatch):
    monkeypatch.undo()  # as many substeps as it takes
    spec = Specification.of(sme.Quadratic(), sme.RMSProp(), "ballistic", "independent", 1.0, START, None, [0.5, 1.0])
    setup = spec.setup(2, 64)
    with torch.no_grad():
        stepped = paired.ordinary(setup)
        monkeypatch.setattr(paired, "LONGEST", 32)
        solved = paired.ordinary(setup)
    assert abs(solved - stepped).max() < 1e-8
    blows = Specification.of(sme.Polynomial([0.0, 0.0, 0.0, -1.0]), sme.SGD(), "ballistic", "independent", 1.0,
                             {"theta": torch.ones(1)}, None, [0.25, 1.0])
    assert torch.isfinite(torch.from_numpy(paired.ordinary(blows.setup(2, 64)))).all(1).tolist() == [True, False]
