"""Reshuffled epochs over whole runs, ballistic: run and equation without random numbers, at several steps of the last epoch."""

import itertools

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp

import sme
from sme.equations.order.one_step import Generator
from sme.equations.registry import equation
from sme.optimizers.regimes import BALLISTIC
from tests.equations.drivers.boxes import Shuffle, backward
from tests.support.few import few

RULES = {"SGD": sme.SGD(), "RMSProp": sme.RMSProp(c=1.4, eps=0.2, denominator="previous"),
         "Adam": sme.Adam(c1=1.3, c2=0.9, eps=0.2, bias_correction=False)}
START = {"theta": 0.9, "m": 0.3, "v": 0.8}
FEW = np.array([1.6, 0.7, 1.1]), np.array([2.0, -0.3, -0.4])
"""curvatures and shifts of the kinds of examples where there are many"""
DEGREE = {"SGD": 6, "RMSProp": 6, "Adam": 4}
"""of the polynomials, in each field"""
SAMPLINGS = ("reshuffled", "without_replacement")
"""the equation that knows the epochs, and that of independent steps"""


def kinds(n):
    """Curvatures and shifts of the kinds of examples, and how many there are of each: of a few each is its own kind."""
    if n < 20:
        k = np.arange(1, n + 1)
        return 1 + 0.7 * np.sin(2.4 * k), np.cos(1.7 * k**2) + 0.9 * (k % 4 == 0), (1,) * n
    return *FEW, (n // 6, n // 3, n // 2)


def problem(n, size, sampling):
    def example(theta, a, b):
        return 0.5 * a * theta[0] ** 2 + b * theta[0] + 0.05 * theta[0] ** 4

    curve, shift, counts = kinds(n)
    a, b = (torch.tensor(each).repeat_interleave(torch.tensor(counts)) for each in (curve, shift))
    return sme.Problem(lambda theta: (0.5 * a * theta[0] ** 2 + b * theta[0] + 0.05 * theta[0] ** 4).mean(), 1,
                       sme.MinibatchNoise(example, (a, b), size, sampling=sampling))


def mover(rule, n, tau):
    """One step of the rule by a batch that has so many examples of each kind, written anew."""
    curve, shift, _ = kinds(n)

    def step(x, batch):
        share = np.array(batch) / sum(batch)
        theta, v = x[..., 0], x[..., -1]
        g = curve @ share * theta + shift @ share + 0.2 * theta**3
        if rule == "SGD":
            return (theta - tau * g)[..., None]
        if rule == "RMSProp":
            return np.stack((theta - tau * g / (np.sqrt(v) + 0.2), v + 1.4 * tau * (g * g - v)), -1)
        m, new = x[..., 1] + 1.3 * tau * (g - x[..., 1]), v + 0.9 * tau * (g * g - v)
        old = new if RULES[rule].denominator == "updated" else v
        return np.stack((theta - tau * m / (np.sqrt(old) + 0.2), m, new), -1)

    return step


def look(x):
    """Test functions of states `(…, fields)`."""
    theta, v = x[..., 0], x[..., -1]
    return np.stack([theta**2, np.exp(0.7 * theta - 0.4 * v), v * v + theta * v], -1)


class Case:
    """One rule, `n` examples, batches of `size`, so many epochs to time 1; some steps of the last epoch are looked at."""

    def __init__(self, rule, n, size, epochs, places=None):
        self.rule, self.n, self.size, self.epochs, self.models = rule, n, size, epochs, {}
        self.tau, self.steps, self.start = size / (n * epochs), n // size, [START[field] for field in RULES[rule].fields]
        self.places = places or sorted({self.steps * quarter // 4 for quarter in (1, 2, 3, 4)} - {0})

    def model(self, sampling, driver="independent"):
        if (sampling, driver) not in self.models:
            law = problem(self.n, self.size, sampling)
            self.models[sampling, driver] = equation(law, RULES[self.rule], BALLISTIC, self.tau, 2, driver)
        return self.models[sampling, driver]

    def equation(self, sampling):
        eq = self.model(sampling)
        generator = Generator(eq, lambda z: z)
        return (lambda x: eq.drift(0.0, torch.from_numpy(x)).numpy(),
                lambda x: generator.noise(0.0, torch.from_numpy(x)).numpy())

    def spread(self, sampling):
        """The deviation of the equation at the end, were its noise that of the start."""
        return np.sqrt((self.equation(sampling)[1](np.array([self.start])) ** 2).sum(0).max())

    def run(self, degree=None):
        """The box has half as much again as the deviation, half an epoch in and at the end."""
        step, epochs = mover(self.rule, self.n, self.tau), Shuffle(kinds(self.n)[2], self.size)
        ends = np.stack([step(np.array(self.start), batch) for batch in epochs.batches])
        inside = np.sqrt(epochs.first @ (ends - epochs.first @ ends) ** 2).max() * self.steps**0.5 / 2
        width = 1.5 * (inside + self.spread("reshuffled"))
        return epochs.run(step, self.start, self.epochs, look, self.places, width, degree or DEGREE[self.rule])

    def expected(self, sampling, degree=None):
        exact = 1e-5 * self.tau * (self.tau if sampling == "reshuffled" else 1.0)  # of an error of τ², and of one of τ
        times = [1 - (self.steps - place) * self.tau for place in self.places]
        width, degree = 2 * self.spread(sampling), degree or DEGREE[self.rule]
        return backward(*self.equation(sampling), self.start, times, look, width, degree, exact)

    def errors(self, samplings=SAMPLINGS):
        """Run less equation: `(equation, place, function)`."""
        run = self.run()
        return np.array([run - self.expected(sampling) for sampling in samplings])


def slopes(coarse, fine):
    return np.log2(np.abs(coarse / fine))


@pytest.mark.parametrize(("rule", "size"), few([("SGD", 1), ("RMSProp", 2), ("Adam", 1), ("Adam", 2)], 1, 2))
def test_a_run_is_the_mean_over_all_orders(rule, size):
    case, ends = Case(rule, 4, size, 2, [1, 4 // size]), []
    case.tau = 0.02
    step, units = mover(rule, 4, case.tau), np.eye(4)
    for orders in itertools.product(itertools.permutations(range(4)), repeat=2):
        x, seen = np.array(case.start), []
        for order in orders:
            seen = []
            for k in range(0, 4, size):
                x = step(x, units[list(order[k : k + size])].sum(0))
                seen.append(look(x))
        ends.append([seen[0], seen[-1]])
    np.testing.assert_allclose(case.run(), np.mean(ends, 0), rtol=0, atol=1e-9)


def test_equal_examples_are_one_kind():
    """Of 5 examples two and three equal ones, against five of which each is its own kind."""
    def step(x, batch):
        share = np.array(batch) / sum(batch)
        shift = share @ (np.array([1.0, -0.6]) if len(batch) == 2 else np.array([1.0, 1.0, -0.6, -0.6, -0.6]))
        return x - 0.05 * (x**3 + shift)

    one, all_ = (Shuffle(counts, 1).run(step, [0.7], 2, lambda x: x**2, [2, 5], 0.3, 8) for counts in ((2, 3), (1,) * 5))
    np.testing.assert_allclose(one, all_, rtol=0, atol=1e-12)


def test_the_backward_equation_has_closed_moments():
    """`dx = ax dt + x (s dW + r dW')`, `dy = −y dt + q dW`: `E x²` and `E xy`, at two times."""
    a, s, r, q, x, y = -0.3, 0.4, 0.2, 0.5, 1.2, 0.7
    def noise(z):
        return np.stack([np.stack([s * z[:, 0], q + 0 * z[:, 0]], -1), np.stack([r * z[:, 0], 0 * z[:, 0]], -1)])

    def moments(z):
        return np.stack([z[..., 0] ** 2, z[..., 0] * z[..., 1]], -1)

    found = backward(lambda z: z * [a, -1.0], noise, [x, y], [0.4, 1.0], moments, 0.5, 4)
    wanted = [[x**2 * np.exp((2 * a + s**2 + r**2) * t),
               np.exp((a - 1) * t) * x * y + s * q * x * np.exp(a * t) * (1 - np.exp(-t))] for t in (0.4, 1.0)]
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-9)


RUNS = [("SGD", 8, 1, 128), ("RMSProp", 8, 1, 128), ("Adam", 8, 1, 128),
        ("SGD", 8, 4, 128), ("RMSProp", 8, 4, 128), ("Adam", 8, 4, 128), ("RMSProp", 9, 1, 128), ("RMSProp", 9, 3, 128),
        ("SGD", 48, 1, 64), ("RMSProp", 48, 1, 64), ("Adam", 48, 1, 64),
        ("SGD", 48, 4, 64), ("RMSProp", 48, 4, 64), ("Adam", 48, 4, 64)]
"""rule, examples, batch, epochs"""


@pytest.mark.slow
@pytest.mark.parametrize(("rule", "n", "size", "epochs"), RUNS)
def test_runs_of_epochs_are_of_order_two_and_independent_steps_of_order_one(rule, n, size, epochs):
    coarse, fine = (Case(rule, n, size, count).errors() for count in (epochs // 2, epochs))
    known, independent = slopes(np.abs(coarse).max(-1), np.abs(fine).max(-1))
    assert np.abs(known - 2).max() < 0.1  # with 48 examples 64 epochs are few
    assert np.abs(independent - 1).max() < (0.5 if (rule, n, size) == ("Adam", 8, 4) else 0.1)  # its error of τ is small
    assert (np.abs(fine[1]).max(-1) > 2 * np.abs(fine[0]).max(-1)).all()


def squared(rule, n, x):
    """Mean over the examples of `(δ̃₂·∇)² look`, by differences along the flows of `δ̃₂`."""
    curve, shift, _ = kinds(n)

    def moved(x, i, e):
        def field(x):
            noise = (curve - curve.mean()) * x[0] + shift - shift.mean()
            g = curve.mean() * x[0] + shift.mean() + 0.2 * x[0] ** 3
            square = 2 * g * noise[i] + noise[i] ** 2 - (noise**2).mean()
            if rule == "SGD":
                return np.array([-noise[i]])
            if rule == "RMSProp":
                return np.array([-noise[i] / (np.sqrt(x[1]) + 0.2), 1.4 * square])
            return np.array([0.0, 1.3 * noise[i], 0.9 * square])

        return look(x + e * field(x + 0.5 * e * field(x)))

    e = 1e-3
    return np.mean([moved(x, i, e) + moved(x, i, -e) - 2 * look(x) for i in range(n)], 0) / e**2


@pytest.mark.parametrize("rule", few(list(RULES), "SGD"))
def test_inside_an_epoch_the_error_is_of_order_two_with_its_own_constant(rule):
    """One example a batch: `½ τ² j (m − j)/(m − 1) E[(δ̃₂·∇)² φ]` more after `j` steps than at the end."""
    cases = [Case(rule, 8, 1, epochs) for epochs in (16, 32)]
    coarse, fine = (case.errors(SAMPLINGS[:1])[0] for case in cases)
    assert np.abs(slopes(np.abs(coarse).max(-1), np.abs(fine).max(-1)) - 2).max() < 0.15
    coarse, fine = ((off[:-1] - off[-1]) / case.tau**2 for case, off in zip(cases, (coarse, fine), strict=True))
    drift = cases[1].equation("reshuffled")[0]
    end = solve_ivp(lambda _, x: drift(x[None])[0], (0, 1), cases[1].start, rtol=1e-6).y[:, -1]
    wanted = [j * (8 - j) / 14 * squared(rule, 8, end) for j in cases[1].places[:-1]]
    np.testing.assert_allclose(2 * fine - coarse, wanted, rtol=0, atol=0.02 * np.abs(wanted).max())


@pytest.mark.slow
def test_the_slope_inside_an_epoch_comes_late():
    """Of `E θ²`, RMSProp, half an epoch in, where two errors of `τ²` nearly cancel."""
    off = [Case("RMSProp", 8, 1, epochs, [4]).errors(SAMPLINGS[:1])[0, 0, 0] for epochs in (16, 32, 64)]
    found = slopes(np.array(off[:-1]), np.array(off[1:]))
    assert (found[0], found[1]) == (pytest.approx(1.85, abs=0.02), pytest.approx(1.93, abs=0.02))


def line(*cells):
    print("| " + " | ".join(cells) + " |", flush=True)


def shown(values):
    return ", ".join(f"{value:.2f}" for value in values)


def main(runs=RUNS):
    """Print the table of docs/theory/drivers.md, section 21: `python -m tests.equations.drivers.test_epoch_runs`."""
    line("rule; $n$, $B$; epochs", "step of $m$", r"(21.1), $\mathbb E\,\theta^2$", "largest of three",
         r"independent steps, $\mathbb E\,\theta^2$", "times farther at the end")
    line(*["---"] * 6)
    for rule, n, size, epochs in runs:
        cases = [Case(rule, n, size, count) for count in (epochs // 2, epochs)]
        coarse, fine = (case.errors() for case in cases)
        known, independent = slopes(coarse[..., 0], fine[..., 0])
        largest = slopes(np.abs(coarse[0]).max(-1), np.abs(fine[0]).max(-1))
        line(f"{rule}; {n}, {size}; {epochs}", ", ".join(map(str, cases[0].places)), shown(known), shown(largest),
             shown(independent), f"{abs(fine[1, -1, 0] / fine[0, -1, 0]):.0f}")
    epochs = [8 * 2**k for k in range(6)]
    off = np.array([Case("RMSProp", 8, 1, count, [4]).errors(SAMPLINGS[:1])[0, 0, 0] for count in epochs])
    print(f"RMSProp, 8, 1, half an epoch in, up to {epochs[1:]} epochs:", shown(slopes(off[:-1], off[1:])))


if __name__ == "__main__":
    main()
