"""A reviewer's table: the twelve published differences are found from drift and diffusion alone, and none in right equations."""

import re
import runpy
from pathlib import Path

import pytest
import torch

import sme
from sme.equations.order.differences.recognised import recognised
from sme.studies.published.run import VARYING
from tests.support import published
from tests.support.published import Letters

CONSTANT = sme.Polynomial()
C, C1, C2, EPS = 0.7, 1.3, 0.6, 0.1
RMS, ADAM = sme.RMSProp(c=C, eps=EPS), sme.Adam(c1=C1, c2=C2, eps=EPS)
CORRECTED = sme.Adam(c1=C1, c2=C2, eps=EPS, bias_correction=True, t0=1.0, clock=(2, 1))
STATE = {"theta": torch.tensor([0.6]), "m": torch.tensor([0.35]), "v": torch.tensor([0.8])}
SLOW = pytest.mark.slow
OFF = {
    "OneMotionRMSProp": ("Var(v)", lambda x: -2 * C**2 * x.var**2),
    "CubedRMSProp": ("E[Δθ]", lambda x: (-x.p**3 / 2 - x.slope) * x.g * C * (x.g**2 + x.var - x.v) / 2),
    "FlatVarianceRMSProp": ("E[Δv]", lambda x: -C * x.var1 * x.p * x.g / 2),
    "BentRMSProp": ("E[Δθ]", lambda x: -1.25 * x.p**3 * x.var * x.k),
    "ScaledHessianRMSProp": ("Var(θ)", lambda x: (1 - C) * x.p**3 * x.h * x.var * -1),
    "SwayedRMSProp": ("E[Δv]", lambda x: -(1 + C) * x.var1 * x.p * x.g / 2 + C * x.p**2 * x.var * x.var2 / 4),
    "OpposedAdam": ("Cov(m, v)", lambda x: -4 * C1 * C2 * x.g * x.var),
    "GradientAdam": ("E[Δv]", lambda x: C2 * x.gain * x.g * x.h * x.p * (x.g - x.m)),
    "GrowingAdam": ("E[Δθ]", lambda x: (1 + EPS) * x.gain * x.p**2 * x.root1 * x.m / 2),
    "EarlyAdam": ("E[Δθ]", lambda x: x.m * (x.gain1 * x.p - EPS * x.gain * x.p**2 * x.root1)),
    "LeadingAdam": ("Var(m)", lambda x: -(C1**3) * x.var),
    "UnscaledAdam": ("Cov(θ, m)", lambda x: -C1 * (1 - C1) * x.p * x.var / 2),
}
"""what is off at τ², and by how much"""
FORMULA = {
    "CubedRMSProp": "¼ c ε g P³ (g² + σ − v) v⁻¹ᐟ²", "FlatVarianceRMSProp": "−½ c g P σ′", "BentRMSProp": "−5/4 σ P³ f‴",
    "ScaledHessianRMSProp": "−(1 − c) σ P³ H", "OneMotionRMSProp": "−2 c² σ²", "OpposedAdam": "−4 c₁ c₂ σ g",
    "GradientAdam": "c₂ g (g − m) Γ P H", "GrowingAdam": "½ (1 + ε) m Γ ∂ₜ√γ₂ P²", "LeadingAdam": "−c₁³ σ",
    "UnscaledAdam": "−½ c₁ (1 − c₁) σ P",
}
"""what that is in the letters of the rule, `Γ = 1` without a correction; two are sums"""
BATCH = ("BentRMSProp", "ScaledHessianRMSProp", "SwayedRMSProp", "LeadingAdam", "UnscaledAdam")
CLOCKED = ("GrowingAdam", "EarlyAdam")
TOGETHER = [("OneMotionRMSProp", "CubedRMSProp", "FlatVarianceRMSProp"), BATCH[:3],
            ("OpposedAdam", "GradientAdam", "GrowingAdam"), ("EarlyAdam",), BATCH[3:]]
ALONE = ("OpposedAdam",)
"""without the two others of its kind by default, whose clock takes long"""


def check(optimizer, model, batch_equivalent, varying):
    state = {name: STATE[name] for name in optimizer.fields}
    return sme.check_order(VARYING if varying else CONSTANT, optimizer, "batch_equivalent" if batch_equivalent else "ballistic",
                           model=model, states=state)


@pytest.mark.parametrize("names", [pytest.param(each, marks=[SLOW] * (len(each) == 3 and each[0] in ALONE)) for each in TOGETHER]
                         + [pytest.param((name,), marks=[SLOW] * (name not in ALONE)) for name in OFF if name != "EarlyAdam"])
def test_published_differences_are_named_with_their_sizes(names):
    batch_equivalent, adam, clocked = names[0] in BATCH, names[0].endswith("Adam"), bool({*names} & {*CLOCKED})
    varying = not adam
    model = (published.adam(batch_equivalent, varying, clocked, names) if adam else
             published.rmsprop(batch_equivalent, varying, names))
    found = check((CORRECTED if clocked else ADAM) if adam else RMS, model, batch_equivalent, varying)
    rows = found.differences[found.differences["note"] == ""].set_index("name")
    assert sorted(rows.index) == sorted(OFF[name][0] for name in names)
    state = {field: value.double() for field, value in STATE.items()}
    for name in names:
        called, size = OFF[name]
        row = rows.loc[called]
        x = Letters(state, 2.0**-40, row["time"], CORRECTED if adam else RMS, varying, clocked)  # the clock at τ → 0
        assert row["off by"] == pytest.approx(float(size(x)), rel=1e-5)
        assert (row["power of τ"], row["order"]) == (2, 1)
        formula = FORMULA.get(name, "")
        assert row["formula"] == (formula if clocked else formula.replace("Γ ", ""))
        shown = f"{row['formula']} = {row['off by']:.6g}" if row["formula"] else f"{row['off by']:+.6g}"
        assert f"{called} at τ² is off by {shown}" in found.report
    assert (found.proved, found.decided) == (1, True)


def test_a_wrong_drift_is_no_wrong_covariance():
    """The second moments are off with it, the covariances are not."""
    twice = sme.equation(lambda state, tau, t, problem: {"theta": -2 * problem.gradient(state["theta"])},
                         lambda state, dW, tau, t, problem: {"theta": -(tau**0.5) * problem.noise.diffuse(state["theta"], dW)})
    found = sme.check_order(CONSTANT, sme.SGD(), model=twice, states={"theta": STATE["theta"]})
    assert (found.proved, set(found.differences["name"])) == (0, {"E[Δθ]"})
    assert set(found.moments.loc[found.moments["off"], "degree"]) == {1, 2}
    assert "E[Δθ] at τ is off by −g = -0.6648 (expected -0.6648, found -1.3296): order 0" in found.report


RIGHT = {
    "rmsprop": (RMS, published.rmsprop(), False, False), "rmsprop, varying": (RMS, published.rmsprop(False, True), False, True),
    "rmsprop, batch": (RMS, published.rmsprop(True), True, False),
    "rmsprop, batch, varying": (RMS, published.rmsprop(True, True), True, True),
    "adam": (ADAM, published.adam(), False, False), "adam, varying": (ADAM, published.adam(False, True), False, True),
    "adam, corrected": (CORRECTED, published.adam(False, False, True), False, False),
    "adam, corrected, varying": (CORRECTED, published.adam(False, True, True), False, True),
    "adam, batch": (ADAM, published.adam(True), True, False),
    "adam, batch, varying": (ADAM, published.adam(True, True), True, True),
    "adam, batch, corrected": (CORRECTED, published.adam(True, False, True), True, False),
    "adam, batch, corrected, varying": (CORRECTED, published.adam(True, True, True), True, True),
}
QUICK = ("rmsprop, batch, varying",)


@pytest.mark.parametrize("name", [each if each in QUICK else pytest.param(each, marks=SLOW) for each in RIGHT])
def test_nothing_is_wrong_with_a_right_equation(name):
    found = check(*RIGHT[name])
    batch_equivalent = RIGHT[name][2]
    assert set(found.differences["note"]) == ({"T₃"} if batch_equivalent else set())
    assert (found.proved, found.without_obstruction, found.obstacle) == (1 if batch_equivalent else 2, 2, None)
    assert ("off by T₃" in found.report) == batch_equivalent


def test_the_page_quotes_the_report_of_the_template():
    docs = Path(__file__).parents[3] / "docs"
    paper = runpy.run_path(str(docs / "mine.py"))["paper"]
    report = sme.check_order(sme.Quadratic(), sme.RMSProp(c=0.5, eps=0.1), "batch_equivalent", model=paper).report
    (quoted,) = re.findall(r"`(Cov\(.*?), …\): (order 1)`", (docs / "extend" / "equation.md").read_text(encoding="utf-8"))
    assert any(line.startswith(f"- {quoted[0]}") and line.endswith(quoted[1]) for line in report.splitlines())


def test_a_product_of_powers_is_recognised_and_a_sum_is_not():
    generator = torch.Generator().manual_seed(3)

    def draw(*names):
        return dict(zip(names, (2 * torch.rand(len(names), generator=generator, dtype=torch.float64) - 1).tolist(), strict=True))

    def sample(value, c=0.37):
        at = {**draw("g", "P", "m", "H"), "σ": 0.09}
        return value(at, c), at, {"c₁": c, "(1 − c₁)": 1 - c}

    def found(value, others=True):
        return recognised([sample(value) for _ in range(4)], [sample(value, 0.2 + 0.17 * i) for i in range(4)] if others else [])

    assert found(lambda x, c: -1.5 * c**2 * x["P"] ** 3 * x["m"] * x["σ"]) == "−3/2 c₁² σ P³ m"
    assert found(lambda x, c: (1 - c) * x["H"] / 3) == "⅓ (1 − c₁) H"
    assert found(lambda x, c: -1.5 * c * x["P"], others=False) == "−0.555 P"
    assert found(lambda x, c: 0.7311 * x["g"]) == "0.7311 g"
    assert found(lambda x, c: x["g"] * x["P"] + x["m"]) == ""
    assert found(lambda x, c: x["g"].__abs__()) == ""
    assert found(lambda x, c: 0.7311) == ""
    assert recognised([sample(lambda x, c: x["g"]) for _ in range(3)], []) == ""
