"""Where the processor's time goes in the jobs that a user waits for, each in a process of its own.

    python benchmarks/jobs.py            # all
    python benchmarks/jobs.py adam plan  # some
"""

import functools
import importlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from page import Section, machine, options

ROOT = Path(__file__).parent.parent
ADAM = ["weak_error", "optimizer=adam", "order=2", "processes=1"]
BATCHES = ["weak_error", "experiment=minibatch", "tau=[1/4,1/8]", "processes=1", "backend=compiled"]
OBSTRUCTED = ["weak_error", "optimizer=rmsprop", "regime=batch_equivalent", "order=2", "tau=[1/4,1/8]", "processes=1"]
JOBS = {  # what it is called: whether compiled and kept things are there, whether the points are, the command
    "adam": (False, False, ADAM), "adam, kept": (True, False, ADAM), "adam, found": (True, True, ADAM),
    "plan": (False, False, [*ADAM, "plan=true"]), "plan, kept": (True, False, [*ADAM, "plan=true"]),
    "minibatch": (False, False, BATCHES), "minibatch, all": (False, False, [*BATCHES, "problem.examples=null"]),
    "obstruction": (False, False, OBSTRUCTED),
    "check_order": (False, False, ["check_order", "optimizers=[rmsprop]", "processes=1"]),
    "digits": (False, False, ["trajectories", "experiment=digits", "tau=1/8", "horizon=0.5", "processes=1"])}
PARTS = {  # which functions a part of the time is that of
    "trace": ["sme.simulate.backend:source"], "weights": ["sme.convergence.estimator.paired:_prepare"],
    "trial": ["sme.simulate.backend:agrees"], "sampling": ["sme.simulate.codegen.ensemble:call"],
    "prediction": ["sme.convergence.fit.predicted:predict"],
    "torch": ["sme.simulate.ensemble:TorchEnsemble.advance"],
    "pictures": ["matplotlib.figure:Figure.savefig", "sme.convergence.output.picture:draw"]}
COLUMNS = ("job", "all", "imports", "compiler", *PARTS, "the rest")
CHILD = "--child"


def spent() -> tuple[float, float]:
    """Seconds of this process, and of those that it waited for, such as the compiler."""
    times = os.times()
    return time.process_time(), times.children_user + times.children_system


def clocked(seconds: Counter[str], part: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, its seconds added to its part; what another part calls is that part's."""

    @functools.wraps(function)
    def run(*args: Any, **kwargs: Any) -> Any:
        if seconds.get("within"):
            return function(*args, **kwargs)
        seconds["within"], began = 1, time.process_time()
        try:
            return function(*args, **kwargs)
        finally:
            seconds[part] += time.process_time() - began  # type: ignore[assignment]
            seconds["within"] = 0

    return run


def child(name: str, *arguments: str) -> None:
    """One job, in this process; its seconds go to the standard error as its last line."""
    command = importlib.import_module("sme.cli.command")
    script = importlib.import_module("sme.cli.main")
    seconds: Counter[str] = Counter()
    command.loaded(script._target(name).rpartition(".")[0])
    for part, places in PARTS.items():
        for place in places:
            module, _, path = place.partition(":")
            *owner, last = path.split(".")
            holder = functools.reduce(getattr, owner, importlib.import_module(module))
            setattr(holder, last, clocked(seconds, part, getattr(holder, last)))
    seconds["imports"] = spent()[0]  # type: ignore[assignment]
    sys.argv = [name, *arguments]
    try:
        script.main(name)
    finally:
        own, others = spent()
        print(json.dumps({**{part: seconds[part] for part in ("imports", *PARTS)}, "all": own + others, "compiler": others}),
              file=sys.stderr)


def measured(kept: bool, found: bool, arguments: list[str]) -> dict[str, float]:
    """A job's seconds, after a run that leaves what is to be there."""
    with tempfile.TemporaryDirectory() as folder:
        for place in [*["first"] * (kept or found), "first" if found else "second"]:
            done = subprocess.run([sys.executable, __file__, CHILD, *arguments, f"results={folder}/{place}"],
                                  env={**os.environ, "SME_CACHE": f"{folder}/cache", "OMP_NUM_THREADS": "1"}, cwd=ROOT,
                                  capture_output=True, text=True, check=False)
            if done.returncode:
                sys.exit(done.stderr)
    return json.loads(done.stderr.strip().splitlines()[-1])


def main() -> None:
    """All jobs, or those that are named."""
    parser = options(__doc__ or "")
    parser.add_argument("jobs", nargs="*", default=[], help=f"some of: {'; '.join(JOBS)}")
    given = parser.parse_args()
    if unknown := [name for name in given.jobs if name not in JOBS]:
        parser.error(f"no job {unknown[0]!r}: give some of {'; '.join(JOBS)}")
    section, rows = Section("jobs", given.write), []
    for name in given.jobs or JOBS:
        seconds = measured(*JOBS[name])
        parts = [seconds["imports"], seconds["compiler"], *(seconds[part] for part in PARTS)]
        rows.append((name, seconds["all"], *parts, seconds["all"] - sum(parts)))
    section.say(machine() + ".")
    section.table(rows, COLUMNS, ("", *[".1f"] * (len(COLUMNS) - 1)))
    section.close()


if __name__ == "__main__":
    if sys.argv[1:2] == [CHILD]:
        child(*sys.argv[2:])
    else:
        main()
