"""Runs of jumps and of a fast memory by quadrature: against closed moments and Monte Carlo, and what they say of the orders."""

import numpy as np
import pytest
import torch

import sme
from sme.convergence.fit.slopes import fit_constant, fit_slope
from tests.equations.drivers import test_fast_memory as linear
from tests.equations.drivers import test_skewed_sgd as skewed

SLOW = pytest.mark.slow
SMALL = {"rmsprop": sme.RMSProp(c=1.0, eps=0.2, v_floor=0.0),
         "adam": sme.Adam(c1=8.0, c2=4.0, eps=0.2, v_floor=0.0, bias_correction=False)}
BEGIN = {"theta": skewed.BEGIN, "m": 0.0, "v": 1.5}


def square(state):
    return state["theta"][:, 0] ** 2


def cube(state):
    return state["theta"][:, 0] ** 3


ALL = {"theta": lambda state: state["theta"][:, 0], "theta^2": square, "theta^3": cube, "v": lambda state: state["v"][:, 0]}


def study(problem, optimizer, driver, tau, order=1, begin=None, **how):
    begin = {name: torch.tensor([(begin or BEGIN)[name]], dtype=torch.float64) for name in optimizer.fields}
    how = {"method": "quadrature", "observables": {"theta^2": square, "theta^3": cube}, **how}
    return sme.weak_error(problem, optimizer, regime="batch_equivalent", order=order, driver=driver, tau=tau, start=begin, **how)


def of(found, observable):
    return found[found["observable"] == observable].set_index("tau")["error"]


def test_jumps_are_those_of_closed_moments():
    found = study(skewed.problem(3, 1, "with_replacement"), sme.SGD(), "poisson", 1 / 8).errors
    wanted = skewed.errors(3, 1, "with_replacement", "poisson")[:, 1:]  # of θ² and θ³, from τ = 1/8 on
    for name, column in (("theta^2", 0), ("theta^3", 1)):
        assert of(found, name)[1 / 8] == pytest.approx(wanted[0, column], abs=2e-5)


def test_a_fast_memory_is_that_of_closed_moments():
    tau = 1 / 4
    found = study(linear.PROBLEM, sme.SGD(), "fast_memory", tau, 2, {"theta": linear.BEGIN}).errors
    wanted = (linear.chain(tau) - linear.fast_memory(tau, linear.names.RATE, linear.names.GAIN))[1]
    bias = abs(found.loc[found["observable"] == "theta^2", "integrator_bias"].iloc[0])
    assert bias < 0.2 * abs(wanted)
    assert of(found, "theta^2")[tau] == pytest.approx(wanted, abs=2 * bias)


@pytest.mark.parametrize("driver", ["poisson", "independent"])
def test_skewed_minibatches_are_fitted_in_powers_of_the_root(driver):
    made = study(skewed.problem(3, 1, "with_replacement"), sme.SGD(), driver, [1 / 4, 1 / 8, 1 / 16])
    errors = made.errors[made.errors["observable"] == "theta^2"]
    given = [errors[name].to_numpy() for name in ("tau", "error", "stderr", "integrator_bias")]
    row = made.slopes.set_index("observable").loc["theta^2"]
    for step, same in ((0.5, True), (1.0, False)):
        found = fit_slope(*given, step=step)
        assert np.allclose([found.low, found.high], row[["slope_low", "slope_high"]].to_numpy(float), atol=1e-3) == same
        constant = fit_constant(*given, step=step)
        assert np.allclose([constant.low, constant.high], row[["c1_low", "c1_high"]].to_numpy(float), rtol=1e-3) == same


def test_a_series_in_the_root_is_of_skewed_noise_in_the_batch_equivalent_regime():
    def outline(problem, **how):
        begin = {"theta": torch.tensor([0.6], dtype=torch.float64)}
        return sme.weak_error(problem, sme.SGD(), tau=[1 / 2], order=1, start=begin, shards=0, backend="torchsde", **how).outline

    minibatch, gaussian = skewed.problem(3, 1, "with_replacement"), sme.Polynomial()
    for model in ("sme", "ode"):  # of the latter no order is claimed
        assert outline(minibatch, regime="batch_equivalent", model=model).halves
        assert not outline(minibatch, regime="ballistic", model=model).halves
        assert not outline(gaussian, regime="batch_equivalent", model=model).halves
    epochs = skewed.problem(3, 1, "reshuffled")
    assert outline(epochs, regime="batch_equivalent", driver="none").halves
    assert not outline(epochs, regime="ballistic", driver="none").halves


@SLOW
@pytest.mark.parametrize("driver", ["poisson", "independent"])
def test_monte_carlo_agrees(driver):
    given = skewed.problem(3, 2, "with_replacement"), SMALL["rmsprop"], driver, [1 / 8, 1 / 16]
    exact, drawn = study(*given).errors, study(*given, method="monte_carlo", paths=131_072, processes=1).errors
    apart = (drawn["error"] - exact["error"]).abs()
    assert (apart < 4 * drawn["stderr"] + exact["stderr"] + drawn["integrator_bias"].abs()).all()
    assert (drawn["stderr"] < 0.002).all()


@SLOW
def test_in_the_hard_case_only_a_memory_leaves_no_leading_error():
    """A noise of 0.7 and a short memory: `C₁` of `E θ²` is 0.2081 for independent motions (quadrature of one dimension)."""
    hard = sme.Polynomial(noise=0.7), sme.RMSProp(c=2.0, eps=0.1, v_floor=0.04)
    begin, tau = {"theta": 0.8, "v": 0.6}, [2.0**-k for k in (5, 6, 7, 8)]
    slopes = {driver: study(*hard, driver, tau, 2, begin).slopes.set_index("observable").loc["theta^2"]
              for driver in ("independent", "fast_memory")}
    one, fast = slopes["independent"], slopes["fast_memory"]
    assert one["c1"] == pytest.approx(0.2080, rel=0.01)  # by the backward equations of θ, which share no code with this
    assert one["slope"] == pytest.approx(1, abs=0.05)
    assert max(abs(fast["c1_low"]), abs(fast["c1_high"])) < 0.01 * one["c1"]
    assert fast["slope_low"] < 2 < fast["slope_high"]
    assert fast["slope_low"] > 1.7


DATA = [(3, 1, "with_replacement"), (3, 2, "with_replacement"), (10, 4, "without_replacement")]
"""number of examples, batch, sampling"""


def slopes(name, given, driver, finest):
    """Of `E θ³` at the three finest τ, and its errors by τ."""
    taus = [1 / 64, *(2.0**-k for k in range(finest - 3, finest + 1))]
    found = of(study(skewed.problem(*given), SMALL[name], driver, taus).errors, "theta^3")
    fine = found.sort_index(ascending=False).to_numpy()[1:]
    return np.log2(np.abs(fine[:-1] / fine[1:])), found


@SLOW
@pytest.mark.parametrize("name", list(SMALL))
@pytest.mark.parametrize("given", DATA, ids=str)
def test_poisson_is_of_order_one_where_independent_motions_have_one_half(name, given):
    (one, jumps), (half, motions) = (slopes(name, given, driver, 10) for driver in ("poisson", "independent"))
    assert abs(motions[1 / 64]) > 1.5 * abs(jumps[1 / 64])
    assert abs(one[-1] - 1) < 0.08
    assert abs(half[-1] - 0.5) < 0.1


@SLOW
@pytest.mark.parametrize("name", list(SMALL))
@pytest.mark.parametrize("given", DATA, ids=str)
def test_intervals_of_the_slopes_of_poisson_hold_one(name, given):
    """At 95 %, fitted in powers of √τ, but for one of the 24, which the next test looks at."""
    found = fitted(name, given)
    held = {row.observable for row in found.itertuples() if row.slope_low <= 1 <= row.slope_high}
    assert (found["verdict"] == "consistent").all()
    assert set(ALL) - held <= ({"v"} if (name, given) == ("adam", DATA[2]) else set())


@SLOW
def test_the_one_whose_interval_misses_is_of_order_one():
    """Down to τ = 1/4096 error/τ is four terms in √τ to two numerical bounds, whose first is not 0."""
    tau = [2.0**-k for k in range(6, 13)]
    found = study(skewed.problem(*DATA[2]), SMALL["adam"], "poisson", tau, observables={"v": ALL["v"]}).errors
    given, error, bound = (found[name].to_numpy() for name in ("tau", "error", "stderr"))
    design = given[:, None] ** np.array([1, 1.5, 2, 2.5]) / bound[:, None]
    terms = np.linalg.lstsq(design, error / bound, rcond=None)[0]
    assert np.abs(design @ terms - error / bound).max() < 2
    assert terms[0] == pytest.approx(0.0205, abs=2e-4)


def fitted(name, given):
    """The slopes of `poisson` over τ = 1/64 to 1/512."""
    return study(skewed.problem(*given), SMALL[name], "poisson", [2.0**-k for k in (6, 7, 8, 9)], observables=ALL).slopes


def main():
    """Print both tables of docs/theory/drivers.md, section 19: `python -m tests.equations.drivers.test_without_paths`."""
    for name in SMALL:
        for given in DATA:
            both = [slopes(name, given, driver, 10) for driver in ("poisson", "independent")]
            cells = [f"{type(SMALL[name]).__name__}; {given[0]}, {given[1]}", *(f"{found[1 / 64]:.5f}" for _, found in both),
                     *(", ".join(f"{slope:.2f}" for slope in found) for found, _ in both)]
            print("| " + " | ".join(cells) + " |", flush=True)
    for name in SMALL:
        for given in DATA:
            rows = fitted(name, given).itertuples()
            cells = [f"{type(SMALL[name]).__name__}; {given[0]}, {given[1]}",
                     *(f"{row.slope:.3f} [{row.slope_low:.3f}, {row.slope_high:.3f}]" for row in rows)]
            print("| " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
