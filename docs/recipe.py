"""A training recipe as a rule: AdamW in two groups, warm-up and cosine, a clip at norm 1, an average of the weights.

    python scripts/trajectories.py problem=digits problem.hidden=[12] optimizer=own optimizer._target_=recipe.rule tau=1/32

Copy this file to the folder where you work. Its loop of torch is

    for k, (images, labels) in enumerate(batches):
        optimizer.zero_grad(); loss(network(images), labels).backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step(); scheduler.step(); average.update_parameters(network)
"""

import warnings

import torch

import sme

STEPS, WARM, LR = 64, 16, 1 / 32


def rule(hidden: int = 12, clip: float = 1.0, memory: float = 0.9) -> sme.Optimizer:
    """The rule of this optimizer, from its first step on; `average` is the moving average of the weights."""
    network = torch.nn.Sequential(torch.nn.Linear(64, hidden), torch.nn.Tanh(), torch.nn.Linear(hidden, 10))
    weights = [p for p in network.parameters() if p.ndim == 2]
    others = [p for p in network.parameters() if p.ndim == 1]
    optimizer = torch.optim.AdamW([{"params": weights, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}],
                                  lr=LR, betas=(0.9, 0.97), eps=1e-3)
    own = torch.optim.lr_scheduler
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's, of a scheduler that stands before its optimizer's steps
        scheduler = own.SequentialLR(optimizer, [own.LinearLR(optimizer, 0.1, 1.0, WARM),
                                                 own.CosineAnnealingLR(optimizer, STEPS - WARM, 0.05 * LR)], [WARM])
        trained = sme.from_torch(optimizer, t0=LR, scheduler=scheduler, clip=clip, parameters=network.parameters())
    return sme.Averaged(trained, c=(1 - memory) / LR)
