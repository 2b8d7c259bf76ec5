"""The first-order constant that an obstruction leaves, predicted without the optimizer."""

import itertools
import math
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor

from sme.common.errors import reason
from sme.common.process.processes import spread
from sme.common.process.progress import progress
from sme.common.process.threads import spread_threads
from sme.common.random.increments import Increments
from sme.common.storage import seal
from sme.convergence.estimator import paired
from sme.convergence.fit.kicked import LEVELS, begin, compiled, kicked, run
from sme.convergence.fit.tables import labels
from sme.convergence.spec.job import Job
from sme.optimizers.grid import StepGrid
from sme.simulate.backend import TORCH
from sme.simulate.setup import Setup

STEPS = 32
"""least number of steps of the coarser of two grids of the leading diffusion over the horizon"""
SEED = 20_311
FILE = "obstruction.json"
BLOCKS = 64
"""of the prediction that tables quote: the same for every effort, so that all jobs find the same"""


@dataclass(frozen=True)
class ObstructionConstants:
    """What a prediction leaves behind."""

    blocks: int
    constants: dict[str, tuple[float, float]]
    """predicted `C₁` and its standard error, by `observable at checkpoint`"""


def predict(job: Job, setup: Setup, blocks: int, processes: int = 1) -> ObstructionConstants:
    """`∫ E[T₃ u] ds` for every observable and checkpoint, `u` its expectation under the leading diffusion.

    Two Euler chains of the leading diffusion with step `δ` get `±½ (R[ΔW, ΔW] − δ tr R)` beside
    `b δ + G₀ ΔW`. All that this adds to their one-step operators is even in the sign but `± δ² T₃`,
    so that `(E φ(X⁺) − E φ(X⁻))/(2δ) = ∫ E[T₃ u] ds + O(δ)`; on one path, extrapolated from two `δ`.
    Source: docs/theory/equations.md, section 5, (5.1).
    """
    times, horizon = job.spec.times, setup.grid.horizon
    grid = _grid(horizon, times)
    marks = [*map(grid.step, times)]
    ready = kicked(setup, marks[-1] * grid.tau)
    if job.effort.backend != TORCH:
        ready = compiled(ready, job.records)
    work = [(ready, grid, marks, block) for block in range(blocks)]
    done = spread_threads(_block, work, processes) if ready.source else spread(_block, work, processes)
    parts = sorted(progress(done, total=blocks, unit="block", desc="obstruction"), key=lambda each: each[0])
    values, controls = (torch.cat([part[i] for part in parts]).cpu() for i in (1, 2))
    names = [label(name, at) for at, _ in labels(times, horizon) for name in setup.observables]
    return ObstructionConstants(blocks, {name: _adjusted(value, controls) for name, value in zip(names, values.T, strict=True)})


def known(folder: Path | None, before: ObstructionConstants | None, job: Job, setup: Setup) -> ObstructionConstants:
    """The prediction for a job's tables: the one that is there, or a new one, which is kept."""
    study = job.spec.name
    found = read(folder, study) or before
    if found is None or found.blocks < BLOCKS:
        found = predict(job, setup, BLOCKS, job.effort.processes)
        if folder is not None:
            write(folder, study, found)
    return found


def _adjusted(values: Tensor, controls: Tensor) -> tuple[float, float]:
    """Mean and standard error of what a regression on zero-mean controls leaves."""
    good = torch.isfinite(values) & torch.isfinite(controls).all(-1)
    values, controls = values[good], controls[good]
    if len(values) < 2:
        return math.nan, math.nan
    # the controls' own mean is 0, so only the slopes come from the centred sample
    slopes = torch.linalg.lstsq(controls - controls.mean(0), (values - values.mean()).unsqueeze(1), driver="gelsd").solution
    rest = values - (controls @ slopes).squeeze(1)
    return float(rest.mean()), float(rest.std() / math.sqrt(len(rest)))


def label(observable: str, at: str) -> str:
    """The key of a constant."""
    return f"{observable} at {at}"


def _grid(horizon: float, times: tuple[float, ...]) -> StepGrid:
    """With a number of steps near `STEPS` that puts every checkpoint on the grid."""
    for steps in range(STEPS, 16 * STEPS):
        if all(abs(time / horizon * steps - round(time / horizon * steps)) < 1e-9 for time in times):
            return StepGrid(horizon, steps)
    return StepGrid(horizon, STEPS)


def _block(setup: Setup, grid: StepGrid, marks: Sequence[int], block: int) -> tuple[int, Tensor, Tensor]:
    """Its number, the extrapolated estimates of antithetic pairs, and weighted sums of the kicks, which have mean 0."""
    pairs = paired.BLOCK_PAIRS
    increments = Increments((SEED, grid.steps, block), pairs, LEVELS[-1], grid.tau, setup.start["theta"].device)
    up, down = (begin(setup, 2 * pairs, sign) for sign in (1.0, -1.0))
    size, rows = setup.whole(1).shape[1], []
    for first, last in itertools.pairwise((0, *marks)):
        up, down = (run(setup, increments, first, last, x) for x in (up, down))
        fine, coarse = ((setup.observe(setup.fields(one[:, :size])) - setup.observe(setup.fields(other[:, :size])))
                        / (2 * factor * grid.tau / LEVELS[-1]) for one, other, factor in zip(up, down, LEVELS, strict=True))
        rows.append(2 * fine - coarse)
    values, controls = torch.cat(rows, -1), up[0][:, size + 1 :]
    return block, 0.5 * (values[:pairs] + values[pairs:]), 0.5 * (controls[:pairs] + controls[pairs:])


def write(folder: Path, study: str, predicted: ObstructionConstants) -> None:
    """Keep the constants beside the points."""
    seal.write(folder / FILE, {"study": study, **asdict(predicted)})


def read(folder: Path | None, study: str) -> ObstructionConstants | None:
    """The constants of this study kept there; None if there are none, or they cannot be read, which is named in a warning."""
    if folder is None or not (folder / FILE).exists():
        return None
    try:
        data, _ = seal.read(folder / FILE, older=("blocks", "constants"))
        if data.get("study", study) != study:
            raise ValueError(f"it is of {data['study']}")
        constants = {name: (float(value), float(stderr)) for name, (value, stderr) in data["constants"].items()}
        return ObstructionConstants(int(data["blocks"]), constants)
    except (OSError, ValueError, TypeError, KeyError, AttributeError, OverflowError) as fault:
        warnings.warn(f"{folder / FILE} does not hold the constants that an obstruction leaves ({reason(fault)}), and "
                      "they are not in the tables: run the study's command again to have them computed again", stacklevel=2)
        return None


def quote(value: float, stderr: float) -> str:
    """`value ± standard error`, with two digits of the latter."""
    if not math.isfinite(value) or not stderr > 0:
        return f"{value:.3g}"
    places = max(0, 1 - math.floor(math.log10(stderr)))
    return f"{value:.{places}f} ± {stderr:.{places}f}"
