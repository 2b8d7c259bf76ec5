"""The paragraph of a diagnosis, and the table of its numbers."""

import math
from typing import Any

import pandas as pd

from sme.studies.diagnosis.dynamics import PAIRS, Dynamics
from sme.studies.diagnosis.physical import Physical
from sme.studies.diagnosis.report import percent
from sme.studies.regime.limits import MEMORY, NOISE, exponent, limit
from sme.studies.scaling.doubling import BESIDE

FEW = 1e-3
"""share that is nothing to speak of"""


def regimes(given: Physical, ratio: float, steps: int) -> pd.DataFrame:
    """Which limit noise and memories are nearest to, by their exponents of the number of steps."""
    names = NOISE["adaptive" if given.adaptive else "sgd"]
    rows = [("tr Σ/|∇f|²", ratio, exponent(ratio, steps), limit(exponent(ratio, steps), names))]
    rows += [(f"memory of {name}", length, exponent(length, steps), limit(exponent(length, steps), MEMORY))
             for name, length in given.memories.items()]
    return pd.DataFrame(rows, columns=["of", "value", "exponent", "limit"]).assign(
        basis=f"a logarithm to the base of the {steps} steps; of noise and averages at the start")


def paragraph(given: Physical, tables: dict[str, pd.DataFrame], seen: Dynamics, batch: int, followed: int, steps: int,
              clip: Any) -> tuple[str, pd.DataFrame]:
    """Plain words, and a row for each number in them: its interval, how it was got, and how sure it is."""
    noise, stability = tables["noise"].iloc[0], tables["stability"].iloc[0]
    scaling = tables["scaling"][tables["scaling"]["binding"]].groupby("rule", sort=False).first()
    added, wide = seen.added
    adds = "adds" if added >= 0 else "takes off"
    rows: list[tuple[str, float, float, float, str]] = []
    said = []
    ratio = float(noise["noise_scale"])
    rows.append(("noise scale tr Σ/|∇f|²", ratio, float(noise["low"]), float(noise["high"]), str(noise["basis"])))
    if ratio == 0:
        said.append(f"One batch holds all the data, so a step has no noise and its noise scale is 0: the run of {steps} steps is "
                    "deterministic.")
    else:
        kind = tables["regime"]["limit"].iloc[0]
        said.append(f"With batches of {batch} the noise of a step has {ratio:.3g} times the gradient's square at the start, "
                    f"which over {_counted(steps)} is {kind}.")
    if seen.ode:
        first = seen.drift(1) if 1 in seen.ode else math.nan
        rows.append(("ODE, of the loss's way", first, math.nan, math.nan,
                     f"noiseless run less drift of order 1 over the {leading(followed)}, the largest difference"))
        words = f"Over the {leading(followed)} an ODE describes the run without noise to {percent(first)} of the loss's way"
        if 2 in seen.ode:
            second = seen.drift(2)
            rows.append(("drift of order 2, of the loss's way", second, math.nan, math.nan, "the same of order 2"))
            words += f", with the term in the step size to {percent(second)}"
        said.append(words + (f"; noise {adds} {percent(abs(added))} ± {percent(wide)}." if ratio else "."))
    else:
        said.append(f"No ODE of this run is followed ({seen.lack})" + (
            f"; over the {leading(followed)} noise {adds} {percent(abs(added))} ± {percent(wide)} of the loss's way."
            if ratio else "."))
    if 2 not in seen.ode:
        rows.append(("drift of order 2, of the loss's way", math.nan, math.nan, math.nan, f"not followed: {seen.lack}"))
    rows.append(("noise adds, of the loss's way", added, added - wide, added + wide,
                 f"{2 * PAIRS} runs on true minibatches less the noiseless one, after {_counted(followed)}; 95 %"))
    for rule, row in scaling.iterrows():
        low, high = _ends(tables["collapse"], str(rule)) if row["limit"] == "loss" else (math.nan, math.nan)
        rows.append((f"κ, {str(rule).replace('_', '-')} rule", float(row["kappa"]), low, high, f"{row['limit']}: {row['basis']}"))
    said.append(grows(scaling, tables["collapse"], steps))
    share = float(stability["share"])
    rows.append(("step, of the stability limit", share, share, math.nan, str(stability["basis"])))
    steep = float(stability["step × curvature"])
    said.append(f"The step is at {share:.2g} of the stability limit (step size × curvature {steep:.3g} of "
                f"{stability['limit']:.3g})" + (
                    ": no curvature is positive, the start is a hill." if steep < 0 else
                    ", beyond it: expect the loss to oscillate or grow." if share > 1 else
                    f"; equations of order 2 fail from {stability['order 2 fails from']:.2g} on, the midpoint equation does not."
                    if steep > stability["order 2 fails from"] else
                    f"; {stability['least']:.3g} the other way, the start is a saddle." if -stability["least"] > steep else "."))
    if clip is not None:
        acts = float(stability["clip acts on"])
        rows.append(("clip acts on", acts, math.nan, math.nan, "32 minibatches at the start"))
        said.append(f"The clip acts on {percent(acts)} of the steps at the start." if acts else
                    "The clip acts on none of the steps at the start, and is left out.")
    return " ".join(said), pd.DataFrame(rows, columns=["number", "value", "low", "high", "how"])


def _ends(collapse: pd.DataFrame, rule: str) -> tuple[float, float]:
    """The interval of the `κ` at which the loss leaves the run's."""
    row = collapse[(collapse["rule"] == rule) & (collapse["part"] == "whole")].iloc[0]
    return float(row["low"]), float(row["high"])


def grows(scaling: pd.DataFrame, collapse: pd.DataFrame, steps: int) -> str:
    """How far the batch may grow, under the rule that lets it grow the furthest, then under which the loss differs the least."""
    whole = collapse[collapse["part"] == "whole"].set_index("rule")
    seen = whole["kappa"].reindex(scaling.index)
    both = pd.DataFrame({"kappa": scaling["kappa"], "seen": seen.fillna(0.0)}).map(lambda x: float(f"{x:.2g}"))
    best = str(both.sort_values(["kappa", "seen"], ascending=False, kind="stable").index[0])
    row, name = scaling.loc[best], best.replace("_", "-")
    kappa, bound = float(row["kappa"]), str(row["limit"])
    if kappa <= 1 and bound in REASONS:
        return f"The {name} rule does not hold from here on, since {REASONS[bound]} already."
    far = float(seen.loc[best])
    low, high = _ends(collapse, best) if far > 0 else (math.nan, math.nan)
    upper = f"to {high:.2g}" if high < math.inf else "or more"
    followed = int(whole.loc[best, "steps"]) if far > 0 else 0
    loss = f"the loss along {'the run' if followed > steps - BESIDE[-1] else f'its {leading(followed)}'} differs by 10 %"
    little = f"{whole.loc[best, 'kappa of 1 %']:.3g}-fold for 1 %" if far > 0 else ""
    if bound in REASONS:
        more = f"; {loss} from {far:.2g}-fold on ({low:.2g} {upper}; {little})" if 0 < far < math.inf else ""
        words = f"The batch may grow about {kappa:.2g}-fold under the {name} rule before {REASONS[bound]}{more}"
    else:
        words = f"The batch may grow about {kappa:.2g}-fold ({low:.2g} {upper}; {little}) under the {name} rule before {loss}"
    return f"{words} (predicted from this run alone, not measured)."


def leading(steps: int) -> str:
    """`first step`, `first 8 steps`."""
    return f"first {steps} steps" if steps > 1 else "first step"


def _counted(steps: int) -> str:
    return f"{steps} steps" if steps > 1 else "one step"


REASONS = {"memory": "the momentum remembers less than three steps",
           "noise": "the gradient is no longer small beside the noise", "step": "the step is too long for the curvature",
           "data": "it holds all the data"}
