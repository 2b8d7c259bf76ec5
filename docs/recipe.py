"""A training recipe as a rule: AdamW in two groups, warm-up and cosine, a clip at norm 1, an average of the weights.

    python scripts/trajectories.py problem=digits problem.hidden=[12] optimizer=own optimizer._target_=recipe.rule tau=1/32

Copy this file to the folder where you work, and edit it (docs/recipe.md).
"""

import warnings

import torch

import sme

STEPS, WARM, LR, BETAS = 64, 16, 1 / 32, (0.9, 0.97)


def trained(hidden: int = 12) -> tuple[torch.nn.Module, torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    """What a training script holds in its hands."""
    network = torch.nn.Sequential(torch.nn.Linear(64, hidden), torch.nn.Tanh(), torch.nn.Linear(hidden, 10))
    weights, biases = ([p for p in network.parameters() if p.ndim == n] for n in (2, 1))
    groups = [{"params": weights, "weight_decay": 0.1}, {"params": biases, "weight_decay": 0.0}]
    optimizer, own = torch.optim.AdamW(groups, lr=LR, betas=BETAS, eps=1e-3), torch.optim.lr_scheduler
    warm, fall = own.LinearLR(optimizer, 0.1, 1.0, WARM), own.CosineAnnealingLR(optimizer, STEPS - WARM, 0.05 * LR)
    return network, optimizer, own.SequentialLR(optimizer, [warm, fall], [WARM])


def rule(hidden: int = 12, clip: float = 1.0, memory: float = 0.9) -> sme.Optimizer:
    """The rule of this recipe from its second step on; its field `average` is the moving average of the weights."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's, of a scheduler that stands before its optimizer's steps
        network, optimizer, scheduler = trained(hidden)
        made = sme.from_torch(optimizer, t0=LR, scheduler=scheduler, clip=clip, parameters=network.parameters())
    return sme.Averaged(made, c=(1 - memory) / LR)


def follow(hidden: int = 12, examples: int = 256, batch_size: int = 32, steps: int = STEPS, paths: int = 32,
           results: str | None = None) -> sme.Trajectories:
    """The discrete run on true minibatches beside the equations of order 1 and 2."""
    problem = sme.Digits(hidden=[hidden], examples=examples, batch_size=batch_size)
    theta = problem.start["theta"]
    mean, variance = problem.gradient(theta[None])[0], problem.noise.variance(theta[None])[0]
    start = {"theta": theta, "average": theta, "m": (1 - BETAS[0]) * mean, "v": (1 - BETAS[1]) * (mean**2 + variance)}
    observables = {"loss of the weights": lambda state: problem.loss(state["theta"]),
                   "loss of the average": lambda state: problem.loss(state["average"])}
    return sme.trajectories(problem, rule(hidden), tau=LR, horizon=steps * LR, start=start, paths=paths, points=min(steps, 32),
                            observables=observables, histogram=["loss of the weights"], results=results)
