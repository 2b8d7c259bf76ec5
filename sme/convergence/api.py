"""`weak_error` and `load`: a study begun, and a study taken up again."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from sme.common.errors import SMEError, reason
from sme.common.inputs import short
from sme.common.process.progress import phase
from sme.common.process.turns import entry
from sme.common.storage.files import listed
from sme.convergence.comparison import automatic
from sme.convergence.estimator.quadrature.method import MONTE_CARLO
from sme.convergence.spec import effort
from sme.convergence.spec.outline import FILE
from sme.convergence.spec.specification import Specification
from sme.convergence.spec.tried import Observables
from sme.convergence.study import Study
from sme.equations.drivers.names import asked as asked_driver
from sme.equations.models import MODELS, OWN, Given
from sme.optimizers.base import Optimizer
from sme.problems.base import Problem


@entry
def weak_error(
    problem: Problem,
    optimizer: Optimizer,
    *,
    tau: float | str | Sequence[float | str],
    start: Mapping[str, Tensor] | None = None,
    regime: str = "ballistic",
    order: int | str | Sequence[int] | None = None,
    driver: str | None = None,
    brownian: str | None = None,
    model: Given = OWN,
    horizon: float = 1.0,
    observables: Observables = None,
    times: Sequence[float] | None = None,
    paths: int | None = None,
    shards: int | Sequence[int] | None = None,
    tolerance: float | None = None,
    budget_s: float | None = None,
    seed: int = 0,
    device: str = "auto",
    processes: int | str = 1,
    backend: str = "auto",
    results: str | Path | None = None,
    kind: object = None,
    method: str = MONTE_CARLO,
) -> Study:
    """Measure how far the equation's expectations are from the discrete optimizer's, and at which order in `τ`.

    `error = E φ(discrete run) − E φ(equation)` at the horizon (or at `times`), for every
    observable `φ`, order and `τ`, both on the same Brownian path; then the slope over `τ`.

    Parameters
    ----------
    problem, optimizer
        what is run; the update rule and the gradient law of these.
    tau
        step sizes `τ`, as numbers or text such as `"1/16"`.
    start
        named fields at the start, tensors `(d,)`; `theta` defaults to the network's own, `m` to 0, `v` to 1.
    regime
        `"ballistic"` or `"batch_equivalent"`.
    order
        1, 2 or both; default the highest that the model has. `"auto"`: see `model`.
    driver
        what moves the equation: `"independent"` motions on parameters (or momentum) and second moment; for Gaussian noise
        `"step_memory"` (one motion that remembers the optimizer's step) or `"fast_memory"` (one that remembers a fading
        average of its past, and no step), of order 2 for every rule; for minibatches in the batch-equivalent regime
        `"poisson"` (the examples one by one at random times), of order 1 however skewed they are; or `"none"` (order 1,
        ballistic: the ODE). Default `"independent"`; another model has its own.
    brownian
        the older name of `driver`.
    model
        `"sme"`, the equations that are derived here, or those of others, of order 1 at most: `"malladi"`, `"compagnoni"`, or
        `"ode"`, the leading drift without noise. `"midpoint"`, ballistic and of order 2, is for large steps: it is stable, and of
        a linear rule at rest, where and as the optimizer is. For fixed decays (`memory=0`) `"averaged"`, of order 1, and without
        noise `"backward"`, of order 2; both are of `θ` alone. Or an equation of your own: what `sme.equation` makes, a subclass
        of `sme.Equation`, or the dotted path of one, of which nothing is claimed but what is measured.
        `"auto"`, with `order="auto"` or an order: the cheapest whose predicted error at the coarsest `τ` is below `tolerance`
        (`sme.select`).
    horizon
        `T`, from the optimizer's `t0` on: a whole number of steps of every `τ`.
    observables
        functions from named fields `(paths, d)` to `(paths,)`, by name; or names of built-in
        ones, as `"|v|^2"`, `"theta[0]"`, `"|v|^2 capped at 100"`, `"gradient norm"`, `"effective step"`, of networks also
        `"test loss"`, `"test error"`, `"sharpness"`, `"smallest curvature"`; default `|field|^2`, means, loss.
    times
        checkpoints in `(0, T]`, on every grid; default the end alone.
    paths
        at each `τ`, rounded up to whole shards of 32 768; default 65 536, and more below `τ = 1/32`, as `1/τ`.
    shards
        the numbers of the shards to compute, to spread a study over jobs; default all that `paths` asks for.
    tolerance
        in place of `paths`: as many shards, 64 at most, as bring each standard error below this fraction of its error.
        How many is decided by trial shards, a fourth as many or fewer, which are in no table. With `"auto"` the largest weak
        error that is allowed, and nothing else.
    budget_s
        stop starting new shards after so many seconds; tables then say what is missing.
    seed
        of the random stream, a function of (seed, steps, shard).
    device
        `"auto"`, `"cpu"`, `"cuda"`, …
    processes
        over shards; `"auto"` is one a core, or one where that is quicker. Compiled code runs in as many threads of one process.
        Any number gives the same digits.
    backend
        `"compiled"` C code, made from the equation and the update rule; `"torchsde"`; or `"auto"`: the
        first where it can be had, else the second, with a line that says why. They agree to rounding.
    results
        folder for points and tables; points found there are not computed again. None: in memory.
    kind
        refused, with a word on where an equation of your own goes: to `model`.
    method
        `"monte_carlo"`, or of a state of at most four numbers `"quadrature"`: the expectations of the same chain and scheme
        without random paths, from polynomials that follow the run. It draws nothing, so paths, shards, tolerance, seed and
        backend are of no use to it. `stderr` is then a numerical bound, by how much its polynomials and nodes
        move as they are refined, and `paths` 0. Such a study has a folder of its own.

    Raises
    ------
    SMEError
        for bad input: what was given, what is allowed, what to change.
    Interrupted
        on Ctrl-C; its `study` has every shard that was finished.
    """
    spec, asked = parts(problem, optimizer, regime=regime, driver=driver, brownian=brownian, model=model, horizon=horizon,
                        start=start, times=times, observables=observables, tau=tau, order=order, paths=paths, shards=shards,
                        tolerance=tolerance, budget_s=budget_s, seed=seed, device=device, processes=processes, backend=backend,
                        kind=kind, method=method)
    study = Study.begin(spec, effort.place(results, spec.name))
    return study.extend(**asked)


def parts(problem: Problem, optimizer: Optimizer, *, regime: str, driver: str | None = None, brownian: str | None = None,
          model: Given, horizon: float, start: Mapping[str, Tensor] | None, observables: Observables,
          times: Sequence[float] | None, order: Any, results: Any = None, kind: object = None,
          method: str = MONTE_CARLO, **asked: Any) -> tuple[Specification, dict[str, Any]]:
    """The arguments of `weak_error` in two parts: what is studied, and what a run of it is asked for."""
    if kind is not None:
        raise SMEError(f"sme.weak_error measures equations by model={' or '.join(map(repr, MODELS))}, and takes no kind: give "
                       "your own equation as model=sme.equation(drift=…, diffusion=…, motions=…), or a class of "
                       "equations; sme.check_order(problem, optimizer, model=…) checks it without Monte Carlo")
    with phase("check of problem and optimizer"):
        meant = automatic.resolved(problem, optimizer,
                                   automatic.Asked(model, order, asked_driver(driver, brownian), asked.get("tolerance")),
                                   tau=asked.get("tau"), regime=regime, horizon=horizon, start=start, observables=observables)
        spec = Specification.of(problem, optimizer, regime, meant.brownian, horizon, start, observables, times, meant.model,
                                method)
    kept = {"tolerance": meant.tolerance} if "tolerance" in asked else {}
    return spec, {**asked, **kept, "order": spec.orders(meant.order)}


@entry
def load(folder: str | Path, *, problem: Problem | None = None, optimizer: Any = None, observables: Any = None, start: Any = None,
         model: Any = None, **others: Any) -> Study:
    """The study in a folder, such as `results/adam-ballistic-quadratic-independent-44ed0b05`, with all points there.

    Its tables and pictures are there at once. To extend or compare it, its parts are made again from `spec.json`, where
    problem, optimizer and observables stand by their dotted paths and arguments; those without one are handed over.

    Parameters
    ----------
    folder
        of one study, inside a results folder.
    problem, optimizer, observables, start, model
        as they were given to `sme.weak_error`, where `spec.json` has no dotted path of them.
    others
        refused, with the part that was meant.

    Raises
    ------
    SMEError
        if there is no study, it is of other numerics, or the parts are not its own.
    """
    if not isinstance(folder, str | Path):
        raise SMEError(f"folder must be the path of one study's folder, got {short(folder)}: give it as text")
    place = Path(folder)
    try:
        there = (place / FILE).is_file()
    except OSError as fault:  # a name that no file can have
        raise SMEError(f"folder must be the path of one study's folder, got {short(folder)}: {reason(fault)}") from None
    if not there:
        near = ", ".join(path.parent.name for path in listed(place, f"*/{FILE}")[:3])
        raise SMEError(f"{place} holds no study (it has no {FILE}): give the folder of one study"
                       + (f", such as {near}" if near else ", which weak_error.py names in its last line"))
    study = Study.load(place)
    given = {"problem": problem, "optimizer": optimizer, "observables": observables, "start": start, "model": model}
    if parts := {**{name: part for name, part in given.items() if part is not None}, **others}:
        study.specification(**parts)
    return study
