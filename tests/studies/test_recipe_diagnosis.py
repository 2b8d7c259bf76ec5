"""The paragraph about a transformer's usual recipe, each number against torch's own loop."""

import copy
import math

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp
from torch.func import functional_call, hessian

import sme
from sme.studies.scaling.rounds import _trained

LR, BATCH, EXAMPLES, WARM, TOTAL = 3e-4, 4, 32, 10, 40


def recipe():
    """AdamW with warm-up and cosine, decay on matrices alone, and a clip."""
    net = sme.Text(width=4, heads=1, tokens=6, examples=EXAMPLES)
    module = net.model.module.requires_grad_(True)
    return module, net.inputs, net.targets


def rate(k):
    """The learning rate of step `k` over the base rate, between the steps too."""
    return 0.1 + 0.9 * k / WARM if k < WARM else 0.5 * (1 + math.cos(math.pi * (k - WARM) / (TOTAL - WARM)))


def optimizer_of(module, kappa=1, power=0.5):
    """At `κ` times the batch by a rule that multiplies the learning rate by `κ^power`."""
    decay, betas = 0.1 * kappa ** (1 - power), (1 - 0.1 * kappa, 1 - 0.05 * kappa)
    groups = [{"params": [p for p in module.parameters() if p.dim() > 1], "weight_decay": decay},
              {"params": [p for p in module.parameters() if p.dim() <= 1], "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=LR * kappa**power, betas=betas, eps=1e-8 / kappa ** (1 - power))
    lib = torch.optim.lr_scheduler
    if kappa > 1:
        return optimizer, lib.LambdaLR(optimizer, lambda k: rate(kappa * k))
    return optimizer, lib.SequentialLR(optimizer, [lib.LinearLR(optimizer, 0.1, 1.0, WARM),
                                                   lib.CosineAnnealingLR(optimizer, TOTAL - WARM)], [WARM])


def loss_of(module, x, y):
    return torch.nn.functional.cross_entropy(module(x).flatten(0, 1), y.flatten())


def trained(module, x, y, steps, clip, seed=None, kappa=1, power=0.5):
    """The losses at every step of torch's loop, on all data or on batches."""
    mine = copy.deepcopy(module)
    optimizer, scheduler = optimizer_of(mine, kappa, power)
    generator, seen = torch.Generator().manual_seed(seed or 0), []
    for _ in range(steps + 1):
        with torch.no_grad():
            seen.append(float(loss_of(mine, x, y)))
        chosen = slice(None) if seed is None else torch.randperm(len(x), generator=generator)[: kappa * BATCH]
        optimizer.zero_grad()
        loss_of(mine, x[chosen], y[chosen]).backward()
        torch.nn.utils.clip_grad_norm_(mine.parameters(), clip)
        optimizer.step()
        scheduler.step()
    return np.array(seen)


@pytest.mark.slow
def test_every_number_of_the_recipes_paragraph_is_true():
    module, x, y = recipe()
    optimizer, scheduler = optimizer_of(module)
    found = sme.diagnose(module, (x, y), "cross_entropy", optimizer, scheduler=scheduler, clip=1.0, batch_size=BATCH, steps=TOTAL,
                         compared=12)
    numbers = found.tables["numbers"].set_index("number")
    own = list(module.parameters())
    each = torch.stack([torch.cat([g.flatten() for g in torch.autograd.grad(loss_of(module, x[i:i + 1], y[i:i + 1]), own)])
                        for i in range(EXAMPLES)])
    g, factor = each.mean(0), 1 / BATCH - 1 / EXAMPLES
    sigma = each.var(0) * factor
    assert numbers.loc["noise scale tr Σ/|∇f|²", "value"] == pytest.approx(float(sigma.sum() / (g @ g)), rel=1e-9)
    clipped = np.mean([float(each[torch.randperm(EXAMPLES)[:BATCH]].mean(0).norm()) > 1 for _ in range(400)])
    assert numbers.loc["clip acts on", "value"] == pytest.approx(clipped, abs=0.2)
    names, shapes = zip(*[(name, p.shape) for name, p in module.named_parameters()], strict=True)

    def flat(theta):
        parts = dict(zip(names, (part.view(shape) for part, shape in zip(theta.split([s.numel() for s in shapes]), shapes,
                                                                         strict=True)), strict=True))
        return torch.nn.functional.cross_entropy(functional_call(module, parts, (x,)).flatten(0, 1), y.flatten())

    theta = torch.cat([p.detach().flatten() for p in module.parameters()])
    scale = (LR / ((g * g + sigma).sqrt() + 1e-8)).sqrt()
    whole = scale[:, None] * hessian(flat)(theta) * scale
    values = torch.linalg.eigvalsh(whole)
    largest = values[-1]
    assert float(found.tables["stability"]["step × curvature"].iloc[0]) == pytest.approx(float(largest), rel=1e-3)
    assert float(found.tables["stability"]["least"].iloc[0]) == pytest.approx(float(values[0]), rel=1e-3)
    assert numbers.loc["step, of the stability limit", "value"] == pytest.approx(max(float(largest), 0) / 38, rel=1e-3)
    still = trained(module, x, y, 12, 1.0)
    assert found.dynamics.discrete == pytest.approx(still[found.dynamics.steps], rel=1e-6)
    noisy = np.array([trained(module, x, y, 12, 1.0, seed)[-1] for seed in range(1, 25)])
    added = (noisy - still[-1]) / np.ptp(still)
    row = numbers.loc["noise adds, of the loss's way"]
    assert row["value"] == pytest.approx(added.mean(), abs=(row["high"] - row["low"]) + 2 * added.std() / 24**0.5)
    decays = torch.cat([torch.full((p.numel(),), 0.1 if p.dim() > 1 else 0.0) for p in own])

    def clipped(theta):
        gradient = torch.func.grad(flat)(theta)
        return gradient * min(1.0, 1 / float(gradient.norm()))

    def move(k, state):
        theta, m, v = (torch.from_numpy(each) for each in np.split(state, 3))
        gradient, one, two = clipped(theta), -math.expm1(-0.1 * k), -math.expm1(-0.05 * k)
        step = m / one / ((v.clamp(min=0) / two).sqrt() + 1e-8) + decays * theta
        return torch.cat((-LR * rate(k) * step, 0.1 * (gradient - m), 0.05 * (gradient**2 - v))).numpy()

    first = clipped(theta)
    start = torch.cat((theta - 0.1 * LR * (first / (first.abs() + 1e-8) + decays * theta), 0.1 * first, 0.05 * first**2))
    at = found.dynamics.steps
    solved = solve_ivp(move, (1, at[-1]), start.numpy(), t_eval=at[1:], rtol=1e-6, atol=1e-9).y[: len(theta)]
    ode = np.array([float(flat(torch.from_numpy(each))) for each in solved.T])
    away = np.abs(ode - still[at[1:]]).max() / np.ptp(still[at])
    assert numbers.loc["ODE, of the loss's way", "value"] == pytest.approx(away, rel=0.01)
    ones = np.log([trained(module, x, y, TOTAL, 1.0, seed) for seed in range(1, 25)])
    for rule, power in (("square_root", 0.5), ("linear", 1.0)):
        fours = np.log([trained(module, x, y, TOTAL // 4, 1.0, seed, 4, power) for seed in range(101, 125)])
        apart, seen = (fours.mean(0) - ones[:, ::4].mean(0))[1:], found.tables["collapse"].set_index(["rule", "part"])
        chance = ((fours.var(0, ddof=1) + ones[:, ::4].var(0, ddof=1)) / 24)[1:]
        row = seen.loc[rule, "whole"]
        assert row["distance"] == pytest.approx(math.sqrt(max(0, (apart**2 - chance).mean())),
                                                abs=4 * row["stderr"] + 3 * math.sqrt(chance.mean()))


@pytest.mark.slow
def test_the_rounds_of_a_scaling_rule_are_told_apart_beforehand():
    """At 16 times the batch noise outweighs the gradient of a trained network, not at its start."""
    net, ratios, grown = sme.Text(examples=64, batch_size=1), [], []
    for steps in (0, 300):
        theta = _trained(net, net.noise, net.start["theta"], steps)
        module = copy.deepcopy(net.model.module)
        torch.nn.utils.vector_to_parameters(theta, module.parameters())
        module.requires_grad_(True)
        adam = torch.optim.Adam(module.parameters(), lr=5e-4, betas=(0.99375, 0.996875))
        found = sme.diagnose(module, (net.inputs, net.targets), "cross_entropy", adam, batch_size=1, steps=2048, compared=1,
                             baseline=8)
        ratios.append(found.tables["noise"]["noise_scale"].iloc[0])
        limits = found.tables["scaling"].set_index(["rule", "limit"])["kappa"]
        grown.append(limits["square_root", "noise"])
    assert ratios[0] < 16 < ratios[1]
    assert grown == pytest.approx(ratios)
