"""Rates of convergence without noise, in continuous and in discrete time, and a Lyapunov function along both."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from scipy.integrate import solve_ivp

from sme.studies.claims.claim import Claim, Found, Number, Panel, curve

HEREDIA = "Heredia, arXiv 2411.09734"
THEOREMS = "theorems on convergence, whose text was not seen here"
GONE = 1e-10
"""of the loss at the start: there a run is followed no further"""
BEGIN, TOLERANCE = 1e-12, 1e-9
"""the time at which memories start from their leading order; and the solver's"""
SMALL, LEAST = 0.01, 1e-300
"""`ε` of the Lyapunov function, which is smooth with it; and a loss that rounding has made 0"""
SEEN, EPS, LAST = 4000, 1e-8, 0.95
"""times at which a flow is looked at; `ε`; and the share of the time to which an envelope is trusted"""
RULES = {"AdaGrad": (None, None), "RMSProp": (None, 0.99), "Adam": (0.9, 0.99)}
"""`β₁`, `β₂`; no `β₂` where squares are summed"""


class Loss(NamedTuple):
    """Of one parameter, with its slope."""

    value: Callable[[Any], Any]
    slope: Callable[[Any], Any]


CONVEX = Loss(lambda x: 0.5 * x**2 + 0.25 * x**4, lambda x: x + x**3)
POLYAK = Loss(lambda x: x**2 + 3 * np.sin(x) ** 2, lambda x: 2 * x + 3 * np.sin(2 * x))
FLAT = Loss(lambda x: x**4, lambda x: 4 * x**3)


Track = tuple[np.ndarray, np.ndarray]
"""times, and the loss at them, until `GONE` of it is left"""


def _flow(loss: Loss, rule: str, lr: float, start: float, horizon: float) -> Track:
    """The loss along `θ̇ = −m/(√v + ε)` with memories.

    The solver's variable is `√t`, in which the start is smooth.
    """
    beta1, beta2 = RULES[rule]
    c1, c2, fades = (1 - (beta1 or 0.0)) / lr, (1 - beta2 if beta2 else 1.0) / lr, beta2 is not None
    g = float(loss.slope(start))

    def move(x: float, y: np.ndarray) -> list[float]:
        t, (theta, m, v) = x * x, y
        g, gain, root = float(loss.slope(theta)), 1.0, 1.0
        if beta1 and beta2:
            root = math.sqrt(-math.expm1(t / lr * math.log(beta2)))
            gain = -root / math.expm1(t / lr * math.log(beta1))
        top = m if beta1 else g
        return [-2 * x * gain * top / (math.sqrt(max(v, 0.0)) + EPS * root), 2 * x * c1 * (g - m) if beta1 else 0.0,
                2 * x * c2 * (g * g - (v if fades else 0.0))]

    def gone(x: float, y: np.ndarray) -> float:
        moving = y[1] ** 2 / (2 * c1 * (math.sqrt(max(y[2], 0.0)) + EPS)) if beta1 else 0.0
        return float(loss.value(y[0])) + moving - GONE * float(loss.value(start))

    gone.terminal = True  # type: ignore[attr-defined]
    begin = math.sqrt(BEGIN)
    solved = solve_ivp(move, (begin, math.sqrt(horizon)), [start, c1 * g * BEGIN, c2 * g * g * BEGIN], "LSODA", events=gone,
                       rtol=TOLERANCE, atol=1e-14, first_step=0.1 * begin, dense_output=True)
    x = np.sqrt(np.union1d(np.linspace(0, solved.t[-1] ** 2, SEEN)[1:], np.geomspace(1e-3, 1, SEEN // 10) * solved.t[-1] ** 2))
    return x * x, loss.value(solved.sol(np.maximum(x, begin))[0])


def _run(loss: Loss, rule: str, lr: float, starts: np.ndarray, steps: int) -> np.ndarray:
    """The losses before each step of the optimizer, and after the last, of one run from each start."""
    beta1, beta2 = RULES[rule]
    theta, m, v, found = starts, 0.0 * starts, 0.0 * starts, [loss.value(starts)]
    for k in range(1, steps + 1):
        g = loss.slope(theta)
        m = beta1 * m + (1 - beta1) * g if beta1 else g
        v = beta2 * v + (1 - beta2) * g * g if beta2 else v + g * g
        root, gain = (math.sqrt(1 - beta2**k), 1 / (1 - beta1**k)) if beta1 and beta2 else (1.0, 1.0)
        theta = theta - lr * root * gain * m / (np.sqrt(v) + EPS * root)
        found.append(loss.value(theta))
    return np.array(found)


def _both(loss: Loss, rule: str, lr: float, starts: np.ndarray, steps: int) -> dict[str, list[Track]]:
    """The envelopes of the loss, the most that is still to come, of flow and run, for each start."""
    runs = _run(loss, rule, lr, starts, steps).T
    tracks = {"continuous": [_flow(loss, rule, lr, float(each), lr * steps) for each in starts],
              "discrete": [(lr * np.arange(1, steps + 1), each[1:]) for each in runs]}
    return {form: [(t, np.maximum.accumulate(each[::-1])[::-1]) for t, each in every] for form, every in tracks.items()}


def _end(track: Track) -> float:
    """The time to which an envelope is looked at."""
    times, losses = track
    there = np.flatnonzero(losses <= GONE * losses[0])
    return LAST * float(times[there[0] if len(there) else -1])


def evenness(track: Track) -> float:
    """Twice the share of the fall of an envelope's logarithm that is in the second half of the time, while above `GONE`.

    1 of an exponential, some 0.2 of a power of time over thousands of steps, 0 of what has come to rest.
    """
    times, losses = track
    first, half, last = np.interp(np.array([0, 0.5, 1]) * _end(track), times, np.log(np.maximum(losses, LEAST)))
    return float(2 * (half - last) / (first - last))


def _rate(loss: Loss, lr: float, steps: int, starts: int, seed: int) -> Found:
    """`evenness` of both forms of each rule, over random starts."""
    numbers, panels = [], []
    begin = np.random.default_rng(seed).uniform(0.5, 3.0, starts)
    for rule in RULES:
        found = _both(loss, rule, lr, begin, steps)
        numbers += [Number.mean(f"{rule}, {form}", list(map(evenness, every)), "starts", least=0.5, beside=form == "discrete")
                    for form, every in found.items()]
        panels.append(_shown(f"{rule}, lr {lr:g}, one start", found, "y"))
    return Found(numbers, panels)


def _shown(title: str, found: dict[str, list[Track]], log: str) -> Panel:
    curves = {}
    for form, every in found.items():
        t, losses = (each[every[-1][0] <= _end(every[-1])] for each in every[-1])
        keep = np.unique(np.interp(np.geomspace(t[-1] / 1e3, t[-1], 300), t, np.arange(len(t))).round().astype(int)) \
            if "x" in log else np.arange(0, len(t), max(1, len(t) // 300))
        curves[form] = curve(t[keep], losses[keep])
    return Panel(title, "time, lr · steps", "most of the loss still to come", curves, log)


def strongly_convex(lr: float = 0.1, steps: int = 4000, starts: int = 8, seed: int = 0) -> Found:
    """Twice the share of the fall of log loss on `½θ² + ¼θ⁴` that is in the second half of the time: 1 of an exponential."""
    return _rate(CONVEX, lr, steps, starts, seed)


def pl(lr: float = 0.1, steps: int = 4000, starts: int = 8, seed: int = 0) -> Found:
    """Twice the share of the fall of log loss on `θ² + 3 sin²θ` that is in the second half of the time: 1 of an exponential."""
    return _rate(POLYAK, lr, steps, starts, seed)


def kl(lr: float = 0.1, steps: int = 20_000, starts: int = 6, seed: int = 0) -> Found:
    """The exponent of time in the loss `θ⁴`, over the last decade before 1e-10 of it is left."""
    numbers, panels = [], []
    begin = np.random.default_rng(seed).uniform(0.8, 1.5, starts)
    for rule in RULES:
        found = _both(FLAT, rule, lr, begin, steps)
        numbers += [Number.mean(f"{rule}, {form}", list(map(_exponent, every)), "starts", most=-1.9, beside=form == "discrete")
                    for form, every in found.items()]
        panels.append(_shown(f"{rule} on θ⁴, one start", found, "xy"))
    return Found(numbers, panels)


def _exponent(track: Track) -> float:
    """Of time in the loss, over the last decade."""
    times, losses = track
    end = _end(track)
    late = (times >= end / 10) & (times <= end)
    return float(np.polyfit(np.log(times[late]), np.log(np.maximum(losses[late], LEAST)), 1)[0])


def _bowl(point: np.ndarray) -> tuple[float, np.ndarray]:
    """`¼(x² − 1)² + 2(y − x²)²` and its gradient."""
    x, y = point
    wells, bend = x * x - 1, y - x * x
    return 0.25 * wells**2 + 2 * bend**2, np.array([x * wells - 8 * x * bend, 4 * bend])


def lyapunov(lr: float = 0.02, horizon: float = 10.0, starts: int = 8, seed: int = 0) -> Found:
    """The largest rise of `V = f + |m|²/(2c₁(√v + ε))` between two steps, over `V` at the start, along flow and run of Adam."""
    numbers, panels = [], []
    steps = round(horizon / lr)
    times = np.arange(steps + 1) * lr
    begin = np.random.default_rng(seed).uniform(-1.5, 1.5, (starts, 2))
    for c1, c2 in ((2.0, 1.0), (1.0, 4.0), (0.5, 8.0)):
        rises: dict[str, list[float]] = {"flow": [], "run": []}
        curves = {}
        for each in begin:
            values = _along(c1, c2, each, lr, times)
            for form, v in values.items():
                rises[form].append(float(np.diff(v).max() / v[0]))
            curves = {form: curve(times, np.maximum(v / v[0], 1e-12)) for form, v in values.items()}
        for form, rise in rises.items():
            worst = max(rise)
            numbers.append(Number.exact(f"{form}, c₂ = {c2 / c1:g} c₁", worst, most=1e-7, beside=form == "run" or c2 > 4 * c1,
                                        basis=f"deterministic, largest of {starts} starts"))
        panels.append(Panel(f"c₂ = {c2 / c1:g} c₁, one start", "time", "V over V at the start", curves, "y"))
    return Found(numbers, panels)


def _along(c1: float, c2: float, theta: np.ndarray, lr: float, times: np.ndarray) -> dict[str, np.ndarray]:
    """`V` along the flow of Adam without bias correction, and along its run, at every step."""
    y = np.concatenate([theta, np.zeros(2), _bowl(theta)[1] ** 2 + 1e-2])

    def move(_: float, y: np.ndarray) -> np.ndarray:
        theta, m, v = y.reshape(3, 2)
        g = _bowl(theta)[1]
        return np.concatenate([-m / (np.sqrt(np.maximum(v, 0)) + SMALL), c1 * (g - m), c2 * (g * g - v)])

    solved = solve_ivp(move, (0.0, times[-1]), y, "LSODA", times, rtol=1e-10, atol=1e-13)
    rows = [y]
    for _ in times[1:]:
        theta, m, v = rows[-1].reshape(3, 2)
        g = _bowl(theta)[1]
        m, v = m + lr * c1 * (g - m), v + lr * c2 * (g * g - v)
        rows.append(np.concatenate([theta - lr * m / (np.sqrt(v) + SMALL), m, v]))

    def value(y: np.ndarray) -> float:
        return _bowl(y[:2])[0] + float((y[2:4] ** 2 / (np.sqrt(np.maximum(y[4:], 0)) + SMALL)).sum()) / (2 * c1)

    return {form: np.array([*map(value, states)]) for form, states in (("flow", solved.y.T), ("run", rows))}


EVEN = ("a share of the fall of log loss in the second half of the time, doubled, below ½: 1 of an exponential, some 0.2 of a "
        "power, 0 of a run at rest")
SETTING = "{}, 8 random starts, lr 0.1, β₁ = 0.9, β₂ = 0.99, ε = 1e-8, 4000 steps or until 1e-10 of the loss is left"
CLAIMS = (
    Claim("exponential_rate", HEREDIA, THEOREMS,
          "On strongly convex losses AdaGrad, RMSProp and Adam converge exponentially, in continuous time.",
          SETTING.format("½θ² + ¼θ⁴") + "; beside it the discrete runs", "one parameter; the paper's are theorems", EVEN,
          strongly_convex, {"steps": 60, "starts": 2}),
    Claim("pl_rate", HEREDIA, THEOREMS,
          "On losses that are not convex but satisfy the Polyak–Łojasiewicz inequality AdaGrad, RMSProp and Adam converge "
          "exponentially, in continuous time.",
          SETTING.format("θ² + 3 sin²θ") + "; beside it the discrete runs", "one parameter; the paper's are theorems", EVEN,
          pl, {"steps": 60, "starts": 2}),
    Claim("kl_rate", HEREDIA, THEOREMS,
          "Under a Kurdyka–Łojasiewicz inequality the loss falls like a power of time, on θ⁴ as t⁻² or faster.",
          "θ⁴, 6 random starts, lr 0.1, 20 000 steps; the rate t⁻² is that of the gradient flow", "one parameter",
          "an exponent over the last decade of steps above −1.9", kl, {"steps": 200, "starts": 2}),
    Claim("lyapunov", "Heredia, arXiv 2411.09734; Barakat and Bianchi, arXiv 1810.02263", THEOREMS,
          "V = f + |m|²/(2c₁(√v + ε)) never rises along Adam's flow, if c₂ ≤ 4c₁ (of the discrete run nothing is claimed).",
          "¼(x² − 1)² + 2(y − x²)², 8 random starts, V at every step of 0.02 up to time 10, c₂ = ½, 4 and 16 c₁",
          "two parameters; theirs are theorems", "a rise of V between two times by more than 1e-7 of V at the start", lyapunov,
          {"horizon": 1.0, "starts": 2}),
)
