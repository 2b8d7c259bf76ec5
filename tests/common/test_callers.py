"""What callers hand over is copied, what they have set stays, and threads take turns."""

import asyncio
import random
import threading
import time
import warnings

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
import torch

import sme
from sme.common.derivatives.inferred import tensors
from sme.common.pointers import pointer
from sme.convergence.estimator import paired
from sme.convergence.estimator.block import Block
from sme.convergence.estimator.paired import prepared, run_block
from sme.convergence.fit.tails import growth
from sme.convergence.runner import ready
from sme.convergence.spec.specification import Specification
from sme.simulate.control_variates.controls import responses
from sme.studies.trajectories.sample import follow
from tests.support.few import few
from tests.support.tiny import coarse

START = {"theta": torch.tensor([0.7, -0.4], dtype=torch.float64)}
SLOW = pytest.mark.slow


@pytest.fixture(autouse=True)
def short(monkeypatch):
    monkeypatch.setattr(paired, "BLOCK_PAIRS", 32)
    coarse(monkeypatch, 8)


def square(s):
    return 2 * s["theta"].square().sum(-1) + s["v"].sum(-1)


def assigns(s):
    value = square(s)
    s["theta"] = -3 * s["theta"]
    return value


def pops(s):
    value = square(s)
    s.pop("v")
    return value


def clears(s):
    value = square(s)
    s.clear()
    return value


def multiplies(s):
    value = square(s)
    s["v"].mul_(5)
    return value


def through_data(s):
    value = square(s)
    s["theta"].data.fill_(9)
    return value


def through_numpy(s):
    value = square(s)
    if not s["theta"].requires_grad:
        s["theta"].numpy()[...] = 4
    return value


def by_index(s):
    value = square(s)
    with torch.no_grad():
        s["theta"][..., 0] = 2
    return value


def resizes(s):
    value = square(s)
    if not s["theta"].requires_grad:
        s["theta"].resize_(1)
    return value


def later(write):
    """An observable that does so, but not to the few paths of a first look."""

    def writes(s):
        return write(s) if len(s["theta"]) > 3 else square(s)

    return writes


LOUD = [multiplies, through_data, through_numpy, by_index, resizes]
BAD = [assigns, pops, clears, *map(later, LOUD)]
FEW = [assigns, later(multiplies), later(by_index)]
"""with a program of each"""


def setup(observable, source=True, order=1, rule=None, problem=None):
    spec = Specification.of(problem or sme.Quadratic(), rule or sme.RMSProp(), "ballistic", None, 1.0, START,
                            {"first": observable, "second": square}, [0.5, 1.0])
    made = spec.setup(order, 2)
    if not source:
        return prepared(made)
    return ready({(order, 2): made}, "compiled")[order, 2]


def block(made):
    with torch.no_grad():
        return run_block(made, (3, 2, 0, 0), 64)


def same(one: Block, other: Block) -> bool:
    return np.array_equal(one.moments.mean, other.moments.mean) and np.array_equal(one.moments.comoment, other.moments.comoment)


@pytest.mark.parametrize("write", LOUD)
def test_an_observable_that_writes_over_its_fields_is_refused(write):
    with pytest.raises(sme.SMEError, match="observable 'first' writes over what it is given"):
        setup(write, source=False)


@pytest.mark.parametrize(("source", "tried"), few([(False, BAD), (True, FEW), (True, BAD)], 0))
def test_an_observable_changes_nothing_of_a_run(source, tried):
    good = block(setup(square, source))
    for bad in tried:
        assert same(block(setup(bad, source)), good), bad.__name__


@pytest.mark.parametrize("bad", few(BAD, 0, 2, 3, 5, 6))
def test_an_observable_changes_no_trajectory_and_no_weight(bad):
    made, good = setup(bad, source=False), setup(square, source=False)
    ways = (follow(each, (0, 2, 0, 0), range(8), 8, id) for each in (made, good))
    for mine, theirs in zip(*ways, strict=True):
        assert np.array_equal(mine.path, theirs.path)
        assert np.array_equal(mine.best, theirs.best)
    assert torch.equal(made.weights.linear, good.weights.linear)
    assert torch.equal(made.weights.curvatures.noise, good.weights.curvatures.noise)
    assert growth(made.chain, made.start, made.observables) == growth(good.chain, good.start, good.observables)
    assert np.array_equal(made.halving.moves, good.halving.moves)


class Plain(sme.Optimizer):
    fields = ("theta", "v")
    defaults = {"v": 1.0}  # noqa: RUF012

    def update(self, state, gradient, tau, t):
        v = state["v"] + tau * (gradient.square - state["v"])
        return {"theta": state["theta"] - gradient.step / (1 + v), "v": v}


class InPlace(Plain):
    def update(self, state, gradient, tau, t):
        new = {"v": state["v"] + tau * (gradient.square - state["v"])}
        new["theta"] = state["theta"] - gradient.step / (1 + new["v"])
        state["theta"].mul_(0)
        gradient.square.mul_(7)
        state["v"] = 3 * state["v"]
        return new


class Same(Plain):
    def update(self, state, gradient, tau, t):
        state["v"] = state["v"] + tau * (gradient.square - state["v"])
        state["theta"] = state["theta"] - gradient.step / (1 + state["v"])
        return state


@pytest.mark.parametrize(("rule", "source"), few([(InPlace, True), (Same, False), (InPlace, False), (Same, True)], 1, 2))
def test_a_rule_that_writes_over_its_arguments_steps_as_one_that_does_not(rule, source):
    one, other = (block(setup(square, source, rule=each())) for each in (rule, Plain))
    assert np.allclose(one.moments.mean, other.moments.mean, rtol=1e-9, atol=1e-13)  # derived by series or by nested derivatives
    assert np.allclose(one.moments.comoment, other.moments.comoment, rtol=1e-9, atol=1e-13)


class Overwriting(sme.Problem):
    def gradient(self, theta):
        found = super().gradient(theta)
        theta.mul_(0.5)
        return found

    def hessian(self, theta, u):
        return 2 * u


def quietly(t):
    value = t.square().sum()
    t.detach().mul_(0.5)
    return value


def scaled(theta, x):
    value = (theta * x).sum().square()
    x.mul_(2)
    return value


class Doubling(torch.nn.Linear):
    def forward(self, x):
        out = super().forward(x)
        x.mul_(2)
        return out


@pytest.mark.parametrize("make", [
    lambda: Overwriting(lambda t: t.square().sum(), 2, sme.GaussianNoise(torch.eye(2))).check(START["theta"]),
    lambda: sme.Problem(quietly, 2, sme.GaussianNoise(torch.eye(2))).check(START["theta"]),
    lambda: sme.Problem(lambda t: t.square().sum(), 1, sme.MinibatchNoise(scaled, (torch.rand(5, 1),), batch_size=2)),
    lambda: sme.Network(Doubling(2, 1), (torch.rand(6, 2), torch.rand(6, 1)), loss="mse"),
])
def test_what_writes_over_its_arguments_where_no_copy_is_made_is_refused(make):
    with pytest.raises(sme.SMEError, match="writes over what it is given"):
        make()


def test_a_noise_factor_and_a_cdf_get_copies():
    theta = torch.rand(3, 2, dtype=torch.float64)

    def factor(t):
        made = (0.3 + 0.1 * t).diag()
        t.mul_(0)
        return made

    one, other = (sme.Problem(lambda t: t.square().sum(), 2, sme.GaussianNoise(each))
                  for each in (factor, lambda t: (0.3 + 0.1 * t).diag()))
    before = theta.clone()
    assert torch.equal(one.noise.variance(theta), other.noise.variance(theta))
    assert torch.equal(theta, before)

    def cdf(z):
        made = torch.special.ndtr(z / 0.8)
        z.mul_(-1)
        return made

    mine, plain = sme.DistributionNoise(cdf), sme.DistributionNoise(lambda z: torch.special.ndtr(z / 0.8))
    z = torch.randn(4, 1, dtype=torch.float64)
    assert torch.equal(mine.sample(z, z), plain.sample(z, z))
    assert torch.equal(mine.variance(z), plain.variance(z))


def test_an_observable_whose_shape_depends_on_the_paths_is_refused():
    made = setup(square, source=False)
    made = type(made)(**{**vars(made), "observables": {"odd": lambda s: s["theta"][:3, 0]}})
    with pytest.raises(sme.SMEError, match=r"'odd' must map .* got \(3,\), torch.float64 for 64 paths"):
        block(made)


@pytest.mark.parametrize(("array", "shape", "dtype"), [
    (torch.zeros(3, 4, dtype=torch.float64), (4, 3), torch.float64), (torch.zeros(2, 3), (2, 3), torch.float64),
    (torch.zeros(3, 2, dtype=torch.float64).T, (2, 3), torch.float64),
    (torch.zeros(6, dtype=torch.float64), (2, 3), torch.float64),
    (torch.zeros(2, 3, dtype=torch.float64), (2, 3), torch.uint8),
    (torch.zeros(2, 3, dtype=torch.float64, device="meta"), (2, 3), torch.float64)])
def test_compiled_code_is_handed_what_it_was_made_for(array, shape, dtype):
    with pytest.raises(sme.SMEError, match="compiled code takes the state as"):
        pointer("the state", array, shape, dtype)


def test_compiled_code_does_not_run_past_a_state_that_lacks_a_field():
    made = setup(square)
    run = sme.simulate.codegen.ensemble.ensemble(made, (0, 2, 0, 0), 16)
    run.state.pop("v")
    with pytest.raises(sme.SMEError, match="the discrete run's state"):
        run.advance(2)


@pytest.mark.slow
def test_tensors_of_the_callers_that_require_gradients_count_as_numbers():
    w, factor = torch.tensor([[1.0, 0.2], [0.2, 1.5]], dtype=torch.float64), 0.4 * torch.eye(2, dtype=torch.float64)
    found = []
    for live in (False, True):
        a, b = w.clone().requires_grad_(live), factor.clone().requires_grad_(live)
        problem = sme.Problem(lambda t, a=a: 0.5 * ((a @ t) ** 2).sum(), 2, sme.GaussianNoise(b))
        made = Specification.of(problem, sme.RMSProp(), "ballistic", None, 1.0, {"theta": a[0]},
                                {"own": lambda s, a=a: (s["theta"] @ a).sum(-1)}, None)
        found.append((made.name.split("-")[:-1], block(prepared(made.setup(2, 2)))))
        assert not made.start["theta"].requires_grad
    assert found[0][0] == found[1][0]
    assert same(found[0][1], found[1][1])


def test_a_start_and_a_factor_are_copied():
    theta, factor = torch.ones(2, dtype=torch.float64), torch.eye(2, dtype=torch.float64)
    problem = sme.Problem(lambda t: t.square().sum(), 2, sme.GaussianNoise(factor))
    made = Specification.of(problem, sme.SGD(), "ballistic", None, 1.0, {"theta": theta}, None, None)
    name, spread = made.name, made.problem.noise.variance(theta[None]).clone()
    theta.mul_(4)
    factor.mul_(4)
    assert made.name == name
    assert torch.equal(made.problem.noise.variance(theta[None]), spread)


def test_a_study_whose_parts_have_changed_is_not_extended():
    scale = torch.ones(2, dtype=torch.float64)
    problem = sme.Problem(lambda t: (scale * t).square().sum(), 2, sme.GaussianNoise(0.1 * torch.eye(2)))
    study = sme.weak_error(problem, sme.SGD(), tau=1 / 2, start=START, order=1, paths=1, backend="torchsde")
    scale.mul_(2)
    with pytest.raises(sme.SMEError, match="has changed since it was begun"):
        study.extend(tau=1 / 4)


def run(rule=None):
    return sme.weak_error(sme.Quadratic(), rule or sme.RMSProp(), tau=1 / 2, start=START, order=2, paths=1,
                          backend="torchsde").errors


@pytest.mark.slow
def test_modes_of_the_caller_change_nothing():
    alone = run()
    for mode in (torch.inference_mode, torch.no_grad, lambda: torch.device("meta")):
        with mode():
            assert run().equals(alone)
    a = torch.tensor([[1.0, 0.3], [0.3, 0.8]], dtype=torch.float64)

    def hessian(a):
        problem = sme.Problem(lambda t: 0.25 * (t @ a @ t) ** 2, 2, sme.GaussianNoise(0.2 * a))
        check = sme.check_order(problem, sme.SGD())
        return problem.hessian(START["theta"][None], START["theta"][None]), check.residuals

    plain = hessian(a)
    with torch.inference_mode():
        made = hessian(a.clone())  # a tensor from inference mode
    assert torch.equal(plain[0], made[0])
    pd.testing.assert_frame_equal(plain[1], made[1], check_exact=True)


def test_tensors_from_inference_mode_are_found_wherever_they_are():
    with torch.inference_mode():
        made = [torch.ones(1) for _ in range(6)]

    class Holder:
        kept = made[2]

        def __init__(self):
            self.own = {"deep": [made[3]]}

        def method(self):
            return self.own

    def function(x, default=made[0]):
        return x + made[1] + default

    function.__kwdefaults__ = None
    found = tensors(((function, Holder().method), {"k": (made[4], torch.ones(1))}))
    assert {id(each) for each in found} >= {id(made[i]) for i in (0, 1, 2, 3, 4)}
    assert all(each.is_inference() for each in found)


def settings():
    return (torch.get_rng_state().tolist(), np.random.get_state()[1].tolist(), random.getstate(), torch.get_default_dtype(),
            str(torch.get_default_device()), torch.is_grad_enabled(), torch.get_num_threads(), dict(mpl.rcParams),
            list(warnings.filters), np.geterr())


def test_random_numbers_and_settings_of_the_caller_stay(tmp_path, drawn):
    def drawn_study(name):
        study = sme.weak_error(sme.Quadratic(), sme.SGD(), tau=[1 / 2, 1 / 4], start=START, order=1, paths=1,
                               results=tmp_path / name,
                               observables={"n": lambda s: s["theta"].sum(-1) + 0 * torch.rand(()) + 0 * random.random()})
        study.plot(tmp_path / f"{name}.svg")

    drawn_study("first")  # what is imported at the first run may filter warnings of its own
    torch.manual_seed(5)
    before = settings()
    drawn_study("second")
    assert settings() == before


def test_how_numpy_prints_takes_no_digit_from_a_table():
    @sme.common.process.turns.entry
    def table():
        return pd.DataFrame({"a": [2 / 3]}).to_csv(index=False)

    with np.printoptions(legacy="1.13"):
        assert table() == "a\n0.6666666666666666\n"
        assert pd.DataFrame({"a": [2 / 3]}).to_csv(index=False) != table()


def test_a_callers_look_does_not_get_into_pictures(tmp_path, drawn):
    study = sme.weak_error(sme.Quadratic(), sme.SGD(), tau=[1 / 2, 1 / 4], start=START, order=1, paths=1, observables=["loss"])
    plain = study.plot(tmp_path / "a.svg").read_bytes()
    with mpl.rc_context({"text.usetex": True, "axes.facecolor": "red", "font.size": 30, "savefig.transparent": True}):
        assert study.plot(tmp_path / "b.svg").read_bytes() == plain


@pytest.mark.slow
def test_threads_take_turns():
    problem = sme.Problem(lambda t: 0.3 * (t @ t) ** 2 + t.sum(), 2, sme.GaussianNoise(0.2 * torch.eye(2)))
    t, u = START["theta"][None], torch.ones(1, 2, dtype=torch.float64)
    want, table, wrong = problem.hessian(t, u), run(), []

    def products():
        for _ in range(40):
            try:
                wrong.extend([] if torch.equal(problem.hessian(t, u), want) else ["hessian"])
            except Exception as fault:
                wrong.append(repr(fault))

    def study():
        try:
            wrong.extend([] if run().equals(table) else ["table"])
        except Exception as fault:
            wrong.append(repr(fault))

    threads = [threading.Thread(target=each) for each in (products, products, study, study)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert not wrong

    async def both():
        return await asyncio.gather(*(asyncio.to_thread(run) for _ in range(2)))

    assert all(each.equals(table) for each in asyncio.run(both()))


def test_one_thread_waits_for_the_other_and_calls_may_nest():
    inside, order = threading.Event(), []

    @sme.common.process.turns.entry
    def slow():
        inside.set()
        order.append("begin")
        time.sleep(0.05)  # in which another would go on, if it could
        nested()
        order.append("end")

    @sme.common.process.turns.alone
    def nested():
        order.append("nested")

    first = threading.Thread(target=slow)
    first.start()
    inside.wait()
    nested()
    first.join()
    assert order[:3] == ["begin", "nested", "end"]
    with pytest.raises(ZeroDivisionError):
        sme.common.process.turns.alone(lambda: 1 / 0)()
    nested()  # the lock was given back


def test_responses_do_not_change_the_start():
    made = setup(square, source=False, rule=InPlace())
    before = {name: field.clone() for name, field in made.start.items()}
    responses(made.chain, made.start, made.marks, made.observables)
    assert all(torch.equal(made.start[name], field) for name, field in before.items())
    assert list(made.start) == list(before)


def test_where_errors_go_nowhere_a_run_goes_on(monkeypatch):
    plain = run()
    monkeypatch.setattr("sys.stderr", None)
    assert run().equals(plain)


def test_a_run_inside_a_transform_is_refused():
    problem = sme.Polynomial([0, 0, 0.5])

    def inside(x):
        sme.stationary(problem, sme.SGD(), 1 / 8)
        return x.sum()

    for transform in (torch.func.vmap, torch.func.grad):
        with pytest.raises(sme.SMEError, match=r"sme\.stationary is called inside a transform of torch\.func"):
            transform(inside)(torch.ones(2))
    assert inside(torch.ones(2)) == 2


def test_an_observable_of_another_shape_later_is_named():
    calls = []

    def fickle(state):
        calls.append(None)
        return state["theta"].sum(-1) if len(calls) == 1 else state["theta"]

    with pytest.raises(sme.SMEError, match="observable 'x' must map fields"):
        sme.weak_error(sme.Quadratic(), sme.SGD(), tau=1 / 2, start={"theta": torch.ones(2)}, order=1, paths=1,
                       backend="torchsde", observables={"x": fickle})
