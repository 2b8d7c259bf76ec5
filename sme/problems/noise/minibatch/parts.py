"""Sums over the examples of gradients that are given layer by layer, as products or as they are."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sme.problems.noise.minibatch.rules import Part, Product

Paths = Float[Tensor, "paths d"]
Weights = Float[Tensor, "paths n"]
Wanted = Sequence[tuple[Weights | None, int]]
"""of each sum the weights, or none, and the power, elementwise"""
CHUNK = 2**17
"""numbers of single gradients held at once"""


def _common(x: Tensor) -> Tensor:
    """Without the axis of the paths, if it is the same for all."""
    return x[0] if x.stride(0) == 0 else x


def common(part: Part) -> Part:
    """The factors of a product without the axis of the paths where they are the same for all."""
    return Product(_common(part.into), _common(part.out)) if isinstance(part, Product) else part


def together(pieces: Sequence[Part]) -> Part:
    """Of all paths, one piece after the other."""
    if len(pieces) == 1:
        return pieces[0]
    products = [each for each in pieces if isinstance(each, Product)]
    if not products:
        return torch.cat([each for each in pieces if isinstance(each, Tensor)])
    return Product(*(side[0] if side[0].dim() == 3 else torch.cat(side) for side in zip(*products, strict=True)))


def _turned(part: Product) -> Product:
    return Product(part.out, part.into)


def _beside(parts: Sequence[Product]) -> Product:
    """The sum of products of one parameter: their places one after the other."""
    if len(parts) == 1:
        return parts[0]
    sides = []
    for side in zip(*parts, strict=True):
        paths = max((each.shape[0] for each in side if each.dim() == 4), default=None)
        all_paths = [each if paths is None or each.dim() == 4 else each.expand(paths, *each.shape) for each in side]
        sides.append(torch.cat(all_paths, -2))
    return Product(*sides)


def product(part: Product, weights: Weights | None = None, power: int = 1) -> Float[Tensor, "paths out in"]:
    """`Σ_i w_i Σ_t (out_t intoᵀ_t)^power` by one matrix product: the weighted gradients, and powers of those with one place."""
    into, out = (each if power == 1 else each.pow(power) for each in part)
    if weights is not None:
        over = weights[..., None, None]
        into, out = (into, out * over) if out.dim() == 4 or into.dim() == 3 else (into * over, out)
    into, out = into.flatten(-3, -2), out.flatten(-3, -2)
    if out.dim() == 2 and into.dim() == 3:
        return (into.mT @ out).mT
    return out.mT @ into


def _each(part: Product) -> Float[Tensor, "... n out in"]:
    """The gradients of single examples."""
    return part.out.mT @ part.into


def _pieces(part: Product) -> list[tuple[slice, slice]]:
    """Paths and examples that are taken at a time."""
    paths = max(len(each) if each.dim() == 4 else 1 for each in part)
    count, size = part.into.shape[-3], part.into.shape[-1] * part.out.shape[-1]
    many = max(1, min(count, CHUNK // size))
    some = max(1, CHUNK // (size * many))
    return [(slice(first, first + some), slice(begin, begin + many)) for first in range(0, paths, some)
            for begin in range(0, count, many)]


def _cut(part: Product, paths: slice, examples: slice) -> Product:
    return Product(*(each[paths, examples] if each.dim() == 4 else each[examples] for each in part))


def _joined(pieces: Sequence[tuple[slice, slice]], found: Sequence[Sequence[Tensor]]) -> list[Tensor]:
    """Sums over the examples, paths one after the other."""
    rows: dict[int, list[Tensor]] = {}
    for (paths, _), parts in zip(pieces, found, strict=True):
        rows[paths.start] = [a + b for a, b in zip(rows[paths.start], parts, strict=True)] if paths.start in rows else list(parts)
    return [torch.cat(column) for column in zip(*rows.values(), strict=True)]


def _weighted(g: Tensor, weights: Weights | None) -> Tensor:
    """`Σ_i w_i g_i` of `(paths, n, size)` or `(n, size)`."""
    if weights is None:
        total = g.sum(-2)
        return total if g.dim() == 3 else total.unsqueeze(0)
    return weights @ g if g.dim() == 2 else (weights.unsqueeze(1) @ g).squeeze(1)


def sums(part: Part, wanted: Wanted) -> list[Float[Tensor, "paths size"]]:
    """`Σ_i w_i g_i^power` of what is wanted."""
    if not isinstance(part, Product):
        return [_weighted(part if power == 1 else part.pow(power), weights) for weights, power in wanted]
    if part.into.shape[-2] == 1 or all(power == 1 for _, power in wanted):
        return [product(part, *each).flatten(-2).reshape(-1, part.into.shape[-1] * part.out.shape[-1]) for each in wanted]
    pieces, found = _pieces(part), []
    for paths, examples in pieces:
        g = _each(_cut(part, paths, examples)).flatten(-2)
        few = [(None if weights is None else weights[paths, examples], power) for weights, power in wanted]
        found.append([_weighted(g if power == 1 else g * g if power == 2 else g.pow(power), weights) for weights, power in few])
    return _joined(pieces, found)


def slopes(part: Part, change: Part) -> list[Float[Tensor, "paths size"]]:
    """The derivatives of `Σ_i g_i` and `Σ_i g_i∘g_i`, where the part changes at this rate."""
    if not isinstance(part, Product) or not isinstance(change, Product):
        assert isinstance(part, Tensor)
        assert isinstance(change, Tensor)
        return [change.sum(-2), 2 * (part * change).sum(-2)]
    (a, d), (da, dd) = part, change
    moves = a.dim() == 4, d.dim() == 4  # what is the same for all paths does not depend on θ
    if not any(moves):
        return [a.new_zeros(1, a.shape[-1] * d.shape[-1])] * 2

    def both(of: Callable[[Product], Tensor], into: Product, out: Product) -> Tensor:
        """Of a product that changes, its two terms: one for each factor."""
        terms = [of(pair) for pair, moving in zip((into, out), moves, strict=True) if moving]
        return terms[0] if len(terms) == 1 else terms[0] + terms[1]

    if a.shape[-2] == 1:
        linear = both(product, Product(da, d), Product(a, dd))
        square = both(product, Product(2 * a * da, d * d), Product(a * a, 2 * d * dd))
        return [each.flatten(-2) for each in (linear, square)]
    pieces, found = _pieces(part), []
    for cut in pieces:
        (a, d), (da, dd) = _cut(part, *cut), _cut(change, *cut)
        g, dg = _each(Product(a, d)), both(_each, Product(da, d), Product(a, dd))
        found.append([dg.sum(-3).flatten(-2), 2 * (g * dg).sum(-3).flatten(-2)])
    return _joined(pieces, found)


def norms(part: Part) -> Float[Tensor, "paths n"]:
    """`|g_i|²`."""
    if not isinstance(part, Product):
        return part.square().sum(-1)
    if part.into.shape[-2] == 1:
        return (part.into.square().sum(-1) * part.out.square().sum(-1)).squeeze(-1)
    return ((part.into @ part.into.mT) * (part.out @ part.out.mT)).sum((-1, -2))


def times(part: Part, share: Weights) -> Part:
    """`share_i g_i`."""
    return Product(part.into, part.out * share[..., None, None]) if isinstance(part, Product) else part * share.unsqueeze(-1)


class Member(NamedTuple):
    """A use of parameters within a group."""

    which: int
    turned: bool
    within: Int[Tensor, " size"]
    """where its entries are among the group's"""
    straight: bool
    """whether they are just these, in their order"""


class Groups:
    """How the gradients of all uses make up those of `θ`: uses of the same entries are added, groups lie side by side.

    Parameters
    ----------
    dim
        `d`.
    parts, places
        of each use a part, of any size, and where in θ its entries are.
    """

    def __init__(self, dim: int, parts: Sequence[Part], places: Sequence[Int[Tensor, "*shape"]]) -> None:
        owner, merged = torch.full((dim,), -1), dict[int, list[int]]()
        for which, place in enumerate(places):
            touched = sorted(set(owner[place.flatten()].tolist()) - {-1})
            merged[which] = [which, *(each for group in touched for each in merged.pop(group))]
            for each in merged[which]:
                owner[places[each].flatten()] = which
        found = [self._group(parts, places, sorted(group)) for group in merged.values()]
        self.members = [(members, len(place)) for members, place in found]
        order = torch.cat([place for _, place in found])
        unused = torch.ones(dim, dtype=torch.bool).index_fill(0, order, False).nonzero().flatten()
        self.rest, back = len(unused), torch.cat((order, unused)).argsort()
        self.back = None if torch.equal(back, torch.arange(dim)) else back

    @staticmethod
    def _group(parts: Sequence[Part], places: Sequence[Int[Tensor, "*shape"]],
               group: Sequence[int]) -> tuple[list[Member], Int[Tensor, " size"]]:
        turned = [places[each].mT if _transposed(places[each]) else places[each] for each in group]
        if all(isinstance(parts[each], Product) and torch.equal(turned[0], place) for each, place in
               zip(group, turned, strict=True)):
            whole = torch.arange(turned[0].numel())
            return [Member(each, _transposed(places[each]), whole, True) for each in group], turned[0].flatten()
        union = torch.cat([places[each].flatten() for each in group]).unique()
        within = {each: torch.searchsorted(union, places[each].flatten()) for each in group}
        every = torch.arange(len(union))
        return [Member(each, False, place, torch.equal(place, every)) for each, place in within.items()], union

    def gathered(self, parts: Sequence[Part]) -> list[Part]:
        """Of each group one part."""
        return [self._added(parts, *group) for group in self.members]

    @staticmethod
    def _added(parts: Sequence[Part], members: Sequence[Member], size: int) -> Part:
        mine = [parts[each.which] for each in members]
        products = [part for part in mine if isinstance(part, Product)]
        if len(products) == len(mine) and all(each.straight for each in members):
            return _beside([_turned(part) if each.turned else part for part, each in zip(products, members, strict=True)])
        whole = [_each(part).flatten(-2) if isinstance(part, Product) else part for part in mine]
        if all(each.straight for each in members):
            return whole[0] if len(whole) == 1 else torch.stack(torch.broadcast_tensors(*whole)).sum(0)
        paths = max(each.shape[0] for each in whole if each.dim() == 3)
        total = whole[0].new_zeros(paths, whole[0].shape[-2], size)
        for each, part in zip(members, whole, strict=True):
            total = total.index_add(-1, each.within.to(part.device), part.expand(paths, *part.shape[-2:]))
        return total

    def flat(self, sizes: Sequence[Float[Tensor, "paths size"]], paths: int) -> Paths:
        """Sums of all groups as of θ."""
        each = [part.expand(paths, -1) for part in sizes]
        whole = torch.cat([*each, each[0].new_zeros(paths, self.rest)] if self.rest else each, 1)
        return whole if self.back is None else whole[:, self.back.to(whole.device)]


def _transposed(place: Int[Tensor, "*shape"]) -> bool:
    """Whether a matrix runs through θ by columns."""
    return place.dim() == 2 and min(place.shape) > 1 and bool(place[0, 1] - place[0, 0] > place[1, 0] - place[0, 0])


def held(parts: Sequence[Part]) -> int:
    """Numbers of these parts of one example."""
    return sum(side.numel() for part in parts for side in (part if isinstance(part, Product) else (part,)))
