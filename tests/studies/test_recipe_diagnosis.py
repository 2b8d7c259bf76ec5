"""The paragraph about a transformer's usual recipe, each number against torch's own loop."""

import copy

import numpy as np
import pytest
import torch
from torch.func import functional_call, hessian

import sme
from sme.studies.scaling.rounds import _trained

LR, BATCH, EXAMPLES, WARM, TOTAL = 3e-4, 4, 32, 10, 40


def recipe():
    """AdamW with warm-up and cosine, decay on matrices alone, and a clip."""
    net = sme.Text(width=4, heads=1, tokens=6, examples=EXAMPLES)
    module = net.model.module.requires_grad_(True)
    return module, net.inputs, net.targets


def optimizer_of(module):
    groups = [{"params": [p for p in module.parameters() if p.dim() > 1], "weight_decay": 0.1},
              {"params": [p for p in module.parameters() if p.dim() <= 1], "weight_decay": 0.0}]
    optimizer, lib = torch.optim.AdamW(groups, lr=LR, betas=(0.9, 0.95)), torch.optim.lr_scheduler
    return optimizer, lib.SequentialLR(optimizer, [lib.LinearLR(optimizer, 0.1, 1.0, WARM),
                                                   lib.CosineAnnealingLR(optimizer, TOTAL - WARM)], [WARM])


def loss_of(module, x, y):
    return torch.nn.functional.cross_entropy(module(x).flatten(0, 1), y.flatten())


def trained(module, x, y, steps, clip, seed=None):
    """The losses at every step of torch's loop, on all data or on batches."""
    mine = copy.deepcopy(module)
    optimizer, scheduler = optimizer_of(mine)
    generator, seen = torch.Generator().manual_seed(seed or 0), []
    for _ in range(steps + 1):
        with torch.no_grad():
            seen.append(float(loss_of(mine, x, y)))
        chosen = slice(None) if seed is None else torch.randperm(len(x), generator=generator)[:BATCH]
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
    largest = values[values.abs().argmax()]
    assert float(found.tables["stability"]["step × curvature"].iloc[0]) == pytest.approx(float(largest), rel=0.05)
    assert numbers.loc["step, of the stability limit", "value"] == pytest.approx(max(float(largest), 0) / 38, rel=0.05)
    still = trained(module, x, y, 12, 1.0)
    assert found.dynamics.discrete == pytest.approx(still[found.dynamics.steps], rel=1e-6)
    noisy = np.array([trained(module, x, y, 12, 1.0, seed)[-1] for seed in range(1, 25)])
    added = (noisy - still[-1]) / np.ptp(still)
    row = numbers.loc["noise adds, of the loss's way"]
    assert row["value"] == pytest.approx(added.mean(), abs=(row["high"] - row["low"]) + 2 * added.std() / 24**0.5)


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
