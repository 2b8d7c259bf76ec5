"""Which of the two paths a run takes: compiled C, or torchsde."""

import dataclasses
from collections.abc import Mapping

import numpy as np
import torch

from sme.common.errors import SMEError, choose
from sme.common.library import NoCompilerError, ahead, load
from sme.common.process.progress import fraction, phase
from sme.common.storage.cache import complain
from sme.common.storage.files import sha
from sme.common.storage.records import Arrays, Records, text, words
from sme.simulate.codegen.ensemble import agrees
from sme.simulate.codegen.interpreter import NotLoweredError
from sme.simulate.codegen.program import source
from sme.simulate.setup import Setup

TORCH = "torchsde"
BACKENDS = {"auto": False, "compiled": True, TORCH: None}
"""whether a run of it must be compiled; None where it is not"""
LEAST = 2**14
"""path-steps of a shard below which `auto` does not compile: that would take longer than the run"""


def chosen(setups: Mapping[tuple[int, int], Setup], backend: str, paths: int = 2**15,
           records: Records | None = None) -> dict[tuple[int, int], Setup]:
    """The setups as this backend runs them (see `compiled_setups`).

    Raises
    ------
    SMEError
        for a backend that there is not, or that cannot be had.
    """
    must = BACKENDS[choose("backend", backend, BACKENDS)]
    return dict(setups) if must is None else compiled_setups(setups, must, paths, records)


def begin(setup: Setup, backend: str, paths: int, records: Records) -> None:
    """Trace a setup that a backend compiles, and compile it beside other work."""
    must = BACKENDS[choose("backend", backend, BACKENDS)]
    if must or (must is not None and paths * setup.marks[-1] >= LEAST):
        traced = _traced(setup, records)
        if "source" in traced:
            ahead(words(traced["source"]))


def compiled_setups(setups: Mapping[tuple[int, int], Setup], must: bool, paths: int = 2**15,
                    records: Records | None = None) -> dict[tuple[int, int], Setup]:
    """The setups, by (order, steps), with the source of their compiled run where there is one.

    The equation and the update rule of an order are traced once, with `τ` as an argument; each `τ` is
    then tried against torchsde on a few pairs. Where nothing must be, a shard of `paths` must be worth a compiler's time.
    What the `records` of a study have is neither traced nor tried again.

    Raises
    ------
    SMEError
        if there is none although there must be, saying why.
    """
    ready, sources = dict(setups), dict[tuple[object, ...], str | SMEError]()
    faults: dict[str, list[str]] = {}
    records = records or Records(None)
    with torch.no_grad():
        for (order, steps), setup in setups.items():
            if not must and paths * setup.marks[-1] < LEAST:
                continue
            kind = _shape(setup)
            if kind not in sources:
                sources[kind] = _source(setup, records)
            found = sources[kind]
            if isinstance(found, str) and not _agrees(setup, found, records):
                found = NotLoweredError("compiled and uncompiled steps differ")
            if isinstance(found, str):
                ready[order, steps] = dataclasses.replace(setup, source=found)
            elif must:
                raise SMEError(f"backend='compiled' cannot be had: {found}. Use backend='auto' or 'torchsde'") from found
            else:
                faults.setdefault(str(found), []).append(f"order {order}, tau = {setup.tau:g}")
    for fault, where in faults.items():
        print(f"through torchsde, not compiled, since {fault} ({where[0]}{' and others' if len(where) > 1 else ''})")
    return ready


def _shape(setup: Setup) -> tuple[object, ...]:
    """What a source depends on: the order, which control variates there are, and how many."""
    weights = setup.weights
    return (setup.order, None) if weights is None else (setup.order, weights.linear.shape[1:], weights.curvatures is None)


def _source(setup: Setup, records: Records) -> str | SMEError:
    complain()
    traced = _traced(setup, records)
    if "source" not in traced:
        return NotLoweredError(words(traced["fault"]))
    made = words(traced["source"])
    try:
        with phase(f"compile, order {setup.order}"):
            library = load(made)
        if not hasattr(library, "run"):
            raise NoCompilerError("the C compiler makes a library without the function that it was given")
    except NoCompilerError as fault:
        return fault
    return made


def _traced(setup: Setup, records: Records) -> Arrays:
    def made() -> Arrays:
        try:
            with phase(f"trace, order {setup.order}"), torch.no_grad():
                return {"source": text(source(setup))}
        except NotLoweredError as fault:
            return {"fault": text(str(fault))}

    return records.get(f"source, {_shape(setup)}", made)


def _agrees(setup: Setup, made: str, records: Records) -> bool:
    def tried() -> Arrays:
        with phase(f"compiled beside uncompiled steps, order {setup.order}, τ = {fraction(setup.tau)}"):
            return {"agrees": np.array(agrees(setup, made))}

    return bool(records.get(f"trial, order {setup.order}, {setup.steps} steps, {sha(made.encode())}", tried)["agrees"])
