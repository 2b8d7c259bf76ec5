"""Which of the two paths a run takes: compiled C, or torchsde."""

import dataclasses
from collections.abc import Mapping

import torch

from sme import paired
from sme.compiled import agrees
from sme.errors import SMEError
from sme.paired import BLOCKS
from sme.program import source
from sme.setup import Setup
from sme.simulate.compiled.lowering import NotLoweredError
from sme.simulate.library import NoCompilerError, load

BACKENDS = ("auto", "compiled", "torchsde")
LEAST = 2**14
"""path-steps of a shard below which `auto` does not compile: that would take longer than the run"""


def compiled_setups(setups: Mapping[tuple[int, int], Setup], must: bool) -> dict[tuple[int, int], Setup]:
    """The setups, by (order, steps), with the source of their compiled run where there is one.

    The equation and the update rule of an order are traced once, with `τ` as an argument; each `τ` is
    then tried against torchsde on a few pairs.

    Raises
    ------
    SMEError
        if there is none although there must be, saying why.
    """
    ready, sources = dict(setups), dict[int, str]()
    with torch.no_grad():
        for (order, steps), setup in setups.items():
            if not must and 2 * BLOCKS * paired.BLOCK_PAIRS * setup.marks[-1] < LEAST:
                continue
            try:
                if order not in sources:
                    sources[order] = source(setup)
                    load(sources[order])
                if not agrees(setup, sources[order]):
                    raise NotLoweredError(f"compiled and uncompiled steps differ at tau = {setup.tau:g}")
                ready[order, steps] = dataclasses.replace(setup, source=sources[order])
            except (NotLoweredError, NoCompilerError) as fault:
                if must:
                    raise SMEError(f"backend='compiled' cannot be had: {fault}. Use backend='auto' or 'torchsde'") from fault
                print(f"order {order}, tau = {setup.tau:g}: through torchsde, not compiled, since {fault}")
    return ready
