"""Two rounds of a scaling rule: from a start where noise outweighs the gradient, and from one where it does not.

In each round the optimizer runs at several learning rates, its operating points, and at each of them again with `κ` times the
batch by the square-root rule. The rule holds where the gap between the two runs of a point is far below the spread between the
points; a test whose gaps are as wide as the spread shows nothing but the learning rate.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from sme.common.errors import SMEError
from sme.common.identity.hashing import digest, fingerprint
from sme.common.identity.numerics import used
from sme.common.inputs import number, seed_of, several, whole
from sme.common.output.report import Report
from sme.common.output.text import grid
from sme.common.process.turns import entry
from sme.common.storage.records import Records
from sme.convergence.spec import effort
from sme.optimizers.hyperparameters import Hyperparameters
from sme.optimizers.scaling_rules import largest, scale
from sme.problems import base as problems
from sme.problems.base import Problem
from sme.problems.noise.minibatch.law import MinibatchNoise, minibatches
from sme.studies.scaling import rounds_picture
from sme.studies.scaling.doubling import NORMAL, beside, rounded
from sme.studies.scaling.legs import leg

LR, BATCH, SEED = 3e-3, 16, 1
"""of the training before a round: Adam, whose rate falls to 0 on a line"""
TAIL = 0.25
"""of the epochs, the last ones, over which a loss is averaged"""
HOLDS = 0.1
"""of the spread, below which a gap is small"""


@dataclass(frozen=True, repr=False)
class Rounds(Report):
    """What `rounds` finds.

    Attributes
    ----------
    table
        `trained lr kappa epoch mean stderr`: the train loss of each run.
    gaps
        `trained loss noise_scale lr gap stderr spread spread_stderr share low high`: the noise scale `tr Σ/|∇f|²` of a round's
        start at `κ = 1`; the loss with `κ` less that without, over the last quarter; how far the losses of the points lie apart;
        and the gap's size as a share of that, with an interval (95 %, by the runs).
    """

    file = "rounds"
    name: str
    seed: int
    runs: int
    kappa: int
    given: Hyperparameters
    table: pd.DataFrame
    gaps: pd.DataFrame

    @property
    def tables(self) -> dict[str, pd.DataFrame]:
        return {"rounds": self.table, "gaps": self.gaps}

    def body(self, style: str) -> list[str]:
        rows = [[f"{row['trained']:.0f}", f"{row['loss']:.3f}", f"{row['noise_scale']:.3g}",
                 f"{row['noise_scale'] / self.kappa:.3g}", f"{row['lr']:g}", f"{row['gap']:.5f} ± {NORMAL * row['stderr']:.5f}",
                 f"{row['spread']:.5f} ± {NORMAL * row['spread_stderr']:.5f}",
                 f"{row['share']:.3f} ({row['low']:.3f} to {row['high']:.3f})"] for _, row in self.gaps.iterrows()]
        names = ["trained before", "loss there", "tr Σ/|∇f|², κ = 1", f"κ = {self.kappa}", "learning rate", "gap", "spread",
                 "gap/spread"]
        return [f"{self.runs} runs, of which those of one round have the same examples: {self.given}",
                f"Gap: train loss at κ = {self.kappa} by the square-root rule less that at κ = 1, over the last quarter of the "
                "epochs; spread: between the learning rates (95 %):", grid(pd.DataFrame(rows, columns=names), style)]

    def draw(self, path: Path) -> Path:
        return rounds_picture.draw(self.table, self.provenance, path)


@entry
def rounds(problem: Problem, hyperparameters: Hyperparameters, theta: Float[Tensor, " d"], *, rates: Sequence[float],
           trained: Sequence[int], kappa: int = 16, points: int = 16, runs: int = 16, seed: int = 0,
           results: str | Path | None = None) -> Rounds:
    """Measure gap and spread of a scaling rule from several starts. What was run before is not run again.

    Parameters
    ----------
    problem
        with minibatch noise.
    hyperparameters
        of `κ = 1`, with their steps; the batch size is the problem's.
    theta
        where a round starts that is not trained before.
    rates
        learning rates of `κ = 1`, at least two: the operating points.
    trained
        a round for each: so many steps of Adam before it.
    kappa
        so many batches in one; it must divide the steps.
    points
        so many evenly spaced times.
    runs
        of each curve, at least 4, rounded up to an even number.
    results
        folder; tables and a picture go to `scaling/<name>` in it. None: in memory.

    Raises
    ------
    SMEError
        for bad input.
    """
    law = minibatches("a scaling rule", problems.checked(problem).noise)
    kappa, points, seed = whole("kappa", kappa, 2), whole("points", points, 1), seed_of(seed)
    runs = 2 * ((whole("runs", runs, 4) + 1) // 2)
    lrs, befores = [number("rates", each) for each in several(rates)], [whole("trained", each, 0) for each in several(trained)]
    if not befores:
        raise SMEError("trained is empty: give the steps of training before each round, such as trained=[800,0]")
    if not isinstance(hyperparameters, Hyperparameters) or hyperparameters.beta2 is None or not hyperparameters.steps:
        raise SMEError("hyperparameters must be those of rmsprop, adam or adamw with their steps: give steps=…")
    if len(set(lrs)) < 2 or not all(each > 0 for each in lrs):
        raise SMEError(f"rates must be two or more different learning rates above 0, got {lrs}: the spread is between them")
    given = replace(hyperparameters, batch_size=law.batch_size)
    if hyperparameters.steps % kappa or hyperparameters.steps < kappa * points:
        raise SMEError(f"kappa = {kappa} must divide the {hyperparameters.steps} steps, into at least points = {points}")
    if kappa >= largest(given):
        raise SMEError(f"kappa = {kappa} is too large for the memories: use kappa < {largest(given):g}, or a β nearer to 1")
    root = effort.place(results, "scaling")
    asked = fingerprint([problem, given.settings(), theta, lrs, befores, kappa, points, runs, seed])
    name = f"{problem.name}-rounds-" + digest({"of": asked}, used(problem, law))
    one = fingerprint([problem, replace(given, lr=1.0).settings(), theta, kappa, points, runs, seed])
    records, curves, gaps = Records(["rounds", digest({"of": one}, used(problem, law))]), [], []
    marks = rounded(hyperparameters.steps, points, kappa)
    for before in befores:
        start = torch.from_numpy(records.get(f"start {before}", lambda n=before: {  # type: ignore[misc]
            "theta": _trained(problem, law, theta, n).numpy()})["theta"])
        problem.check(start)
        found = {lr: records.get(f"{before}, {lr:g}", lambda lr=lr, start=start: {  # type: ignore[misc]
            "losses": _pair(problem, law, replace(given, lr=lr), start, kappa, marks, runs, seed)})["losses"] for lr in lrs}
        records.save()
        for lr, losses in found.items():
            curves += [{"trained": before, "lr": lr, "kappa": factor, "epoch": mark * law.batch_size / law.motions,
                        "mean": at.mean(), "stderr": at.std(ddof=1) / runs**0.5}
                       for factor, curve in zip((1, kappa), losses, strict=True) for mark, at in zip(marks, curve, strict=True)]
        gaps += _gaps(problem, law, before, start, found)
    made = Rounds(name, seed, runs, kappa, given, pd.DataFrame(curves), pd.DataFrame(gaps), folder=root and root / name)
    return made.saved()


def _trained(problem: Problem, law: MinibatchNoise, theta: Tensor, steps: int) -> Float[Tensor, " d"]:
    """`θ` after so many steps of torch's Adam."""
    moved, generator = torch.nn.Parameter(theta.clone()), torch.Generator().manual_seed(SEED)
    adam = torch.optim.Adam([moved], lr=LR)
    for k in range(steps):
        chosen = torch.randint(law.motions, (1, min(BATCH, law.motions)), generator=generator)
        with torch.no_grad():
            moved.grad = law.examples.batch(moved.detach()[None], chosen)[0]
        adam.param_groups[0]["lr"] = LR * (1 - k / steps)
        adam.step()
    return moved.detach()


def _pair(problem: Problem, law: MinibatchNoise, given: Hyperparameters, theta: Tensor, kappa: int, marks: Sequence[int],
          runs: int, seed: int) -> Float[np.ndarray, "2 marks runs"]:
    """The losses at `κ = 1` and at `κ`, on the same examples."""
    larger = replace(leg(problem, law, scale(replace(given, steps=None), kappa, "square_root"), theta), kappa=kappa)
    return beside(law.examples, (law.sampling.name, law.batch_size), [leg(problem, law, given, theta), larger], marks,
                  lambda state: problem.loss(state["theta"])[:, None], runs, seed, f"lr {given.lr:g}")[..., 0]


def _gaps(problem: Problem, law: MinibatchNoise, before: int, start: Tensor,
          found: dict[float, np.ndarray]) -> list[dict[str, float]]:
    """Gap and spread of one round, and the share with its interval by a jackknife over the runs."""
    at = start[None]
    loss, ratio = float(problem.loss(at)), float(law.variance(at).sum() / problem.gradient(at).square().sum())
    ends = {lr: losses[:, -max(1, round(TAIL * losses.shape[1])):].mean(1) for lr, losses in found.items()}
    ones = np.stack([each[0] for each in ends.values()])
    rows = []
    for lr, each in ends.items():
        gap, count = each[1] - each[0], each.shape[1]
        far = int(np.abs(ones.mean(1) - each[0].mean()).argmax())
        spread = ones[far] - each[0]
        share = abs(gap.mean() / spread.mean())
        left = [abs(np.delete(gap, r).mean() / np.delete(spread, r).mean()) for r in range(count)]
        wide = NORMAL * float(np.sqrt((count - 1) * np.var(left)))
        rows.append({"trained": before, "loss": loss, "noise_scale": ratio, "lr": lr, "gap": gap.mean(),
                     "stderr": gap.std(ddof=1) / count**0.5, "spread": abs(spread.mean()),
                     "spread_stderr": spread.std(ddof=1) / count**0.5, "share": share, "low": max(0.0, share - wide),
                     "high": share + wide})
    return rows
