"""Per-example gradients of a network of linear layers, without any gradient of a single example."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.func import grad, jvp, vmap

from sme.common.identity.hashing import fingerprint
from sme.problems.noise.minibatch.flat import FlatModule
from sme.problems.noise.minibatch.per_example import Examples, Paths, Seen, Shares, Weights

Losses = Callable[[Tensor, Tensor], Float[Tensor, " n"]]
"""from outputs and targets of a batch to the loss of each example"""
Layer = tuple[Tensor, Tensor]
"""what goes into a layer, `(n, in)` if it is the same for all paths, else `(paths, n, in)`; and the derivative of each
example's loss by what comes out, `(paths, n, out)`"""


FEW = 3
"""examples on which a module is tried"""


class LayeredExamples(Examples):
    """`g_i` of a module all of whose parameters are weights and biases of linear layers, each used once, by its layer.

    With `a_i` what goes into a layer and `δ_i` the derivative of `ℓ_i` by what comes out, its part of `g_i` is `δ_i a_iᵀ` (and
    `δ_i` for the bias), so that with one forward and one backward pass every weighted sum is a matrix product:

        Σ_i w_i g_i = (w∘δ)ᵀ a        Σ_i w_i g_i∘g_i = (w∘δ∘δ)ᵀ (a∘a)

    Held at once: `paths · n · (widths of all layers)` numbers, whatever `d`; never `n · d` or `d²`.

    Parameters
    ----------
    model, losses
        the module, and the losses of a batch of examples from outputs and targets.
    inputs, targets
        the data, examples first.
    """

    def __init__(self, model: FlatModule, losses: Losses, inputs: Tensor, targets: Tensor) -> None:
        self.model, self.losses, self.inputs, self.targets = model, losses, inputs, targets
        self.count = len(inputs)
        self._last: tuple[Any, ...] = ()
        self._slope: tuple[Any, ...] = ()

    def fit(self) -> bool:
        """Whether the module is of this kind, seen on the first examples."""
        layers, model, some = _layers(self.model), self.model, min(FEW, self.count)
        owned = {f"{name}.{part}".lstrip(".") for name, layer in layers.items() for part, _ in layer.named_parameters()}
        if owned != set(model.shapes):
            return False
        calls: list[tuple[str, tuple[int, ...]]] = []
        with _Watch(layers, lambda name, given, out: calls.append((name, tuple(given.shape[:-1])))):
            model(model.start, self.inputs[:some])
        if sorted(calls) != sorted((name, (some,)) for name in layers):
            return False
        # a weight that is used beside its layer, as in a tied decoder, shows in the gradients alone
        few = LayeredExamples(model, self.losses, self.inputs[:some], self.targets[:some])
        theta = (model.start + 0.1 * torch.arange(model.dim).to(model.start).cos()).expand(some, -1)  # where no weight is 0
        each = few.batch(theta, torch.arange(some, device=theta.device).unsqueeze(1))
        return torch.allclose(few.weigh(theta, torch.eye(some).to(theta))[0], each, rtol=1e-6, atol=1e-9)

    def _pass(self, theta: Paths) -> dict[str, Layer]:
        """Forward and backward through all examples, layer by layer."""
        layers = _layers(self.model)
        zeros = {name: theta.new_zeros(self.count, layer.out_features) for name, layer in layers.items()}

        def total(shifts: dict[str, Tensor], point: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
            into: dict[str, Tensor] = {}

            def shifted(name: str, given: Tensor, out: Tensor) -> Tensor:
                into[name] = given
                return out + shifts[name]

            with _Watch(layers, shifted):
                outputs = self.model(point, self.inputs)
            return self.losses(outputs, self.targets).sum(), into

        deltas, into = vmap(grad(total, has_aux=True), in_dims=(None, 0))(zeros, theta)
        # what the first layers see is the data, the same for all paths
        return {name: (a[0] if a.stride(0) == 0 else a, deltas[name]) for name, a in into.items()}

    def _sum(self, passed: dict[str, Layer], weights: Weights | Shares | None = None, power: int = 1) -> Paths:
        """`Σ_i weights_i g_i^power`, elementwise; without weights `Σ_i g_i^power`."""
        parts = {}
        for name, (a, delta) in passed.items():
            raised, into = (delta, a) if power == 1 else (delta.pow(power), a.pow(power))
            if weights is not None:
                raised = raised * weights.unsqueeze(-1)
            prefix = f"{name}." if name else ""
            parts[f"{prefix}weight"], parts[f"{prefix}bias"] = (raised.mT @ into).flatten(1), raised.sum(1)
        return torch.cat([parts[name] for name in self.model.shapes], 1)

    def _both(self, theta: Paths) -> tuple[Paths, Paths]:
        passed = self._pass(theta)
        return self._sum(passed) / self.count, self._sum(passed, power=2) / self.count

    def _at(self, theta: Paths) -> dict[str, Layer]:
        # one evaluation of an equation at a θ asks for these several times: keep the last ones
        if not self._last or not self._last[0].is_(theta):
            self._last = (Seen(theta), self._pass(theta), {})
        passed: dict[str, Layer] = self._last[1]
        return passed

    def _kept(self, theta: Paths, power: int) -> Paths:
        passed, means = self._at(theta), self._last[2]
        if power not in means:
            means[power] = self._sum(passed, power=power) / self.count
        mean: Paths = means[power]
        return mean

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_last": (), "_slope": ()}

    def gradient(self, theta: Paths) -> Paths:
        return self._kept(theta, 1)

    def averages(self, theta: Paths) -> tuple[Paths, Paths]:
        return self._kept(theta, 1), self._kept(theta, 2)

    def power(self, theta: Paths, exponent: int, shares: Shares | None = None) -> Paths:
        return self._kept(theta, exponent) if shares is None else self._sum(self._at(theta), shares, exponent)

    def slope(self, theta: Paths, u: Paths) -> tuple[Paths, Paths]:
        if not self._slope or not (self._slope[0].is_(theta) and self._slope[1].is_(u)):  # ∇²f u and the slope of σ
            self._slope = (Seen(theta), Seen(u), jvp(self._both, (theta,), (u,))[1])
        change: tuple[Paths, Paths] = self._slope[2]
        return change

    def weigh(self, theta: Paths, weights: Weights, squares: Weights | None = None) -> tuple[Paths, Paths]:
        passed = self._at(theta)
        linear = self._sum(passed, weights)
        return linear, torch.zeros_like(linear) if squares is None else self._sum(passed, squares, 2)

    def batch(self, theta: Paths, indices: Int[Tensor, "paths batch"]) -> Paths:
        def mean(point: Tensor, inputs: Tensor, targets: Tensor) -> Tensor:
            return self.losses(self.model(point, inputs), targets).mean()

        gradient: Paths = vmap(grad(mean))(theta, self.inputs[indices], self.targets[indices])
        return gradient

    def to(self, device: torch.device) -> "LayeredExamples":
        return LayeredExamples(self.model.to(device), self.losses, self.inputs.to(device), self.targets.to(device))

    def describe(self) -> dict[str, object]:
        return {**self.model.describe(), "losses": fingerprint(self.losses),
                "data": fingerprint((self.inputs, self.targets))}


def _layers(model: FlatModule) -> dict[str, nn.Linear]:
    return {name: each for name, each in model.module.named_modules() if type(each) is nn.Linear}


class _Watch:
    """While it lasts, `seen(name, input, output)` is called by every layer and may return another output."""

    def __init__(self, layers: dict[str, nn.Linear], seen: Callable[[str, Tensor, Tensor], Tensor | None]) -> None:
        self.layers, self.seen = layers, seen

    def __enter__(self) -> None:
        self.hooks: Sequence[Any] = [layer.register_forward_hook(partial(self._hook, name))
                                     for name, layer in self.layers.items()]

    def _hook(self, name: str, layer: nn.Module, given: tuple[Tensor, ...], out: Tensor) -> Tensor | None:
        return self.seen(name, given[0], out) if given else None  # called by keywords: as if it were not

    def __exit__(self, *_: object) -> None:
        for hook in self.hooks:
            hook.remove()
