"""The pattern of full-batch Adam's loss over the rates `a` of the second moment and `b` of the first."""

import math
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float
from torch import Tensor

from sme.common.errors import SMEError
from sme.common.identity.hashing import digest, fingerprint
from sme.common.identity.numerics import used
from sme.common.inputs import number, room, several, short, whole
from sme.common.output.figure import target
from sme.common.output.report import Plot, Report
from sme.common.output.text import grid
from sme.common.process.processes import spread
from sme.common.process.turns import entry
from sme.convergence.spec import effort
from sme.optimizers.base import initial
from sme.optimizers.hyperparameters import Hyperparameters
from sme.optimizers.sgd import SGD
from sme.problems import base as problems
from sme.problems.base import Problem
from sme.studies.autoencoder import runs_file
from sme.studies.autoencoder.runs_file import Curves
from sme.studies.phases import picture
from sme.studies.phases.edge import longest, threshold
from sme.studies.phases.full_batch import follow
from sme.studies.phases.patterns import PATTERNS, ab, classify, followed, predicted

HELD = 2**18  # parameters of cells that run together
SHARP = 4  # times as many looks at the examples as at a cell


@dataclass(frozen=True, repr=False)
class Phases(Report):
    """What `phases` finds.

    Attributes
    ----------
    table
        `a b beta1 beta2 mean ratio rise pattern longest edge predicted`, a row for each cell: those of `patterns.classify`;
        the longest step (`edge.longest`); the largest step size × curvature in the last part, as a share of the threshold
        of momentum; the pattern of a quadratic's equation in the end (`patterns.predicted`); and if the equation was followed
        beside each run, `followed`, what it says at this horizon (`patterns.followed`).
    examples
        the same for the examples.
    curves
        `a b step loss edge` of the examples, `edge` the step size × curvature as a share of the threshold where it was looked at.
    """

    file = "phases"
    name: str
    eta: float
    steps: int
    rules: dict[str, float]
    """what `classify` was told"""
    table: pd.DataFrame
    examples: pd.DataFrame
    curves: pd.DataFrame

    @property
    def tables(self) -> dict[str, pd.DataFrame]:
        return {"phases": self.table, "examples": self.examples}

    def body(self, style: str) -> list[str]:
        shown = self.examples.map(lambda value: f"{value:.3g}" if isinstance(value, float) else value).assign(
            **{name: self.examples[name].map("{:.6g}".format) for name in ("beta1", "beta2")})
        rows = [each for each in PATTERNS if each in set(self.table["pattern"])]
        counts = pd.crosstab(self.table["pattern"], self.table["predicted"]).reindex(rows)
        counts.columns = [f"predicted {name}" for name in counts.columns]
        edge = self.table.groupby("pattern")["edge"].quantile([0.1, 0.5, 0.9]).unstack().reindex(counts.index)
        counts["edge, 10 %, median, 90 %"] = [", ".join(f"{value:.2f}" for value in row) for row in edge.to_numpy()]
        said = ", ".join(f"{name} {value:.3g}" for name, value in self.rules.items())
        return [
            f"{self.steps} steps of full-batch Adam, η = {self.eta:g}, β₁ = 1 − bη, β₂ = 1 − aη; patterns by {said}. "
            "longest: the longest step that one parameter can take, over η. edge: the largest step size × curvature in the last "
            "part over the threshold of momentum with frozen v, 2(1 + β₁)/(1 − β₁).", grid(shown, style),
            f"Cells, of {len(self.table)}, by what they do and what the equation does on a quadratic in the end:",
            grid(counts.reset_index().astype(str), style), *self._followed(rows, style)]

    def _followed(self, rows: Sequence[str], style: str) -> list[str]:
        """What the equation says at this horizon, if it was followed."""
        if "followed" not in self.table:
            return []
        counts = pd.crosstab(self.table["pattern"], self.table["followed"]).reindex(rows)
        counts.columns = [f"foretold {name}" for name in counts.columns]
        right, most = (self.table["pattern"] == self.table["followed"]).sum(), self.table["pattern"].value_counts()
        return ["And what it says when it is followed to the same time, cell by cell: large where its own loss is, spikes where "
                f"it meets the edge before the end with b > 5a/4. Right in {right} of {len(self.table)} cells; to say "
                f"“{most.index[0]}” of every cell is right in {most.iloc[0]}.", grid(counts.reset_index().astype(str), style)]

    @property
    def plots(self) -> dict[str, Plot]:
        return {"phases": lambda path: picture.diagram(self.table, self.examples, self.provenance, path),
                "examples": self.plot_examples}

    def plot_examples(self, path: str | Path) -> Path:
        """Draw the losses of the examples, and where they stand to the threshold."""
        return picture.examples(self.curves, self.examples, self.provenance, target(path))


@entry
def phases(problem: Problem, theta: Float[Tensor, " d"], *, eta: float = 1e-3, eps: float = 1e-8, low: float = 0.1,
           high: float = 100.0, cells: int = 16, steps: int = 2500,
           examples: Sequence[Sequence[float]] = ((1, 100), (10, 10), (100, 1)), looks: int = 125, tail: float = 2 / 3,
           large: float = 0.12, ratio: float = 50.0, floor: float = 0.0, window: int = 1, equation: int = 0,
           processes: int | str = 1, results: str | Path | None = None) -> Phases:
    """Run full-batch Adam, as torch does it from a fresh start, over a grid of `a` and `b`, and name the pattern of each loss.

    Parameters
    ----------
    problem
        its gradient is taken without noise.
    theta
        where all runs start.
    eta, eps
        learning rate and `ε`; `β₁ = 1 − bη`, `β₂ = 1 − aη`.
    low, high, cells
        so many values of `a`, and of `b`, from the lowest to the highest, evenly spaced in the logarithm.
    steps
        of every run.
    examples
        pairs `(a, b)` whose curves are drawn.
    looks
        how often the curvature is looked at (of an example `SHARP` times as often).
    tail, large, ratio, floor, window
        of `patterns.classify`. No run is repeated for others.
    equation
        so many steps of a so many times smaller learning rate stand for the equation, which is followed in every cell beside its
        run: the pattern that it foretells at this very horizon. 0: none, only the pattern in the end.
    processes
        `"auto"`: one a core.
    results
        folder; tables and pictures go to `phases/<name>` in it, where a run that was stopped goes on. None: in memory.

    Raises
    ------
    SMEError
        for bad input.
    """
    problems.checked(problem)
    eta, low, high = (number(name, value) for name, value in (("eta", eta), ("low", low), ("high", high)))
    cells, steps, looks, equation = (whole(name, value, least) for name, value, least in (
        ("cells", cells, 2), ("steps", steps, 3), ("looks", looks, 1), ("equation", equation, 0)))
    if not 0 < low < high < math.inf:
        raise SMEError(f"low must be > 0 and below a finite high, got low = {low:g}, high = {high:g}")
    pairs = [_pair(each) for each in several(examples)]
    if len(pairs) > len(picture.MARKS):
        raise SMEError(f"a picture has room for {len(picture.MARKS)} examples, got {len(pairs)}: give fewer")
    theta = initial(SGD(), {"theta": theta}, problem.dim)["theta"]
    room(f"a map of {cells} × {cells} cells", cells, cells, problem.dim, 4)
    rates = np.geomspace(low, high, cells)
    places = [(float(a), float(b)) for b in rates for a in rates]
    settings = [[ab(a, b, eta, eps) for a, b in some] for some in (places, pairs)]
    rules: dict[str, Any] = {name: number(name, value) for name, value in {
        "tail": tail, "large": large, "ratio": ratio, "floor": floor, "window": window}.items()}
    classify(np.ones((steps, 1)), **rules)  # refuses wrong ones now, before any run
    every = [max(1, steps // looks), max(1, steps // (SHARP * looks))]
    told = [problem, theta, eta, eps, places, pairs, steps, every, *([equation] if equation else [])]
    name = f"{problem.name}-" + digest({"of": fingerprint(told)}, used(problem, problem.noise))
    place = effort.place(results, "phases", name)
    size = max(1, HELD // problem.dim)
    starts = range(0, len(places), size)
    fine = [ab(a, b, eta / equation, eps) for a, b in places] if equation else []
    chunks = [(settings[0][i : i + size], every[0], 1) for i in starts] + [(settings[1], every[1], 1)] * bool(pairs)
    chunks += [(fine[i : i + size], every[0], equation) for i in starts if equation]
    tasks = [(problem, *each, theta, steps, place / "points" / f"{i}.npz" if place else None, f"{name} {i}")
             for i, each in enumerate(chunks)]
    kept = [None if path is None else _there(path, owner, (steps, len(each))) for _, each, *_, path, owner in tasks]
    lacking = [task for task, each in zip(tasks, kept, strict=True) if each is None]
    made_now = iter(spread(_run, lacking, effort.processes(processes, "cpu")))
    found = [next(made_now) if each is None else each for each in kept]
    few = found[len(starts)] if pairs else (np.ones((steps, 0)), np.ones((1, 0)))
    table = _table(places, settings[0], _joined(found[: len(starts)]), rules)
    if equation:
        losses, edges = _joined(found[-len(starts):])
        table["followed"] = followed(losses, edges / threshold(table["beta1"].to_numpy()), places, **rules)
    made = Phases(name, eta, steps, rules, table, _table(pairs, settings[1], few, rules),
                  _curves(pairs, settings[1], few, every[1]), folder=place)
    return made.saved()


def _pair(given: Sequence[float]) -> tuple[float, float]:
    if isinstance(given, str) or not isinstance(given, Sequence) or len(given) != 2:
        raise SMEError(f"examples must be pairs (a, b) such as (1, 100), got {short(given)}")
    return number("a of an example", given[0]), number("b of an example", given[1])


def _there(path: Path, owner: str, shape: tuple[int, int]) -> Curves | None:
    """The curves in a file, if it is there and whole; a warning names one that is not."""
    try:
        return runs_file.read(path, owner, shape) if path.exists() else None
    except SMEError as fault:
        warnings.warn(str(fault), stacklevel=3)
        return None


def _joined(parts: Sequence[Curves]) -> Curves:
    return np.concatenate([part[0] for part in parts], 1), np.concatenate([part[1] for part in parts], 1)


def _run(problem: Problem, given: Sequence[Hyperparameters], every: int, finer: int, theta: Tensor, steps: int,
         path: Path | None, owner: str) -> Curves:
    """The curves of some runs, kept in their file; of `finer` times as many steps at the times, and in units, of whole ones."""
    losses, edges = follow(problem, given, theta, steps * finer, every * finer)
    losses, edges = losses[::finer], edges * finer
    if path is not None:
        runs_file.write(path, owner, losses, edges)
    return losses, edges


def _table(pairs: Sequence[tuple[float, float]], given: Iterable[Hyperparameters], curves: Curves,
           rules: dict[str, float]) -> pd.DataFrame:
    """A row for each run."""
    losses, edges = curves
    late = edges[-max(1, round(rules["tail"] * len(edges))):]
    betas = pd.DataFrame([(each.beta1, each.beta2) for each in given], columns=["beta1", "beta2"], dtype=float)
    front = pd.DataFrame(pairs, columns=["a", "b"], dtype=float).join(betas)
    return front.join(classify(losses, **rules)).assign(  # type: ignore[arg-type]
        longest=[longest(*row) for row in betas.to_numpy()],
        edge=late.max(0) / threshold(betas["beta1"].to_numpy()), predicted=[predicted(a, b) for a, b in pairs])


def _curves(pairs: Sequence[tuple[float, float]], given: Iterable[Hyperparameters], curves: Curves, every: int) -> pd.DataFrame:
    """Every loss of each run, and what was seen of its edge."""
    parts = [pd.DataFrame({"a": 0.0, "b": 0.0, "step": [], "loss": [], "edge": []})]
    for i, ((a, b), each) in enumerate(zip(pairs, given, strict=True)):
        assert each.beta1 is not None
        seen, loss = curves[1][:, i] / threshold(each.beta1), curves[0][:, i]
        edge = pd.Series(seen, index=every * np.arange(len(seen))).reindex(range(len(loss)))
        parts.append(pd.DataFrame({"a": a, "b": b, "step": edge.index, "loss": loss, "edge": edge}))
    return pd.concat(parts[bool(pairs):], ignore_index=True)
