"""A neural network on a finite data set."""

import math
from collections.abc import Sequence
from functools import partial

import numpy as np
import torch
from jaxtyping import Float
from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigsh
from torch import Tensor, nn
from torch.func import vjp, vmap
from torch.nn.functional import cross_entropy

from sme.errors import SMEError, choose
from sme.flat import FlatModule
from sme.identity import fingerprint
from sme.laws.base import GradientLaw
from sme.laws.examples import Examples, LossExamples
from sme.laws.layered import FEW, LayeredExamples, Losses
from sme.laws.minibatch import MinibatchNoise
from sme.problems.base import Function, Paths, Problem
from sme.smooth.losses import rough

ITERATIONS = 30
"""of the power iteration behind the sharpness"""
DENSE, LANCZOS, RESTARTS, ACCURACY = 64, 30, 20, 1e-5
"""of the lowest curvature: parameters up to which the whole Hessian is formed; vectors at a time, how often at most, and
accuracy as a share of the sharpness"""
HELD = 2**23
"""numbers of outputs and hidden units at a time where a loss is evaluated"""


def _squared(outputs: Tensor, targets: Tensor) -> Tensor:
    """The mean over an example's outputs."""
    if outputs.shape != targets.shape:
        raise SMEError(f"for mse the targets must have the shape of the outputs, {tuple(outputs.shape)}, not "
                       f"{tuple(targets.shape)}")
    return (outputs.flatten(1) - targets.flatten(1)).square().mean(1)


def _entropy(outputs: Tensor, targets: Tensor) -> Tensor:
    return cross_entropy(outputs, targets, reduction="none")


LOSSES: dict[str, Losses] = {"cross_entropy": _entropy, "mse": _squared}


class Single:
    """The loss of one example, `(θ, x, y)` to a scalar."""

    def __init__(self, model: FlatModule, losses: Losses) -> None:
        self.model, self.losses = model, losses

    def __call__(self, theta: Tensor, x: Tensor, y: Tensor) -> Tensor:
        return self.losses(self.model(theta, x.unsqueeze(0)), y.unsqueeze(0))[0]

    def to(self, device: torch.device) -> "Single":
        """The same on `device`."""
        return Single(self.model.to(device), self.losses)

    def describe(self) -> dict[str, object]:
        """What identifies it."""
        return {"module": fingerprint(self.model.module), "losses": fingerprint(self.losses)}


class Network(Problem):
    """`f(θ) = mean_i ℓ(module(θ, x_i), y_i)`, `θ` all trainable parameters of a module, with the noise of its minibatches.

    The ensemble of paths is vectorised. Where all parameters belong to linear layers, per-example gradients are
    matrix products (`LayeredExamples`); otherwise they are differentiated, some at a time (`LossExamples`).
    `Σ` is never formed.

    Parameters
    ----------
    module
        any `torch.nn.Module` without batch statistics and random layers. The loss must be smooth in its parameters for
        order 2: where its gradient jumps, with ReLU, max-pooling and the like, only order 1 is offered.
    data
        `(inputs, targets)`, examples first.
    loss
        `"cross_entropy"`, `"mse"`, or a function of outputs and targets of a batch to a loss for each example.
    batch_size, sampling, scale, coupling
        of `sme.MinibatchNoise`.
    noise
        a gradient law in place of the minibatch's, such as `sme.DiagonalNoise`.
    test
        `(inputs, targets)` for the observables `test loss` and `test accuracy`.
    name
        what tables and folders call it.

    Observables by name: `loss` (train), `accuracy`, `test loss`, `test accuracy`, `|gradient|`, `sharpness`, the largest
    eigenvalue in size of `∇²f`, and `lowest curvature`, its smallest. The start `θ` is that of the module, unless another is
    given.

    Raises
    ------
    SMEError
        for a module, data or loss that do not fit.
    """

    def __init__(self, module: nn.Module, data: Sequence[Tensor], loss: str | Losses = "cross_entropy", batch_size: int = 32,
                 sampling: str = "with_replacement", scale: float = 1.0, coupling: str = "independent",
                 noise: GradientLaw | None = None, test: Sequence[Tensor] | None = None, name: str = "network") -> None:
        self.model = FlatModule(module)
        self.losses = loss if callable(loss) else LOSSES[choose("loss", loss, LOSSES)]
        self.inputs, self.targets = _data("data", data)
        self.test = None if test is None else _data("test", test)
        self._classes = loss == "cross_entropy"
        for what, pair in (("data", (self.inputs, self.targets)), ("test", self.test)):
            if pair is not None:
                self._check_losses(what, *pair)
        layered = LayeredExamples(self.model, self.losses, self.inputs, self.targets)
        self.examples: Examples = layered if layered.fit() else LossExamples(
            Single(self.model, self.losses), (self.inputs, self.targets))
        self._drawn = noise is None
        law = noise or MinibatchNoise(batch_size=batch_size, examples=self.examples, sampling=sampling, scale=scale,
                                      coupling=coupling)
        self.kinks, self.bends = rough(
            lambda theta: self.losses(self.model(theta, self.inputs[:1]), self.targets[:1]).sum(), self.model.start)
        super().__init__(self._whole, self.model.dim, law, name)
        self.start = {"theta": self.model.start}

    def _whole(self, theta: Tensor) -> Tensor:
        return self.losses(self.model(theta, self.inputs), self.targets).mean()

    def _check_losses(self, what: str, inputs: Tensor, targets: Tensor) -> None:
        model, start = self.model, self.model.start
        try:
            value = self.losses(model(start, inputs), targets)
            few, alone = inputs[:FEW], []
            if isinstance(value, Tensor) and value.shape == inputs.shape[:1]:
                alone = [self.losses(model(start, x.unsqueeze(0)), y.unsqueeze(0)) for x, y in zip(few, targets, strict=False)]
        except Exception as fault:
            raise SMEError(f"the loss of the module's outputs fails on {what}: {fault}; the module takes inputs "
                           f"{tuple(inputs.shape)}, and float data are float64") from fault
        if not alone:
            got = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
            raise SMEError(f"the loss must return one number for each example, got {got} for {len(inputs)} examples: "
                           "do not average over them (reduction='none')")
        if not torch.allclose(torch.cat(alone), value[: len(alone)], rtol=1e-6, atol=1e-9, equal_nan=True):
            raise SMEError("the loss of an example must be the same alone and among others, and every time: the module, or the "
                           "loss, is random or mixes the examples of a batch")

    def loss(self, theta: Paths) -> Float[Tensor, " paths"]:
        return self._means(theta, self.inputs, self.targets, self.losses)

    def gradient(self, theta: Paths) -> Paths:
        return self.examples.gradient(theta)

    def hessian(self, theta: Paths, u: Paths) -> Paths:
        # with minibatches the slope of diag Σ along the same u is asked for next, and comes out of the same pass
        return self.examples.slope(theta, u)[0] if self._drawn else super().hessian(theta, u)

    def _means(self, theta: Paths, inputs: Tensor, targets: Tensor, of: Losses) -> Float[Tensor, " paths"]:
        """The mean over the examples of a function of outputs and targets."""
        size = len(inputs) * (inputs[0].numel() + self.model(self.model.start, inputs[:1]).numel())
        means: Tensor = vmap(lambda point: of(self.model(point, inputs), targets).mean(), chunk_size=max(1, HELD // size))(theta)
        return means

    def functions(self) -> dict[str, Function]:
        named: dict[str, Function] = {}
        places = {"": (self.inputs, self.targets), **({"test ": self.test} if self.test is not None else {})}
        for place, (x, y) in places.items():
            if place:
                named[f"{place}loss"] = lambda theta, x=x, y=y: self._means(theta, x, y, self.losses)  # type: ignore[misc]
            if self._classes:
                named[f"{place}accuracy"] = lambda theta, x=x, y=y: self._means(theta, x, y, _right)  # type: ignore[misc]
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
        return torch.stack([theta.new_tensor(self._lowest(point)) for point in theta.detach()])

    def _lowest(self, point: Float[Tensor, " d"]) -> float:
        if not bool(torch.isfinite(point).all()):
            return math.nan
        back = vjp(lambda theta: self.gradient(theta[None])[0], point)[1]  # the Hessian is its own transpose

        def multiply(u: np.ndarray) -> np.ndarray:
            product: Tensor = back(torch.from_numpy(u.astype(float).ravel()).to(point))[0]
            return product.cpu().numpy()

        if self.dim <= DENSE:
            rows = np.stack([multiply(row) for row in np.eye(self.dim)])
            return float(np.linalg.eigvalsh(rows)[0]) if np.isfinite(rows).all() else math.nan
        shape, begin = (self.dim, self.dim), np.random.default_rng(0).standard_normal(self.dim)
        if not np.isfinite(multiply(begin)).all():  # Lanczos would not end
            return math.nan
        extreme = partial(eigsh, k=1, v0=begin, ncv=LANCZOS, maxiter=RESTARTS, return_eigenvectors=False)
        try:  # below the largest eigenvalue, so that the accuracy is a share of that: the smallest may be near 0
            shift = abs(float(extreme(LinearOperator(shape, matvec=multiply, dtype=float), which="LM", tol=0.1)[0]))
            below = LinearOperator(shape, matvec=lambda u: multiply(u) - shift * u, dtype=float)
            return shift + float(extreme(below, which="SA", tol=ACCURACY)[0])
        except ArpackNoConvergence:
            return math.nan

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
        return {"name": self.name, "dim": self.dim, "examples": self.examples.describe(), "noise": self.noise.describe()}


def _right(outputs: Tensor, targets: Tensor) -> Tensor:
    return (outputs.argmax(-1) == targets).to(outputs.dtype)


def _data(what: str, given: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    if isinstance(given, Tensor) or not isinstance(given, Sequence) or len(given) != 2 or not all(
            isinstance(part, Tensor) and part.dim() for part in given):
        raise SMEError(f"{what} must be two tensors (inputs, targets) whose first axis counts the examples, got "
                       f"{type(given).__name__}")
    inputs, targets = (part.to(torch.float64) if part.is_floating_point() else part for part in given)
    if len(inputs) != len(targets) or not len(inputs):
        raise SMEError(f"{what} has {len(inputs)} inputs and {len(targets)} targets: give as many of one as of the other, "
                       "at least one")
    return inputs, targets


