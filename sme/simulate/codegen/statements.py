"""Loops over the numbers of tensors, each loop W paths at a time."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from sme.simulate.codegen.scalars import Program, Value, literal

PATHS = ("#pragma omp simd", "for (int p = 0; p < W; p++) {")
Number = float | Value


@dataclass(eq=False)
class Store:
    """Numbers in memory."""

    form: str
    """what C calls number `{i}`"""
    size: int
    uniform: bool = False
    """whether they are the same for all paths"""
    at: int = -1
    """the last statement that writes it; −1 for what is handed in"""
    member: Number | None = None
    """what statement `at` calls the number of its iteration, which need not be written at all"""
    output: bool = False

    @property
    def name(self) -> str:
        """The array."""
        return self.form.split("[")[0]


@dataclass(eq=False)
class Array:
    """A tensor of one path: where each of its numbers is, or the one number that all of them are."""

    source: Store | Value
    places: Tensor
    """of integers"""

    @property
    def shape(self) -> torch.Size:
        """As of the tensor."""
        return self.places.shape

    @property
    def uniform(self) -> bool:
        """Whether all paths share it."""
        return self.source.uniform


class Tables:
    """Constant arrays, each once."""

    def __init__(self) -> None:
        self._known: dict[tuple[object, ...], str] = {}
        self.lines: list[str] = []

    def name(self, values: Tensor) -> str:
        """The array of the values, doubles or ints, in this order."""
        flat = values.detach().contiguous().reshape(-1).numpy()
        kind = "double" if flat.dtype == np.float64 else "int"
        key = (kind, flat.size, flat.tobytes())
        if key not in self._known:
            name = self._known[key] = f"k{len(self._known)}"
            numbers = ", ".join(literal(each) if kind == "double" else str(each) for each in flat.tolist())
            self.lines.append(f"static const {kind} {name}[{flat.size}] = {{{numbers}}};")
        return self._known[key]

    def array(self, values: Tensor) -> Array:
        """A constant tensor as one of the tables."""
        values = values.to(torch.float64)
        store = Store(f"{self.name(values)}[{{i}}]", values.numel(), uniform=True)
        return Array(store, torch.arange(values.numel()).reshape(values.shape))


def strides(places: Tensor) -> tuple[int, list[int]] | None:
    """The first place and the step of each dimension, if the steps are the same everywhere."""
    origin = int(places.reshape(-1)[0])
    steps = [int(places.select(d, 1).reshape(-1)[0]) - origin if size > 1 else 0 for d, size in enumerate(places.shape)]
    grid = torch.tensor(origin)
    for d, size in enumerate(places.shape):
        grid = grid + steps[d] * torch.arange(size).reshape(-1, *[1] * (places.dim() - d - 1))
    return (origin, steps) if torch.equal(grid, places) else None


def place(places: Tensor, tables: Tables) -> str:
    """The place in the iteration `i0, i1, …` over the dimensions of more than one number."""
    places = places.squeeze()
    known = strides(places)
    if known is None:
        every = torch.arange(places.numel()).reshape(places.shape)
        return f"{tables.name(places.to(torch.int32))}[{place(every, tables)}]"
    origin, steps = known
    parts = [f"{step} * i{d}" if step != 1 else f"i{d}" for d, step in enumerate(steps) if step]
    return " + ".join((*parts, *([str(origin)] if origin or not parts else [])))


def code(array: Array, tables: Tables) -> str:
    """What C calls the array's number of the iteration."""
    return array.source.code if isinstance(array.source, Value) else array.source.form.format(i=place(array.places, tables))


def around(shape: Sequence[int], lines: Iterable[str], first: int = 0) -> list[str]:
    """The lines inside loops over the dimensions of more than one number."""
    body = list(lines)
    for d, size in reversed(list(enumerate(shape, first))):
        body = [f"for (int i{d} = 0; i{d} < {size}; i{d}++) {{", *(f"    {line}" for line in body), "}"]
    return body if shape else ["{", *(f"    {line}" for line in body), "}"]


class Statement(ABC):
    """Reads stores and writes others."""

    @abstractmethod
    def keep(self, needed: set[Store]) -> tuple[set[Store], set[Store]]:
        """The stores that it reads and writes if only these are needed; nothing if it is not."""

    @abstractmethod
    def lines(self, tables: Tables) -> list[str]:
        """It in C."""


class Nest(Statement):
    """Elementwise operations in one loop; what only they need is never in memory."""

    def __init__(self, shape: tuple[int, ...], number: int, tables: Tables) -> None:
        self.shape, self.number, self.tables = shape, number, tables
        self.program = Program()
        self.members: list[Store] = []
        self._path = self.program.input("p")
        self._handed: dict[str, Value] = {}
        self._loads: dict[int, tuple[Store, str]] = {}
        self._writes: list[tuple[Store, str, Number]] = []
        self._kept: list[tuple[Store, str, Number]] = []

    def takes(self, array: Array) -> bool:
        """Whether the array's numbers are known in this loop when it comes to them."""
        source = array.source
        if isinstance(source, Value) or source.at < self.number:
            return True
        whole = torch.arange(array.places.numel())
        return source.at == self.number and source.member is not None and torch.equal(array.places.reshape(-1), whole)

    def value(self, array: Array) -> Number:
        """The array's number of the iteration."""
        source = array.source
        if isinstance(source, Value):
            return self._handed.setdefault(source.code, self.program.input(source.code, uniform=True))
        if source.at == self.number and source.member is not None:
            return source.member
        form = code(array, self.tables)
        value = self.program.make(form, *(() if source.uniform else (self._path,)))
        self._loads[value.index] = source, form
        return value

    def make(self, value: Number, name: str) -> Store:
        """A store of one more value."""
        store = Store(f"{name}[{{i}}][p]", int(np.prod(self.shape)), at=self.number, member=value)
        self.members.append(store)
        return store

    def write(self, to: Array, value: Number) -> None:
        """Put a value in its place in another store."""
        assert isinstance(to.source, Store)
        self._writes.append((to.source, code(to, self.tables), value))
        to.source.at = max(to.source.at, self.number)

    def moves(self, to: Array) -> bool:
        """Whether it reads numbers of the array `to` in other iterations than that in which they are written."""
        assert isinstance(to.source, Store)
        return any(store.name == to.source.name and form != code(to, self.tables) for store, form in self._loads.values())

    def keep(self, needed: set[Store]) -> tuple[set[Store], set[Store]]:
        every = torch.arange(int(np.prod(self.shape))).reshape(self.shape)
        self._kept = [each for each in self._writes if each[0].output or each[0] in needed]
        self._kept += [(store, code(Array(store, every), self.tables), store.member) for store in self.members
                       if store in needed and store.member is not None]
        used = self.program.needed([value for _, _, value in self._kept])
        return {store for index, (store, _) in self._loads.items() if index in used}, {store for store, _, _ in self._kept}

    def lines(self, tables: Tables) -> list[str]:
        uniform, lines = self.program.statements([value for _, _, value in self._kept])
        stores = [f"{form} = {literal(value)};" for _, form, value in self._kept]
        return around(self.shape, (*uniform, *PATHS, *(f"    {line}" for line in (*lines, *stores)), "}"))


@dataclass(eq=False)
class Product(Statement):
    """A matrix that all paths share times vectors of each path: `(b, n, k) × (b, k, m)`."""

    matrix: Array
    vectors: Array
    result: Array

    def keep(self, needed: set[Store]) -> tuple[set[Store], set[Store]]:
        stores = [each.source for each in (self.matrix, self.vectors, self.result) if isinstance(each.source, Store)]
        return (set(stores[:2]), {stores[2]}) if stores[2] in needed else (set(), set())

    def lines(self, tables: Tables) -> list[str]:
        b, n, m = self.result.shape
        names, steps = [], []
        for each, last in ((self.matrix, False), (self.vectors, True), (self.result, True)):
            found = strides(each.places)
            assert found is not None
            assert isinstance(each.source, Store)
            origin, step = found
            shift = "".join(f" + {by} * i{d}" for d, by in enumerate((step[0], step[2] if last else 0)) if by)
            names.append(f"{each.source.name} + {origin}{shift}")
            steps.append(step)
        call = (f"matvec({names[0]}, {n}, {self.vectors.shape[1]}, {steps[0][1]}, {steps[0][2]}, {names[1]}, {steps[1][1]}, "
                f"{names[2]}, {steps[2][1]});")
        return around((b, m), [call]) if b * m > 1 else [call]


@dataclass(eq=False)
class Total(Statement):
    """A sum over the last dimensions of a product of arrays."""

    factors: Sequence[Array]
    result: Array
    kept: int = field(init=False)

    def __post_init__(self) -> None:
        self.kept = sum(size > 1 for size in self.result.shape)

    def keep(self, needed: set[Store]) -> tuple[set[Store], set[Store]]:
        assert isinstance(self.result.source, Store)
        if self.result.source not in needed:
            return set(), set()
        return {each.source for each in self.factors if isinstance(each.source, Store)}, {self.result.source}

    def lines(self, tables: Tables) -> list[str]:
        shape = [size for size in self.factors[0].shape if size > 1]
        term = " * ".join(code(each, tables) for each in self.factors)
        inner = around(shape[self.kept :], (*PATHS, f"    total[p] += {term};", "}"), self.kept)
        last = (*PATHS, f"    {code(self.result, tables)} = total[p];", "}")
        return around(shape[: self.kept], ("double total[W] = {0};", *inner, *last))
