"""The noise of a network's minibatches: what an evaluation costs beside a full gradient, and what coupled batches save.

    python benchmarks/minibatch.py [--write]
"""

import resource
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from page import Section, machine, options
from torch import Tensor
from torch.func import grad, vmap

import sme
from sme.equations.registry import equation
from sme.optimizers.regimes import BALLISTIC
from sme.simulate.control_variates import controls

TAU = 1 / 16
SMALLER = 8
"""networks of today have so many times fewer examples and paths, as in their experiments"""


def today(kind: type[sme.Mnist] | type[sme.Text], examples: int, **settings: Any) -> sme.Network:
    """With batches of a quarter of the examples, without replacement."""
    few = max(2, examples // SMALLER)
    return kind(examples=few, batch_size=max(1, few // 4), sampling="without_replacement", **settings)


NETWORKS: dict[str, Callable[[int], sme.Network]] = {
    "perceptron on digits": lambda examples: sme.Digits(hidden=[27], examples=examples),
    "wider perceptron": lambda examples: sme.Digits(hidden=[133], examples=examples),
    "cnn on MNIST": lambda examples: today(sme.Mnist, examples, network="cnn"),
    "resnet on MNIST": lambda examples: today(sme.Mnist, examples, network="resnet"),
    "transformer on text": lambda examples: today(sme.Text, examples)}
"""from the number of examples"""


def seconds(work: Callable[[], object], repeats: int) -> float:
    """The median of a few calls, after one that warms up."""
    work()
    times = []
    for _ in range(repeats):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return statistics.median(times)


def cost(name: str, examples: int, paths: int, repeats: int) -> list[tuple[object, ...]]:
    """Drift and diffusion at one state over one full-batch gradient, both of all paths."""
    problem = NETWORKS[name](examples)
    paths = paths if isinstance(problem, sme.Digits) else max(2, paths // SMALLER)
    theta = problem.start["theta"] + 0.01 * torch.randn(paths, problem.dim, dtype=torch.float64)
    whole = seconds(lambda: vmap(grad(problem._whole))(theta), repeats)
    rows: list[tuple[object, ...]] = []
    for optimizer in (sme.RMSProp(), sme.Adam()):
        x = torch.cat((theta, *[torch.full_like(theta, 0.1)] * (len(optimizer.fields) - 1)), 1)
        for order in (1, 2):
            each = equation(problem, optimizer, BALLISTIC, TAU, order)
            dW = torch.randn(paths, each.motions, dtype=torch.float64)

            def evaluate(x: Tensor = x, each: object = each, dW: Tensor = dW) -> None:
                state = x.clone()  # what was computed at a state is kept: another one each time
                each.drift(0.0, state)
                each.diffuse(0.0, state, dW)

            rows.append((name, f"{problem.dim:,}".replace(",", " "), optimizer.name, order, 1e3 * whole / paths,
                         seconds(evaluate, repeats) / whole))
    return rows


def saved(coupling: str, centred: bool, sampling: str, paths: int) -> float:
    """The standard error of discrete − order 2 in the loss of a small network at the end."""
    longest, controls.LONGEST = controls.LONGEST, controls.LONGEST if centred else 0
    problem = sme.Digits(hidden=[8], examples=64, batch_size=16, sampling=sampling, coupling=coupling)
    made = sme.trajectories(problem, sme.RMSProp(v_floor=1e-3), tau=1 / 8, start={"v": torch.full((problem.dim,), 0.01)}, order=2,
                            paths=paths, substeps=4, points=1, backend="torchsde", observables=["loss"], histogram="loss")
    controls.LONGEST = longest
    return float(made.table["difference_stderr"].iloc[-1])


def main() -> None:
    """Measure, print, write."""
    parser = options(__doc__ or "")
    parser.add_argument("--examples", type=int, default=256)
    parser.add_argument("--paths", type=int, default=128)
    parser.add_argument("--repeats", type=int, default=7)
    asked = parser.parse_args()
    section = Section("minibatch", asked.write)
    torch.set_num_threads(1)
    torch.manual_seed(0)
    section.say(f"{machine()}. Perceptrons with one hidden layer on {asked.examples} digits, {asked.paths} paths at a time, and "
                "the networks of today on an eighth of both; seconds are the processor's; the unit is one full-batch gradient of "
                "all paths.")
    rows, before = [], resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for name in NETWORKS:
        try:
            found = cost(name, asked.examples, asked.paths, asked.repeats)
        except sme.SMEError as fault:  # where its data are not installed
            section.say(f"Without the {name}: {fault}")
            continue
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        rows += [(*row, (peak - before) / 1024) for row in found]
    section.table(rows, ("network", "parameters", "optimizer", "order", "full gradient, ms a path",
                         "drift and diffusion, full gradients", "memory so far, MiB"), ("g", "g", "g", "g", ".2f", ".1f", ".0f"))
    section.say("Standard error of discrete − order 2 in the loss of a network of 610 parameters on 64 digits, batches of 16, at "
                f"t = 1, {asked.paths} paths; `centred` is without the discrete run's own linear response:")
    table = []
    for sampling in ("with_replacement", "without_replacement"):
        errors = {(coupling, centred): saved(coupling, centred, sampling, asked.paths)
                  for centred in (False, True) for coupling in ("independent", "ranked")}
        table.append((sampling.replace("_", " "), *errors.values()))
    section.table(table, ("sampling", "independent", "ranked", "independent, centred", "ranked, centred"), ".1e")
    section.close()


if __name__ == "__main__":
    main()
