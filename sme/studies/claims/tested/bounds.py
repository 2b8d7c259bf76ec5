"""The steps that RMSProp and Adam need to a small gradient, under affine noise on losses that no one constant makes smooth."""

import itertools
import warnings
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from sme.common.errors import choose
from sme.optimizers.adam import Adam
from sme.optimizers.base import Optimizer
from sme.optimizers.rmsprop import RMSProp
from sme.optimizers.sgd import SGD
from sme.problems.base import Problem
from sme.problems.noise.affine import AffineNoise
from sme.studies.claims.claim import Claim, Found, Number, Panel, curve
from sme.studies.claims.runs import begun, noisy
from sme.studies.trajectories.run import trajectories

SCALES = (0.5, 1.0, 1.5, 2.0)
"""of the coordinates"""
FAR, POINTS, LATE = 4.0, 1000, 3
"""where `x` starts; times at which a gradient is looked at; and so many of the last lengths for the second half of the steps"""
LOSSES: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor], tuple[float, ...]]] = {
    "cosh x": (lambda x: 0.5 * (x.exp() + (-x).exp()) - 1, lambda x: 0.5 * (x.exp() - (-x).exp()), (FAR,) * 4),
    "¼x⁴": (lambda x: 0.25 * x**4, lambda x: x**3, (FAR,) * 4),
    "¼(x² − 1)²": (lambda x: 0.25 * (x * x - 1) ** 2, lambda x: x**3 - x, (FAR, 0.0, FAR, 0.0))}
"""of one coordinate, its slope, and the start"""
SHARE = {"whole": 0.0, "late": 0.5}
"""of the steps that are left out, at the beginning"""
FORMS = {"discrete": "", "order 1": "'s SDE"}
BETA1, BOUND = 0.9, 4.0


class Coordinates(Problem):
    """The sum of a loss over the coordinates `x = sθ`, with noise of variance `1 + growth (∂f)²`."""

    def __init__(self, name: str, growth: float) -> None:
        self.value, self.slope, start = LOSSES[name]
        self.scales = torch.tensor(SCALES, dtype=torch.float64)
        super().__init__(lambda theta: self.value(self.scales * theta).sum(), len(SCALES), AffineNoise(1.0, growth), "sum")
        self.start = {"theta": torch.tensor(start, dtype=torch.float64) / self.scales}

    def gradient(self, theta: Tensor) -> Tensor:
        return self.scales * self.slope(self.scales * theta)


def rules(lr: float) -> dict[str, Optimizer]:
    """With `1 − β₂ = lr`, and of Adam a `β₁` that stays."""
    exact = {"eps": 1e-8, "v_floor": 0.0}
    return {"RMSProp": RMSProp(c=1.0, denominator="updated", **exact),  # type: ignore[arg-type]
            "Adam": Adam(c1=(1 - BETA1) / lr, c2=1.0, denominator="updated", **exact)}  # type: ignore[arg-type]


def _norms(given: Problem, rule: str, steps: int, paths: int, growth: float, seed: int,
           backend: str) -> dict[tuple[str, str], float]:
    """The mean of `E‖∇f‖` over the steps, and over their second half, of the run and of its SDE, with `lr = T^(−1/2)`."""
    lr, g = steps**-0.5, given.gradient(given.start["theta"][None])[0]
    optimizer = rules(lr)[rule]
    fields = {"theta": given.start["theta"], "v": 1 + (1 + growth) * g * g, "m": g}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of few paths
        table = trajectories(given, optimizer, tau=lr, horizon=steps * lr, order=1, model="compagnoni", substeps=4, paths=paths,
                             start={name: fields[name] for name in optimizer.fields}, observables=["gradient norm"],
                             histogram="theta[0]", points=POINTS, seed=seed, backend=backend).table
    found = {}
    for form, (part, share) in itertools.product(FORMS, SHARE.items()):
        rows = table[(table["curve"] == form) & (table["time"] >= share * table["time"].max())]
        times = rows["time"].to_numpy()
        found[form, part] = float(np.trapezoid(rows["mean"], times) / (times[-1] - times[0]))
    return found


def exponent(lengths: Sequence[int], norms: np.ndarray) -> np.ndarray:
    """Of `1/ε` in the steps, of norms `(lengths, groups)`: over that of the steps in `ε`, with the other sign."""
    return -1 / np.polyfit(np.log(lengths), np.log(norms), 1)[0]


def _diverged(given: Problem, steps: int, runs: int, looked: int, seed: int) -> float:
    """The share of SGD's runs with the same step that overflow so soon."""
    theta = given.start["theta"].expand(runs, -1)
    ends = noisy(given, (SGD(), steps**-0.5), begun(SGD(), theta), [looked], lambda state: state["theta"], seed)[0]
    return float((~np.isfinite(ends).all(1)).mean())


def affine(lengths: Sequence[int] = (256, 1024, 4096, 16_384, 65_536), groups: int = 4, paths: int = 16, growth: float = 1.0,
           seed: int = 0, losses: Sequence[str] = tuple(LOSSES), backend: str = "auto") -> Found:
    """The exponent of 1/ε in the steps T, where ε is the mean of E‖∇f‖ over them; and over their second half alone."""
    numbers, panels, lost = [], [], {}
    of, late = f"groups of {paths} paths", lengths[-LATE:]
    for name in losses:
        given, curves = Coordinates(choose("loss", name, LOSSES), growth), {}
        for rule in rules(1.0):
            found = [[_norms(given, rule, each, paths, growth, seed + i, backend) for i in range(groups)] for each in lengths]
            norms = {key: np.array([[one[key] for one in row] for row in found]) for key in found[0][0]}
            for form, said in FORMS.items():
                numbers.append(Number.mean(f"{rule}{said}, {name}", exponent(lengths, norms[form, "whole"]), of, most=BOUND,
                                           beside=bool(said)))
                curves[f"{rule}{said}"] = _curve(lengths, norms[form, "whole"])
            numbers.append(Number.mean(f"{rule}, {name}, second half of the steps, T ≥ {late[0]}",
                                       exponent(late, norms["discrete", "late"][-len(late):]), of, most=BOUND, beside=True))
            curves[f"{rule}, second half of the steps"] = _curve(lengths, norms["discrete", "late"])
        top = curves["RMSProp"]["y"][0]
        guide = curve(lengths, top * (np.array(lengths) / lengths[0]) ** (-1 / BOUND))
        panels.append(Panel(name, "steps T", "E‖∇f‖, mean over the steps", {**curves, "T^(−1/4), the bound's rate": guide}, "xy"))
        lost[name] = curve(lengths, [_diverged(given, each, groups * paths, lengths[0], seed) for each in lengths])
    return Found(numbers, [*panels, Panel("SGD with the same step", "steps T", "share of runs that diverge", lost, "x",
                                          points=True)])


def _curve(lengths: Sequence[int], norms: np.ndarray) -> dict[str, list[float]]:
    return curve(lengths, norms.mean(1), norms.min(1), norms.max(1))


CLAIMS = (
    Claim("affine_noise_rate", "Zhang, Zhou and Zou, arXiv 2404.01436", "abstract and theorems, whose text was not seen here",
          "RMSProp and Adam come to a mean gradient norm ε in O(ε⁻⁴) steps, under noise of affine variance and on losses whose "
          "smoothness grows with the gradient, with lr and 1 − β₂ of the size ε².",
          "cosh x, ¼x⁴ and ¼(x² − 1)², summed over four coordinates x = sθ, s = ½ to 2; Gaussian noise of variance 1 + (∂f)² in "
          "each; from x = 4, where the curvature is 27 to 48 s² (two coordinates of the last loss from its maximum); "
          "lr = 1 − β₂ = T^(−1/2), β₁ = 0.9, 1e-8 beside √v, v and m from their means, T = 256 to 65 536, 4 groups of 16 "
          "paths (after a try at these T); "
          "beside it Compagnoni's SDE of each rule, in four substeps, the second half of the steps alone, and SGD's share of "
          "runs that diverge within 256 steps of this lr. At these T the number that is claimed can hardly exceed 4: the way "
          "from the start rules it. The second half of the steps, which can, stands beside it, and its intervals lie across 4 on "
          "cosh x and on the wells",
          "4 parameters; theirs are theorems on all such losses, upper bounds, which a faster fall keeps too: the way from the "
          "start takes a share T^(−1/2) of the steps, exponent 2. What a constant step leaves at rest is of the size √lr at a "
          "minimum with curvature, exponent 4, and lr^(3/4) at that of x⁴, exponent 8/3: it shows in the second half, and at "
          "longer T in all",
          "an exponent of 1/ε in the steps T above 4, that is, a mean gradient norm that falls slower than T^(−1/4)", affine,
          {"lengths": (16, 64), "groups": 2, "paths": 2, "losses": ("¼x⁴",)},
          "from the smallest to the largest of the groups", ("lengths",)),
)
