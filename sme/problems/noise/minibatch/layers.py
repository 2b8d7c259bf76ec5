"""Per-example gradients of a module layer by layer, without any gradient of a single example."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.func import grad, jvp, vmap

from sme.common.derivatives.seen import Seen
from sme.common.identity.hashing import fingerprint
from sme.problems.noise.minibatch import parts as _parts
from sme.problems.noise.minibatch.flat import FlatModule
from sme.problems.noise.minibatch.per_example import Examples, LossExamples, Paths, Shares, Weights
from sme.problems.noise.minibatch.rules import Part, Product
from sme.problems.noise.minibatch.sites import Places, Site, Watch

Losses = Callable[[Tensor, Tensor], Float[Tensor, " n"]]
"""from outputs and targets of a batch to the loss of each example"""
FEW = 3
"""examples on which a module is tried"""
HELD = 2**26
"""numbers that one pass holds at once"""
MOST_LOST = 0.5
"""the share of parameters without a rule from which on nothing is gained"""


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
        return {**self.model.describe(), "losses": fingerprint(self.losses)}


class LayeredExamples(Examples):
    """`g_i` by what goes into each use of a parameter and the derivative of `ℓ_i` by what comes out.

    A matrix that is applied to `a_it` at the places `t` (tokens, patches of a picture), with `δ_it` the derivative of `ℓ_i` by
    what comes out there, has the gradient `Σ_t δ_it a_itᵀ`, so that with one forward and one backward pass every weighted sum is
    a matrix product:

        Σ_i w_i g_i = Σ_it w_i δ_it a_itᵀ        Σ_i w_i g_i∘g_i = (w∘δ∘δ)ᵀ (a∘a) of one place, else some examples at a time

    Biases and the like have few numbers an example, and so have matrices that are used at many places: `g_i` is kept where it is
    smaller than its factors. A parameter that is used where there is no rule (see `rules`) is
    differentiated example by example, it alone. Held at once: `paths · n · (what goes into and out of all layers)` numbers.

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
        self._places = model.parameters(torch.arange(model.dim))
        self.wrote = self._dense = False
        self._lost, self._shapes, self._groups, self.held = self._probed()

    def _probed(self) -> tuple[list[str], list[tuple[int, ...]], "_parts.Groups", int]:
        """Which parameters are used without a rule, what the other uses return, how they make up θ, the numbers of one path."""
        model, x, lost, parameters = self.model, self.inputs[:1], set[str](), self.model.parameters(self.model.start)
        while True:
            watch = Watch(parameters, self._watched(lost), lambda _, out: out)
            with watch.over(model.module), torch.no_grad():
                model.call(parameters, x)
            with torch.no_grad():
                found = [each.parts(torch.zeros(each.shape).to(model.start), each.tensors) for each in watch.sites]
            uses = [(use, part) for site, of in zip(watch.sites, found, strict=True)
                    for use, part in zip(site.parameters.values(), of, strict=True)]
            new = watch.lost | {use.name for use, part in uses if part is None}
            if not new:
                break
            lost |= new
        self.wrote = watch.wrote
        dense = {name: each for name, each in model.module.named_modules() if type(each) is nn.Linear}
        own = {f"{name}.{part}".lstrip(".") for name, each in dense.items() for part, _ in each.named_parameters()}
        self._dense = own == set(model.shapes) and [len(each.shape) for each in watch.sites] == [2] * len(dense)
        whole = [self._places[name] for name in sorted(lost)]
        every = [part for _, part in uses if part is not None] + [torch.zeros(each.shape) for each in whole]
        groups = _parts.Groups(model.dim, every, [use.places for use, _ in uses] + whole)
        held = self.count * (_parts.held(every) + sum(each.numel() for site in watch.sites for each in site.tensors.values()))
        return sorted(lost), [each.shape for each in watch.sites], groups, held

    def _watched(self, lost: set[str]) -> dict[str, Places]:
        return {name: each for name, each in self._places.items() if name not in lost}

    def gains(self) -> bool:
        """Whether sums are cheaper than by gradients of single examples, and the same, seen on the first of them."""
        some, model = min(FEW, self.count), self.model
        if sum(self._places[name].numel() for name in self._lost) > MOST_LOST * model.dim:
            return False
        few = LayeredExamples(model, self.losses, self.inputs[:some], self.targets[:some])
        plain = LossExamples(Single(model, self.losses), (self.inputs[:some], self.targets[:some]), guarded=True)
        theta = (model.start + 0.1 * torch.arange(model.dim).to(model.start).cos()).expand(some, -1)  # where no weight is 0
        units = torch.eye(some).to(theta)
        pairs = zip(few.weigh(theta, units, units), plain.weigh(theta, units, units), strict=True)
        return all(torch.allclose(mine, right, rtol=1e-6, atol=1e-9) for mine, right in pairs)

    def _pass(self, theta: Paths) -> list[Part]:
        """Forward and backward through all examples: the parts of the gradients, a group each."""
        model, lost = self.model, self._lost
        zeros = [theta.new_zeros(shape) for shape in self._shapes]
        more = {name: theta.new_zeros(model.shapes[name]) for name in lost}
        watched, sites = self._watched(set(lost)), list[Site]()

        def loss(shifts: list[Tensor], more: dict[str, Tensor], parameters: dict[str, Tensor], x: Tensor,
                 y: Tensor) -> tuple[Tensor, list[dict[str, Tensor]]]:
            watch = Watch(parameters, watched, lambda which, out: out + shifts[which])
            own = {name: parameters[name] + each for name, each in more.items()}
            with watch.over(model.module):
                outputs = model.call({**parameters, **own}, x.unsqueeze(0))
            sites[:] = watch.sites
            return self.losses(outputs, y.unsqueeze(0))[0], [each.tensors for each in watch.sites]

        def one(point: Tensor, x: Tensor, y: Tensor) -> list[Any]:
            (deltas, own), tensors = grad(loss, (0, 1), has_aux=True)(zeros, more, model.parameters(point), x, y)
            found = [part for site, delta, each in zip(sites, deltas, tensors, strict=True) for part in site.parts(delta, each)]
            return [part if isinstance(part, Product) else part.flatten() for part in (*found, *(own[name] for name in lost))]

        each = vmap(vmap(one, (None, 0, 0)), (0, None, None))  # its own chunks would copy out what is the same for all paths
        some = theta.split(max(1, HELD // max(1, self.held)))
        found = [[_parts.common(part) for part in each(few, self.inputs, self.targets)] for few in some]
        return self._groups.gathered([_parts.together(same) for same in zip(*found, strict=True)])

    def _total(self, passed: Sequence[Part], wanted: _parts.Wanted, paths: int) -> list[Paths]:
        columns = zip(*(_parts.sums(part, wanted) for part in passed), strict=True)
        return [self._groups.flat(column, paths) for column in columns]

    def _at(self, theta: Paths) -> list[Part]:
        # one evaluation of an equation at a θ asks for these several times: keep the last ones
        if not self._last or not self._last[0].is_(theta):
            self._last = (Seen(theta), self._pass(theta), {})
        passed: list[Part] = self._last[1]
        return passed

    def _kept(self, theta: Paths, *powers: int) -> list[Paths]:
        passed, means = self._at(theta), self._last[2]
        if new := [power for power in powers if power not in means]:
            found = self._total(passed, [(None, power) for power in new], len(theta))
            means.update({power: each / self.count for power, each in zip(new, found, strict=True)})
        return [means[power] for power in powers]

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_last": (), "_slope": ()}

    def gradient(self, theta: Paths) -> Paths:
        return self._kept(theta, 1)[0]

    def averages(self, theta: Paths) -> tuple[Paths, Paths]:
        mean, square = self._kept(theta, 1, 2)
        return mean, square

    def power(self, theta: Paths, exponent: int, shares: Shares | None = None) -> Paths:
        if shares is None:
            return self._kept(theta, exponent)[0]
        return self._total(self._at(theta), [(shares.expand(len(theta), -1), exponent)], len(theta))[0]

    def slope(self, theta: Paths, u: Paths) -> tuple[Paths, Paths]:
        if not self._slope or not (self._slope[0].is_(theta) and self._slope[1].is_(u)):  # ∇²f u and the slope of σ
            here, along = jvp(self._pass, (theta,), (u,))[:2]
            columns = zip(*(_parts.slopes(*each) for each in zip(here, along, strict=True)), strict=True)
            self._slope = (Seen(theta), Seen(u), tuple(self._groups.flat(column, len(theta)) / self.count for column in columns))
        change: tuple[Paths, Paths] = self._slope[2]
        return change

    def weigh(self, theta: Paths, weights: Weights, squares: Weights | None = None) -> tuple[Paths, Paths]:
        wanted: _parts.Wanted = [(weights, 1), *([] if squares is None else [(squares, 2)])]
        linear, *square = self._total(self._at(theta), wanted, len(theta))
        return linear, square[0] if square else torch.zeros_like(linear)

    def batch(self, theta: Paths, indices: Int[Tensor, "paths batch"]) -> Paths:
        def mean(point: Tensor, inputs: Tensor, targets: Tensor) -> Tensor:
            return self.losses(self.model(point, inputs), targets).mean()

        gradient: Paths = vmap(grad(mean))(theta, self.inputs[indices], self.targets[indices])
        return gradient

    def to(self, device: torch.device) -> "LayeredExamples":
        return LayeredExamples(self.model.to(device), self.losses, self.inputs.to(device), self.targets.to(device))

    def low(self) -> "LayeredExamples":
        """The same in float32."""
        data = (part.float() if part.is_floating_point() else part for part in (self.inputs, self.targets))
        return LayeredExamples(self.model.to(torch.float32), self.losses, *data)

    def describe(self) -> dict[str, object]:
        if self._dense:  # as they have been called since there were other layers
            return {**self.model.describe(), "losses": fingerprint(self.losses), "data": fingerprint((self.inputs, self.targets))}
        return {"loss": fingerprint(Single(self.model, self.losses)), "data": fingerprint((self.inputs, self.targets))}
