"""Update rules: torch.optim's steps to rounding, plain recursions, settings."""

import math
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf

import sme
from sme.equations.chain import Chain
from sme.optimizers.parts.wrapped import Wrapped
from sme.optimizers.regimes import regime
from sme.simulate.control_variates.controls import responses

STEPS, TAU = 50, 1 / 16
BOTH = pytest.mark.parametrize("scaling", ["ballistic", "batch_equivalent"])
START = torch.tensor([0.7, -0.4, 1.1], dtype=torch.float64)


def physical_gradients(scaling):
    """Gradients as torch sees them, and their noise as the scaled rule sees it."""
    generator = torch.Generator().manual_seed(3)
    noise = 0.5 * torch.randn(STEPS, 3, generator=generator, dtype=torch.float64)
    return noise, noise / TAU ** (regime(scaling).mean_power / 2)


def full(value):
    return torch.full((3,), value, dtype=torch.float64)


def mean(theta):
    return torch.tensor([1.0, 0.5, 0.25], dtype=torch.float64) * theta


def ours(optimizer, scaling, v, m=0.0):
    noise, _ = physical_gradients(scaling)
    state = {"theta": START, "m": full(m), "v": full(v)}
    state = {name: state[name] for name in optimizer.fields}
    for k in range(STEPS):
        gradient = regime(scaling).gradient(mean(state["theta"]), noise[k], TAU, optimizer.signed)
        state = optimizer.update(state, gradient, TAU, optimizer.t0 + k * TAU)
    return state["theta"]


def theirs(make, scaling, preset=None):
    _, noise = physical_gradients(scaling)
    theta = START.clone().requires_grad_()
    torch_optimizer = make([theta])
    if preset:
        torch_optimizer.state[theta] = preset
    for k in range(STEPS):
        theta.grad = mean(theta.detach()) + noise[k]
        torch_optimizer.step()
    return theta.detach()


def by_hand(rule, scaling, m=0.0, v=0.0):
    """`θ, m, v = rule(θ, m, v, g, k)` with the gradient `g` as torch sees it, from the physical `m` and `v`."""
    _, noise = physical_gradients(scaling)
    state = START, full(m), full(v)
    for k in range(STEPS):
        state = rule(*state, mean(state[0]) + noise[k], k)
    return state[0]


def same(one, other):
    torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-14)


@BOTH
def test_sgd_takes_torchs_steps(scaling):
    hyper = sme.SGD().physical(regime(scaling), TAU)
    # in the batch-equivalent regime the noise of SGD is ĝ's divided by √τ, the mean ∇f itself
    torch.testing.assert_close(ours(sme.SGD(), scaling, 1.0), theirs(lambda p: torch.optim.SGD(p, lr=hyper["lr"]), scaling),
                               rtol=1e-12, atol=1e-14)


@BOTH
def test_rmsprop_takes_torchs_steps(scaling):
    optimizer = sme.RMSProp(c=0.8, denominator="updated")
    hyper = optimizer.physical(regime(scaling), TAU)
    v = 0.9 / TAU ** regime(scaling).mean_power
    preset = {"step": torch.tensor(0.0), "square_avg": torch.full((3,), v, dtype=torch.float64)}
    reference = theirs(lambda p: torch.optim.RMSprop(p, lr=hyper["lr"], alpha=hyper["beta"], eps=hyper["eps"]), scaling, preset)
    torch.testing.assert_close(ours(optimizer, scaling, 0.9), reference, rtol=1e-12, atol=1e-14)


@BOTH
def test_adam_takes_torchs_steps(scaling):
    done = 8  # torch's step counter at t0
    optimizer = sme.Adam(c1=1.0, c2=0.5, denominator="updated", bias_correction=True, t0=done * TAU)
    hyper = optimizer.physical(regime(scaling), TAU)
    v = 0.9 / TAU ** regime(scaling).mean_power
    preset = {"step": torch.tensor(float(done)), "exp_avg": torch.zeros(3, dtype=torch.float64),
              "exp_avg_sq": torch.full((3,), v, dtype=torch.float64)}
    reference = theirs(lambda p: torch.optim.Adam(p, lr=hyper["lr"], betas=(hyper["beta1"], hyper["beta2"]), eps=hyper["eps"]),
                       scaling, preset)
    torch.testing.assert_close(ours(optimizer, scaling, 0.9), reference, rtol=1e-12, atol=1e-14)


@BOTH
def test_momentum_takes_torchs_steps(scaling):
    optimizer = sme.Momentum(c=0.8)
    hyper = optimizer.physical(regime(scaling), TAU)
    reference = theirs(lambda p: torch.optim.SGD(p, **hyper), scaling, {"momentum_buffer": full(0.3)})
    same(ours(optimizer, scaling, 1.0, m=0.3), reference)


def test_a_new_sgd_repeats_a_run_of_momentum_once_its_buffer_is_set():
    """As the header of the table says; without it the first step alone is longer."""
    optimizer, start, tau = sme.Momentum(c=0.6), torch.tensor([0.8, -0.3], dtype=torch.float64), 0.2
    hyper, ends = optimizer.physical(regime("ballistic"), tau), []
    for buffer in (None, torch.zeros(2, dtype=torch.float64)):
        theta = torch.nn.Parameter(start.clone())
        torchs = torch.optim.SGD([theta], **hyper)
        if buffer is not None:
            torchs.state[theta]["momentum_buffer"] = buffer
        for _ in range(5):
            theta.grad = torch.sin(theta.detach())
            torchs.step()
        ends.append(theta.detach())
    state = {"theta": start, "m": torch.zeros(2, dtype=torch.float64)}
    for k in range(5):
        state = optimizer.update(state, regime("ballistic").seen(torch.sin(state["theta"]), tau), tau, k * tau)
    torch.testing.assert_close(state["theta"], ends[1], rtol=1e-12, atol=0)
    assert (ends[0] - ends[1]).abs().min() > 0.05


@BOTH
def test_nesterov_takes_torchs_steps(scaling):
    optimizer = sme.Nesterov(c=0.8)
    hyper = optimizer.physical(regime(scaling), TAU)
    preset = {"momentum_buffer": full(0.3 / (0.8 * TAU))}
    same(ours(optimizer, scaling, 1.0, m=0.3), theirs(lambda p: torch.optim.SGD(p, nesterov=True, **hyper), scaling, preset))


@BOTH
def test_adagrad_takes_torchs_steps(scaling):
    optimizer = sme.AdaGrad(denominator="updated")
    hyper = optimizer.physical(regime(scaling), TAU)
    preset = {"step": torch.tensor(0.0), "sum": full(0.9 / TAU ** (1 + regime(scaling).mean_power))}
    same(ours(optimizer, scaling, 0.9), theirs(lambda p: torch.optim.Adagrad(p, **hyper), scaling, preset))


@BOTH
def test_adamw_takes_torchs_steps(scaling):
    done = 8  # torch's step counter at t0
    optimizer = sme.AdamW(denominator="updated", bias_correction=True, t0=done * TAU, decay=0.3)
    hyper = optimizer.physical(regime(scaling), TAU)
    betas = hyper.pop("beta1"), hyper.pop("beta2")
    preset = {"step": torch.tensor(float(done)), "exp_avg": full(0.2),
              "exp_avg_sq": full(0.9 / TAU ** regime(scaling).mean_power)}
    same(ours(optimizer, scaling, 0.9, m=0.2), theirs(lambda p: torch.optim.AdamW(p, betas=betas, **hyper), scaling, preset))


@BOTH
def test_rmspropw_is_torchs_rmsprop_on_decayed_parameters(scaling):
    optimizer = sme.RMSPropW(denominator="updated", decay=0.3)
    hyper = optimizer.physical(regime(scaling), TAU)

    class Decayed(torch.optim.RMSprop):
        def step(self):
            for p in self.param_groups[0]["params"]:
                p.data.mul_(1 - hyper["lr"] * hyper["weight_decay"])
            super().step()

    preset = {"step": torch.tensor(0.0), "square_avg": full(0.9 / TAU ** regime(scaling).mean_power)}
    reference = theirs(lambda p: Decayed(p, lr=hyper["lr"], alpha=hyper["beta"], eps=hyper["eps"]), scaling, preset)
    same(ours(optimizer, scaling, 0.9), reference)


@BOTH
def test_signs_of_gradient_and_momentum_are_stepped_along(scaling):
    lr = sme.SignSGD().physical(regime(scaling), TAU)["lr"]
    same(ours(sme.SignSGD(), scaling, 1.0), by_hand(lambda theta, m, v, g, k: (theta - lr * g.sign(), m, v), scaling))
    optimizer = sme.Signum(c=0.8)
    hyper = optimizer.physical(regime(scaling), TAU)

    def signum(theta, m, v, g, k):
        m = hyper["beta"] * m + (1 - hyper["beta"]) * g
        return theta - hyper["lr"] * m.sign(), m, v

    same(ours(optimizer, scaling, 1.0, m=0.05), by_hand(signum, scaling, m=0.05))


@BOTH
@pytest.mark.parametrize("mode", ["inside", "average"])
@pytest.mark.parametrize("denominator", ["previous", "updated"])
def test_rmsprop_has_eps_inside_or_in_the_average(scaling, mode, denominator):
    optimizer = sme.RMSProp(c=0.8, eps=0.3, denominator=denominator, eps_mode=mode)
    hyper = optimizer.physical(regime(scaling), TAU)
    under, averaged = (hyper["eps"], 0) if mode == "inside" else (0, hyper["eps"])

    def rule(theta, m, v, g, k):
        new = hyper["beta"] * v + (1 - hyper["beta"]) * (g * g + averaged)
        return theta - hyper["lr"] * g / ((new if denominator == "updated" else v) + under).sqrt(), m, new

    same(ours(optimizer, scaling, 0.9), by_hand(rule, scaling, v=0.9 / TAU ** regime(scaling).mean_power))


@BOTH
@pytest.mark.parametrize("mode", ["inside", "average"])
def test_adam_has_eps_inside_or_in_the_average(scaling, mode):
    done = 8
    optimizer = sme.Adam(eps=0.3, denominator="updated", bias_correction=True, t0=done * TAU, eps_mode=mode)
    hyper = optimizer.physical(regime(scaling), TAU)
    under, averaged = (hyper["eps"], 0) if mode == "inside" else (0, hyper["eps"])

    def rule(theta, m, v, g, k):
        m = hyper["beta1"] * m + (1 - hyper["beta1"]) * g
        v = hyper["beta2"] * v + (1 - hyper["beta2"]) * (g * g + averaged)
        gamma1, gamma2 = (1 - hyper[beta] ** (done + k + 1) for beta in ("beta1", "beta2"))
        return theta - hyper["lr"] * m / gamma1 / (v / gamma2 + under).sqrt(), m, v

    same(ours(optimizer, scaling, 0.9), by_hand(rule, scaling, v=0.9 / TAU ** regime(scaling).mean_power))


@BOTH
def test_adabayes_is_the_papers_filter_at_its_fixed_point(scaling):
    optimizer = sme.AdaBayes(c1=0.9, c2=0.6, prior=0.4, denominator="updated")
    hyper = optimizer.physical(regime(scaling), TAU)

    def rule(theta, m, v, g, k):
        m = hyper["beta1"] * m + (1 - hyper["beta1"]) * g
        v = hyper["beta2"] * v + (1 - hyper["beta2"]) * g * g
        precision = 1 / (2 * hyper["sigma2"])
        return theta - m / (precision + (precision**2 + v / hyper["lr"] ** 2).sqrt()), m, v

    same(ours(optimizer, scaling, 0.9), by_hand(rule, scaling, v=0.9 / TAU ** regime(scaling).mean_power))


@pytest.mark.parametrize("denominator", ["previous", "updated"])
def test_adabayes_lies_between_momentum_and_adam(denominator):
    tight, loose = (sme.AdaBayes(prior=prior, denominator=denominator) for prior in (1e6, 1e-10))
    adam = sme.Adam(eps=0.0, denominator=denominator)
    torch.testing.assert_close(ours(loose, "ballistic", 0.9), ours(adam, "ballistic", 0.9), rtol=1e-8, atol=1e-8)
    gradient = regime("ballistic").gradient(mean(START), full(0.1), TAU)
    state = {"theta": full(0.0), "m": full(0.2), "v": full(0.9)}
    step = tight.update(state, gradient, TAU, 0.0)["theta"]
    heavy = sme.Momentum(c=1.0).update(state, gradient, TAU, 0.0)["theta"]
    torch.testing.assert_close(2e6 * step, heavy, rtol=1e-10, atol=0)


@BOTH
def test_a_chain_of_signs_is_a_plain_loop(scaling):
    problem, scale = sme.Quadratic(dim=2), regime(scaling)
    chain = Chain(problem, sme.SignSGD(), scale, TAU)
    z = torch.randn(5, 7, problem.noise.motions, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    state = {"theta": torch.tensor([0.3, -0.2], dtype=torch.float64).expand(7, 2)}
    theta = state["theta"]
    for k in range(5):
        state, _ = chain.step(state, z[k], k)
        g = TAU ** (scale.mean_power / 2) * problem.gradient(theta) + problem.noise.sample(theta, z[k])
        theta = theta - TAU ** (scale.step_power / 2) * torch.where(g > 0, 1.0, -1.0)
    same(state["theta"], theta)
    assert (state["theta"].std(0) > 0.01).all()  # the signs were not all the same


def test_only_signed_optimizers_see_signs_and_they_respond_to_them():
    assert regime("ballistic").gradient(START, START, TAU).sign is None
    start, observables = {"theta": torch.ones(2, dtype=torch.float64)}, {"first": lambda state: state["theta"][:, 0]}
    chains = (Chain(sme.Quadratic(dim=2), optimizer, regime("ballistic"), TAU) for optimizer in (sme.SGD(), sme.SignSGD()))
    plain, signed = (responses(chain, start, (2,), observables) for chain in chains)
    assert plain.linear.abs().max() > 0
    assert signed.linear[1, 0, 0] == -TAU  # the last sign moves θ by τ
    assert 0 < -signed.linear[0, 0, 0] < TAU  # the first one's effect has decayed
    assert signed.quadratic.abs().max() == 0


def test_old_denominator_differs_from_torchs():
    new, old = (ours(sme.RMSProp(denominator=which), "ballistic", 0.9) for which in ("updated", "previous"))
    assert (new - old).abs().max() > 1e-3


def test_description_has_the_place_of_eps_only_where_it_was_moved():
    rmsprop = {"name": "rmsprop", "c": 0.5, "eps": 0.1, "denominator": "previous", "v_floor": 0.01}
    adam = {"name": "adam", "c1": 1.0, "c2": 0.5, "eps": 0.1, "denominator": "previous", "bias_correction": False,
            "t0": 0.0, "clock": (1, 1), "v_floor": 0.01}
    assert sme.RMSProp().describe() == rmsprop
    assert sme.Adam().describe() == adam
    assert sme.RMSProp(eps_mode="inside").describe() == {**rmsprop, "name": "rmsprop_inside", "eps_mode": "inside"}
    assert sme.AdamW(eps_mode="average").describe() == {
        **adam, "name": "adamw_average", "eps_mode": "average", "decay": 0.1}


def test_configurations_hold_the_defaults():
    found = set()
    for path in (Path(__file__).parents[2] / "conf" / "optimizer").glob("*.yaml"):
        given = OmegaConf.to_container(OmegaConf.load(path))
        if path.stem in ("own", "torch"):  # the user's, and what makes one of several
            continue
        variant = given.pop("defaults", [])
        for parent in variant:
            given = {**OmegaConf.to_container(OmegaConf.load(path.with_stem(parent))), **given}
        kind = getattr(sme, given.pop("_target_").removeprefix("sme."))
        assert variant or kind(**given) == kind()
        assert set(given) == set(vars(kind()))
        assert kind(**given).name == path.stem
        found.add(kind)
    around = sme.Groups | Wrapped
    assert found == {kind for kind in list(vars(sme).values()) if isinstance(kind, type) and issubclass(kind, sme.Optimizer)
                     and kind is not sme.Optimizer and not issubclass(kind, around)}


@pytest.mark.parametrize(("make", "words"), [
    (lambda: sme.Momentum(c=0), ["c", "> 0", "got 0", "1 − β = c τ"]),
    (lambda: sme.Nesterov(c=math.nan), ["c", "finite", "nan"]),
    (lambda: sme.Signum(c="slow"), ["c must be a number", "slow"]),
    (lambda: sme.Nesterov(c=32.0).check(TAU), ["c τ = 32", "not in (0, 1)", "τ < 0.03125"]),
    (lambda: sme.AdaBayes(c2=32.0).check(TAU), ["c2 τ = 32", "not in (0, 1)"]),
    (lambda: sme.AdaGrad(eps=-1), ["eps", "≥ 0", "-1"]),
    (lambda: sme.AdaGrad(denominator="old"), ["old", "previous, updated"]),
    (lambda: sme.AdaBayes(prior=0), ["prior must be finite and > 0, got 0"]),
    (lambda: sme.AdaBayes(c1=-1), ["c1", "> 0", "-1"]),
    (lambda: sme.AdaBayes(v_floor=-1), ["v_floor", "≥ 0", "-1"]),
    (lambda: sme.AdaBayes(denominator="old"), ["old", "previous, updated"]),
    (lambda: sme.AdamW(decay=-1), ["decay", "≥ 0", "-1"]),
    (lambda: sme.RMSPropW(decay=math.inf), ["decay", "finite", "inf"]),
    (lambda: sme.RMSPropW(c=0), ["c", "> 0"]),
    (lambda: sme.AdamW(t0=1.0), ["t0", "bias_correction"]),
    (lambda: sme.RMSProp(eps_mode="within"), ["eps_mode", "within", "outside, inside, average"]),
    (lambda: sme.Adam(eps_mode="insid"), ["did you mean 'inside'"]),
])
def test_optimizers_refuse(make, words):
    with pytest.raises(sme.SMEError) as caught:
        make()
    for word in words:
        assert word in str(caught.value)
