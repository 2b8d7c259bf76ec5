"""The tables of stationary variances, and of signSGD's phases."""

import math
from dataclasses import dataclass

import pandas as pd

from sme.common.output.report import Plot, Tabled
from sme.common.output.text import grid
from sme.studies.stationary import picture, sign_phases, sign_picture
from sme.studies.stationary.run import DELTA, EXACT, PATHS, SECOND, SEED, SIMULATED, H, S, slope

SHOWN = 512
"""paths of the picture of signSGD's phases, at most"""
WORDS = f"""Variances of `θ` at rest on `½ h θ²`, `h = {H:g}`, gradient noise of standard deviation `s = {S:g}`
(for Student's t: {S:g} times the variate), ballistic; RMSProp and Adam with `c = 1`, `ε = 0` and no floor, weight decay 1 where
there is one. "Closed form" is right to leading order, its error O(τ²), and so is the linearised equation of order 1, whatever the
rule; "chain, exact" is the discrete run's own law, by detailed balance for signSGD; "simulated" is the discrete run, with its
standard error. Off: how far that is from the exact chain, or where there is none from the closed form, which is off by a share of
size τ. "To second order" has the next term, `τ² C₂` of `sme.stationary`; what it says of "off" stands beside it."""
RULE = f"""The last two rows have {DELTA} times the batch size, `κ = {DELTA}` of `sme.scale(…, rule="square_root")`: learning rate
and weight decay times {math.isqrt(DELTA)}, `1 − β` times {DELTA}. With all of them the stationary variance, and so the loss,
stays; with the weight decay left as it was it does not."""
SIGNS = """What signSGD's equation is made of: the slope `ℓ` of `E sign(ĝ)` at 0 for noise of scale 1, and its values."""
PHASES = "Phases of signSGD, Gaussian noise, `y = ∇f/√(2σ)`; errors of each simplified equation are the largest in its phase."


@dataclass(frozen=True, repr=False)
class StationaryLaws(Tabled):
    """Variances, what they rest on and the phases; `table` is that of `run.measure`."""

    file = name = "stationary"
    title = "Stationary laws"
    seeds = (SEED,)
    paths: int = PATHS

    @property
    def plots(self) -> dict[str, Plot]:
        return {"stationary": lambda path: picture.draw(self.table, self.provenance, path),
                "sign_phases": lambda path: sign_picture.draw(self.provenance, path, min(self.paths, SHOWN))}

    def body(self, style: str) -> list[str]:
        sources = [name for name in dict.fromkeys(self.table["source"]) if name != SIMULATED]
        made = []
        for (case, tau), part in self.table.groupby(["case", "tau"], sort=False):
            values, seen = part.set_index("source")["variance"], part[part["source"] == SIMULATED].iloc[0]
            against = values.get(EXACT, values["closed form"])
            made.append({"case": case, "τ": f"{tau:g}", **{name: _digits(values.get(name)) for name in sources},
                         SIMULATED: f"{seen['variance']:.6f} ± {seen['stderr']:.0e}",
                         "off": f"{100 * (seen['variance'] / against - 1):+.2f} ± {100 * seen['stderr'] / against:.2f} %",
                         "off, predicted": f"{100 * (values[SECOND] / against - 1):+.2f} %" if SECOND in values else "–"})
        slopes = pd.DataFrame([
            ("Gaussian", "erf(g/√2)", f"{math.sqrt(2 / math.pi):.5f}"), ("Student's t, ν = 2", "g/√(2 + g²)", f"{slope(2):.5f}"),
            ("Student's t, ν = 3", "2 F₃(g) − 1", f"{slope(3):.5f}"),
        ], columns=["noise", "E sign(ĝ)", "slope"])
        phases = sign_phases.table().map(lambda x: f"{x:.4f}" if isinstance(x, float) else str(x))
        return [WORDS, grid(pd.DataFrame(made), style), RULE, SIGNS, grid(slopes, style), PHASES, grid(phases, style)]


def _digits(value: float | None) -> str:
    return "–" if value is None else f"{value:.6f}"
