"""The first-order constant that an obstruction leaves, predicted without the optimizer."""

import math
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor

from sme.common.errors import reason
from sme.common.process.processes import spread
from sme.common.process.progress import progress
from sme.common.random.increments import Increments
from sme.common.storage import seal
from sme.convergence.estimator import paired
from sme.convergence.fit.tables import labels
from sme.equations.base import Equation
from sme.equations.registry import equation
from sme.optimizers.grid import StepGrid
from sme.simulate.setup import Setup

STEPS = 32
"""least number of steps of the coarser of two grids of the leading diffusion over the horizon"""
POWERS = 4
"""of time, that weigh the kicks in the control variates"""
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


def predict(setup: Setup, times: tuple[float, ...], blocks: int, processes: int = 1) -> ObstructionConstants:
    """`∫ E[T₃ u] ds` for every observable and checkpoint, `u` its expectation under the leading diffusion.

    Two Euler chains of the leading diffusion with step `δ` get `±½ (R[ΔW, ΔW] − δ tr R)` beside
    `b δ + G₀ ΔW`. All that this adds to their one-step operators is even in the sign but `± δ² T₃`,
    so that `(E φ(X⁺) − E φ(X⁻))/(2δ) = ∫ E[T₃ u] ds + O(δ)`; on one path, extrapolated from two `δ`.
    Source: docs/theory/equations.md, section 5, (5.1).
    """
    first = equation(setup.problem, setup.optimizer, setup.regime, setup.tau, 1, "independent")
    memory = equation(setup.problem, setup.optimizer, setup.regime, setup.tau, 2, "step_memory")
    grid = _grid(setup.grid.horizon, times)
    work = [(setup, first, memory, times, grid, block) for block in range(blocks)]
    done = spread(_block, work, processes)
    parts = list(progress(done, total=blocks, unit="block", desc="obstruction"))
    values, controls = (torch.cat(part).cpu() for part in zip(*parts, strict=True))
    names = [label(name, at) for at, _ in labels(times, setup.grid.horizon) for name in setup.observables]
    return ObstructionConstants(blocks, {name: _adjusted(value, controls) for name, value in zip(names, values.T, strict=True)})


def known(folder: Path | None, study: str, before: ObstructionConstants | None, setup: Setup, times: tuple[float, ...],
          processes: int) -> ObstructionConstants:
    """The prediction for the tables: the one that is there, or a new one, which is kept."""
    found = read(folder, study) or before
    if found is None or found.blocks < BLOCKS:
        found = predict(setup, times, BLOCKS, processes)
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


def _block(setup: Setup, first: Equation, memory: Equation, times: tuple[float, ...], grid: StepGrid,
           block: int) -> tuple[Tensor, Tensor]:
    """The extrapolated estimates of antithetic pairs, and weighted sums of the kicks, which have mean 0."""
    delta, pairs = grid.tau, paired.BLOCK_PAIRS
    increments = Increments((SEED, grid.steps, block), pairs, 2, delta, setup.start["theta"].device)
    start = setup.whole(2 * pairs)
    marks = [*map(grid.step, times)]
    levels = {1: [start, start], 2: [start, start]}  # coarse and fine, with + and −
    rows, sums = [], [torch.zeros_like(start)] * POWERS
    for k in range(marks[-1]):
        dW, t = increments.first(k, first.first), setup.optimizer.t0 + k * delta
        for level, parts in ((1, (dW.sum(0),)), (2, (dW[0], dW[1]))):
            dt = delta / level
            for i, part in enumerate(parts):
                at = t + i * dt
                kicks = [0.5 * (memory.memory(at, x, part, part) - dt * memory.memory_trace(at, x)) for x in levels[level]]
                levels[level] = [x + dt * first.drift(at, x) + first.diffuse(at, x, part) + sign * kick
                                 for x, kick, sign in zip(levels[level], kicks, (1, -1), strict=True)]
                if level == 2:
                    sums = [total + ((k + i / 2) / marks[-1]) ** power * kicks[0] for power, total in enumerate(sums)]
        if k + 1 in marks:
            coarse, fine = ((setup.observe(setup.fields(up)) - setup.observe(setup.fields(down))) / (2 * delta / level)
                            for level, (up, down) in levels.items())
            rows.append(2 * fine - coarse)
    values, controls = torch.cat(rows, -1), torch.cat(sums, -1)
    return 0.5 * (values[:pairs] + values[pairs:]), 0.5 * (controls[:pairs] + controls[pairs:])


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
