"""A neural network on a finite data set."""

import copy
import itertools
from collections.abc import Callable
from contextlib import suppress

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sme.common.derivatives import guard
from sme.common.derivatives.written import Written
from sme.common.errors import SMEError, choose
from sme.common.identity.hashing import fingerprint
from sme.problems.base import Function, Paths, Problem
from sme.problems.networks import given
from sme.problems.networks import targets as _targets
from sme.problems.networks.culprit import culprit
from sme.problems.networks.data import Data, pair
from sme.problems.networks.means import Mean, Means
from sme.problems.noise.base import GradientLaw
from sme.problems.noise.minibatch.flat import FlatModule
from sme.problems.noise.minibatch.law import MinibatchNoise
from sme.problems.noise.minibatch.layers import FEW, LayeredExamples, Losses, Single
from sme.problems.noise.minibatch.per_example import Examples, LossExamples
from sme.problems.smooth.losses import rough
from sme.problems.spectrum import lowest
from sme.problems.untouched import untouched

ITERATIONS = 30
"""of the power iteration behind the sharpness"""
MOST = 2**28
"""numbers of one path's layers, at most"""


def _squared(outputs: Tensor, targets: Tensor) -> Tensor:
    """The mean over an example's outputs."""
    if outputs.shape != targets.shape:
        raise SMEError(f"for mse the targets must have the shape of the outputs, {tuple(outputs.shape)}, not "
                       f"{tuple(targets.shape)}")
    return (outputs.flatten(1) - targets.flatten(1)).square().mean(1)


def _entropy(outputs: Tensor, targets: Tensor) -> Tensor:
    return _targets.entropy(outputs, targets)


LOSSES: dict[str, Losses] = {"cross_entropy": _entropy, "mse": _squared}


class Network(Problem):
    """`f(θ) = mean_i ℓ(module(θ, x_i), y_i)`, `θ` all trainable parameters of a module, with the noise of its minibatches.

    The ensemble of paths is vectorised. Sums over per-example gradients are matrix products, layer by layer
    (`LayeredExamples`); the parameters of layers without a rule (`sme.layer_rule`) are differentiated example by example, or if
    these are most, all of them, some examples at a time (`LossExamples`). `Σ` is never formed.

    Parameters
    ----------
    module
        any `torch.nn.Module` without batch statistics and random layers (in `eval()` Dropout and BatchNorm are neither); of a
        compiled one the original, one of few bits in float64, which is said. The loss must be smooth in its parameters for order
        2: where its gradient jumps, with ReLU, max-pooling and the like, only order 1 is offered.
    data
        `(inputs, targets)`, examples first, or a `torch.utils.data.Dataset` or `DataLoader` of such pairs, which is read once.
    loss
        `"cross_entropy"` of classes or of their probabilities, for outputs `(n, …, classes)` the mean over an example's tokens;
        `"mse"`; one of torch's losses that is a mean over examples, such as `nn.CrossEntropyLoss()`; or a function of outputs
        and targets of a batch to a loss for each example.
    batch_size, sampling, scale, coupling
        of `sme.MinibatchNoise`.
    noise
        a gradient law in place of the minibatch's, such as `sme.DiagonalNoise`.
    test
        as `data`, for the observables `test loss` and `test accuracy`.
    name
        what tables and folders call it.

    Notes
    -----
    Observables by name: `loss` (train), `accuracy`, `error`, which is 1 less that, `test loss`, `test accuracy`, `test error`,
    `|gradient|`, `sharpness`, the largest eigenvalue in size of `∇²f`, and `lowest curvature`, its smallest. The start `θ` is
    that of the module, unless another is given.

    Raises
    ------
    SMEError
        for a module, data or loss that do not fit.
    """

    numerics: tuple[str, ...] = ("network",)

    def __init__(self, module: nn.Module, data: Data, loss: str | Callable[..., Tensor] = "cross_entropy", batch_size: int = 32,
                 sampling: str = "with_replacement", scale: float = 1.0, coupling: str = "independent",
                 noise: GradientLaw | None = None, test: Data | None = None, name: str = "network") -> None:
        self.model = FlatModule(given.original(module))
        self.losses = _targets.losses(loss) if callable(loss) else LOSSES[choose("loss", loss, LOSSES)]
        self._right = _targets.accuracy(loss) if _targets.classify(loss) else None
        self._means = Means()
        self.inputs, self.targets = self._checked("data", data, loss)
        self.test = None if test is None else self._checked("test", test, loss)
        self._drawn = noise is None
        self._guard()
        if self.examples.held > MOST:
            raise SMEError(f"one path of {len(self.inputs)} examples holds {self.examples.held / 2**27:.1f} GiB of layers, and "
                           f"{MOST / 2**27:g} GiB are the limit: give fewer examples, or a smaller module")
        law = noise or MinibatchNoise(batch_size=batch_size, examples=self.examples, sampling=sampling, scale=scale,
                                      coupling=coupling)
        self.kinks, self.bends = rough(
            lambda theta: self.losses(self.model(theta, self.inputs[:1]), self.targets[:1]).sum(), self.model.start)
        super().__init__(self._whole, self.model.dim, law, name)
        self.start = {"theta": self.model.start}

    def _whole(self, theta: Tensor) -> Tensor:
        return self.losses(self.model(theta, self.inputs), self.targets).mean()

    def _examples(self) -> Examples:
        """By layers where that is right and cheaper."""
        with suppress(Exception):  # what torch.func or the module itself cannot do shows in the other way too, in words
            layered = LayeredExamples(self.model, self.losses, self.inputs, self.targets)
            if layered.gains():
                return layered
        return LossExamples(Single(self.model, self.losses), (self.inputs, self.targets), guarded=True)

    def _guard(self) -> None:
        losses = self.losses

        def take(way: tuple[bool, bool]) -> None:
            self.backward, self.model.written = way
            self.losses = Written(losses) if self.model.written else losses

        def look(way: tuple[bool, bool]) -> str:
            take(way)
            few = copy.copy(self)
            few.inputs, few.targets = self.inputs[: guard.FEW], self.targets[: guard.FEW]
            few.examples = few._examples()
            return guard.fault(few, guard.gradient(few._whole), self.model.start, few.examples if self._drawn else None)

        try:
            way, self.lack = guard.settle(itertools.product((False, True), (False, True)), look)
        except guard.MissingError as missing:
            raise SMEError(f"{culprit(self.model, self.inputs[:1])} cannot be run, since torch has no second derivatives of it "
                           f"({missing}): write it out with functions that torch.func can differentiate twice; an own "
                           "torch.autograd.Function needs a jvp") from missing
        take(way)
        self.examples = self._examples()
        if self.model.written or getattr(self.examples, "wrote", False):
            self.numerics = (*self.numerics, "written")

    def _checked(self, what: str, data: Data, loss: object) -> tuple[Tensor, Tensor]:
        """Inputs and targets, on which module and loss run."""
        inputs, targets = pair(what, data)
        model, start = self.model, self.model.start
        try:
            with untouched("the module", start, inputs):
                outputs = model(start, inputs)
            given.tensor(outputs)
            targets = _targets.prepared(what, loss, outputs, targets)
            with untouched("the loss", outputs, targets):
                value = self.losses(outputs, targets)
            few, alone = inputs[:FEW], []
            if isinstance(value, Tensor) and value.shape == inputs.shape[:1]:
                alone = [self.losses(model(start, x.unsqueeze(0)), y.unsqueeze(0)) for x, y in zip(few, targets, strict=False)]
        except SMEError:
            raise
        except Exception as fault:
            raise SMEError(f"the loss of the module's outputs fails on {what}: {fault}; the module takes inputs "
                           f"{tuple(inputs.shape)}, and float data are float64") from fault
        if not alone:
            got = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
            raise SMEError(f"the loss must return one number for each example, got {got} for {len(inputs)} examples: "
                           "do not average over them (reduction='none')")
        guard.check_finite(what, {"the inputs": inputs, "the targets": targets}, start, lambda i: lambda theta: self.losses(
            model(theta, inputs[i : i + 1]), targets[i : i + 1]).sum())
        if not torch.allclose(torch.cat(alone), value[: len(alone)], rtol=1e-6, atol=1e-9, equal_nan=True):
            raise SMEError("the loss of an example must be the same alone and among others, and every time: the module, or the "
                           "loss, is random or mixes the examples of a batch")
        if isinstance(self.losses, _targets.Each):
            self.losses.check(what, outputs, targets)
        return inputs, targets

    def agree(self, theta: Float[Tensor, " d"] | None = None) -> None:
        self._agrees = self._agrees or self._drawn  # the loss is the mean of these very examples then
        if not self._drawn:
            super().agree(theta)

    def loss(self, theta: Paths) -> Float[Tensor, " paths"]:
        return self._means(self.model, theta, (self.inputs, self.targets), self.losses)

    loss.reads = True  # type: ignore[attr-defined]

    def gradient(self, theta: Paths) -> Paths:
        return self.examples.gradient(theta)

    def hessian(self, theta: Paths, u: Paths) -> Paths:
        # with minibatches the slope of diag Σ along the same u is asked for next, and comes out of the same pass
        return self.examples.slope(theta, u)[0] if self._drawn else super().hessian(theta, u)

    def functions(self) -> dict[str, Function]:
        named: dict[str, Function] = {}
        places = {"": (self.inputs, self.targets), **({"test ": self.test} if self.test is not None else {})}
        for place, data in places.items():
            if place:
                named[f"{place}loss"] = Mean(self._means, self.model, data, self.losses)
            if self._right is not None:
                named[f"{place}accuracy"] = Mean(self._means, self.model, data, self._right)
                named[f"{place}error"] = Mean(self._means, self.model, data, self._right, less=True)
        return {**named, "|gradient|": lambda theta: self.gradient(theta).norm(dim=-1), "sharpness": self.sharpness,
                "lowest curvature": self.lowest_curvature}

    def sharpness(self, theta: Paths) -> Float[Tensor, " paths"]:
        """The eigenvalue of `∇²f` largest in size, by `ITERATIONS` steps of the power iteration from one fixed vector."""
        u = torch.randn(self.dim, generator=torch.Generator().manual_seed(0), dtype=theta.dtype).to(theta.device)
        u = (u / u.norm()).expand_as(theta)
        for _ in range(ITERATIONS):
            image = super().hessian(theta, u)
            value = (u * image).sum(-1)
            u = image / image.norm(dim=-1, keepdim=True).clamp(min=1e-300)
        return value

    def lowest_curvature(self, theta: Paths) -> Float[Tensor, " paths"]:
        """The smallest eigenvalue of `∇²f`, by Lanczos; nothing is differentiated through it."""
        gradient = lambda point: self.gradient(point[None])[0]  # noqa: E731
        return torch.stack([theta.new_tensor(lowest(gradient, point)) for point in theta.detach()])

    def to(self, device: torch.device) -> "Network":
        moved = super().to(device)
        assert isinstance(moved, Network)
        moved.model = self.model.to(device)
        moved.examples = moved.noise.examples if isinstance(moved.noise, MinibatchNoise) else self.examples.to(device)
        moved.start = {"theta": moved.model.start}
        moved.test = None if self.test is None else (self.test[0].to(device), self.test[1].to(device))
        moved._loss = moved._whole
        return moved

    def describe(self) -> dict[str, object]:
        return {"name": self.name, "dim": self.dim, "examples": fingerprint(self.examples), "noise": fingerprint(self.noise)}
