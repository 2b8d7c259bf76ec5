"""The paired run: what it keeps, what it counts, and that nothing is dropped silently."""

import functools

import pytest
import torch

import sme
from sme.common.identity import hashing
from sme.convergence.estimator import paired
from sme.convergence.estimator.crossfit import coefficients
from sme.convergence.spec import effort
from sme.convergence.spec.specification import Specification
from sme.simulate.control_variates.controls import responses
from tests.support import models

START = {"theta": torch.tensor([1.0, 0.5])}


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    monkeypatch.setattr(paired, "BLOCK_PAIRS", 128)


def study(problem=None, optimizer=None, **changes):
    arguments = {"tau": [1 / 2, 1 / 4], "start": START, "paths": 1, **changes}
    return sme.weak_error(problem or sme.Quadratic(), optimizer or sme.RMSProp(), **arguments)


def named(problem=None, optimizer=None, regime="ballistic", brownian="independent", horizon=1.0, start=START, observables=None,
          times=None):
    """The name that such a study has, without a run."""
    parts = problem or sme.Quadratic(), optimizer or sme.RMSProp()
    return Specification.of(*parts, regime, brownian, horizon, start, observables, times).name


@pytest.mark.slow
def test_both_orders_see_the_same_discrete_run():
    """Order 2's yardstick is order 1's own error, to the last bit, where both are the ODE."""
    both = study(order=(1, 2), brownian="independent", regime="batch_equivalent")
    first, second = (both._table.query("order == @n").reset_index() for n in (1, 2))
    assert (first["error"] - second["order1_error"]).abs().max() < 5e-3 * first["error"].abs().max()
    raw = {point.key.order: point.blocks[0].moments.mean for point in both.points if point.key.steps == 4}
    rows = len(both.outline.observables)
    assert raw[1][:rows] == pytest.approx(raw[2][2 * rows : 3 * rows], abs=1e-14)


def test_control_variates_have_mean_zero_and_help():
    spec = Specification.of(sme.Quadratic(), sme.RMSProp(), "ballistic", "independent", 1.0, START, None, None)
    setup = spec.setup(2, 8)
    with torch.no_grad():
        block = paired.run_block(paired.prepared(setup), (0, 8, 0, 0), 1024)
    m, rows = block.moments, len(setup.observables)
    spread = (m.comoment.diagonal() / (m.count - 1) / m.count) ** 0.5
    controls = slice(3 * rows, None)
    assert (abs(m.mean[controls]) < 5 * spread[controls] + 1e-15).all()
    beta = coefficients(m, 3 * rows)[:, :rows]
    left = m.comoment.diagonal()[:rows] - (beta * m.comoment[controls, :rows]).sum(0)
    v2 = list(setup.observables).index("|v|^2")
    assert left[v2] < 0.01 * m.comoment[v2, v2]


def test_responses_are_the_derivative_of_the_noiseless_run():
    spec = Specification.of(models.gaussian(True), sme.Adam(), "batch_equivalent", "independent", 1.0,
                            models.STATES, ["loss", "|v|^2"], None)
    setup = spec.setup(2, 4)
    weights = responses(setup.chain, setup.start, setup.marks, setup.observables)

    def end(step, bump):
        """Feed step `step` a noise `bump` in its gradient, without its square."""
        state = {name: field[None] for name, field in setup.start.items()}
        for k in range(4):
            mean, variance = setup.problem.gradient(state["theta"]), setup.problem.noise.variance(state["theta"])
            gradient = setup.regime.expected(mean, variance, setup.tau)
            if k == step:
                noise = setup.regime.gradient(mean, bump[None], setup.tau)
                linear = noise.square - bump[None] ** 2 - setup.tau * mean**2
                gradient = gradient._replace(step=noise.step, square=gradient.square + linear)
            state = setup.optimizer.update(state, gradient, setup.tau, k * setup.tau)
        return setup.observe(state)[0]

    for step in (0, 2):
        for i in range(2):
            bump = torch.zeros(2, dtype=torch.float64)
            bump[i] = 1e-6
            slope = (end(step, bump) - end(step, -bump)) / 2e-6
            torch.testing.assert_close(weights.linear[step, i], slope, rtol=1e-6, atol=1e-9)


def test_diverged_paths_are_counted_and_nothing_is_decided():
    explosive = sme.Problem(lambda t: -(t**4).sum(), 1, sme.GaussianNoise(torch.tensor([[2.0]])))
    result = study(explosive, sme.SGD(), tau=1 / 2, horizon=3.0, start={"theta": torch.tensor([0.5])}, order=1)
    assert (result.errors["diverged"] > 0.01).any()
    assert (result.slopes["verdict"] == "undecided").all()
    assert result.slopes["note"].str.contains("paths diverged").all()


def test_the_floor_is_counted_and_nothing_is_decided():
    low = sme.Quadratic(noise=0.05)
    result = study(low, sme.RMSProp(c=1.5, v_floor=0.4), tau=[1 / 2, 1 / 4, 1 / 8], horizon=1.0)
    assert (result.errors["floored"] > 0.01).all()
    assert result.slopes["note"].str.contains("floor active").all()
    assert (result.slopes["verdict"] == "undecided").all()


def test_effort_is_a_function_of_the_step_size_alone():
    assert [len(effort.shards(None, None, tau)) for tau in (1 / 2, 1 / 32, 1 / 64, 1 / 256)] == [2, 2, 4, 16]
    assert [len(effort.shards(40_000, None, tau)) for tau in (1 / 2, 1 / 256)] == [2, 2]
    assert effort.shards(None, 0.01, 1 / 256) == [0, effort.FULL]


@pytest.mark.slow
def test_checkpoints_have_rows_of_their_own():
    result = study(times=[0.5, 1.0])
    assert set(result.errors["at"]) == {"t=0.5", "end"}
    whole = study()
    end = result.errors.query("at == 'end'").reset_index(drop=True)
    assert (end["time"] == 1.0).all()
    assert (end["error"] - whole.errors["error"]).abs().max() < 4 * whole.errors["stderr"].max()


def test_chunks_change_nothing_beyond_rounding(monkeypatch):
    problem = sme.Logistic(examples=12)
    start = {"theta": torch.full((4,), 0.5), "v": torch.full((4,), 0.2)}
    one = study(problem, start=start, backend="torchsde", tau=1 / 2).errors
    monkeypatch.setattr(paired, "LARGEST", 1024)
    other = study(problem, start=start, backend="torchsde", tau=1 / 2).errors
    for column in ("error", "stderr", "integrator_bias"):
        assert one[column].to_numpy() == pytest.approx(other[column].to_numpy(), rel=1e-9, abs=1e-13)


def test_identity_changes_with_the_law_of_the_numbers_and_with_nothing_else():
    same = named()
    assert study(order=1, tau=1 / 2, seed=3, backend="torchsde").name == same
    for changes in [{"optimizer": sme.RMSProp(c=0.4)}, {"problem": sme.Quadratic(noise=0.3)}, {"horizon": 2.0},
                    {"start": {"theta": torch.tensor([1.0, 0.4])}}, {"regime": "batch_equivalent"}, {"times": [0.5]},
                    {"observables": ["loss"]}, {"optimizer": sme.RMSProp(v_floor=0.02)},
                    {"optimizer": sme.RMSProp(denominator="updated")}, {"brownian": "none"}]:
        assert named(**changes) != same, changes


def test_identity_of_a_users_function_is_its_code():
    two, also, three = (lambda s: 2 * s["theta"].sum(-1), lambda s: 2 * s["theta"].sum(-1), lambda s: 3 * s["theta"].sum(-1))
    names = [named(observables={"f": f}) for f in (two, also, three)]
    assert names[0] == names[1] != names[2]


class Scale:
    """A loss with its state in a private attribute."""

    def __init__(self, a):
        self._a = a

    def __call__(self, theta):
        return self._a * theta.square().sum()


FACTORS = [1.0]


def helper(theta):
    return theta.square().sum()


def by_keyword(a):
    def loss(theta, *, a=a):
        return a * theta.square().sum()

    return loss


def test_identity_sees_through_partials_objects_modules_and_globals(monkeypatch):
    def squares(theta, a):
        return a * theta.square().sum()

    pairs = [(functools.partial(squares, a=0.5), functools.partial(squares, a=2.0)), (Scale(0.5), Scale(2.0)),
             (by_keyword(0.5), by_keyword(2.0)), (torch.nn.Linear(1, 1), torch.nn.Linear(1, 1)), (torch.sum, torch.mean)]
    for one, other in pairs:
        assert hashing.fingerprint(one) == hashing.fingerprint(one)
        assert hashing.fingerprint(one) != hashing.fingerprint(other)
    indirect, container = (lambda s: (lambda t: helper(t))(s)), (lambda s: FACTORS[0] * s)
    before = [hashing.fingerprint(f) for f in (indirect, container)]
    monkeypatch.setitem(globals(), "helper", lambda theta: theta.sum())
    monkeypatch.setitem(globals(), "FACTORS", [2.0])
    assert all(old != hashing.fingerprint(f) for old, f in zip(before, (indirect, container), strict=True))


def test_identity_survives_imports_and_recursion_inside_a_function():
    def outer():
        import torch as local

        def loss(theta):
            return local.sum(theta) if theta.dim() < 2 else loss(theta[0])

        return loss

    assert hashing.fingerprint(outer()) == hashing.fingerprint(outer())
    assert named(optimizer=sme.RMSProp(c=1)) == named(optimizer=sme.RMSProp(c=1.0))
    with pytest.raises(sme.SMEError, match="cannot tell"):
        hashing.fingerprint(object())


@pytest.mark.slow
def test_a_start_below_the_floor_is_counted():
    result = study(optimizer=sme.RMSProp(v_floor=0.01), start={**START, "v": torch.zeros(2)}, tau=[1 / 2, 1 / 4, 1 / 8])
    assert (result.errors["floored"] == 1).all()  # every path
    assert (result.errors["paths"] == 4 * 2 * 128).all()
    assert (result.slopes["verdict"] == "undecided").all()


def test_an_indicator_is_an_observable():
    result = study(observables={"P(v < 1)": lambda s: s["v"][:, 0] < 1.0, "one": lambda s: torch.ones(len(s["v"]))})
    assert result.errors["error"].notna().all()
    assert (result.errors.query("observable == 'one'")["error"] == 0).all()
