"""The weak error in the loss of every equation over the first steps of a run, for no more than a stated time."""

import warnings

import pandas as pd

from sme.common.errors import SMEError
from sme.common.process.progress import say
from sme.convergence.comparison.candidates import candidates
from sme.convergence.comparison.predictions import COLUMNS, PAIRED, predict
from sme.convergence.estimator.closure import coupled
from sme.optimizers.base import Optimizer, State
from sme.optimizers.regimes import BALLISTIC
from sme.problems.base import Problem

LONGEST_S, SEED = 120.0, 0
"""seconds of one core that all pairs of paths together may take, and their seed"""


def certified(problem: Problem, rule: Optimizer, tau: float, start: State, steps: int, clips: bool = False) -> pd.DataFrame:
    """A row for each equation, by the closure where its series is trusted, else from a few pairs of paths.

    How long these take is known from one substep of each equation, and said before. The cheapest come first; an equation that no
    longer fits into `LONGEST_S` has no number, and its `basis` says what it would take. Nor has a run without an equation, or one
    whose clip acts (`clips`).
    """
    if clips:
        return _none("a clip acts at the start, and is no part of these equations")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the run, which the paragraph has too
            every = candidates(problem, rule, BALLISTIC.name, steps * tau, start, ["loss"], tau, None)
    except SMEError as fault:
        return _none(str(fault))
    table = predict(every, fallback=False).table
    table["basis"] = table["basis"].astype(object)
    priced = sorted((coupled.seconds(every[i].setup), i) for i in table.index[table["predicted"].isna()])
    taken, total = list[int](), 0.0
    for price, i in priced:
        if total + price <= LONGEST_S:
            total, taken = total + price, [*taken, i]
        else:
            table.loc[i, "basis"] = (f"left out: some {price:.0f} s of one core, of {LONGEST_S:.0f} s that all may take; "
                                     "sme.certify has no such limit")
    if taken:
        say(f"certificate: {len(taken)} equations by {2 * coupled.PAIRS} paths of {steps} steps take some {total:.2g} s")
        for i, found in zip(taken, coupled.errors([every[i].setup for i in taken], SEED), strict=True):
            value, half = float(found.error[0]), float(found.half[0])
            table.loc[i, ["predicted", "low", "high"]] = [value, value - half, value + half]
            table.loc[i, "basis"] = f"{PAIRED}: {2 * coupled.PAIRS} paths" + (
                "; some are not finite, as where v is 0 and has no derivative" if found.doubt else "")
    return table


def _none(why: str) -> pd.DataFrame:
    return pd.DataFrame([dict.fromkeys(COLUMNS) | {"basis": f"left out: {why}"}])
