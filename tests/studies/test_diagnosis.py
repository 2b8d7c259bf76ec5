"""A training run in one paragraph: its numbers by hand, what it says of odd runs, and the watch beside it."""

import math
import time
import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import sme
from sme.common.errors import SMEError
from sme.equations.chain import Chain
from sme.optimizers.imported.forms import Place
from sme.optimizers.imported.resumed import resumed
from sme.optimizers.regimes import BALLISTIC, BATCH_EQUIVALENT
from sme.studies.diagnosis import baseline, batches, certificate, dynamics, measures
from sme.studies.diagnosis.physical import Physical
from sme.studies.diagnosis.words import grows
from sme.studies.scaling.doubling import Departure, crossing, leaves

N, D = 60, 3


def data(count=N):
    generator = torch.Generator().manual_seed(2)
    x = torch.randn(count, D, generator=generator, dtype=torch.float64)
    return x, (x @ torch.tensor([[1.0], [-0.5], [0.3]], dtype=torch.float64)) + torch.randn(count, 1, generator=generator)


def line():
    module = nn.Linear(D, 1, bias=False).double()
    with torch.no_grad():
        module.weight.copy_(torch.tensor([[0.4, 0.2, -0.1]]))
    return module


def gradients(module, x, y):
    """Of each example, of the squared error."""
    w = module.weight.detach()
    return 2 * (x @ w.T - y) * x


def diagnosed(optimizer=torch.optim.SGD, batch=5, module=None, given=None, **more):
    module = module or line()
    options = {"lr": 0.05, **more.pop("options", {})}
    return sme.diagnose(module, given or data(), "mse", optimizer(module.parameters(), **options), batch_size=batch, steps=40,
                        **{"compared": 3, **more})


@pytest.mark.parametrize("batch", [1, 5])
def test_the_noise_scale_is_that_of_the_examples(batch):
    g = gradients(line(), *data()).numpy()
    found = diagnosed(batch=batch)
    row = found.tables["noise"].iloc[0]
    wanted = np.var(g, axis=0, ddof=1).sum() * (1 / batch - 1 / N) / (g.mean(0) ** 2).sum()
    assert row["noise_scale"] == pytest.approx(wanted, rel=1e-9)
    assert row["low"] <= row["noise_scale"] <= row["high"]
    assert row["critical_batch"] == pytest.approx(batch * wanted, rel=1e-9)
    curvature = 2 * np.linalg.eigvalsh((data()[0].T @ data()[0]).numpy() / N).max()
    stability = found.tables["stability"].iloc[0]
    assert stability["step × curvature"] == pytest.approx(0.05 * curvature, rel=1e-3)
    assert stability["limit"] == 2
    assert set(found.tables) >= {"numbers", "noise", "shape", "correlation", "regime", "stability", "scaling", "dynamics"}
    assert (found.tables["numbers"]["how"].str.len() > 10).all()
    for words in ("noise of a step", "an ODE describes", "; noise ", "batch may grow", "of the stability limit"):
        assert words in found.text


def test_the_ode_and_the_noise_of_a_linear_regression_are_known():
    """`θ' − θ* = (I − τH)(θ − θ*)`, and the noise adds `½ tr(H C)`."""
    found = diagnosed(compared=10)
    x, y = data()
    h = 2 * (x.T @ x).numpy() / N
    best = np.linalg.lstsq(x.numpy(), y.numpy(), rcond=None)[0][:, 0]
    off, values = np.array([0.4, 0.2, -0.1]) - best, np.linalg.eigh(h)
    inner = values[1].T @ off
    loss = lambda factor: 0.5 * (values[0] * (factor * inner) ** 2).sum()  # noqa: E731
    chain = np.array([loss((1 - 0.05 * values[0]) ** k) for k in found.dynamics.steps])
    ode = np.array([loss(np.exp(-0.05 * values[0] * k)) for k in found.dynamics.steps])
    assert found.dynamics.drift(1) == pytest.approx(abs(ode - chain).max() / np.ptp(chain), rel=1e-3)
    assert found.dynamics.drift(2) < 0.1 * found.dynamics.drift(1)
    added, wide = found.dynamics.added
    assert wide > 0
    g = gradients(line(), x, y).numpy()
    spread, sigma = np.zeros((D, D)), np.cov(g.T) * (1 / 5 - 1 / N)
    for _ in range(10):
        spread = (np.eye(D) - 0.05 * h) @ spread @ (np.eye(D) - 0.05 * h) + 0.05**2 * sigma
    assert added == pytest.approx(0.5 * np.trace(h @ spread) / np.ptp(chain), abs=2 * wide)


OPTIMIZERS = {
    "momentum": (torch.optim.SGD, {"lr": 0.02, "momentum": 0.8}, 0.2),
    "nesterov": (torch.optim.SGD, {"lr": 0.02, "momentum": 0.8, "nesterov": True}, 0.2),
    "damped": (torch.optim.SGD, {"lr": 0.1, "momentum": 0.8, "dampening": 0.8}, 0.1),
    "adamw": (torch.optim.AdamW, {"lr": 0.02, "betas": (0.8, 0.9)}, 0.02),
    "rmsprop": (torch.optim.RMSprop, {"lr": 0.01, "alpha": 0.9}, 0.01),
    "heavy": (torch.optim.RMSprop, {"lr": 0.01, "alpha": 0.9, "momentum": 0.8, "centered": True}, 0.2),
    "adagrad": (torch.optim.Adagrad, {"lr": 0.1, "initial_accumulator_value": 0.3}, 0.1),
    "adadelta": (torch.optim.Adadelta, {"lr": 0.5}, 0.5),
}


@pytest.mark.parametrize("place", [BALLISTIC, BATCH_EQUIVALENT], ids=lambda place: place.name)
@pytest.mark.parametrize(("name", "taken"), [*((name, 3) for name in OPTIMIZERS), ("adamw", 0), ("damped", 0), ("rmsprop", 0)])
def test_a_run_goes_on_where_torch_stands(name, taken, place):
    kind, options, tau = OPTIMIZERS[name]
    module, (x, y) = line(), data()
    optimizer = kind(module.parameters(), **options)
    own = list(module.parameters())

    def ahead():
        optimizer.zero_grad()
        (module(x) - y).square().mean().backward()
        optimizer.step()

    for _ in range(taken):
        ahead()
    net = sme.Network(module, data(), "mse", noise=sme.DiagonalNoise(torch.zeros(D)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        rule = sme.from_torch(optimizer, regime=place, tau=tau, t0=max(1, taken) * tau)
    chain = Chain(net, rule, place, tau)
    state = resumed(optimizer, rule, own, Place(place, tau, None), net.gradient(net.start["theta"][None])[0])
    for k in range(4):
        state = chain.mean_step(state, (taken + k) * tau)
        ahead()
    torch.testing.assert_close(state["theta"], module.weight.detach().flatten(), rtol=1e-11, atol=0)


def test_how_fast_a_larger_batch_leaves_the_run_is_that_of_the_moments():
    """Mean and covariance of SGD on a linear regression are known at every batch size."""
    x, y = data(n := 3000)  # so many that two batches of an epoch hardly depend on each other
    found = diagnosed(batch=60, options={"lr": 0.06}, baseline=12, given=(x, y), examples=n).tables["collapse"].set_index("part")
    h = 2 * (x.T @ x).numpy() / n
    best = np.linalg.lstsq(x.numpy(), y.numpy(), rcond=None)[0][:, 0]
    inputs, least = x.numpy(), float((y - x @ torch.from_numpy(best)[:, None]).square().mean())

    def losses(kappa):
        mean, out = np.array([0.4, 0.2, -0.1]) - best, []
        second = np.outer(mean, mean)
        for _ in range(12 // kappa):
            out.append(least + 0.5 * np.trace(h @ second))
            rest = inputs @ best - y.numpy()[:, 0]
            each = 2 * inputs[:, :, None] * inputs[:, None, :]  # g_i = H_i e + 2 x_i r_i
            sigma = (np.einsum("nij,jk,nlk->il", each, second, each) + 4 * (inputs * rest[:, None] ** 2).T @ inputs) / n
            cross = np.einsum("nij,j,nk->ik", each, mean, 2 * inputs * rest[:, None]) / n
            sigma = (sigma + cross + cross.T - h @ second @ h) * n / (n - 1) * (1 / (60 * kappa) - 1 / n)
            step = np.eye(D) - 0.06 * kappa * h
            mean, second = step @ mean, step @ second @ step.T + (0.06 * kappa) ** 2 * sigma
        return np.array([*out, least + 0.5 * np.trace(h @ second)])

    wanted = float(np.sqrt((np.log(losses(4) / losses(1)[::4])[1:] ** 2).mean()))
    row = found.loc["whole"]
    assert row["beside"] == 4
    assert row["distance"] == pytest.approx(wanted, abs=4 * row["stderr"])
    assert row["stderr"] < 0.2 * wanted


def test_where_distances_leave_the_limit():
    shift = np.linspace(0.1, 0.3, 9)[:, None]
    draws = [Departure.of(shift + 0.2 * np.random.default_rng(i).standard_normal((9, 12))) for i in range(60)]
    distances, errors = np.array(draws).T
    assert distances.mean() == pytest.approx(math.sqrt((shift**2).mean()), rel=0.02)
    assert errors.mean() == pytest.approx(distances.std(), rel=0.25)
    assert leaves({2: Departure(0.02, 0.0), 4: Departure(0.05, 0.005)}) == pytest.approx((7, 1 + 0.3 / 0.0598, 1 + 0.3 / 0.0402))
    assert leaves({2: Departure(0.4, 0.0), 4: Departure(0.5, 0.0)})[0] == pytest.approx(1.25)
    assert leaves({2: Departure(0.0, 0.01)})[0] == math.inf
    assert leaves({2: Departure.of(np.full((4, 4), math.nan))})[0] == 1.5
    assert crossing([2, 4, 8], [0.04, 0.08, 0.2]) == pytest.approx(4 + 4 / 6)
    assert crossing([2, 4], [0.3, 0.4]) == pytest.approx(1 + 1 / 3)
    assert crossing([2, 4], [0.0, 0.09]) == math.inf
    assert crossing([2, 4], [0.05, math.nan]) == 3


@pytest.mark.slow
def test_a_sample_of_the_examples_has_an_interval():
    given = data(600)
    whole, part = diagnosed(given=given), diagnosed(given=given, examples=200)
    true, row = whole.tables["noise"]["noise_scale"].iloc[0], part.tables["noise"].iloc[0]
    assert row["low"] < true < row["high"]
    assert row["high"] / row["low"] < 4
    assert "200 of 600 examples" in row["basis"]


@pytest.fixture
def short(monkeypatch):
    """Drifts that are given up after few evaluations: of Adam's rule each takes long."""
    monkeypatch.setattr(dynamics, "EVALUATIONS", 5)


@pytest.mark.slow
def test_groups_averages_and_the_clip_are_taken_as_they_are(short):
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(D, 4), nn.Tanh(), nn.Linear(4, 1)).double()
    optimizer = torch.optim.AdamW([{"params": module[0].parameters(), "lr": 1e-2}, {"params": module[2].parameters()}], lr=1e-3,
                                  betas=(0.9, 0.95))
    x, y = data()
    for _ in range(3):
        optimizer.zero_grad()
        (module(x) - y).square().mean().backward()
        optimizer.step()
    before = [p.detach().clone() for p in module.parameters()]
    found = sme.diagnose(module, (x, y), "mse", optimizer, clip=1e3, batch_size=4, steps=50, compared=2)
    assert [f"group {i}" for i in range(2)] == found.tables["noise"]["of"].tolist()[1:]
    assert "acts on none" in found.text
    assert all(torch.equal(a, b) for a, b in zip(before, module.parameters(), strict=True))
    given = Physical.of(optimizer, list(module.parameters()))
    assert given.steps == 3
    step = given.step(torch.zeros(len(given.group)))
    state = optimizer.state[module[2].bias]
    assert float(step[-1]) == pytest.approx(1e-3 / (float((state["exp_avg_sq"] / (1 - 0.95**3)).sqrt()) + 1e-8), rel=1e-9)
    tight = sme.diagnose(module, (x, y), "mse", optimizer, clip=1e-3, batch_size=4, steps=50, compared=2)
    assert "The clip acts on 100 %" in tight.text
    assert "No ODE" in tight.text


class Shifted(nn.Module):
    """Scores with one number beside all of them, by which the loss does not change: its gradients are rounding."""

    def __init__(self, beside):
        super().__init__()
        torch.manual_seed(1)
        self.inner, self.beside = nn.Linear(D, 3, bias=False).double(), beside
        self.shift = nn.Parameter(torch.tensor(0.3, dtype=torch.float64)) if beside else 0.0

    def forward(self, x):
        return self.inner(x) + self.shift


@pytest.mark.slow
def test_a_gradient_that_is_rounding_leaves_the_ode():
    """Between a solver's steps `v ≈ 1e-34` falls below 0."""
    seen = []
    for beside in (False, True):
        module = Shifted(beside)
        optimizer = torch.optim.Adam(module.parameters(), lr=1e-3, betas=(0.9, 0.95))
        found = sme.diagnose(module, (data()[0], torch.arange(N) % 3), "cross_entropy", optimizer, batch_size=20, steps=40,
                             compared=16, baseline=1)
        seen.append(found.dynamics.drift(1))
    assert seen[1] == pytest.approx(seen[0], rel=1e-3)
    assert 0 < seen[0] < 0.05


@pytest.mark.slow
def test_the_certificate_of_a_fresh_adam_has_a_price_and_numbers(monkeypatch, short):
    """The ODE's row beside many runs and an ODE of their own."""
    from scipy.integrate import solve_ivp

    (x, y), lr, count, steps, batch = (each.squeeze(-1) for each in data()), 0.02, 4000, 8, 30
    found = diagnosed(torch.optim.Adam, batch, options={"lr": lr, "betas": (0.8, 0.9)}, compared=steps, baseline=1,
                      certificate=True)
    table = found.tables["certificate"].set_index(["model", "order"])
    row = table.loc["ode", 1]
    assert row["basis"].startswith("paired: 16 paths")
    start = torch.tensor([[0.4, 0.2, -0.1]], dtype=torch.float64)

    def each(w):
        return 2 * (w @ x.T - y)[..., None] * x

    def moved(w, m, v, k):
        return w - lr * m / (1 - 0.8**k) / ((v / (1 - 0.9**k)).sqrt() + 1e-8)

    def moments(w):
        g = each(w)
        return g.mean(-2), g.var(-2) * (1 / batch - 1 / N)

    mean, sigma = moments(start)
    m, v = 0.2 * mean, 0.1 * (mean**2 + sigma)
    w = moved(start, m, v, 1)
    first = torch.cat((w, m, v), 1)[0].numpy()
    w, m, v = (part.expand(count, -1) for part in (w, m, v))
    for k in range(2, steps + 1):
        chosen = torch.rand(count, N, generator=torch.Generator().manual_seed(k)).argsort(1)[:, :batch]
        g = each(w).gather(1, chosen[..., None].expand(-1, -1, D)).mean(1)
        m, v = m + 0.2 * (g - m), v + 0.1 * (g * g - v)
        w = moved(w, m, v, k)
    losses = (w @ x.T - y).square().mean(1)

    def move(k, state):
        w, m, v = np.split(state, 3)
        mean, sigma = (part[0].numpy() for part in moments(torch.from_numpy(w)[None]))
        one, two = -np.expm1(-0.2 * k), -np.expm1(-0.1 * k)
        return np.concatenate((-lr * m / one / (np.sqrt(v / two) + 1e-8), 0.2 * (mean - m), 0.1 * (mean**2 + sigma - v)))

    end = torch.from_numpy(solve_ivp(move, (1, steps), first, rtol=1e-9, atol=1e-12).y[:D, -1])
    wanted = float(losses.mean()) - float((x @ end - y).square().mean())
    assert row["predicted"] == pytest.approx(wanted, abs=row["high"] - row["predicted"] + 3 * float(losses.std()) / count**0.5)
    assert row["high"] - row["low"] < 0.1 * found.dynamics.way
    monkeypatch.setattr(certificate, "LONGEST_S", 0.0)
    dear = diagnosed(torch.optim.Adam, options={"lr": lr}, compared=2, baseline=1, certificate=True).tables["certificate"]
    assert dear["basis"].str.contains("left out: some .* s of one core, of 0 s").all()
    assert dear["predicted"].isna().all()
    cut = diagnosed(torch.optim.SGD, clip=1e-3, compared=2, baseline=1, certificate=True).tables["certificate"]
    assert cut["basis"].tolist() == ["left out: a clip acts at the start, and is no part of these equations"]


@pytest.mark.slow
def test_a_schedule_with_branches_is_taken(short):
    module, (x, y) = line(), data()
    optimizer = torch.optim.Adam(module.parameters(), lr=0.02)
    given = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda k: (1 + k) / 4 if k < 4 else 0.9 ** (k - 4))
    found = sme.diagnose(module, (x, y), "mse", optimizer, scheduler=given, clip=1e-3, batch_size=5, steps=12, compared=8,
                         baseline=1)
    losses = []
    for _ in range(9):
        optimizer.zero_grad()
        loss = (module(x) - y).square().mean()
        losses.append(float(loss.detach()))
        loss.backward()
        nn.utils.clip_grad_norm_(module.parameters(), 1e-3)
        optimizer.step()
        given.step()
    assert found.dynamics.discrete == pytest.approx(np.array(losses)[found.dynamics.steps], rel=1e-9)


def test_the_rule_that_lets_the_batch_grow_the_furthest_is_named():
    rows = pd.DataFrame([("square_root", 4.0, "memory"), ("linear", 4.0, "memory")], columns=["rule", "kappa", "limit"])
    kappas = {"square_root": 7.0, "linear": 30.0}
    seen = pd.DataFrame([(rule, "whole", kappa, kappa - 1, kappa + 1, 1.25, 168) for rule, kappa in kappas.items()],
                        columns=["rule", "part", "kappa", "low", "high", "kappa of 1 %", "steps"])
    assert grows(rows.set_index("rule"), seen, 1000) == (
        "The batch may grow about 4-fold under the linear rule before the momentum remembers less than three steps; the loss "
        "along its first 168 steps differs by 10 % from 30-fold on (29 to 31; 1.25-fold for 1 %) (predicted from this run alone, "
        "not measured).")
    alone = rows.assign(kappa=4.0).set_index("rule")
    rows.loc[0, ["kappa", "limit"]] = [7.0, "loss"]
    said = grows(rows.set_index("rule"), seen, 168)
    assert "7-fold (6 to 8; 1.25-fold for 1 %) under the square-root rule before the loss along the run differs by 10 %" in said
    assert "4-fold under the square-root rule before the momentum remembers less than three steps (predicted" in grows(
        alone, seen.assign(kappa=math.nan), 168)


@pytest.mark.parametrize(("steps", "batch", "dim", "followed", "runs"), [
    (1000, 16, 3120, 1000, 4), (3072, 1, 2035, 3072, 16), (100, 8, 100, 100, 16), (10**6, 1, 10, 4096, 16),
    (10**4, 256, 10**6, 64, 4)])
def test_a_long_run_is_followed_by_few_runs_before_it_is_cut_short(steps, batch, dim, followed, runs):
    long = baseline.length(steps, batch, dim)
    assert (long, baseline.number_of_runs(long, batch, dim)) == (followed, runs)


def test_one_batch_only_is_said():
    found = diagnosed(batch=N)
    assert found.tables["noise"]["noise_scale"].iloc[0] == 0
    assert "One batch holds all the data" in found.text
    assert float(np.ptp(found.dynamics.noisy[-1])) < 1e-12


class Nothing(nn.Module):
    def forward(self, x):
        return x[:, :1]


@pytest.mark.parametrize(("change", "said"), [
    ({"batch": N + 1}, "more than the 60 examples"), ({"batch": 0}, "batch_size"),
    ({"given": (data()[0], data()[1] * math.nan)}, "not finite"),
])
def test_bad_input_is_one_sentence(change, said):
    with pytest.raises(SMEError, match=said):
        diagnosed(**change)


def test_other_bad_input_is_one_sentence_too():
    module, other = line(), nn.Linear(1, 1)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    with pytest.raises(SMEError, match="no parameters that require a gradient"):
        sme.diagnose(Nothing(), data(), "mse", optimizer, batch_size=4, steps=10)
    with pytest.raises(SMEError, match="scheduler"):
        sme.diagnose(module, data(), "mse", optimizer, scheduler=object(), batch_size=4, steps=10)
    with pytest.raises(SMEError, match="does not move all parameters"):
        sme.diagnose(module, data(), "mse", torch.optim.SGD(other.parameters(), lr=0.1), batch_size=4, steps=10)
    with pytest.raises(SMEError, match=r"one of torch\.optim"):
        sme.diagnose(module, data(), "mse", "adam", batch_size=4, steps=10)


def test_the_limits_of_a_scaling_rule():
    module = line()
    given = Physical.of(torch.optim.Adam(module.parameters(), lr=1e-3), list(module.parameters()))
    table = batches.growth(given, ratio=30.0, curvature=0.5, count=12.0).set_index(["rule", "limit"])
    assert table.loc[("square_root", "memory"), "kappa"] == pytest.approx(4)
    assert table.loc[("square_root", "noise"), "kappa"] == 30
    assert table.loc[("square_root", "step"), "kappa"] == pytest.approx((given.fails / 0.5) ** 2)
    assert bool(table.loc[("square_root", "memory"), "binding"])
    assert table.loc[("linear", "noise"), "kappa"] == 1
    assert measures.factor(5, 50) == pytest.approx((1 / 5 - 1 / 50) * 50 / 49)


def loop(optimizer, module, batch=10, epochs=40, seed=1, **options):
    """An ordinary training loop, watched; the time that it took and the watch."""
    x, y = data()
    generator, begun = torch.Generator().manual_seed(seed), time.perf_counter()
    with sme.watch(optimizer, **options) as seen:
        for _ in range(epochs):
            for chosen in torch.randperm(N, generator=generator).split(batch):
                optimizer.zero_grad()
                (module(x[chosen]) - y[chosen]).square().mean().backward()
                optimizer.step()
    return seen, time.perf_counter() - begun


def test_the_watch_agrees_with_the_diagnosis_at_the_same_weights(tmp_path):
    module = line()
    still = torch.optim.SGD(module.parameters(), lr=0.0)
    seen, _ = loop(still, module, epochs=150, every=3, epoch=6, window=300, csv=tmp_path / "noise.csv")
    last = seen.table.iloc[-1]
    wanted = diagnosed(batch=10).tables["noise"]["noise_scale"].iloc[0]
    assert last["low"] < wanted < last["high"]
    assert last["high"] / last["low"] < 2.2
    assert (tmp_path / "noise.csv").read_text().startswith("step,lr,noise_scale,low,high")
    assert "pairs of gradients" in str(seen)


def test_the_watch_tells_a_writer_and_leaves_the_steps_as_they_are():
    told, ends = [], []
    writer = type("Writer", (), {"add_scalar": lambda self, *given: told.append(given)})()
    for options in ({}, {"writer": writer, "every": 2}):
        module = line()
        optimizer = torch.optim.SGD(module.parameters(), lr=0.02)
        loop(optimizer, module, epochs=2, **options)
        ends.append(module.weight.detach().clone())
    assert torch.equal(*ends)
    assert told[0][0] == "sme/noise_scale"
    assert told[0][2] == 2


def test_the_watch_of_one_batch_or_of_nan():
    module = line()
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    seen, _ = loop(optimizer, module, batch=N, epochs=1)
    assert "nothing is known yet: one step was watched" in str(seen)
    with sme.watch(optimizer, every=2) as seen:
        module.weight.grad = torch.full_like(module.weight, math.nan)
        optimizer.step()
        with pytest.warns(UserWarning, match="not finite"):
            optimizer.step()
    assert seen.table.empty
    for wrong, said in (({"every": 1}, "every"), ({"writer": 3}, "add_scalar"), ({"window": 2}, "window"), ({"epoch": 1}, "ep")):
        with pytest.raises(SMEError, match=said):
            sme.watch(optimizer, **wrong)
    with pytest.raises(SMEError, match=r"torch\.optim"):
        sme.watch(module)


def test_watching_costs_little():
    """Of a network of a usual size: its hooks' own time, which a busy machine moves as it moves the rest."""
    module = nn.Sequential(nn.Linear(64, 256), nn.Tanh(), nn.Linear(256, 256), nn.Tanh(), nn.Linear(256, 10))
    optimizer = torch.optim.AdamW(module.parameters(), lr=1e-3)
    x, y = torch.randn(64, 64), torch.randint(10, (64,))
    with sme.watch(optimizer) as seen:
        for _ in range(200):
            optimizer.zero_grad()
            nn.functional.cross_entropy(module(x), y).backward()
            optimizer.step()
        assert seen.cost < 0.05
    assert len(seen.table) == 20


@pytest.mark.slow
def test_the_command_takes_a_preset_and_dotted_paths(tmp_path, monkeypatch, short):
    from omegaconf import OmegaConf

    from sme.cli import command, physical_config

    monkeypatch.chdir(tmp_path)
    (tmp_path / "watched.py").write_text("import torch\nfrom torch import nn\n\ndef net():\n    return nn.Linear(2, 3)\n\n"
                                         "def data():\n    return torch.randn(20, 2), torch.arange(20) % 3\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    values = dict(OmegaConf.load(command.CONF / "diagnose.yaml"))
    values = {name: value for name, value in values.items() if name not in ("defaults", "_target_")}
    given = {**values, "problem": {}, "start": {}, "batch": 4, "steps": 20, "compared": 2, "results": str(tmp_path)}
    found = physical_config.diagnosed(OmegaConf.create({**given, "module": "watched.net", "data": "watched.data"}))
    assert (found.folder / "noise.csv").exists()
    preset = {"_target_": "sme.Digits", "hidden": [2], "examples": 16}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert "of the stability limit" in physical_config.diagnosed(OmegaConf.create({**given, "problem": preset})).text
    with pytest.raises(SMEError, match="go together"):
        physical_config.diagnosed(OmegaConf.create({**given, "module": "watched.net"}))


def test_the_regime_report_of_the_same_run_agrees():
    module = line()
    found = diagnosed(torch.optim.RMSprop, module=module, options={"alpha": 0.9}, compared=1)
    network = sme.Network(module, data(), "mse", batch_size=5, sampling="without_replacement")
    report = sme.regime_report(network, torch.optim.RMSprop(module.parameters(), lr=0.05, alpha=0.9), network.start["theta"],
                               steps=40, compared=1)
    row = report.noise.iloc[0]
    assert found.tables["noise"]["noise_scale"].iloc[0] == pytest.approx(row["tr Σ"] / row["|∇f|²"], rel=1e-9)
    assert row["limit"] in found.text
    told = found.tables["regime"].set_index("of")
    assert list(told["limit"]) == [row["limit"], report.memory["limit"].iloc[0]]
    assert list(told["exponent"]) == pytest.approx([row["exponent"], report.memory["exponent"].iloc[0]])


def test_another_run_has_another_folder(tmp_path):
    def folder(**more):
        return diagnosed(compared=1, results=tmp_path, **more).folder

    other = line()
    with torch.no_grad():
        other.weight.mul_(2)
    found = [folder(), folder(batch=4), folder(module=other), folder(given=data(50)), folder(options={"lr": 0.04})]
    assert len(set(found)) == 5
    assert folder() == found[0]


def watched(dtype, scale, noise, count=1000):
    parameter = nn.Parameter(torch.zeros(count, dtype=dtype))
    optimizer, generator = torch.optim.SGD([parameter], lr=1e-6), torch.Generator().manual_seed(3)
    with sme.watch(optimizer, every=2) as watch:
        for _ in range(20):
            parameter.grad = (scale + noise * torch.randn(count, generator=generator, dtype=torch.float64)).to(dtype)
            optimizer.step()
    return watch.table.iloc[-1]


@pytest.mark.parametrize(("dtype", "scale", "noise"), [(torch.float16, 30.0, 3.0), (torch.bfloat16, 1.0, 0.1),
                                                       (torch.float16, 1e-3, 1e-4)])
def test_half_precision_is_watched_in_single(dtype, scale, noise):
    """Inner products overflow beyond 65504, and with three digits their differences are rounding."""
    row, right = watched(dtype, scale, noise), watched(torch.float64, scale, noise)
    assert row["pairs"] == right["pairs"] == 10
    for name in ("noise_trace", "gradient_square", "gradient"):
        assert row[name] == pytest.approx(right[name], rel=0.02)


def test_sparse_and_complex_gradients_are_watched():
    table = nn.Embedding(6, 2, sparse=True)
    optimizer = torch.optim.SGD(table.parameters(), lr=0.0)
    with sme.watch(optimizer, every=2) as watch:
        for k in range(2):
            optimizer.zero_grad()
            table(torch.tensor([k])).sum().backward()
            optimizer.step()
    assert watch.table[["noise_trace", "gradient_square"]].iloc[0].tolist() == [2.0, 0.0]  # (1, 1) in one row, then in another
    wave = nn.Parameter(torch.zeros(1, dtype=torch.complex64))
    optimizer = torch.optim.SGD([wave], lr=0.0)
    with sme.watch(optimizer, every=2) as watch:
        for value in (3.0 + 1.0j, 3.0 - 1.0j):
            wave.grad = torch.tensor([value], dtype=torch.complex64)
            optimizer.step()
    assert watch.table[["noise_trace", "gradient_square"]].iloc[0].tolist() == [2.0, 8.0]


@pytest.mark.parametrize("csv", ["/proc/x/y.csv", 3, ["a"], "a\0b", "."])
def test_a_file_that_cannot_be_is_named_before_the_loop(csv):
    with pytest.raises(SMEError, match="csv must be a file that can be written to"):
        sme.watch(torch.optim.SGD(line().parameters(), lr=0.1), csv=csv)


def test_the_loops_own_fault_is_the_one_that_is_seen(tmp_path):
    def loop():
        with sme.watch(torch.optim.SGD(line().parameters(), lr=0.1), csv=tmp_path / "a.csv"):
            (tmp_path / "a.csv").mkdir()
            raise ZeroDivisionError

    with pytest.warns(UserWarning, match="cannot write"), pytest.raises(ZeroDivisionError):
        loop()


@pytest.mark.parametrize("clip", [math.nan, 0, -1.0, "abc", ("norm",), (1.0, "norm"), ("norm", (1.0,)), {"norm": 1.0}])
def test_a_clip_that_is_none_is_refused(clip):
    with pytest.raises(SMEError, match="clip"):
        diagnosed(clip=clip, compared=1)


def test_weights_that_are_not_finite_are_named():
    module = line()
    with torch.no_grad():
        module.weight[0, 1] = math.nan
    with pytest.raises(SMEError, match="the loss is not finite at the start"):
        diagnosed(module=module)


def test_it_is_drawn_to_a_file_alone():
    found = diagnosed(compared=1)
    for path in (None, 3, "a\0.png"):
        with pytest.raises(SMEError, match="path must name the file to draw to"):
            found.plot(path)
