"""Expectations on a small box that goes with the mean path: of reshuffled epochs by a backward recursion over what is left of the
epoch, and of an equation by its backward equation. No random numbers.

A function of the state is its values at the Chebyshev nodes of the box; a step may lead a little outside, where the polynomial
goes on.
"""

import itertools
import math
from functools import reduce

import numpy as np
from numpy.polynomial import chebyshev
from scipy.integrate import solve_ivp


class Box:
    """`degree + 1` nodes a coordinate, of so many coordinates, `width` to each side."""

    def __init__(self, dim, width, degree):
        self.line = chebyshev.chebpts1(degree + 1)
        self.dim, self.width, self.back = dim, width, np.linalg.inv(chebyshev.chebvander(self.line, degree))
        self.nodes = width * np.stack(np.meshgrid(*[self.line] * dim, indexing="ij"), -1).reshape(-1, dim)
        by_line = np.stack([chebyshev.chebval(self.line, chebyshev.chebder(row)) for row in self.back.T], -1) / width
        one = np.eye(degree + 1)
        self.slope = np.array([reduce(np.kron, [by_line if i == j else one for j in range(dim)]) for i in range(dim)])
        self.bend = self.slope[:, None] @ self.slope[None]

    def at(self, places):
        """`(places, nodes)`: values there of a function of which those at the nodes are known."""
        lines = [chebyshev.chebvander(places[:, i] / self.width, len(self.line) - 1) @ self.back for i in range(self.dim)]
        return reduce(lambda one, other: (one[:, :, None] * other[:, None]).reshape(len(places), -1), lines)


class Shuffle:
    """Epochs of batches of `size` of examples of few kinds: states by what of each kind has come, batches by what they have."""

    def __init__(self, counts, size):
        self.size, self.steps = size, sum(counts) // size
        states = [s for s in itertools.product(*(range(c + 1) for c in counts)) if sum(s) % size == 0]
        self.levels = [[s for s in states if sum(s) == k * size] for k in range(self.steps + 1)]
        self.batches = [s for s in states if sum(s) == size]
        places = [{s: i for i, s in enumerate(level)} for level in self.levels]
        self.moves = []  # of each step and batch: from which states, to which, with what probability
        for k in range(self.steps):
            total, found = math.comb(sum(counts) - k * size, size), []
            for batch in self.batches:
                came = []
                for i, state in enumerate(self.levels[k]):
                    after = tuple(a + b for a, b in zip(state, batch, strict=True))
                    if after in places[k + 1]:
                        ways = math.prod(math.comb(c - a, b) for c, a, b in zip(counts, state, batch, strict=True))
                        came.append((i, places[k + 1][after], ways / total))
                found.append(tuple(np.array(each) for each in zip(*came, strict=True)) if came else None)
            self.moves.append(found)
        self.first = np.array([move[2][0] for move in self.moves[0]])

    def run(self, step, start, epochs, looks, places, width, degree):
        """Expectations of functions so many steps into the last epoch: `(places, functions)`.

        `step(x, batch)` moves states `(…, fields)`; `looks(x)` has the functions last.
        """
        box, path = Box(len(start), width, degree), [np.array(start)]
        for _ in range(epochs * self.steps):
            ends = np.stack([step(path[-1], batch) for batch in self.batches])
            path.append(self.first @ ends)
        columns = len(looks(path[0]))
        for k in range(epochs * self.steps - 1, -1, -1):
            level, last = k % self.steps, k >= (epochs - 1) * self.steps
            if level == self.steps - 1:  # a new epoch begins with what the old one ended
                later = np.zeros((len(box.nodes), 1, len(places) * columns)) if last else now
            for i, place in enumerate(places):
                if last and place == level + 1:
                    later[:, :, i * columns : (i + 1) * columns] = looks(path[k + 1] + box.nodes)[:, None]
            now = np.zeros((len(box.nodes), len(self.levels[level]), later.shape[2]))
            for batch, move in zip(self.batches, self.moves[level], strict=True):
                if move is not None:
                    begin, end, share = move
                    carry = box.at(step(path[k] + box.nodes, batch) - path[k + 1])
                    carried = carry @ later[:, end].reshape(len(carry), -1)
                    now[:, begin] += share[:, None] * carried.reshape(len(carry), len(end), -1)
            later = now
        return (box.at(np.zeros((1, box.dim))) @ now[:, 0])[0].reshape(len(places), columns)


def backward(drift, noise, start, times, looks, width, degree, exact=1e-11):
    """Expectations of `dx = drift dt + noise dW` at these times: `(times, functions)`; `noise(x)` is `(motions, places, fields)`.

    Without motions the equation is an ODE.
    """
    ends = max(times)
    path = solve_ivp(lambda _, x: drift(x[None])[0], (0, ends), start, "DOP853", rtol=exact, atol=exact, dense_output=True)
    if not len(noise(np.array(start)[None])):
        return np.stack([looks(path.sol(t)) for t in times])
    box, columns = Box(len(start), width, degree), len(looks(np.array(start)))

    def rates(t, values):
        centre = path.sol(t)
        x = np.vstack((centre, centre + box.nodes))
        b, g = drift(x), noise(x[1:])
        move = b[1:] - b[0]
        spread = np.einsum("kpi,kpj->pij", g, g)
        own = sum(move[:, i, None] * box.slope[i] for i in range(box.dim))
        own = own + 0.5 * sum(spread[:, i, j, None] * box.bend[i, j] for i in range(box.dim) for j in range(box.dim))
        return -(own @ values.reshape(len(own), -1)).ravel()

    order, now = sorted(range(len(times)), key=lambda i: -times[i]), np.zeros((len(box.nodes), len(times) * columns))
    for i, until in zip(order, [*(times[i] for i in order[1:]), 0.0], strict=True):
        now[:, i * columns : (i + 1) * columns] = looks(path.sol(times[i]) + box.nodes)
        if times[i] > until:
            run = solve_ivp(rates, (times[i], until), now.ravel(), "DOP853", rtol=exact, atol=exact)
            now = run.y[:, -1].reshape(now.shape)
    return (box.at(np.zeros((1, box.dim))) @ now)[0].reshape(len(times), columns)
