"""Sentences of the captions of Heredia's figures: runs of one parameter without noise, and their equations with memory."""

import math

import numpy as np

from sme.problems.polynomial import Polynomial
from sme.simulate.integro.ide import IDE
from sme.studies.claims.claim import Claim, Found, Number, Panel, curve

HEREDIA = "Heredia, arXiv 2411.09734"
PARABOLA, WELLS, REST = [16.0, -8.0, 1.0], [0.25, 0.0, -0.5, 0.0, 0.25], 4.0
PRINTED = {(0.1, 0.9, 0.99): (100, 7.298e-4, 5e-8), (0.1, 0.9, 0.999): (100, 4.350e-4, 5e-8),
           (0.01, 0.0, 0.99): (200, 4.59e-9, 5e-12), (0.01, 0.0, 0.999): (200, 3.92e-8, 5e-11),
           (0.01, 0.9, 0.99): (200, 2.08e-6, 5e-9), (0.01, 0.9, 0.999): (200, 1.163e-5, 5e-9)}
"""`lr, β₁, β₂`: the step, `|θₖ − θₖ₋₁|` as printed there, and half a unit of its last digit"""
SWEEPS = 60
"""of the fixed point in one step"""


def _equation(coefficients: list[float], optimizer: str, lr: float, **betas: float) -> IDE:
    return IDE(Polynomial(coefficients, noise=0.0), optimizer, lr, **betas)


def oscillates(lr: float = 0.1, steps: int = 60) -> Found:
    """By how much θ still moves to and fro over the last third of the steps, in units of lr; steps by which the IDE is later."""
    equation = _equation(PARABOLA, "rmsprop", lr, beta2=0.0)
    run = equation.discrete([1.0], steps)["theta"][:, 0]
    times = np.arange(steps + 1) * lr
    memory = equation.solve([1.0], steps * lr)(times)[:, 0]
    late = slice(2 * steps // 3, None)
    sizes = {name: float(np.ptp(each[late])) / lr for name, each in (("run", run), ("IDE, solved exactly", memory))}
    euler = _euler(lr, steps)
    sizes["IDE, by Euler's method with steps of lr"] = float(np.ptp(euler[late])) / lr
    later = [float(np.argmax(np.abs(each - REST) < lr)) for each in (run, memory)]
    numbers = [Number.exact(f"movement of {name}", size, least=0.1, part="the run oscillates" if name == "run" else
                            "so does its equation") for name, size in sizes.items()]
    numbers.append(Number.exact("steps by which the IDE is near the minimum later", later[1] - later[0], least=0.0, part="later"))
    curves = {"run": curve(range(steps + 1), run - REST), "IDE": curve(range(steps + 1), memory - REST),
              "IDE, Euler": curve(range(steps + 1), euler - REST)}
    ends = {name: {key: values[-20:] for key, values in each.items()} for name, each in curves.items()}
    return Found(numbers, [Panel("all steps", "step", "θ − 4", curves), Panel("the last steps", "step", "θ − 4", ends)])


def _euler(lr: float, steps: int) -> np.ndarray:
    """The same equation with the step lr, as its public solver takes it: for β₂ = 0 a descent by signs."""
    found = [1.0]
    for _ in range(steps):
        slope = 2 * (found[-1] - REST)
        found.append(found[-1] - lr * slope / (abs(slope) + 1e-8))
    return np.array(found)


def higher(lr: float = 0.1, steps: int = 60, betas: tuple[float, ...] = (0.9, 0.99)) -> Found:
    """The second moment of the IDE over that of the run, less 1, in the mean over the steps."""
    numbers, panels = [], []
    for beta in betas:
        equation = _equation(PARABOLA, "rmsprop", lr, beta2=beta)
        run = equation.discrete([1.0], steps)["v"][:, 0]
        forms = {"IDE": equation.ordinary([1.0], np.arange(steps + 1) * lr)[:, -1, 0],
                 "IDE with the current gradient, lr as its time step": _looking_ahead(lr, beta, steps)}
        for name, memory in forms.items():
            numbers.append(Number.exact(f"{name}, β₂ = {beta:g}", float((memory[1:] / run[1:] - 1).mean()), least=0.0))
        panels.append(Panel(f"RMSProp, β₂ = {beta:g}", "step", "second moment v", {
            name: curve(range(steps + 1), each) for name, each in {"run": run, **forms}.items()}))
    return Found(numbers, panels)


def _looking_ahead(lr: float, beta: float, steps: int) -> np.ndarray:
    """The second moment of the equation as the public solver has it: Euler's method with steps of lr, memory up to `t + lr`.

    `f′²` is linear between two steps, and its integral against the fading kernel exact.
    """
    rate = 1 - beta
    fading = math.exp(-rate)
    late = 1 - (1 - fading) / rate
    theta, v, found = 1.0, 0.0, [0.0]
    for _ in range(steps):
        slope, new, ahead = 2 * (theta - REST), theta, v
        for _ in range(SWEEPS):
            ahead = fading * v + (1 - fading - late) * slope**2 + late * 4 * (new - REST) ** 2
            new = 0.5 * (new + theta - lr * slope / (math.sqrt(ahead) + 1e-8))
        theta, v = theta - lr * slope / (math.sqrt(ahead) + 1e-8), ahead
        found.append(v)
    return np.array(found)


def improves(steps: tuple[int, ...] = (100, 1000), lrs: tuple[float, ...] = (0.1, 0.01)) -> Found:
    """How far Adam's run overshoots the minimum, and how far the IDE is from it, at the smaller learning rate over the larger."""
    numbers, panels = [], []
    for beta2 in (0.99, 0.999):
        over, apart, curves = list[float](), list[float](), dict[str, dict[str, list[float]]]()
        for lr, count in zip(lrs, steps, strict=True):
            equation = _equation(PARABOLA, "adam", lr, beta1=0.9, beta2=beta2)
            run = equation.discrete([1.0], count)["theta"][:, 0]
            times = np.arange(count + 1) * lr
            memory = equation.ordinary([1.0], times)[:, 0, 0]
            over.append(max(float(run.max()) - REST, 0.0))
            apart.append(float(np.abs(run - memory).max()))
            curves |= {f"run, lr {lr:g}": curve(times, run - REST), f"IDE, lr {lr:g}": curve(times, memory - REST)}
        first, later = "at lr 0.1 Adam oscillates", "at lr 0.01 this improves"
        numbers.append(Number.exact(f"β₂ = {beta2:g}, overshoot at lr 0.1", over[0], least=0.01, part=first))
        numbers += [Number.exact(f"β₂ = {beta2:g}, {what} at lr 0.01 over that at 0.1", sizes[1] / sizes[0], most=0.5, part=later)
                    for what, sizes in (("overshoot", over), ("distance of run and IDE", apart))]
        panels.append(Panel(f"Adam, β₁ = 0.9, β₂ = {beta2:g}", "time, steps · lr", "θ − 4", curves))
    return Found(numbers, panels)


def counts(lrs: tuple[float, ...] = (0.1, 0.01), steps: tuple[int, ...] = (2000, 120_000), near: float = 0.01) -> Found:
    """The number of AdaGrad's steps until θ is within 1 % of the way from 4, and of the time steps of its IDE."""
    claimed = {0.1: (0.0, 1500.0), 0.01: (50_000.0, 150_000.0)}
    numbers, panels = [], []
    for lr, count in zip(lrs, steps, strict=True):
        equation = _equation(PARABOLA, "adagrad", lr)
        marks = np.unique(np.geomspace(1, count, 400).round().astype(int))
        run = equation.discrete([1.0], count)["theta"][:, 0]
        memory = equation.ordinary([1.0], marks * lr)[:, 0, 0]
        for name, at, values in (("run", np.arange(count + 1), run), ("IDE", marks, memory)):
            there = np.flatnonzero(np.abs(values - REST) < near * (REST - 1.0))
            first = float(at[there[0]]) if len(there) else math.inf
            before = float(at[max(there[0] - 1, 0)]) if len(there) else math.inf
            numbers.append(Number(f"{name}, lr {lr:g}", first, before, first, *claimed[lr], part=f"with lr {lr:g}",
                                  basis="deterministic, between two steps looked at"))
        panels.append(Panel(f"AdaGrad, lr {lr:g}", "step", "4 − θ", {"run": curve(marks, REST - run[marks]), "IDE": curve(
            marks, REST - memory)}, "xy", {"1 % of the way": near * (REST - 1.0)}))
    return Found(numbers, panels)


def printed(starts: tuple[float, ...] = (0.1,)) -> Found:
    """The last step of Adam's runs on the wells over the number that the paper's notebooks print."""
    numbers, curves = [], {}
    for (lr, beta1, beta2), (count, told, half) in PRINTED.items():
        run = _equation(WELLS, "adam", lr, beta1=beta1, beta2=beta2).discrete([starts[0]], count)["theta"][:, 0]
        moves = np.abs(np.diff(run))
        ratio = float(moves[-1]) / told
        where, off = f"lr {lr:g}, β₁ {beta1:g}, β₂ {beta2:g}", ratio * half / told
        numbers.append(Number(where, ratio, ratio - off, ratio + off, 0.99, 1.01, "deterministic, rounding of what is printed"))
        curves[where] = curve(range(1, count + 1), moves)
    return Found(numbers, [Panel("Adam on ¼(θ² − 1)², from 0.1", "step", "size of the step", curves, "y")])


def lagrangian(rates: tuple[float, ...] = (0.05, 0.01), velocities: tuple[float, ...] = (0.0, 2.0),
               horizon: float = 10.0) -> Found:
    """The largest error of the second-order-in-time equation over that of the first-order one."""
    loss = Polynomial([2.5, -2.0, -2.0, 0.0, 1.5], noise=0.0)  # (1 − θ)² + 1.5 (θ² − 1)²
    numbers, panels = [], []
    for lr in rates:
        steps = round(horizon / lr)
        times = np.arange(steps + 1) * lr
        equation = IDE(loss, "adam", lr, beta1=0.99, beta2=0.999)
        run = equation.discrete([-1.5], steps)["theta"][:, 0]
        first = equation.ordinary([-1.5], times)[:, 0, 0] - run
        curves = {"first order": curve(times[1:], np.abs(first)[1:])}
        for velocity in velocities:
            second = equation.ordinary([-1.5], times, order=2, velocity=velocity)[:, 0, 0] - run
            ratio = float(np.abs(second).max() / np.abs(first).max())
            numbers.append(Number.exact(f"lr {lr:g}, initial velocity {velocity:g}", ratio, most=1.0))
            curves[f"second order, velocity {velocity:g}"] = curve(times[1:], np.abs(second)[1:])
        panels.append(Panel(f"Adam, lr {lr:g}", "time, steps · lr", "|equation − run|", curves, "y"))
    return Found(numbers, panels)


OWN = "the paper's own, read off its public code"
CLAIMS = (
    Claim("rmsprop_oscillates", HEREDIA, "figure of RMSProp on (θ − 4)², β = 0, as summarised in public",
          "RMSProp with β = 0 oscillates at the minimum, and its memory equation does so too, later.",
          "(θ − 4)² from 1, 60 steps of lr 0.1; the equation solved to 1e-9, and by Euler's method as the public solver does",
          OWN, "a movement over the last third of the steps below 0.1 lr, or an equation that is at the "
          "minimum earlier", oscillates, {"steps": 40}),
    Claim("second_moment_higher", HEREDIA, "figures of RMSProp, as summarised in public",
          "For β = 0.9 and 0.99 the second moment is slightly higher in the memory equation than in the run.",
          "(θ − 4)² from 1, 60 steps of lr 0.1; the equation solved exactly, and as its public solver has it, with the "
          "gradient at t + lr in its memory", OWN,
          "a relative excess of v over the run's that is negative in the mean over the steps", higher, {"steps": 20}),
    Claim("adam_oscillation_improves", HEREDIA, "figures of Adam on (θ − 4)², as summarised in public",
          "With β₁ = 0.9 and lr 0.1 Adam visibly oscillates about the minimum; at lr 0.01 this improves.",
          "(θ − 4)² from 1, 100 steps of lr 0.1 and 1000 of lr 0.01", OWN,
          "an overshoot at lr 0.1 below 0.01, or one at lr 0.01, or a distance of run and equation there, above half of that "
          "at 0.1",
          improves, {"steps": (40, 60)}),
    Claim("adagrad_iterations", HEREDIA, "AdaGrad on (θ − 4)², as summarised in public",
          "AdaGrad reaches 4 in fewer than 1500 iterations with lr 0.1, and in around 100 000 with lr 0.01.",
          "(θ − 4)² from 1 (the paper's start was not read), until 99 % of the way are gone", OWN,
          "more than 1500 steps; fewer than 50 000 or more than 150 000", counts, {"steps": (60, 80)}),
    Claim("printed_last_steps", HEREDIA, "outputs of the notebooks of Adam on ¼(θ² − 1)²",
          "The last step of Adam's run has the six sizes that are printed there, from 7.298e-4 to 4.59e-9.",
          "¼(θ² − 1)² from 0.1", OWN, "a size that is off by more than 1 %", printed),
    Claim("second_order_in_time", "Heredia, arXiv 2602.09101", "table of errors",
          "The equation of second order in time is closer to Adam's run than that of first order.",
          "(1 − θ)² + 1.5 (θ² − 1)² from −1.5, β = (0.99, 0.999), horizon 10, initial velocities 0 and 2",
          "two of the paper's five learning rates, the largest", "a largest error over the horizon that is not smaller",
          lagrangian, {"rates": (0.05,), "horizon": 1.0}),
)
