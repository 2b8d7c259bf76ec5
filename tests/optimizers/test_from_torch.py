"""Optimizers of torch.optim as rules: torch's own steps, hand-written rules, step sizes, and refusals."""

import math
import warnings
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf

import sme
from sme.cli.config import build
from sme.common.errors import SMEError
from sme.common.identity.hashing import fingerprint
from sme.equations.derived.step import Step
from sme.optimizers.base import initial, updated
from sme.optimizers.imported.against import differences
from sme.optimizers.imported.by_name import library
from sme.optimizers.imported.doubled import Double
from sme.optimizers.imported.forms import FORMS, REFUSED, Place, rule_of
from sme.optimizers.regimes import BALLISTIC, BATCH_EQUIVALENT, REGIMES
from sme.studies.diagnosis.physical import Physical

TORCH = torch.optim


def parameters(*shapes):
    return [torch.nn.Parameter(torch.zeros(shape)) for shape in shapes or ((3,),)]


MADE = {
    "SGD": (lambda: TORCH.SGD(parameters(), lr=0.13, weight_decay=0.2, maximize=True), {}),
    "damped": (lambda: TORCH.SGD(parameters(), lr=0.11, momentum=0.85, dampening=0.85, weight_decay=0.3), {}),
    "momentum": (lambda: TORCH.SGD(parameters(), lr=0.03, momentum=0.8), {"tau": 0.2}),
    "half damped": (lambda: TORCH.SGD(parameters(), lr=0.03, momentum=0.8, dampening=0.4), {"tau": 0.05}),
    "nesterov": (lambda: TORCH.SGD(parameters(), lr=0.02, momentum=0.9, nesterov=True, weight_decay=0.1), {"tau": 0.07}),
    "Adam": (lambda: TORCH.Adam(parameters(), lr=0.02, betas=(0.8, 0.95), eps=1e-3, weight_decay=0.4), {"t0": 0.04}),
    "Adam with a τ": (lambda: TORCH.Adam(parameters(), lr=0.02, betas=(0.8, 0.95), maximize=True), {"t0": 0.5, "tau": 0.05}),
    "AdamW": (lambda: TORCH.AdamW(parameters(), lr=0.03, betas=(0.8, 0.95), weight_decay=0.4), {"t0": 0.3}),
    "NAdam": (lambda: TORCH.NAdam(parameters(), lr=0.02, betas=(0.8, 0.95), momentum_decay=0.01, weight_decay=0.2), {"t0": 2.0}),
    "NAdamW": (lambda: TORCH.NAdam(parameters(), lr=0.02, weight_decay=0.2, decoupled_weight_decay=True), {"t0": 2.0}),
    "RAdam": (lambda: TORCH.RAdam(parameters(), lr=0.02, betas=(0.8, 0.95), weight_decay=0.3), {"t0": 0.4}),
    "RMSprop": (lambda: TORCH.RMSprop(parameters(), lr=0.02, alpha=0.9, eps=0.01, weight_decay=0.2), {}),
    "centred": (lambda: TORCH.RMSprop(parameters(), lr=0.02, alpha=0.9, eps=0.01, centered=True, weight_decay=0.2), {}),
    "RMSprop momentum": (lambda: TORCH.RMSprop(parameters(), lr=0.01, alpha=0.9, momentum=0.8, weight_decay=0.2), {"tau": 0.1}),
    "centred momentum": (lambda: TORCH.RMSprop(parameters(), lr=0.01, momentum=0.8, centered=True, maximize=True), {"tau": 0.1}),
    "Adagrad": (lambda: TORCH.Adagrad(parameters(), lr=0.2, lr_decay=0.03, eps=1e-3, weight_decay=0.2), {"tau": 0.04}),
    "Adadelta": (lambda: TORCH.Adadelta(parameters(), lr=0.1, rho=0.8, eps=1e-3, weight_decay=0.2), {}),
    "ASGD": (lambda: TORCH.ASGD(parameters(), lr=0.1, lambd=0.05, t0=4, weight_decay=0.2), {"t0": 1.5}),
    "ASGD early": (lambda: TORCH.ASGD(parameters(), lr=0.1, lambd=0.05), {}),
    "Muon": (lambda: TORCH.Muon(parameters((3, 2), (2, 2), (1, 4)), lr=0.03), {}),
    "Muon by size": (lambda: TORCH.Muon(parameters((2, 3)), lr=0.03, nesterov=False, adjust_lr_fn="match_rms_adamw"), {})}
"""for each class an optimizer, and what `from_torch` is to be told"""


def tau_of(optimizer, regime, given):
    """The documented step size."""
    name, lr = type(optimizer).__name__, optimizer.param_groups[0]["lr"]
    if "tau" in given:
        return given["tau"]
    square = name in ("Adam", "AdamW", "NAdam", "RAdam", "RMSprop") and regime == BATCH_EQUIVALENT
    return lr**2 if square else lr


@pytest.mark.parametrize("regime", REGIMES)
@pytest.mark.parametrize("name", MADE)
def test_fifty_steps_are_torchs(name, regime):
    make, given = MADE[name]
    optimizer, place = make(), REGIMES[regime]
    tau = tau_of(optimizer, place, given)
    given = {**given, "t0": given["t0"] * tau / tau_of(optimizer, BALLISTIC, given)} if "t0" in given else given
    rule = sme.from_torch(optimizer, regime=regime, **given)
    found = differences(type(optimizer), optimizer.param_groups[0], rule, Place(place, tau, given.get("t0")))
    assert max(found.values()) < 1e-12
    assert len(found) > 1 or name == "SGD"


def test_a_fresh_run_of_torch_is_the_rules():
    """Without `against`: torch's Adam by itself, from its first step, in float64."""
    p = torch.nn.Parameter(torch.tensor([0.4, -0.7, 1.2], dtype=torch.float64))
    optimizer = TORCH.Adam([p], lr=0.03, betas=(0.8, 0.9), eps=1e-2, weight_decay=0.5)
    rule = sme.from_torch(optimizer, t0=0.03)
    theta, generator = p.detach().clone(), torch.Generator().manual_seed(3)
    state = None
    for k in range(50):
        grad = torch.randn(3, generator=generator, dtype=torch.float64)
        p.grad = grad.clone()
        optimizer.step()
        if state is None:  # after torch's first step the averages are there
            held = optimizer.state[p]
            state = {"theta": p.detach().clone(), "m": held["exp_avg"].clone(), "v": held["exp_avg_sq"].clone()}
            continue
        state = updated(rule, state, BALLISTIC.seen(grad, 0.03), 0.03, 0.03 * k)
        torch.testing.assert_close(state["theta"], p.detach(), rtol=1e-13, atol=1e-13)
    assert float((theta - p.detach()).abs().min()) > 0.1


def terms(rule, regime, problem, order, brownian):
    equation = sme.derive(problem, rule, regime, order, brownian)(0.01)
    generator = torch.Generator().manual_seed(5)
    x = torch.cat([0.4 + torch.rand(4, 2, generator=generator, dtype=torch.float64) for _ in rule.fields], -1)
    dW = torch.randn(4, equation.first + equation.second, generator=generator, dtype=torch.float64)
    parts = [equation.drift(rule.t0, x), equation.diffuse(rule.t0, x, dW)]
    if brownian == "step_memory":
        parts.append(equation.memory(rule.t0, x, dW[:, :equation.first], dW[:, :equation.first].flip(0)))
    return parts


WRITTEN = [
    (lambda: TORCH.AdamW(parameters(), lr=0.05, betas=(0.9, 0.95), eps=0.2, weight_decay=0.3), 1.0,
     lambda tau, size: sme.AdamW(0.1 / tau, 0.05 / tau, 0.2 * size, "updated", True, 1.0, v_floor=0.0, decay=0.3 / size)),
    (lambda: TORCH.RMSprop(parameters(), lr=0.05, alpha=0.9, eps=0.2), None,
     lambda tau, size: sme.RMSProp(0.1 / tau, 0.2 * size, "updated", v_floor=0.0)),
    (lambda: TORCH.SGD(parameters(), lr=0.05, momentum=0.9, dampening=0.9), None, lambda tau, size: sme.Momentum(0.1 / 0.05))]


@pytest.mark.parametrize(("regime", "brownian"), [("ballistic", "independent"), ("batch_equivalent", "step_memory")])
@pytest.mark.parametrize("case", range(len(WRITTEN)))
def test_its_equation_is_the_hand_written_rules(case, regime, brownian):
    make, t0, written = WRITTEN[case]
    given = {} if t0 is None else {"t0": t0}
    rule = sme.from_torch(make(), regime=regime, **given)
    tau = tau_of(make(), REGIMES[regime], {})
    size = math.sqrt(tau) if regime == "batch_equivalent" else 1.0
    problem = sme.Quadratic(dim=2)
    for ours, theirs in zip(terms(rule, regime, problem, 2, brownian), terms(written(tau, size), regime, problem, 2, brownian),
                            strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)


SEEN = ("NAdam", "centred momentum", "Adagrad")


@pytest.mark.parametrize(("name", "regime"), [
    pytest.param(name, regime, marks=() if name in SEEN and regime == "batch_equivalent" else pytest.mark.slow)
    for name in MADE if "Muon" not in name for regime in REGIMES])
def test_it_can_be_expanded_and_takes_the_fast_way(name, regime):
    make, given = MADE[name]
    given = {"tau": tau_of(make(), REGIMES[regime], given), **given}
    if given.get("t0"):
        given["t0"] = round(given["t0"] / given["tau"]) * given["tau"]  # whole steps
    step = Step.of(sme.from_torch(make(), regime=regime, **given), 2)
    assert all((step.separate, step._direct, step._by_series))
    assert step.linear or regime == "ballistic"


@pytest.mark.parametrize(("given", "words"), [
    (lambda: sme.from_torch(TORCH.Adam(parameters(), amsgrad=True)), ["amsgrad", "running maximum"]),
    (lambda: sme.from_torch(TORCH.Adamax(parameters())), ["Adamax", "no limit"]),
    (lambda: sme.from_torch(TORCH.Rprop(parameters())), ["Rprop", "previous gradient"]),
    (lambda: sme.from_torch(TORCH.LBFGS(parameters())), ["LBFGS", "line search"]),
    (lambda: sme.from_torch(TORCH.SparseAdam(parameters())), ["SparseAdam", "sparse"]),
    (lambda: sme.from_torch(TORCH.Adafactor(parameters())), ["Adafactor", "order 0.2"]),
    (lambda: sme.from_torch(TORCH.Adadelta(parameters())), ["Adadelta", "lr", "1", "tau"]),
    (lambda: sme.from_torch(TORCH.SGD(parameters(), lr=0.1, momentum=0.75)), ["tau", "0.25", "undamped"]),
    (lambda: sme.from_torch(TORCH.RMSprop(parameters(), momentum=0.75)), ["tau", "0.25"]),
    (lambda: sme.from_torch(TORCH.Adagrad(parameters()), regime="batch_equivalent"), ["Adagrad", "tau"]),
    (lambda: sme.from_torch(TORCH.NAdam(parameters(), lr=0.1), t0=0.2), ["NAdam", "t0 ≥"]),
    (lambda: sme.from_torch(TORCH.RAdam(parameters(), lr=0.1), t0=0.2), ["RAdam", "ρ", "t0 ≥ 0.5"]),
    (lambda: sme.from_torch(TORCH.Adam(parameters()), t0=-1.0), ["t0", "-1"]),
    (lambda: sme.from_torch(TORCH.SGD(parameters(), lr=0.1), tau=0.0), ["tau", "positive"]),
    (lambda: sme.from_torch(TORCH.SGD(parameters(), lr=0.1), clip=1.5, regime="batch_equivalent"), ["C₀/√τ", "order 1 at most"]),
    (lambda: sme.from_torch(TORCH.SGD(parameters(), lr=0.1), clip=("entries", 1.0)), ["('value', 0.5)", "entries"]),
    (lambda: sme.from_torch(TORCH.SGD(parameters(), lr=0.1), clip=-1.0), ["clip", "> 0", "-1"]),
    (lambda: sme.from_torch(TORCH.SGD(parameters(), lr=0.0)), ["lr"]),
    (lambda: sme.from_torch(sme.SGD()), ["torch.optim", "SGD"]),
    (lambda: sme.from_torch(type("Mine", (TORCH.Adam,), {})(parameters())), ["Mine", "Adam", "sme.Optimizer"]),
])
def test_refusals_say_why(given, words):
    with pytest.raises(sme.SMEError) as refusal:
        given()
    assert all(word in str(refusal.value) for word in words), str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_rule_of_the_other_regime_is_refused():
    problem, start = sme.Quadratic(dim=1), {"theta": torch.tensor([0.5])}
    for rule in (sme.from_torch(TORCH.RMSprop(parameters(), lr=0.02, weight_decay=0.2)),
                 sme.Averaged(sme.from_torch(TORCH.RMSprop(parameters(), lr=0.02, centered=True))),
                 sme.Groups((sme.QHM(t0=1.0), sme.AdaBelief()), ((0, 1), (1, 1)))):
        for call in (lambda rule=rule: sme.derive(problem, rule, "batch_equivalent", 1),
                     lambda rule=rule: sme.trajectories(problem, rule, tau=1 / 16, start=start, regime="batch_equivalent")):
            with pytest.raises(sme.SMEError, match="made for the other regime, regime='ballistic'"):
                call()
    sme.derive(problem, sme.from_torch(TORCH.RMSprop(parameters(), lr=0.02)), "batch_equivalent", 1)


@pytest.mark.slow
def test_nadams_weak_errors_fall_with_orders_one_and_two():
    rule = sme.from_torch(TORCH.NAdam(parameters((2,)), lr=0.01, betas=(0.9, 0.99)), regime="ballistic", t0=1.0)
    study = sme.weak_error(sme.Quadratic(dim=2), rule, start={"theta": torch.tensor([0.8, -0.6])}, tau=["1/16", "1/32", "1/64"],
                           order=[1, 2], shards=1, observables=["loss", "|theta|^2", "mean theta"])
    for order in (1, 2):
        errors = study.errors[study.errors["order"] == order].pivot(index="tau", columns="observable", values="error").abs()
        assert len(errors) == 3
        slopes = (errors.iloc[-1] / errors.iloc[0]).map(math.log2) / 2
        assert all(abs(slope - order) < 0.35 for slope in slopes), slopes


def test_every_class_of_torch_is_known_or_refused():
    there = {name for name, kind in vars(TORCH).items() if isinstance(kind, type) and issubclass(kind, TORCH.Optimizer)}
    assert there - {"Optimizer"} <= {*FORMS, *REFUSED}


def test_another_step_of_torch_is_noticed(monkeypatch):
    step = TORCH.NAdam.step

    def longer(self, closure=None):
        step(self, closure)
        for group in self.param_groups:
            for p in group["params"]:
                p.data.mul_(1 + 1e-9)

    monkeypatch.setattr(TORCH.NAdam, "step", longer)
    with pytest.raises(sme.SMEError, match=r"other steps in NAdam .* theta"):
        sme.from_torch(TORCH.NAdam(parameters(), lr=0.01, betas=(0.9, 0.99)), t0=1.0)


def test_names_know_settings_and_nothing_of_the_object():
    one, two = (sme.from_torch(TORCH.NAdam(parameters((4,)), lr=0.01), t0=1.0) for _ in range(2))
    assert one == two
    assert fingerprint(one) == fingerprint(two)
    assert one.name == "nadam"
    assert fingerprint(sme.from_torch(TORCH.NAdam(parameters(), lr=0.01, eps=1e-7), t0=1.0)) != fingerprint(one)
    assert one == sme.NAdam(c1=(1 - 0.9) / 0.01, c2=(1 - 0.999) / 0.01, eps=1e-8, psi=0.4, t0=1.0)


def test_a_clock_without_a_start_time_gets_the_first_that_has_a_limit():
    with pytest.warns(UserWarning, match="start at t0 = 0.05, after 5 steps"):
        assert sme.from_torch(TORCH.RAdam(parameters(), lr=0.01, betas=(0.9, 0.999))).t0 == pytest.approx(0.05)
    with pytest.warns(UserWarning, match="t0 = 0.01, after 1 step of torch"):
        assert sme.from_torch(TORCH.Adam(parameters(), lr=0.01)).t0 == 0.01


def test_the_small_steps_of_hyperparameters_are_these():
    given = TORCH.AdamW(parameters(), lr=0.02, betas=(0.8, 0.95), eps=1e-2, weight_decay=0.3)
    for regime in REGIMES:
        rule = sme.from_torch(given, regime=regime, t0=1.0)
        other, tau, *_ = sme.Hyperparameters.of(given).scaled(regime, t0=1.0)
        state = {name: 0.5 + torch.arange(3, dtype=torch.float64) for name in rule.fields}
        seen = REGIMES[regime].seen(torch.tensor([0.3, -0.4, 0.9], dtype=torch.float64), tau)
        for name, field in updated(rule, state, seen, tau, 1.0).items():
            torch.testing.assert_close(field, updated(other, state, seen, tau, 1.0)[name], rtol=1e-14, atol=1e-14)
        assert sme.Hyperparameters.of(given).lr == pytest.approx(rule.physical(REGIMES[regime], tau)["lr"])


def test_physical_hyperparameters_of_the_named_rules_are_complete():
    tau = 1 / 16
    assert sme.QHM(c=2.0, nu=0.6).physical(BALLISTIC, tau) == pytest.approx({"lr": tau, "beta": 1 - 2 * tau, "nu": 0.6})
    assert sme.AdEMAMix(alpha=3.0).physical(BALLISTIC, tau)["alpha"] == 3.0
    assert sme.ScheduleFreeSGD(beta=0.8).physical(BALLISTIC, tau) == pytest.approx({"lr": tau, "beta1": 0.8})
    given = sme.ScheduleFreeAdamW(beta=0.8, c=0.5, eps=0.1, decay=0.2).physical(BATCH_EQUIVALENT, tau)
    assert given == pytest.approx({"lr": 0.25, "beta1": 0.8, "beta2": 1 - 0.5 * tau, "eps": 0.4, "weight_decay": 0.05})


def test_a_mode_of_double_precision_is_left_again():
    with Double():
        assert torch.tensor(0.5).dtype == torch.float64
    assert torch.tensor(0.5).dtype == torch.float32


def test_muon_in_groups_sees_the_matrices_of_each():
    """Two groups whose matrices stand in turn in θ, against 30 steps of torch in double precision."""
    first, second, third = (torch.nn.Parameter(torch.linspace(-1, 1, n * m, dtype=torch.float64).reshape(n, m) ** 2 + 0.1)
                            for n, m in ((2, 3), (2, 2), (3, 2)))
    optimizer = TORCH.Muon([{"params": [third, first]}, {"params": [second], "lr": 0.05, "weight_decay": 0.0}], lr=0.02,
                           momentum=0.9, weight_decay=0.3)
    order = [first, second, third]
    rule = sme.from_torch(optimizer, parameters=order)
    assert [each.shapes for each in rule.rules] == [((2, 3), (3, 2)), ((2, 2),)]
    theta = torch.cat([p.detach().flatten() for p in order])
    state, generator = {"theta": theta, "m": torch.zeros_like(theta)}, torch.Generator().manual_seed(5)
    for k in range(30):
        seen = torch.randn(len(theta), generator=generator, dtype=torch.float64)
        for p, part in zip(order, seen.split([6, 4, 6]), strict=True):
            p.grad = part.reshape(p.shape).clone()
        with Double(), torch.no_grad():
            optimizer.step()
        state = updated(rule, state, BALLISTIC.seen(seen, 0.02), 0.02, 0.02 * k)
        theirs = torch.cat([p.detach().flatten() for p in order])
        torch.testing.assert_close(state["theta"], theirs, rtol=0, atol=1e-12)
    assert sme.from_torch(TORCH.Muon([third, first]), parameters=[first, third]).shapes == ((2, 3), (3, 2))
    drift = sme.derive(sme.Quadratic(dim=16), rule, order=1)(0.02).drift(0.0, torch.cat((theta, theta.flip(0)))[None])
    assert torch.isfinite(drift).all()


def test_groups_move_their_own_parts():
    weights, bias, more = parameters((2, 2), (3,), (2,))
    optimizer = TORCH.AdamW([{"params": [weights, more], "weight_decay": 0.5},
                             {"params": [bias], "lr": 0.04, "weight_decay": 0.0}], lr=0.02)
    rule = sme.from_torch(optimizer, t0=0.2, parameters=[weights, bias, more])
    assert rule.runs == ((0, 4), (1, 3), (0, 2))
    assert sme.from_torch(optimizer, t0=0.2).runs == ((0, 4), (0, 2), (1, 3))
    state = initial(rule, {"theta": torch.linspace(-1, 1, 9)}, 9)
    seen = BALLISTIC.seen(torch.linspace(1, 2, 9, dtype=torch.float64), 0.02)
    after = updated(rule, state, seen, 0.02, 0.2)
    place = Place(BALLISTIC, 0.02, 0.2)
    for group, mine in zip(optimizer.param_groups, ([0, 1, 2, 3, 7, 8], [4, 5, 6]), strict=True):
        alone = updated(rule_of(TORCH.AdamW, group, place), state, seen, 0.02, 0.2)
        for name, field in alone.items():
            torch.testing.assert_close(after[name][mine], field[mine], rtol=0, atol=0)
    with pytest.raises(sme.SMEError, match="9 parameters, and there are 8"):
        updated(rule, initial(rule, {"theta": torch.ones(8)}, 8), BALLISTIC.seen(torch.ones(8), 0.02), 0.02, 0.2)
    with pytest.raises(sme.SMEError, match="each of them once"):
        sme.from_torch(optimizer, t0=0.2, parameters=[weights, bias])


def test_a_name_on_the_command_line_is_the_same_rule():
    conf = Path(__file__).parents[2] / "conf" / "optimizer" / "torch.yaml"
    there = OmegaConf.to_container(OmegaConf.load(conf), resolve=False)
    node = {name: value for name, value in there.items() if name != "regime"}
    made = build("optimizer", {**node, "kind": "NAdam", "betas": [0.8, 0.95], "lr": 0.02, "t0": 2.0}, sme.Optimizer)
    assert made == sme.from_torch(TORCH.NAdam(parameters(), lr=0.02, betas=(0.8, 0.95)), t0=2.0)
    other = build("optimizer", {**node, "kind": "SGD", "lr": 0.1, "regime": "batch_equivalent"}, sme.Optimizer)
    assert other == sme.from_torch(TORCH.SGD(parameters(), lr=0.1), regime="batch_equivalent")
    assert build("optimizer", {**node, "kind": "Muon"}, sme.Optimizer).shapes == ()
    for change, words in (({"kind": "Nadam"}, "did you mean 'NAdam'"), ({"rho": 0.9}, "unknown hyperparameter of torch.optim"),
                          ({"lr": -1.0}, "refuses its hyperparameters: .*Invalid learning"), ({"kind": "Rprop"}, "Rprop has no")):
        with pytest.raises(sme.SMEError, match=words):
            build("optimizer", {**node, **change}, sme.Optimizer)


def scheduler(kind, *arguments, **given):
    optimizer = TORCH.SGD(parameters(), lr=0.1)
    return optimizer, getattr(TORCH.lr_scheduler, kind)(optimizer, *arguments, **given)


def sequence():
    optimizer = TORCH.SGD(parameters(), lr=0.1)
    own = TORCH.lr_scheduler
    return optimizer, own.SequentialLR(optimizer, [own.LinearLR(optimizer, 0.2, 1.0, 8), own.ConstantLR(optimizer, 1.0, 1),
                                                   own.CosineAnnealingLR(optimizer, 30)], [8, 20])


def constant(step):
    return 0.97


def rise(step):
    return torch.clamp(torch.as_tensor(step) / 12, max=1.0)


TAKEN = {
    "LinearLR": ("LinearLR", (0.25, 0.75, 12), {}), "ConstantLR": ("ConstantLR", (0.5, 7), {}),
    "CosineAnnealingLR": ("CosineAnnealingLR", (64, 0.01), {}), "ExponentialLR": ("ExponentialLR", (0.9,), {}),
    "PolynomialLR": ("PolynomialLR", (40, 2.0), {}), "StepLR": ("StepLR", (9, 0.5), {}),
    "MultiStepLR": ("MultiStepLR", ([5, 11, 30], 0.3), {}), "LambdaLR": ("LambdaLR", (rise,), {}),
    "MultiplicativeLR": ("MultiplicativeLR", (constant,), {}),
    "CosineAnnealingWarmRestarts": ("CosineAnnealingWarmRestarts", (9,), {"eta_min": 0.01}),
    "restarts that grow": ("CosineAnnealingWarmRestarts", (5, 2), {}),
    "OneCycleLR": ("OneCycleLR", (0.4, 51), {"cycle_momentum": False}),
    "one cycle in lines": ("OneCycleLR", (0.4, 60), {"cycle_momentum": False, "anneal_strategy": "linear", "three_phase": True}),
    "CyclicLR": ("CyclicLR", (0.05, 0.3, 7, 5), {"cycle_momentum": False}),
    "triangles that halve": ("CyclicLR", (0.05, 0.3, 6), {"cycle_momentum": False, "mode": "triangular2"}),
    "triangles that fall": ("CyclicLR", (0.05, 0.3, 6), {"cycle_momentum": False, "mode": "exp_range", "gamma": 0.98}),
    "SequentialLR": ("SequentialLR", (), {}), "ChainedScheduler": ("ChainedScheduler", (), {})}
"""every scheduler of torch that is a function of time: its class, arguments and settings"""


def made(name):
    kind, arguments, given = TAKEN[name]
    if kind == "SequentialLR":
        return sequence()
    if kind == "ChainedScheduler":
        optimizer, own = TORCH.SGD(parameters(), lr=0.1), TORCH.lr_scheduler
        return optimizer, own.ChainedScheduler([own.ConstantLR(optimizer, 0.5, 6), own.ExponentialLR(optimizer, 0.95)])
    return scheduler(kind, *arguments, **given)


@pytest.mark.parametrize("name", TAKEN)
def test_schedulers_are_functions_of_time(name):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's, of steps that nobody took
        optimizer, given = made(name)
        rule = sme.from_torch(optimizer, scheduler=given)
        rates = []
        for _ in range(50):
            rates.append(float(optimizer.param_groups[0]["lr"]))
            given.step()
    assert isinstance(rule, sme.Scheduled)
    tau, base = optimizer.param_groups[0].get("initial_lr", 0.1), torch.zeros(1, dtype=torch.float64)
    one = torch.ones(1, dtype=torch.float64)
    ours = [-float(updated(rule, {"theta": base}, BALLISTIC.seen(one, tau), tau, k * tau)["theta"]) for k in range(50)]
    assert ours == pytest.approx(rates, rel=1e-6 if name == "LambdaLR" else 1e-10, abs=1e-14)
    assert len({round(rate, 6) for rate in rates}) > 1
    between = sme.derive(sme.Quadratic(dim=1), rule, order=2)(tau)  # and one that is differentiated in time
    assert torch.isfinite(between.drift(3.3 * tau, one[None])).all()


REFUSED_SCHEDULERS = {
    "ReduceLROnPlateau": (lambda: scheduler("ReduceLROnPlateau"), "follows the losses of one run"),
    "OneCycleLR": (lambda: momentum_cycle("OneCycleLR", 0.4, 51), "OneCycleLR with cycle_momentum=True moves the momentum"),
    "CyclicLR": (lambda: momentum_cycle("CyclicLR", 0.05, 0.3, 7), "CyclicLR with cycle_momentum=True moves the momentum"),
    "own scale": (lambda: scheduler("CyclicLR", 0.05, 0.3, 7, cycle_momentum=False, scale_fn=constant), "scale_fn"),
    "LambdaLR": (lambda: scheduler("LambdaLR", lambda step: min(1.0, (1 + step) / 10) if step < 5 else 1.0), "takes no tensor"),
    "LambdaLR of whole steps": (lambda: scheduler("LambdaLR", lambda step: float(isinstance(step, int))), "both must be"),
    "MultiplicativeLR": (lambda: scheduler("MultiplicativeLR", lambda step: 0.9 if step < 30 else 1.0), "one constant factor"),
    "LRScheduler": (lambda: own_kind(), "Stretch is no function of time here: known are LinearLR")}


def warm(step):
    return (1 + step) / 10 if step < 10 else 0.5 * (1 + math.cos(math.pi * (step - 10) / 30))


@pytest.mark.parametrize("make", [lambda: scheduler("LambdaLR", warm), lambda: own_kind(),
                                  lambda: scheduler("MultiplicativeLR", lambda step: 0.9 if step < 30 else 1.0)])
def test_a_scheduler_of_whole_steps_alone_is_read_off(make):
    optimizer, given = make()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's, of steps that nobody took
        given.step()
        rule, rates = sme.from_torch(optimizer, scheduler=given, steps=40), []
        for _ in range(40):
            rates.append(float(optimizer.param_groups[0]["lr"]))
            given.step()
    tau, schedule = optimizer.param_groups[0]["initial_lr"], rule.schedule
    assert [tau * float(schedule((k + 1) * tau)) for k in range(40)] == pytest.approx(rates, rel=1e-10, abs=1e-12)
    middle, slope = torch.func.jvp(schedule, (torch.tensor(7.25 * tau, dtype=torch.float64),), (torch.tensor(tau).double(),))
    assert float(middle) * tau == pytest.approx(0.75 * rates[6] + 0.25 * rates[7])
    assert float(slope) * tau == pytest.approx(rates[7] - rates[6])
    assert float(schedule(60 * tau)) == float(schedule(41 * tau))


def momentum_cycle(kind, *arguments):
    optimizer = TORCH.SGD(parameters(), lr=0.1, momentum=0.9, dampening=0.9)
    return optimizer, getattr(TORCH.lr_scheduler, kind)(optimizer, *arguments)


def own_kind():
    class Stretch(TORCH.lr_scheduler.LRScheduler):
        def get_lr(self):
            return [0.1 / (1 + self.last_epoch)]

    optimizer = TORCH.SGD(parameters(), lr=0.1)
    return optimizer, Stretch(optimizer)


@pytest.mark.parametrize("name", REFUSED_SCHEDULERS)
def test_schedulers_that_are_none_here_are_refused(name):
    make, words = REFUSED_SCHEDULERS[name]
    optimizer, given = make()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(sme.SMEError, match=words):
            sme.from_torch(optimizer, scheduler=given, tau=0.1)


def test_every_scheduler_of_torch_is_taken_or_refused():
    every = {name for name, kind in vars(TORCH.lr_scheduler).items() if isinstance(kind, type) and not name.startswith("_")
             and issubclass(kind, TORCH.lr_scheduler.LRScheduler)}
    assert every == {kind for kind, *_ in TAKEN.values()} | (REFUSED_SCHEDULERS.keys() & every)


def test_a_scheduler_of_another_optimizer_and_none():
    with pytest.raises(sme.SMEError, match=r"scheduler must be a torch\.optim\.lr_scheduler of this optimizer"):
        sme.from_torch(TORCH.SGD(parameters(), lr=0.1), scheduler=scheduler("ExponentialLR", 0.9)[1])
    with pytest.warns(UserWarning, match="initial_lr = 0.1, not the present lr = 0.025"):
        sme.from_torch(scheduler("LinearLR", 0.25, 1.0, 12)[0])
    with pytest.warns(UserWarning, match="initial_lr = 0.1; give scheduler"):
        sme.from_torch(scheduler("CosineAnnealingLR", 12)[0])


def test_a_start_is_a_whole_number_of_torchs_steps():
    with pytest.raises(sme.SMEError, match=r"t0 = 0\.25 is 8\.33333 steps of τ = 0\.03, .* such as 0\.24"):
        sme.from_torch(TORCH.AdamW(parameters(), lr=0.03), t0=0.25)


@pytest.mark.parametrize(("settings", "words"), [
    ({"momentum": 1.0}, "momentum must be below 1"), ({"momentum": 1.5, "dampening": 1.5}, "momentum must be below 1")])
def test_a_momentum_that_forgets_nothing_is_refused_by_its_name(settings, words):
    with pytest.raises(SMEError, match=words):
        sme.from_torch(torch.optim.SGD([torch.nn.Parameter(torch.zeros(2))], lr=0.1, **settings), tau=0.1)


@pytest.mark.parametrize("which", [lambda a: 3, lambda a: [a, a], lambda a: []])
def test_parameters_are_those_of_the_groups_each_once(which):
    parameter = torch.nn.Parameter(torch.zeros(2))
    with pytest.raises(SMEError, match="each of them once"):
        sme.from_torch(torch.optim.SGD([parameter], lr=0.1), parameters=which(parameter))


def group_with(kind="Adam", **settings):
    optimizer = getattr(torch.optim, kind)(torch.nn.Linear(2, 1).parameters(), lr=0.1)
    optimizer.param_groups[0].update(settings)
    return optimizer


READ = {"from_torch": lambda optimizer: sme.from_torch(optimizer, t0=0.1), "scale": lambda optimizer: sme.scale(optimizer, 2),
        "diagnose": lambda optimizer: Physical.of(optimizer, optimizer.param_groups[0]["params"])}


@pytest.mark.parametrize("read", READ)
@pytest.mark.parametrize("settings", [
    {"lr": "abc"}, {"lr": None}, {"lr": 1j}, {"lr": [0.1]}, {"lr": torch.tensor([0.1, 0.2])}, {"betas": (0.9, 0.9, 0.9)},
    {"betas": "ab"}, {"betas": None}, {"betas": (math.nan, 0.9)}, {"eps": "x"}, {"eps": math.nan}, {"weight_decay": "x"}])
def test_settings_that_torch_itself_would_refuse_are_named(settings, read):
    with pytest.raises(sme.SMEError, match=r"lr must be a number|does not take the settings"):
        READ[read](group_with(**settings))


def test_what_a_class_does_not_know_is_nothing_to_its_steps():
    """Names of parameters, and what users keep in a group; what a group lacks is the optimizer's own."""
    plain = sme.from_torch(group_with(), t0=0.1)
    assert sme.from_torch(group_with(name="head", lr_mult=3.0), t0=0.1) == plain
    module = torch.nn.Linear(2, 1)
    named = torch.optim.Adam(module.named_parameters(), lr=0.1)
    assert sme.from_torch(named, t0=0.1) == plain
    assert sme.scale(named, 2).lr == pytest.approx(0.1 * math.sqrt(2))
    lean = group_with()
    del lean.param_groups[0]["betas"]
    assert sme.from_torch(lean, t0=0.1) == plain
    assert sme.from_torch(group_with("SGD", lr=10**9)).rate == 1.0


@pytest.mark.parametrize("betas", [(0.9,), [], (0.9, 1.5), "ab", 0.9])
def test_betas_that_torch_refuses_are_named(betas):
    with pytest.raises(SMEError, match=r"torch\.optim\.AdamW refuses its hyperparameters"):
        library("AdamW", torch.nn.Linear(2, 1).parameters(), {"betas": betas})
