"""Where a step's law and the equation's part: joint cumulants, power by power of `τ`, as one would quote them."""

import itertools
import math
import re
from collections.abc import Iterator
from functools import cache

import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from sme.equations.order.moments.agreement import Agreement

COLUMNS = ["name", "fields", "degree", "power of τ", "expected", "found", "off by", "error", "state", "time", "order", "formula",
           "note"]
WORDS = {2: "Cov", 3: "κ₃", 4: "κ₄"}
"""what a joint cumulant of so many increments is called"""
THIRD = "T₃"
"""the note of a third cumulant that no Itô equation with independent motions has"""
CLEAR = 100.0
"""tolerances of a difference from which its value is known well enough to have a formula"""
NEAR = 0.01
"""share of `T₃` by which a difference may miss it to be it, beside its error"""
SHOWN = 3
"""third cumulants that are named"""

Part = tuple[int, ...]


@cache
def partitions(count: int) -> tuple[tuple[Part, ...], ...]:
    """The ways to part so many members, each a tuple of blocks."""
    if not count:
        return ((),)
    found = []
    for each in partitions(count - 1):
        found += [(*each[:i], (*block, count - 1), *each[i + 1 :]) for i, block in enumerate(each)]
        found.append((*each, (count - 1,)))
    return tuple(found)


class Differences:
    """The joint cumulants of both sides at all states; `third` is `T₃`, states by products, where independent motions meet it."""

    def __init__(self, moments: Agreement, third: Float[Tensor, "states products"] | None = None) -> None:
        self.moments, self.third = moments, third
        self.places = {each: k for k, each in enumerate(moments.increments.products)}
        chain, equation = (torch.stack([moments.spread(each, getattr(each, side)) for each in moments.found])
                           for side in ("chain", "equation"))
        self.expected, self.found = self._cumulants(chain), self._cumulants(equation)
        self.error = self._error(torch.maximum(chain.abs(), equation.abs()))

    def _blocks(self, product: Part) -> Iterator[tuple[float, list[int]]]:
        """The places of the moments in each term of a cumulant, and its factor."""
        for each in partitions(len(product)):
            factor = (-1) ** (len(each) - 1) * math.factorial(len(each) - 1)
            yield float(factor), [self.places[tuple(product[i] for i in block)] for block in each]

    def _cumulants(self, values: Float[Tensor, "states products powers"]) -> Float[Tensor, "states products powers"]:
        """`κ = Σ (−1)^{k−1} (k−1)! Π E` over all partitions, as series in `τ`."""
        found = torch.zeros_like(values)
        for product, k in self.places.items():
            for factor, blocks in self._blocks(product):
                found[:, k] += factor * self._product([values[:, place] for place in blocks])
        return found

    def _error(self, values: Float[Tensor, "states products powers"]) -> Float[Tensor, "states products powers"]:
        """What the tolerances of the moments leave open."""
        tolerance, found = self.moments.tolerance, torch.zeros_like(values)
        for product, k in self.places.items():
            for factor, blocks in self._blocks(product):
                for i, place in enumerate(blocks):
                    others = [values[:, each] for each in (*blocks[:i], *blocks[i + 1 :])]
                    found[:, k] += abs(factor) * self._product([tolerance[:, place], *others])
        return found

    def _product(self, series: list[Tensor]) -> Float[Tensor, "states powers"]:
        """Of series in the powers of the moments, up to the last of these."""
        powers, product = self.moments.powers, series[0]
        for each in series[1:]:
            further = torch.zeros_like(product)
            for (i, one), (j, other) in itertools.product(enumerate(powers), repeat=2):
                if one + other in powers:
                    further[:, powers.index(one + other)] += product[:, i] * each[:, j]
            product = further
        return product

    def table(self) -> pd.DataFrame:
        """A row for every cumulant and power that is off, at the state where that is clearest; the lowest powers first."""
        names, rows = self.moments.increments.names, []
        difference = self.found - self.expected
        off = (difference.abs() > self.error) & torch.isfinite(self.error) & torch.isfinite(difference)
        clear = torch.where(off, difference.abs() / self.moments.scale.clamp_min(1e-300), -1.0)
        for (product, k), (i, power) in itertools.product(self.places.items(), enumerate(self.moments.powers)):
            state = int(clear[:, k, i].argmax())
            if clear[state, k, i] < 0:
                continue
            one, other, wrong = (float(each[state, k, i]) for each in (self.expected, self.found, self.error))
            rows.append((called([names[each] for each in product]), " ".join(names[each] for each in product), len(product),
                         power, one, other, other - one, wrong, state, self.moments.points[state][0], max(0.0, power - 1), "",
                         self._note(k, power, difference[:, k, i], self.error[:, k, i])))
        return pd.DataFrame(rows, columns=COLUMNS).sort_values(["power of τ", "degree"], kind="stable", ignore_index=True)

    def samples(self, fields: str, power: float) -> list[tuple[int, int, float]]:
        """State, coordinate and `found − expected` of the cumulant of these fields at every coordinate, where it is seen."""
        names, i, found = self.moments.increments.names, self.moments.powers.index(power), []
        bare = [re.sub(r"\[\d+\]$", "", each) for each in fields.split()]
        count = sum(each.startswith("theta") for each in names)
        for coordinate, state in itertools.product(range(count), range(len(self.error))):
            members = [each if each in names else f"{each}[{coordinate}]" for each in bare]
            k = self.places[tuple(names.index(each) for each in members)]
            off = float(self.found[state, k, i] - self.expected[state, k, i])
            if abs(off) > CLEAR * float(self.error[state, k, i]):
                found.append((state, coordinate, off))
        return found

    def _note(self, k: int, power: float, difference: Tensor, error: Tensor) -> str:
        if self.third is None or power != 2:
            return ""
        third = self.third[:, k]
        return THIRD if bool(((difference + third).abs() <= error + NEAR * third.abs()).all() and third.any()) else ""


def called(names: list[str]) -> str:
    """`Cov(θ[0], m[1])`, `Var(v)`, `E[θ]`: of the increments of one step."""
    letters = [re.sub(r"^theta(?=$|\[|·)", "θ", name) for name in names]
    if len(letters) == 1:
        return f"E[Δ{letters[0]}]"
    if len(letters) == 2 and letters[0] == letters[1]:
        return f"Var({letters[0]})"
    return f"{WORDS[len(letters)]}({', '.join(letters)})"


def quoted(rows: pd.DataFrame) -> list[str]:
    """The rows in sentences: the lowest power, one for the fields that go together; then how many there are at higher ones."""
    if rows.empty:
        return []
    said, first = [], rows[rows["note"] == ""]
    least = first["power of τ"].min()
    for _, group in first[first["power of τ"] == least].groupby(["degree", first["fields"].map(_kinds)], sort=False):
        told = group[group["formula"] != ""]
        row = group.loc[(told if len(told) else group)["off by"].abs().idxmax()]
        others = f", the most of {len(group)} entries" if len(group) > 1 else ""
        one, other = (each if abs(each) > row["error"] else 0.0 for each in (row["expected"], row["found"]))
        by = f"{row['formula']} = {row['off by']:.6g}" if row["formula"] else f"{row['off by']:+.6g}"
        said.append(f"{row['name']} at τ{_power(row['power of τ'])} is off by {by} (expected {one:.6g}, "
                    f"found {other:.6g}{others}): order {row['order']:g}")
    if later := len(first) - int((first["power of τ"] == least).sum()):
        said.append(f"{later} further at higher powers of τ, which may follow from {'these' if len(said) > 1 else 'this'}")
    if len(third := rows[rows["note"] == THIRD]):
        names = ", ".join(third["name"][:SHOWN]) + (" …" if len(third) > SHOWN else "")
        said.append(f"{names} at τ² {'are' if len(third) > 1 else 'is'} off by {THIRD}, as in every Itô equation with "
                    "independent motions: order 1")
    return said


def _kinds(fields: str) -> str:
    """The fields alone, without coordinates."""
    return " ".join(sorted(each.partition("[")[0].partition("·")[0] for each in fields.split()))


def _power(power: float) -> str:
    return {1.0: "", 2.0: "²"}.get(power, f"^{power:g}")
