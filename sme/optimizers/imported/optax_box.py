"""A step of a transformation of optax, or of any object with its `init` and `update`, through numpy arrays."""

import importlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sme.common.errors import SMEError
from sme.optimizers.imported.boxes import COUNTERS, Box, Make, Rows, Shapes, made, sixty_four

INTEGERS = "iu"
"""numpy's kinds of them"""


class OptaxBox(Box):
    """`updates, state = update(gradient, state, parameters)`, compiled by jax for all rows at once.

    The arrays of the state that have a parameter's shape are its fields; its integers count the steps. Between two counts a
    step is interpolated, as a mean over `k − 1` and `k` is that of `k − ½` to second order.
    """

    whole = True

    def __init__(self, make: Make, shapes: Shapes, tau: float) -> None:
        super().__init__(make, shapes)
        self.jax: Any = importlib.import_module("jax")
        self._kept: dict[float, Any] = {}
        with sixty_four(self.jax):
            opened, _ = self.jax.tree_util.tree_flatten_with_path(self._initial(tau))
        self.places, names, shape = list[int](), list[str](), [np.shape(leaf) for _, leaf in opened]
        self.counters = [i for i, (_, leaf) in enumerate(opened)
                         if np.shape(leaf) == () and np.asarray(leaf).dtype.kind in INTEGERS]
        i = 0
        while i < len(opened):
            if tuple(shape[i : i + len(shapes)]) == shapes:
                self.places.append(i)
                names.append(_name(opened[i][0], len(self.places)))
                i += len(shapes)
            else:
                i += 1
        self.name = "optax_" + "_".join(names) if names else "optax"
        self.fields, self.counts = tuple(names), bool(self.counters)

    def _zeros(self) -> list[Any]:
        return [np.zeros(shape) for shape in self.shapes]

    def _initial(self, tau: float) -> Any:
        return made(self.make, self._zeros(), tau).init([self.jax.numpy.asarray(each) for each in self._zeros()])

    def _compiled(self, tau: float) -> Any:
        """All rows from `θ`, the fields, the gradient and the count."""
        if tau in self._kept:
            return self._kept[tau]
        jax, rule = self.jax, made(self.make, self._zeros(), tau)
        leaves, tree = jax.tree_util.tree_flatten(rule.init([jax.numpy.asarray(each) for each in self._zeros()]))
        count = len(self.shapes)

        def parts(row: Any) -> list[Any]:
            ends = np.cumsum(self.sizes)[:-1]
            return [each.reshape(shape) for each, shape in zip(jax.numpy.split(row, ends), self.shapes, strict=True)]

        def joined(arrays: list[Any]) -> Any:
            return jax.numpy.concatenate([each.reshape(-1) for each in arrays])

        def one(theta: Any, fields: list[Any], gradient: Any, k: Any) -> list[Any]:
            full = [jax.numpy.asarray(k, leaf.dtype) if i in self.counters else leaf for i, leaf in enumerate(leaves)]
            for place, field in zip(self.places, fields, strict=True):
                full[place : place + count] = parts(field)
            now = parts(theta)
            updates, state = rule.update(parts(gradient), jax.tree_util.tree_unflatten(tree, full), now)
            after = jax.tree_util.tree_leaves(state)
            return [joined([a + b for a, b in zip(now, updates, strict=True)]),
                    *(joined(after[place : place + count]) for place in self.places)]

        self._kept[tau] = jax.jit(jax.vmap(one, in_axes=(0, 0, 0, None)))
        return self._kept[tau]

    def step(self, state: Sequence[Rows], gradient: Rows, tau: float, k: float) -> list[Rows]:
        low = round(k) if abs(k - round(k)) < 1e-6 else int(k // 1)
        found = self._at(state, gradient, tau, low)
        share = 0.0 if not self.counts else max(0.0, k - low)
        if share < 1e-6:
            return found
        later = self._at(state, gradient, tau, low + 1)
        return [(1 - share) * one + share * other for one, other in zip(found, later, strict=True)]

    def _at(self, state: Sequence[Rows], gradient: Rows, tau: float, k: int) -> list[Rows]:
        with sixty_four(self.jax):
            theta, *fields = (part.detach().cpu().numpy() for part in state)
            found = self._compiled(tau)(theta, fields, gradient.detach().cpu().numpy(), k)
            arrays = [np.array(each) for each in found]
        if any(each.dtype != np.float64 for each in arrays):
            raise SMEError("the optimizer computes in less than double precision, whose rounding hides its terms in τ: make its "
                           "own arrays float64")
        return [torch.from_numpy(each) for each in arrays]

    def run(self, start: Tensor, gradients: Sequence[Tensor], tau: float) -> Iterator[list[Tensor]]:
        jax = self.jax
        with sixty_four(jax):
            now = [jax.numpy.asarray(each.numpy()) for each in self.parts(start)]
            rule = made(self.make, now, tau)
            state = rule.init(now)
            for gradient in gradients:
                updates, state = rule.update([jax.numpy.asarray(each.numpy()) for each in self.parts(gradient)], state, now)
                now = [a + b for a, b in zip(now, updates, strict=True)]
                leaves = jax.tree_util.tree_leaves(state)
                held = [now, *(leaves[place : place + len(self.shapes)] for place in self.places)]
                yield [self.joined([torch.from_numpy(np.array(each)) for each in arrays], 0) for arrays in held]


def _name(path: Sequence[Any], number: int) -> str:
    """What the library calls a leaf of its state."""
    names = [str(each.name) for each in path if hasattr(each, "name") and str(each.name) not in COUNTERS]
    return names[-1] if names else f"field_{number}"
