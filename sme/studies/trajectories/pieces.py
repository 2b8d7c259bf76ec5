"""Which pairs are taken at a time, and of which there is a discrete run alone."""

from collections.abc import Mapping, Sequence

from sme.convergence.estimator import paired
from sme.problems.networks.network import Network
from sme.simulate.setup import Setup

HELD, FEWEST, LEAST = 2**24, 256, 16
"""numbers of the curves at a time; the least number of pairs, and where there are few"""
MORE = 16
"""discrete runs of a network for one of its equation, which costs some hundred and fifty times as much"""
Piece = tuple[tuple[int, ...], range]
"""the numbers of a block, and some of its pairs"""


def further(setups: Mapping[str, Setup], seed: int, paths: int, times: int) -> list[Piece]:
    """The pairs behind those of a network's equations up to so many times as many, where its discrete run is independent."""
    setup = next(iter(setups.values()))
    law, pairs = setup.problem.noise, (paths + 1) // 2
    if law.paired or law.coupled or not isinstance(setup.problem, Network):
        return []
    return [(block, range(max(each.start, pairs - _first(block)), each.stop)) for block, each in pieces(
        setups, seed, times * 2 * pairs) if each.stop + _first(block) > pairs]


def first(given: Sequence[Piece], pairs: int) -> list[Piece]:
    """The first of these, up to so many pairs."""
    found, left = list[Piece](), pairs
    for block, each in given:
        if left > 0:
            found.append((block, each[:left]))
            left -= len(found[-1][1])
    return found


def _first(block: tuple[int, ...]) -> int:
    """The number of the first pair of a block among all."""
    return (block[2] * paired.BLOCKS + block[3]) * paired.BLOCK_PAIRS


def pieces(setups: Mapping[str, Setup], seed: int, paths: int) -> list[Piece]:
    """Which pairs of which block are taken at a time."""
    setup, size = next(iter(setups.values())), min(paired.BLOCK_PAIRS, *map(paired.chunk, setups.values()))
    held = 8 * len(setups) * (1 + len(setup.marks)) * len(setup.observables)
    while held * size > HELD and size > FEWEST:
        size //= 2
    pairs, found = (paths + 1) // 2, list[Piece]()
    if pairs < paired.BLOCKS * paired.BLOCK_PAIRS:  # less than a shard: enough pieces for a few processes
        size = min(size, max(LEAST, -(-pairs // paired.BLOCKS)))
    for which in range(-(-pairs // paired.BLOCK_PAIRS)):
        block = (seed, setup.steps, which // paired.BLOCKS, which % paired.BLOCKS)
        last = min(pairs - which * paired.BLOCK_PAIRS, paired.BLOCK_PAIRS)
        found += [(block, range(begin, min(begin + size, last))) for begin in range(0, last, size)]
    return found
