"""The regime report: scales, limits, stability and expected errors of runs that are known."""

import math
import runpy
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch

import sme
from sme.common.output.provenance import Provenance
from sme.optimizers.hyperparameters import Hyperparameters
from sme.problems.noise.gaussian import GaussianNoise
from sme.simulate import noiseless
from sme.studies.regime.limits import MEMORY, NOISE, cell, exponent, limit, memory
from tests.support.few import few

SCRIPT = Path(__file__).parents[2] / "scripts" / "regime.py"
ONE = torch.ones(1, dtype=torch.float64)


def line(curvature=1.0, noise=0.1):
    """`½ curvature θ²`."""
    return sme.Problem(lambda theta: 0.5 * curvature * (theta**2).sum(), 1, GaussianNoise([[noise]]))


def test_the_scales_are_those_of_both_regimes():
    found = sme.regime_report(line(noise=0.2), Hyperparameters("adamw", 0.01, 0.9, 0.99, 1e-3, 0.5), ONE, steps=5, compared=0)
    ballistic, batch = (found.scales.iloc[i] for i in (0, 1))
    assert [ballistic[name] for name in ("τ", "horizon", "c1", "c2", "ε", "λ", "noise")] == pytest.approx(
        [0.01, 0.05, 10, 1, 1e-3, 0.5, 0.2])
    assert [batch[name] for name in ("τ", "horizon", "c1", "c2", "ε", "λ", "noise")] == pytest.approx(
        [1e-4, 5e-4, 1000, 100, 1e-5, 50, 2e-3])
    assert found.errors.empty
    assert "5 steps" in str(found)


@pytest.mark.parametrize(("noise", "index"), few([(0.1, 0), (8**0.5, 1), (8, 2), (64, 3)], 1, 3))
def test_the_noise_is_measured_against_the_steps(noise, index):
    found = sme.regime_report(line(noise=noise), Hyperparameters("rmsprop", 1e-6, beta2=0.9), ONE, steps=64, compared=0)
    first, last = (found.noise.iloc[i] for i in (0, 1))
    assert first["tr Σ"] == pytest.approx(noise**2)
    assert first["|∇f|²"] == 1
    assert first["exponent"] == pytest.approx(math.log(noise**2) / math.log(64))
    assert first["limit"] == last["limit"] == NOISE["adaptive"][index]
    assert last["loss"] < first["loss"] == 0.5


def test_memory_is_measured_against_the_steps():
    for beta, index in ((0.5, 0), (0.96, 1), (0.999, 2), (1 - 1e-5, 3)):
        found = memory(Hyperparameters("adam", 1e-3, 0.5, beta), 1000)
        assert found["remembered steps"].tolist() == pytest.approx([2, 1 / (1 - beta)])
        assert found["limit"].tolist() == [MEMORY[0], MEMORY[index]]


def test_exponents_without_gradient_or_noise_are_at_the_ends():
    assert limit(exponent(math.inf, 10), MEMORY) == MEMORY[3]
    assert limit(exponent(0.0, 10), MEMORY) == MEMORY[0]
    assert limit(exponent(math.nan, 10), MEMORY) == "the run diverges"


@pytest.mark.parametrize(("lr", "words"), [(0.25, ["is 0.25 at step", "below 1, as here"]), (1.5, ["outside", "still stable"]),
                                           (2.5, ["outside", "itself is unstable"])])
def test_the_stability_margin_of_gradient_descent_is_step_size_times_curvature(lr, words):
    found = sme.regime_report(line(), Hyperparameters("sgd", lr), ONE, steps=4, compared=0)
    assert found.stability.radius == pytest.approx(lr)
    for word in words:
        assert word in found.margin


CURVED = [
    (Hyperparameters("sgd", 0.05), 0.05, 2), (Hyperparameters("adam", 0.01, 0.8, 0.99, 1e-3), None, 18),
    (Hyperparameters("momentum", 0.02, 0.9), 0.2, 38), (Hyperparameters("nesterov", 0.02, 0.5), 0.04, 3),
]


@pytest.mark.parametrize(("given", "step", "limit"), few(CURVED, 0, 1))
def test_curvature_is_that_of_the_loss_and_not_of_a_memory(given, step, limit):
    """Of `½ (5 θ₁² + 2 θ₂²)`; Adam's step is `lr/(√v + ε)`, with `v = E ĝ∘ĝ` at the start."""
    problem = sme.Problem(lambda theta: 0.5 * (torch.tensor([5.0, 2.0], dtype=torch.float64) * theta**2).sum(), 2,
                          GaussianNoise([[0.3, 0.0], [0.0, 0.3]]))
    found = sme.regime_report(problem, given, torch.tensor([0.1, 0.5]), steps=6, compared=3)
    assert found.curvature["curvature, ∇²f"].tolist() == pytest.approx([5, 5])
    largest = 5 * step if step else max(a * 0.01 / (math.sqrt((a * x) ** 2 + 0.09) + 1e-3) for a, x in ((5, 0.1), (2, 0.5)))
    assert found.curvature["step size × curvature"].iloc[0] == pytest.approx(largest)
    text = str(found)
    assert f"step size × curvature is below {limit}" in text.replace("2(1 + β₁)/(1 − β₁) = ", "").replace(
        "2(1 + β₁)/((1 − β₁)(1 + 2β₁)) = ", "")
    assert "times as large" not in text
    if given.optimizer == "adam":
        assert "(the averages alone give 0.2, the largest 1 − β)" in text


@pytest.mark.parametrize(("optimizer", "beta", "below"), [
    ("momentum", 0.7, 2 * 1.7 / 0.3), pytest.param("nesterov", 0.7, 2 * 1.7 / (0.3 * 2.4), marks=pytest.mark.slow)])
def test_the_limits_of_a_step_are_where_the_run_turns_unstable(optimizer, beta, below):
    for factor, stable in ((0.98, True), (1.02, False)):
        given = Hyperparameters(optimizer, factor * below * (1 - beta), beta)
        ends = sme.regime_report(line(), given, ONE, steps=600, compared=0).noise["|∇f|²"]
        assert (ends.iloc[1] < ends.iloc[0]) == stable


def test_a_noiseless_number_says_what_it_is():
    text = str(sme.regime_report(line(), Hyperparameters("rmsprop", 0.01, beta2=0.9), ONE, steps=50, compared=7))
    for words in ("Noiseless, the first 7 of 50 steps", "averages started at their means", "no error of the noisy run"):
        assert words in text


def test_adagrad_has_no_noiseless_start():
    with pytest.raises(sme.SMEError, match="no mean to start"):
        sme.regime_report(line(), Hyperparameters("adagrad", 0.1), ONE)


def test_the_expected_errors_of_gradient_descent_are_those_of_its_drifts():
    lr, steps = 0.1, 20
    found = sme.regime_report(line(), Hyperparameters("sgd", lr), ONE, steps=steps, compared=steps)
    loss = 0.5 * (1 - lr) ** (2 * steps)
    drifts = [0.5 * math.exp(-2 * rate * lr * steps) for rate in (1, 1 + lr / 2)]  # b₁ = −½ H ∇f
    expected = [abs(loss - drift) / (0.5 - loss) for drift in drifts]
    assert found.errors["last difference"].tolist() == pytest.approx(expected, rel=1e-6)
    assert found.errors["largest difference"].min() >= found.errors["last difference"].min()


def test_both_drifts_of_adam_follow_the_noiseless_run_with_their_order():
    worst = []
    for halving in (1, 2):
        given = Hyperparameters("adam", 0.02 / halving, 1 - 0.1 / halving, 1 - 0.02 / halving, 1e-3)
        found = sme.regime_report(line(noise=0.5), given, ONE, steps=16 * halving, compared=16 * halving)
        worst.append(found.errors["largest difference"].to_numpy())
    assert (worst[0] / worst[1])[0] == pytest.approx(2, rel=0.15)
    assert (worst[0] / worst[1])[1] == pytest.approx(4, rel=0.25)


def test_a_drift_that_diverges_is_no_number(monkeypatch):
    monkeypatch.setattr(noiseless, "EVALUATIONS", 5)
    found = sme.regime_report(line(), Hyperparameters("sgd", 0.1), ONE, steps=4, compared=4)
    assert found.errors["last difference"].isna().all()


def test_it_reads_a_torch_optimizer_and_leaves_its_files(tmp_path, drawn):
    optimizer = torch.optim.RMSprop([torch.nn.Parameter(ONE.clone())], lr=0.01, alpha=0.9)
    found = sme.regime_report(line(), optimizer, ONE, steps=8, compared=4, results=tmp_path)
    assert found.hyperparameters.beta2 == 0.9
    assert {path.name for path in found.folder.iterdir()} == {"regime.csv", "regime.md", "regime.pdf", "regime.png"}
    table = pd.read_csv(found.folder / "regime.csv")
    assert float(table.query("of == 'ballistic' and quantity == 'τ'")["value"].iloc[0]) == 0.01
    assert "seed" not in (found.folder / "regime.md").read_text(encoding="utf-8")


def test_a_table_without_random_numbers_names_no_seed():
    assert Provenance("a", ("1",), (0,)).code == Provenance("a", ("1",), ()).code + ", seed 0"


@pytest.mark.parametrize(("wrong", "said"), [
    (lambda: sme.regime_report(line(), sme.Adam(), ONE), ["Hyperparameters", "Adam"]),
    (lambda: sme.regime_report(line(), Hyperparameters("sgd", 0.1), ONE, steps=1), ["steps", "2"]),
    (lambda: sme.regime_report(line(), Hyperparameters("sgd", 0.1), torch.ones(2)), ["theta", "(1,)"]),
])
def test_bad_input_is_named(wrong, said):
    with pytest.raises(sme.SMEError) as caught:
        wrong()
    for word in said:
        assert word in str(caught.value)


def test_a_batch_for_noise_that_is_no_minibatch_is_refused(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), "problem=quadratic", "batch=4", f"results={tmp_path}"])
    with pytest.raises(SystemExit):
        runpy.run_path(str(SCRIPT), run_name="__main__")
    assert "batch = 4" in capsys.readouterr().err


def test_a_parameter_without_a_gradient_does_no_harm():
    problem = sme.Problem(lambda theta: 0.5 * theta[0] ** 2, 2, GaussianNoise([[0.1], [0.0]]))
    found = sme.regime_report(problem, Hyperparameters("adam", 0.01, 0.9, 0.99), torch.ones(2), steps=4, compared=4)
    assert math.isfinite(found.stability.radius)
    assert found.errors["last difference"].notna().all()


def test_a_run_far_outside_is_not_compared(tmp_path):
    made = sme.regime_report(sme.Logistic(features=3, examples=20), sme.Hyperparameters("sgd", lr=1e6, batch_size=2, steps=10),
                             torch.ones(4, dtype=torch.float64), steps=10, compared=10)
    assert made.stability.radius > 10
    assert made.errors.empty
    assert "so this run is outside" in str(made)


@pytest.mark.parametrize(("beta1", "beta2", "noise", "said"), [
    (0.99, 0.99, 1.0, "batch-equivalent, dynamic: θ̇ = −P(v) m; dm = c₁ (∇ dt + S dW − m dt); v̇ = c₂ (σ − v), "
                      "once the bias correction has died away"),
    (0.9, 0.99, 0.0, "ballistic, slaved for m, dynamic for v: θ̇ = −P(v) ∇; v̇ = c (∇f∘∇f + σ − v), once the bias correction has "
                     "died away"),
    (0.5, 0.5, 2.0, "pure diffusion, a few steps: dθ = √(Σₗ Cov(M P, Mₗ Pₗ)) dW, M (the gradient itself without momentum) and V "
                    "as the step takes them"),
    (0.9, 0.999999, 0.0, "slaved for m, frozen for v: no equation, as averages from 0 do not stay there: corrected, they are "
                         "plain means of what they have seen"),
    (0.99, 0.5, 0.0, "ballistic, dynamic for m, a few steps for v: no equation, as m remembers longer than v"),
])
def test_a_run_is_pointed_to_its_cell_of_the_atlas(beta1, beta2, noise, said):
    given = Hyperparameters("adam", lr=0.01, beta1=beta1, beta2=beta2)
    assert cell(given, noise, memory(given, 100)).endswith(said)
    decayed = Hyperparameters("adamw", lr=0.01, beta1=beta1, beta2=beta2, weight_decay=0.1)
    assert cell(decayed, noise, memory(decayed, 100)).endswith("weight decay" if "no equation" not in said else said)


def test_few_steps_of_rmsprop_are_those_that_the_step_takes():
    given = Hyperparameters("rmsprop", lr=0.01, beta2=0.5)
    assert "dθ" not in cell(given, 0.0, memory(given, 100))
    assert "θ̇ = −E[M P(V)], M (the gradient itself without momentum)" in cell(given, 0.0, memory(given, 100))
    longer = Hyperparameters("rmsprop", lr=0.01, beta2=0.999999)
    assert cell(longer, 0.0, memory(longer, 100)).endswith("averages from 0 do not stay there")
