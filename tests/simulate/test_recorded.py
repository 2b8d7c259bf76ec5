"""Substeps of derived equations by PyTorch: every operation is done once, and the numbers are the same."""

import dataclasses
import itertools

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import sme
from sme.common.derivatives.graphs import graph
from sme.common.derivatives.once import once
from sme.convergence.spec.specification import Specification
from sme.equations.base import join
from sme.equations.registry import equation as equation_of
from sme.optimizers.parts.schedules import Cosine
from sme.optimizers.regimes import BALLISTIC
from sme.simulate.codegen.ensemble import ensemble
from sme.simulate.integrators import recorded
from sme.simulate.integrators.recorded import AFTER, Recorded, steady
from sme.simulate.integrators.schemes import scheme
from tests.support.few import few

RULES = [sme.SGD(), sme.Momentum(), sme.RMSProp(v_floor=0.01), sme.Adam(denominator="updated", v_floor=0.02)]


@dataclasses.dataclass(frozen=True)
class Own(sme.SGD):
    """A rule that knows no time."""

    def update(self, state, gradient, tau, t):
        return {"theta": state["theta"] - gradient.step / (1 + gradient.step.square()).sqrt()}


@dataclasses.dataclass(frozen=True)
class Later(sme.SGD):
    """Steps of twice the length after some time, by asking for it: of a tensor it would not know the same."""

    def update(self, state, gradient, tau, t):
        return {"theta": state["theta"] - (2.0 if isinstance(t, float) and t > 0.5 else 1.0) * gradient.step}


@dataclasses.dataclass(frozen=True)
class Inherits(sme.Adam):
    """A class of one's own round an update that uses the time."""


class Counts(sme.Optimizer):
    """A rule with a memory of its own."""

    fields = ("theta",)

    def __init__(self):
        self.calls = 0

    def update(self, state, gradient, tau, t):
        self.calls += 1
        return {"theta": state["theta"] - gradient.step}


@dataclasses.dataclass(frozen=True)
class Called(sme.SGD):
    """A rule with a function among its settings, which asks for the time."""

    rate: object = None

    def update(self, state, gradient, tau, t):
        return {"theta": state["theta"] - self.rate(t) * gradient.step}


class Operations(TorchDispatchMode):
    """How many PyTorch does."""

    count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += 1
        return func(*args, **(kwargs or {}))


def derived(rule, regime="ballistic", driver="independent", dim=3, tau=1 / 16, order=2):
    return sme.derive(sme.Quadratic(dim), rule, regime, order, driver)(tau)


def given(equation, paths=40, seed=0, shift=0.5):
    """State, increment and motion since, in the layout of a run."""
    generator = torch.Generator().manual_seed(seed)
    dim = equation.problem.dim
    z = join(*(shift + torch.rand(paths, dim, generator=generator, dtype=torch.float64) for _ in equation.optimizer.fields))
    dW, since = 0.1 * torch.randn(2, equation.motions, paths, generator=generator, dtype=torch.float64)
    return z, dW.T, since[: equation.first].T


def warmed(equation, paths=40):
    run = Recorded(equation, scheme(equation))
    for _ in range(AFTER + 1):
        run.step(equation, 0.25, 1 / 128, *given(equation, paths))
    assert bool(run._records) != run.lost
    return run


@pytest.mark.parametrize(("rule", "regime", "driver"), few(
    [*itertools.product(RULES, ("ballistic", "batch_equivalent"), ("independent", "step_memory"))], 1, 6, 11, 12))
def test_the_record_gives_the_same_numbers_at_other_times_states_and_substeps(rule, regime, driver):
    equation = derived(rule, regime, driver)
    run = warmed(equation)
    assert run._records
    for seed, (t, dt) in enumerate([(0.25, 1 / 128), (0.75, 1 / 32), (1.5, 1 / 512)]):
        args = given(equation, seed=seed, shift=-0.02)  # and below the floor
        with torch.no_grad():
            right = run.scheme.step(equation, t, dt, *args)
        for mine, other in zip(run.step(equation, t, dt, *args), right, strict=True):
            torch.testing.assert_close(mine, other, rtol=1e-12, atol=1e-14)
            assert mine.stride() == other.stride()


def test_it_does_a_fraction_of_the_operations():
    equation = derived(sme.SGD(), "batch_equivalent", "step_memory")
    run, args = warmed(equation), given(equation)
    counts = []
    for step in (run.scheme.step, run.step):
        with torch.no_grad(), Operations() as seen:
            step(equation, 0.25, 1 / 128, *args)
        counts.append(seen.count)
    assert counts[1] < 0.5 * counts[0]


def test_a_run_with_records_is_the_run_without(monkeypatch):
    start = {"theta": torch.tensor([1.0, 0.5, -0.3])}
    setup = Specification.of(sme.Quadratic(3), sme.Adam(), "ballistic", "independent", 0.5, start, None, None).setup(2, 8)
    setup = dataclasses.replace(setup, kind=type(derived(sme.Adam())), finest=4)
    runs = []
    for after in (AFTER, 10**9):
        monkeypatch.setattr(recorded, "AFTER", after)
        run = ensemble(setup, (0, 8, 0, 0), 20)
        run.advance(8)
        runs.append(run)
    assert [bool(run.ladders[0].recorded._records) for run in runs] == [True, False]
    for mine, other in zip(*(run.ladders[0].levels for run in runs), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize(("rule", "known"), [
    (sme.SGD(), True), (sme.Adam(), True), (sme.Adam(bias_correction=True, t0=2.0), True), (Own(), True), (Later(), False),
    (Inherits(), False),
    (Counts(), False), (Called(rate=lambda t: 1.0), False), (sme.Scheduled(sme.SGD(), Cosine(end=2.0)), False)])
def test_rules_are_recorded_where_time_is_known_to_do_no_harm(rule, known):
    assert steady(rule) == known


def test_a_rule_that_asks_for_the_time_goes_on_as_before():
    equation = derived(Later(), order=1)
    run = warmed(equation)
    assert run.lost
    for t in (0.25, 0.75):
        args = given(equation)
        found = run.step(equation, t, 1 / 128, *args)
        assert all(map(torch.equal, found, run.scheme.step(equation, t, 1 / 128, *args)))


@pytest.mark.parametrize("wrong", [lambda t, x: 1.001 * x, lambda t, x: x + (0.1 if t > 3 else 0.0)])
def test_a_record_that_is_not_the_same_is_not_used(wrong, monkeypatch):
    equation = derived(sme.SGD())
    monkeypatch.setattr(recorded, "once", lambda made, *given: lambda t, *args: tuple(wrong(t, each) for each in made(t, *args)))
    run = warmed(equation)
    assert run.lost
    args = given(equation)
    assert all(map(torch.equal, run.step(equation, 0.25, 1 / 128, *args), run.scheme.step(equation, 0.25, 1 / 128, *args)))


def test_closed_forms_and_minibatches_are_left_as_they_are():
    minibatches = sme.derive(sme.Logistic(examples=9, batch_size=3), sme.SGD(), "ballistic", 2)(1 / 16)
    closed = equation_of(sme.Quadratic(2), sme.RMSProp(), BALLISTIC, 1 / 16, 2)
    for each, left in ((minibatches, True), (closed, True), (derived(sme.SGD()), False)):
        assert Recorded(each, scheme(each)).lost == left


def test_other_shapes_have_records_of_their_own():
    equation = derived(sme.SGD())
    run = warmed(equation)
    for paths in (40, 7):
        args = given(equation, paths)
        right = run.scheme.step(equation, 0.5, 1 / 64, *args)
        for mine, other in zip(run.step(equation, 0.5, 1 / 64, *args), right, strict=True):
            torch.testing.assert_close(mine, other, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(("largest", "held", "rows"), [(2**16, 2**29, 24), (60, 2**29, 8), (2**16, 20_000, 4), (2**16, 100, 0)])
def test_many_paths_are_taken_some_at_a_time(monkeypatch, largest, held, rows):
    equation = derived(sme.SGD())
    monkeypatch.setattr(recorded, "LARGEST", largest)
    monkeypatch.setattr(recorded, "LEAST", 3)
    monkeypatch.setattr(recorded, "HELD", held)
    run = warmed(equation, 24)
    assert [each for _, each in run._records.values()] == ([rows] if rows else [])
    args = given(equation, 24, seed=5)
    right = run.scheme.step(equation, 0.5, 1 / 64, *args)
    for mine, other in zip(run.step(equation, 0.5, 1 / 64, *args), right, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-12, atol=1e-14)


def test_settings_by_name_tell_operations_apart():
    x = torch.rand(4)
    made = once(graph(lambda x: (torch.add(x, x, alpha=2), torch.add(x, x, alpha=3), x * True, x * 1), x), x)
    assert [float(each[0] / x[0]) for each in made(x)] == pytest.approx([3, 4, 1, 1])
    assert sum(node.op == "call_function" for node in made.graph.nodes) == 4


def test_operations_are_done_once_and_constant_ones_beforehand():
    weights = torch.arange(3.0)

    def apply(x, y):
        one, other = (x * y).sin(), (x * y).sin()
        return one + other * (weights.exp() + torch.zeros_like(x)) + torch.ones(3).cumsum(0), 2 * x, 2.0 * x

    x, y = torch.rand(2, 4, 3)
    made = once(graph(apply, x, y), x, y)
    names = [str(node.target) for node in made.graph.nodes if node.op == "call_function"]
    assert sorted(names) == ["aten.add.Tensor"] * 2 + ["aten.mul.Tensor"] * 4 + ["aten.sin.default"]  # 2 is not 2.0
    for mine, right in zip(made(x + 1, y), apply(x + 1, y), strict=True):
        assert torch.equal(mine, right)


@pytest.mark.parametrize(("apply", "words"), [(lambda x: x.clone().add_(1), "writes"), (lambda x: x + torch.rand(3), "random")])
def test_graphs_that_write_or_draw_are_refused(apply, words):
    x = torch.rand(3)
    with pytest.raises(RuntimeError, match=words):
        once(graph(apply, x), x)


def stepped(run, *args):
    with torch.no_grad():
        return run.scheme.step(run.equation, 0.5, 1 / 64, *args)


def test_so_many_shapes_are_recorded_and_no_more(monkeypatch):
    monkeypatch.setattr(recorded, "MOST", 2)
    equation = derived(sme.SGD())
    run = Recorded(equation, scheme(equation))
    for paths in (5, 6, 7):
        args = given(equation, paths)
        for _ in range(AFTER + 2):
            found = run.step(equation, 0.5, 1 / 64, *args)
        for mine, other in zip(found, stepped(run, *args), strict=True):
            torch.testing.assert_close(mine, other, rtol=1e-12, atol=1e-14)
    assert {place[0][0][0] for place in run._records} == {5, 6}


def test_a_record_is_of_one_layout_in_memory():
    equation = derived(sme.Adam())
    run, args = warmed(equation), given(equation)
    turned = tuple(each.T.contiguous().T if each.is_contiguous() else each.contiguous() for each in args)
    assert all(mine.stride() != other.stride() for mine, other in zip(args, turned, strict=True))
    before = dict(run._records)
    for mine, other in zip(run.step(equation, 0.5, 1 / 64, *turned), stepped(run, *turned), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-12, atol=1e-14)
        assert mine.stride() == other.stride()
    assert run._records == before
    assert [*run._met.values()] == [AFTER + 1, 1]
