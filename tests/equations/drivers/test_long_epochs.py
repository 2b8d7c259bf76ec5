"""Long reshuffled epochs, ballistic: the run by its backward recursion, the bridge to second order in its noise."""

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp

from tests.equations.drivers.test_epoch_runs import Case, kinds, line, look, shown, slopes

EPOCHS, LENGTH = 2, 0.5
"""how many, and how long each is, whatever the number of its steps"""
STEP = 1e-3
"""of the differences"""


def expected(case, driver):
    """`E look` at the places of a case: exact but for `O(τ²)`, as the noise is `O(√τ)`.

    With `A` the slope of the drift at the mean path and `g_l' = A g_l + c_l` of every motion's column, from 0 where an epoch
    begins, the covariance is that of independent motions less `Σ_l g_l g_lᵀ/T` of each epoch, and the mean has
    `−Σ_l ∂c_l g_l/T` besides what the covariance adds to it; without a bridge there is no `1/T`.
    """
    eq = case.model("reshuffled" if driver == "bridge" else "without_replacement", driver)
    dim, counts, tied = len(case.start), np.array(kinds(case.n)[2]), 1 / LENGTH if driver == "bridge" else 0.0
    first = np.cumsum(counts) - 1  # one example of each kind
    units = torch.eye(eq.motions, dtype=torch.float64)[[*first, *range(case.n, eq.motions)]]
    many = np.concatenate((counts, np.ones(eq.motions - case.n)))
    unit = np.eye(dim)
    pairs = np.array([a + b for a in unit for b in unit])
    shifts = STEP * np.concatenate((np.zeros((1, dim)), unit, -unit, pairs, -pairs))

    def derivatives(values):
        """Values, slopes and second slopes `(…, field, field)` of functions of which those at the shifts are known."""
        here, up, down = values[0], values[1 : 1 + dim], values[1 + dim : 1 + 2 * dim]
        both = (values[1 + 2 * dim :].reshape(2, dim, dim, -1).sum(0) + 2 * here
                - (up + down)[:, None] - (up + down)[None]) / (2 * STEP**2)
        return here, ((up - down) / (2 * STEP)).T, both.transpose(2, 0, 1)

    def rates(_, state):
        x, m = state[:dim], state[dim : 2 * dim]
        cov, g = state[2 * dim : 2 * dim + dim**2].reshape(dim, dim), state[2 * dim + dim**2 :].reshape(-1, dim)
        places = torch.from_numpy(x + shifts)
        b, slope, bend = derivatives(eq.drift(0.0, places).numpy())
        wide = eq.diffuse(0.0, places.repeat(len(units), 1), units.repeat_interleave(len(places), 0)).numpy()
        c, turn, _ = derivatives(wide.reshape(len(units), len(places), dim).transpose(1, 0, 2).reshape(len(places), -1))
        c, turn = c.reshape(-1, dim), turn.reshape(-1, dim, dim)[: len(counts)]
        held = cov - tied * (g.T * counts) @ g
        shift = slope @ m + 0.5 * (bend * held).sum((1, 2)) - tied * counts @ np.einsum("lij,lj->li", turn, g)
        return np.concatenate((b, shift, (slope @ cov + cov @ slope.T + (c.T * many) @ c).ravel(),
                               (g @ slope.T + c[: len(counts)]).ravel()))

    start, found = np.concatenate((case.start, np.zeros(dim + dim**2 + len(counts) * dim))), []
    for epoch in range(EPOCHS):
        times = [place * case.tau for place in case.places]
        run = solve_ivp(rates, (0, LENGTH), start, "DOP853", times if epoch == EPOCHS - 1 else [LENGTH], rtol=1e-9, atol=1e-9).y.T
        for state in run:
            x, m, g = state[:dim], state[dim : 2 * dim], state[2 * dim + dim**2 :].reshape(-1, dim)
            cov = state[2 * dim : 2 * dim + dim**2] - tied * ((g.T * counts) @ g).ravel()
            here, slope, bend = derivatives(look(x + shifts))
            found.append(here + slope @ m + 0.5 * (bend * cov.reshape(dim, dim)).sum((1, 2)))
        start = np.concatenate((x, m, cov, np.zeros(len(counts) * dim)))
    return np.array(found[EPOCHS - 1 :])


RUNS = [("SGD", 1, 48), ("SGD", 2, 96), ("SGD", 4, 96), ("RMSProp", 1, 48), ("RMSProp", 2, 96), ("RMSProp", 4, 96),
        ("Adam", 1, 48), ("Adam", 4, 96)]
"""rule, batch, examples; and half as many"""


def errors(rule, size, n):
    """Of half as many examples and of all: run less equation `(number, equation, place, function)`; and the steps looked at."""
    cases = [Case(rule, count, size, EPOCHS) for count in (n // 2, n)]
    runs = [(case, case.run()) for case in cases]
    off = [[run - expected(case, driver) for driver in ("bridge", "independent")] for case, run in runs]
    return np.array(off), cases[1].places


@pytest.mark.slow
@pytest.mark.parametrize(("rule", "size", "n"), RUNS)
def test_the_bridge_is_of_order_two_over_long_epochs_and_independent_steps_of_order_one(rule, size, n):
    off, _ = errors(rule, size, n)
    bridge, independent = slopes(*np.abs(off).max(-1))
    assert np.abs(bridge - 2).max() < 0.25
    assert 0.8 < independent.min() <= independent.max() < 1.6  # Adam's error of τ is small
    assert (np.abs(off[1, 1]).max(-1) > 2 * np.abs(off[1, 0]).max(-1)).all()


def main():
    """Print the table of docs/theory/drivers.md, section 21: `python -m tests.equations.drivers.test_long_epochs`."""
    line("rule; $B$; $n$", "step of $m$", r"bridge, $\mathbb E\,\theta^2$", "largest of three",
         r"independent steps, $\mathbb E\,\theta^2$", "times farther at the end")
    line(*["---"] * 6)
    for rule, size, n in RUNS:
        off, places = errors(rule, size, n)
        bridge, independent = slopes(*off[..., 0])
        line(f"{rule}; {size}; {n}", ", ".join(map(str, places)), shown(bridge), shown(slopes(*np.abs(off[:, 0]).max(-1))),
             shown(independent), f"{abs(off[1, 1, -1, 0] / off[1, 0, -1, 0]):.0f}")


if __name__ == "__main__":
    main()
