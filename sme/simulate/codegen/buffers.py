"""Where buffers lie: each from its first to its last use, in memory that others use before and after."""

from collections.abc import Sequence

from sme.simulate.codegen.statements import Statement, Store


def used(statements: Sequence[Statement]) -> list[tuple[Statement, set[Store], set[Store]]]:
    """The statements that an output needs, with what each reads and writes."""
    needed: set[Store] = set()
    kept = []
    for statement in reversed(statements):
        reads, writes = statement.keep(needed)
        if writes:
            needed |= reads
            kept.append((statement, reads, writes))
    return kept[::-1]


def places(steps: Sequence[tuple[Statement, set[Store], set[Store]]]) -> tuple[dict[str, int], int]:
    """The place of each buffer by name, and how many numbers there are in all."""
    last = {store: number for number, (_, reads, writes) in enumerate(steps) for store in reads | writes}
    taken: list[tuple[int, int, Store]] = []
    found: dict[str, int] = {}
    for number, (_, _, writes) in enumerate(steps):
        for store in sorted(writes, key=lambda each: each.name):
            if store.output or store.name in found:
                continue
            start = 0
            for begin, end, _ in sorted(taken, key=lambda each: each[0]):
                if start + store.size <= begin:
                    break
                start = max(start, end)
            taken.append((start, start + store.size, store))
            found[store.name] = start
        taken = [each for each in taken if last[each[2]] > number]
    sizes = {store.name: store.size for _, _, writes in steps for store in writes}
    return found, max((start + sizes[name] for name, start in found.items()), default=0)
