"""Discrete runs of the SVAG family against the order-1 equation that they tend to."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from sme.common.errors import SMEError
from sme.common.identity.hashing import digest, fingerprint
from sme.common.identity.numerics import used
from sme.common.inputs import flag, instance, several, whole
from sme.common.output.report import Report
from sme.common.output.text import grid
from sme.common.process.turns import entry
from sme.convergence.api import weak_error
from sme.convergence.spec import effort
from sme.equations.registry import parts_of
from sme.optimizers.base import initial
from sme.optimizers.hyperparameters import Hyperparameters
from sme.optimizers.regimes import BATCH_EQUIVALENT
from sme.optimizers.scaling_rules import svag
from sme.optimizers.sgd import SGD
from sme.problems import base as problems
from sme.problems.base import Problem
from sme.problems.noise.minibatch.law import minibatches
from sme.problems.noise.wrapped.svag import SVAGNoise
from sme.problems.renoised import Renoised
from sme.studies.svag import picture

NOISES = ("SVAG", "minibatch")


@dataclass(frozen=True, repr=False)
class SVAGStudy(Report):
    """What `svag_study` finds.

    Attributes
    ----------
    table
        `noise ell tau steps observable error stderr integrator_bias paths`, `error = E[discrete] − E[equation]` at the end.
    """

    file = "svag"
    name: str
    hyperparameters: Hyperparameters
    seed: int
    table: pd.DataFrame

    def body(self, style: str) -> list[str]:
        table = self.table
        error = [f"{e:.3e} ± {s:.0e}" for e, s in zip(table["error"], table["stderr"], strict=True)]
        shown = table.drop(columns=["error", "stderr", "integrator_bias"]).assign(
            tau=table["tau"].map("{:.6g}".format), error=error, bias=table["integrator_bias"].map("{:.0e}".format))
        said = (f"{self.hyperparameters}: discrete runs less the order-1 equation of the batch-equivalent regime, at the end. "
                "SVAG takes two weighted minibatches a step")
        if self.table["noise"].nunique() > 1:
            said += "; minibatch: the same steps with one, whose noise is multiplied, so that its skewness stays"
        return [f"{said}:", grid(shown, style)]

    def draw(self, path: Path) -> Path:
        return picture.draw(self.table, str(self.hyperparameters), self.provenance, path)


@entry
def svag_study(problem: Problem, hyperparameters: Hyperparameters, theta: Float[Tensor, " d"], *, ell: Sequence[int] = (1, 2, 4),
               steps: int = 16, observables: Sequence[str] | None = None, paths: int = effort.SHARD_PATHS, seed: int = 0,
               processes: int | str = 1, backend: str = "auto", plain: bool = False,
               results: str | Path | None = None) -> SVAGStudy:
    """Measure how far the runs of the SVAG family are from the order-1 equation of the batch-equivalent regime.

    SVAG's skewness falls with `τ`, so that the error falls like `1/ℓ²` (SGD: `1/ℓ`); that of a minibatch alone does not.

    Parameters
    ----------
    problem
        with minibatch noise.
    hyperparameters
        physical ones, of `ℓ = 1`.
    theta
        where the runs start; `v` starts at `diag Σ`, `m` at 0.
    ell
        the `ℓ ≥ 1`.
    steps
        of the run with `ℓ = 1`; the others take `ℓ²` times as many (SGD: `ℓ`).
    observables, paths, seed, processes, backend
        as for `weak_error`.
    plain
        follow also the runs that have the same hyperparameters and a single minibatch, whose noise is multiplied by `ℓ`
        (SGD: `√ℓ`): of the same covariance, but of order ½ where it is skewed.
    results
        folder; a table and a picture go to `svag/<name>` in it. None: in memory.

    Raises
    ------
    SMEError
        for bad input.
    """
    law = minibatches("SVAG", problems.checked(problem).noise)
    instance("hyperparameters", hyperparameters, Hyperparameters, "sme.Hyperparameters")
    given, ells = replace(hyperparameters, steps=whole("steps", steps, 1)), [whole("ell", each, 1) for each in several(ell)]
    flag("plain", plain)
    if not ells:
        raise SMEError("ell is empty: give at least one, such as [1, 2, 4]")
    root = effort.place(results, "svag")
    theta = initial(SGD(), {"theta": theta}, problem.dim)["theta"]
    problem.check(theta)
    first = given.uncorrected(BATCH_EQUIVALENT)
    inner = law.changed(scale=law.scale * first.noise)
    start = {"theta": theta, "m": torch.zeros_like(theta), "v": inner.variance(theta[None])[0]}
    kind, rows, parts = "sgd" if given.optimizer == "sgd" else "adaptive", [], set[str]()
    for each in ells:
        made = svag(given, each).hyperparameters
        optimizer = made.uncorrected(BATCH_EQUIVALENT).optimizer
        parts.update(parts_of(problem, optimizer, BATCH_EQUIVALENT, [1]))
        for noise, driven in zip(NOISES[: 1 + plain], (SVAGNoise(inner, each, kind), inner), strict=False):
            study = weak_error(Renoised(problem, driven), optimizer, regime=BATCH_EQUIVALENT.name, order=1,
                               tau=given.steps * first.tau / made.steps, horizon=given.steps * first.tau,  # type: ignore[operator]
                               start={field: start[field] for field in optimizer.fields}, observables=observables, paths=paths,
                               seed=seed, processes=processes, backend=backend)
            rows.append(study.errors.assign(noise=noise, ell=each, steps=made.steps))
    table = pd.concat(rows, ignore_index=True)[
        ["noise", "ell", "tau", "steps", "observable", "error", "stderr", "integrator_bias", "paths"]]
    name = f"{given.optimizer}-{problem.name}-" + digest({"of": fingerprint([
        problem, given.settings(), theta, ells, observables, paths, seed])}, used(problem, law, *parts))
    return SVAGStudy(name, given, seed, table, folder=root and root / name).saved()
