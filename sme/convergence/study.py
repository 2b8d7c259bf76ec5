"""A study, and how it grows."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sme.common.errors import SMEError, choose
from sme.common.inputs import several, short
from sme.common.process.turns import entry
from sme.convergence.comparison.comparison import Comparison
from sme.convergence.comparison.run import compare
from sme.convergence.estimator.quadrature.method import QUADRATURE
from sme.convergence.estimator.quadrature.runner import ByQuadrature
from sme.convergence.findings import Findings
from sme.convergence.fit import predicted as prediction
from sme.convergence.runner import Runner
from sme.convergence.spec.effort import Execution, warn_rounded
from sme.convergence.spec.job import Job
from sme.convergence.spec.outline import StudyMetadata
from sme.convergence.spec.specification import Specification
from sme.equations.models import Given
from sme.optimizers.grid import StepGrid
from sme.simulate import stability

PARTS = ("problem", "optimizer", "start", "observables", "model")
"""what may be handed over to a loaded study"""


class Interrupted(KeyboardInterrupt):
    """Ctrl-C during a run: `study` has every shard that was finished."""

    def __init__(self, study: "Study") -> None:
        super().__init__(f"{study.name} was interrupted; its finished points are kept")
        self.study = study


@dataclass(repr=False)
class Study(Findings):
    """What the points there are say, and what is studied: it can be extended, and compared.

    Attributes
    ----------
    known
        what is studied, if this study was not loaded.
    orders
        those that this study was asked for when it was made or last extended; of a loaded one, all there are.
    """

    known: Specification | None = None
    orders: tuple[int, ...] = ()

    @classmethod
    def begin(cls, specification: Specification, folder: Path | None) -> "Study":
        """The study of a specification, with the points that its folder has; nothing is written.

        Its observables stand in the order in which they were first given, which no name tells: the points have theirs so.
        """
        if folder is not None:
            with suppress(SMEError):  # none there, or one that is damaged, which is written again
                specification = specification.ordered(StudyMetadata.read(folder).observables)
        study = cls(specification.outline(), folder=folder, known=specification)
        study.reload(strict=False)
        return study

    @classmethod
    def load(cls, folder: Path) -> "Study":
        """The study that a folder holds.

        Raises
        ------
        SMEError
            if it holds none, or one of other numerics.
        """
        study = cls(StudyMetadata.read(folder), folder=folder)
        study.reload()
        study.orders = tuple(sorted({int(order) for order in study.errors["order"]}))
        return study

    def specification(self, **given: Any) -> Specification:
        """What is studied; `given` are parts that cannot be made again from the folder alone.

        Raises
        ------
        SMEError
            if a part is needed, or is not the study's.
        """
        if self.known is None:
            self.stay()
            data = StudyMetadata.recipe(self.folder) if self.folder is not None else None
            if data is None:
                raise SMEError(f"{self.name} does not say what it was made from: run its own command or script again")
            for name in given:
                choose("part", name, PARTS)
            try:
                found = Specification.remake(data, given)
            except (TypeError, KeyError, AttributeError) as fault:
                raise SMEError(f"{self.name} cannot be made again from what its spec.json says ({fault}): hand its parts over, "
                               f"{', '.join(f'{name}=…' for name in PARTS)}, or run its own command or script again") from fault
            if found.name != self.name:
                earlier = self.folder is not None and StudyMetadata.earlier(self.folder)
                cause = ("it was begun by a version of sme that named own code by its bytecode, so that it cannot be proven that "
                         "the code is still the same" if earlier else "they have changed since it was begun")
                raise SMEError(f"the parts of {self.name} are not its own, they make {found.name} now: {cause}. "
                               f"{'Its tables stay' if earlier else 'Restore them'}, or begin a new study")
            self.known = found
        elif (name := self.known.name) != self.name:
            raise SMEError(f"what {self.name} studies has changed since it was begun, it would be {name} now: a tensor, a module "
                           "or a value that its loss, noise, rule or observables use was written over, or they count calls. "
                           "Restore it, or begin a new study")
        return self.known

    @entry
    def extend(self, *, tau: Any = None, paths: int | None = None, order: int | Sequence[int] | None = None,
               tolerance: float | None = None, budget_s: float | None = None, seed: int | None = None, shards: Any = None,
               device: str = "auto", processes: int | str = 1, backend: str = "auto") -> "Study":
        """Compute more: further step sizes, paths, orders or seeds; what is there is not computed again.

        The arguments are those of `sme.weak_error`. What is left out is as it was: the step sizes, orders and first seed
        that are there, and as many paths as a study has by default.

        Raises
        ------
        SMEError
            for bad input, or if the study's parts cannot be made again (see `specification`).
        Interrupted
            on Ctrl-C; its `study` has what was finished.
        """
        self.reload(strict=False)  # other jobs may have added some
        spec, keys = self.specification(), [point.key for point in self.points]
        if not keys and (order is None or tau is None):
            raise SMEError(f"{self.name} has no points to go by, so both order and tau are needed, "
                           "such as order=2, tau=[1/8, 1/16]")
        job = Job.of(spec, tau=sorted({spec.grid(key.steps).tau for key in keys}) if tau is None else tau,
                     order=sorted({key.order for key in keys}) if order is None else order, paths=paths, shards=shards,
                     tolerance=tolerance, budget_s=budget_s, device=device,
                     seed=min((key.seed for key in keys), default=0) if seed is None else seed,
                     processes=processes, backend=backend)
        if spec.method != QUADRATURE:
            warn_rounded(paths)
        stability.warn(job.setups.values(), job.records)
        if self.folder is not None:
            self.outline.write(self.folder, spec.describe(), spec.recipe())
        runner = (ByQuadrature if spec.method == QUADRATURE else Runner)(job, self.points, self.folder)
        self.orders = tuple(sorted({*self.orders, *job.orders}))
        try:
            runner.run()
            job.records.save()
            if job.obstructed is not None:
                self.predicted = prediction.known(self.folder, self.predicted, job, job.obstructed)
                job.records.save()
        except KeyboardInterrupt as fault:
            raise Interrupted(self._after(runner)) from fault
        return self._after(runner)

    def _after(self, runner: Runner) -> "Study":
        """With what a runner computed, saved."""
        self.asked = self.asked.merge(runner.asked)
        if self.folder is not None:
            self.reload()
        self.forget()
        self.save()
        return self

    @entry
    def compare(self, other: "Study | None" = None, *, model: Given | None = None, orders: Sequence[int] | None = None,
                tau: Any = None, paths: int | None = None, seed: int = 0, device: str = "auto", processes: int | str = 1,
                backend: str = "auto") -> Comparison:
        """How far two equations' expectations are apart, on common noise; see `sme.convergence.comparison.comparison.Comparison`.

        Parameters
        ----------
        other
            a study of the same optimizer on the same problem; default this one.
        model
            another equation in place of another study: one of these names, or one of your own, as in `sme.weak_error`.
        orders
            of this study's equation and of the other's. Default: of one study 2 and 1; of two the highest of this one, and the
            other's lowest, or its highest if its Brownian motions are others.
        tau, paths, seed, device, processes, backend
            as in `sme.weak_error`; default the step sizes that both have.

        Notes
        -----
        On Ctrl-C the step sizes that are finished are saved.

        Raises
        ------
        SMEError
            for bad input, or if the studies differ in more than their equations.
        """
        if model is not None and other is not None:
            raise SMEError("another study and model both name the second equation: give one of them")
        there = self.beside(model) if model is not None else self if other is None else other
        if not isinstance(there, Study):
            raise SMEError(f"a study is compared with another one, got {short(there)}: give one that sme.weak_error or "
                           "sme.load returned, or leave it out")
        if orders is not None and len(several(orders)) != 2:
            raise SMEError(f"orders must be two, this study's and the other's, got {short(orders)}: give such as orders=(2, 1)")
        one, two = self.specification(), there.specification()
        lowest = min if one.equation == two.equation else max
        mine, theirs = (study.orders or spec.orders(None, every=True) for study, spec in ((self, one), (there, two)))
        pair = several(orders) if orders is not None else (2, 1) if there is self else (max(mine), lowest(theirs))
        chosen = [spec.orders(each)[0] for spec, each in zip((one, two), pair, strict=True)]
        shared = self._steps if model is not None else self._steps & there._steps
        grid = shared if tau is None else {one.steps(each) for each in several(tau)}
        how = Execution.of(seed, device, processes, backend, paths, None, None)
        self.stay()
        found = compare((one, chosen[0]), (two, chosen[1]), sorted(grid), paths, how, (self.errors, there.errors))
        if self.folder is not None:
            found.save(self.folder)
        if not found.complete:
            raise KeyboardInterrupt
        return found

    def beside(self, model: Given) -> "Study":
        """The study of another equation of the same discrete run, without points.

        Raises
        ------
        SMEError
            if there is no such equation.
        """
        one = self.specification()
        two = Specification.of(one.problem, one.optimizer, one.regime.name, None, one.horizon, one.start, one.observables,
                               one.times, model)
        return Study.begin(two, None)

    @property
    def _steps(self) -> set[int]:
        return {StepGrid.near(self.outline.horizon, tau).steps for tau in self.errors["tau"].unique()}
