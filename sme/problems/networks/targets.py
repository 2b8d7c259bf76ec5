"""What targets mean to a loss, as torch takes them."""

import copy
from collections.abc import Callable
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from sme.common.errors import SMEError
from sme.common.identity.hashing import fingerprint
from sme.common.identity.owned import own
from sme.problems.noise.minibatch.layers import Losses

PRINTED = 4
"""parts of the fingerprint of one of torch's losses before its settings, which stand beside it here"""
IGNORED = -100
"""the class that torch's cross entropy leaves out"""


class Each:
    """The losses of the examples that one of torch's losses is the mean of."""

    def __init__(self, mean: nn.Module) -> None:
        self.mean, self.each = mean, copy.deepcopy(mean)
        self.each.reduction = "none"  # type: ignore[assignment]

    def __call__(self, outputs: Tensor, targets: Tensor) -> Float[Tensor, " n"]:
        return _mean(self.each(outputs, targets))

    def check(self, what: str, outputs: Tensor, targets: Tensor) -> None:
        """Raise `SMEError` unless it is so, of all examples and of the first few: a batch's mean is then that of its examples."""
        for some in (slice(None), slice((len(targets) + 1) // 2)):
            whole, mean = self.mean(outputs[some], targets[some]), self(outputs[some], targets[some]).mean()
            if not torch.allclose(whole, mean, rtol=1e-6, atol=1e-9, equal_nan=True):
                raise SMEError(f"{type(self.mean).__name__} on {what} is not the mean over examples ({float(whole):g}, that is "
                               f"{float(mean):g}), since torch divides by weights or leaves labels out: give a function of "
                               "outputs and targets to one loss for each example (reduction='none')")

    def describe(self) -> object:
        """What identifies it."""
        settings = {name: each for name, each in vars(self.each).items() if isinstance(each, int | float | str)}
        return [fingerprint(self.each)[: None if own(type(self.each).__module__) else PRINTED], settings]


def losses(given: Callable[..., Tensor]) -> Losses:
    """The function of outputs and targets to a loss for each example, of one of torch's means as well."""
    mean = isinstance(given, nn.modules.loss._Loss) and given.reduction == "mean"
    return Each(given) if mean else given  # type: ignore[arg-type]


def classify(given: object) -> bool:
    """Whether a loss takes classes or their probabilities."""
    return given == "cross_entropy" or isinstance(given, nn.CrossEntropyLoss)


def entropy(outputs: Tensor, targets: Tensor) -> Float[Tensor, " n"]:
    """The cross entropy of every example, the mean over its tokens or pixels."""
    if outputs.dim() == 2:
        return cross_entropy(outputs, targets, reduction="none")
    each = cross_entropy(outputs.movedim(_axis(outputs, targets), 1), targets, reduction="none").flatten(1)
    return each.sum(1) / (targets != IGNORED).flatten(1).sum(1)


def right(outputs: Tensor, targets: Tensor, axis: int | None = None) -> Float[Tensor, " n"]:
    """Whether the largest output is that of the most probable class; the share of an example's tokens.

    The classes are on this `axis`, or where the shapes say.
    """
    if targets.is_floating_point():
        return (outputs.argmax(1) == targets.argmax(1)).to(outputs.dtype)
    hits = (outputs.argmax(_axis(outputs, targets) if axis is None else axis) == targets).to(outputs.dtype)
    return hits if hits.dim() == 1 else hits.flatten(1).sum(1) / (targets != IGNORED).flatten(1).sum(1)


def accuracy(loss: object) -> Losses:
    """`right`, for what this loss takes as classes: one of torch's has them on axis 1 always."""
    return right if loss == "cross_entropy" else partial(right, axis=1)


def prepared(what: str, loss: object, outputs: Tensor, targets: Tensor) -> Tensor:
    """The targets in the type that the loss needs.

    Raises
    ------
    SMEError
        for targets that the loss does not take, or takes in another sense than a mean over examples.
    """
    if loss == "mse":
        return targets.to(torch.float64)
    if not classify(loss):
        return targets
    if targets.is_floating_point():
        if loss == "cross_entropy" and (targets.shape != outputs.shape or targets.dim() != 2):
            raise SMEError(f"{what}: targets of type float are probabilities, of shape (n, classes) = {tuple(outputs.shape)}, "
                           f"got {tuple(targets.shape)}: if they are classes, give integers (y.long())")
        return targets
    targets = targets.long()
    if loss == "cross_entropy":
        _check(what, outputs, targets)
    return targets


def _check(what: str, outputs: Tensor, targets: Tensor) -> None:
    classes, kept = outputs.shape[_axis(outputs, targets)], targets != IGNORED
    outside = kept & ((targets < 0) | (targets >= classes))
    if bool(outside.any()):
        first = int(outside.flatten(1).any(1).nonzero()[0]) if targets.dim() > 1 else int(outside.nonzero()[0])
        raise SMEError(f"{what}: the target of example {first} is {int(targets[outside][0])}, and the module's outputs have "
                       f"{classes} classes, 0 to {classes - 1}")
    count = kept.reshape(len(targets), -1).sum(1)
    if bool((count != count[0]).any()) or not int(count[0]):
        first = int((count != count.max()).nonzero()[0]) if int(count.max()) else 0
        raise SMEError(f"{what}: example {first} has the label {IGNORED}, which torch's cross entropy leaves out, so that its "
                       "mean is none over examples: leave out such examples, or give each as many other labels")


def _axis(outputs: Tensor, targets: Tensor) -> int:
    """The axis of the classes: torch's, which is 1, or the last."""
    rest = tuple(targets.shape[1:])
    axes = [axis for axis in {1, outputs.dim() - 1} if (*outputs.shape[1:axis], *outputs.shape[axis + 1 :]) == rest]
    if outputs.dim() < 2 or not axes:
        raise SMEError(f"classes as targets go with outputs (n, classes) or, of tokens, (n, …, classes), got outputs "
                       f"{tuple(outputs.shape)} and targets {tuple(targets.shape)}")
    if len(axes) > 1:
        raise SMEError(f"outputs {tuple(outputs.shape)} and targets {tuple(targets.shape)}: the classes may be axis 1, as in "
                       "torch, or the last one: give loss=nn.CrossEntropyLoss() for axis 1, or a loss of your own, such as one "
                       "on outputs.flatten(0, 1)")
    return axes[0]


def _mean(each: Tensor) -> Tensor:
    return each if each.dim() < 2 else each.flatten(1).mean(1)
