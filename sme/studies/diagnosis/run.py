"""`sme.diagnose`: what a training run's noise, step size and batch size are to each other, before it is run."""

import math
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn

from sme.common.errors import SMEError
from sme.common.identity.hashing import digest, fingerprint
from sme.common.identity.numerics import used
from sme.common.inputs import whole
from sme.common.process.turns import entry
from sme.convergence.spec import effort
from sme.equations.chain import Chain
from sme.equations.registry import parts_of
from sme.optimizers.base import Optimizer
from sme.optimizers.imported.forms import Place
from sme.optimizers.imported.from_torch import from_torch
from sme.optimizers.imported.resumed import resumed
from sme.optimizers.parts.clipping import NORM, Clipping, clipping
from sme.optimizers.regimes import BALLISTIC, BATCH_EQUIVALENT, Regime
from sme.optimizers.sgd import SGD
from sme.problems.networks.data import Data, pair
from sme.problems.networks.network import Network
from sme.problems.noise.diagonal import DiagonalNoise
from sme.studies.diagnosis import baseline as growing
from sme.studies.diagnosis import batches, dynamics, measures
from sme.studies.diagnosis.certificate import certified
from sme.studies.diagnosis.physical import Physical
from sme.studies.diagnosis.report import Diagnosis
from sme.studies.diagnosis.words import paragraph, regimes
from sme.studies.scaling.legs import Leg

EXAMPLES = 2048
"""of the data that are looked at"""
COMPARED = 32
"""steps over which runs are followed"""
ITERATIONS = 30
"""products with the Hessian for the curvature"""


@entry
def diagnose(module: nn.Module, data: Data, loss: str | Callable[..., Tensor], optimizer: torch.optim.Optimizer, *,
             scheduler: Any = None, clip: Any = None, batch_size: int, steps: int, compared: int = COMPARED,
             examples: int = EXAMPLES, baseline: int | None = None, certificate: bool = False,
             results: str | Path | None = None) -> Diagnosis:
    """Say what a training run is like: how noisy, how near to an ODE and to instability, how far the batch may grow.

    The module's present parameters and the optimizer's present averages are the start; none of them is changed. Minibatches are
    drawn without replacement.

    Parameters
    ----------
    module, data, loss
        as for `sme.Network`.
    optimizer, scheduler, clip
        of torch.optim, as for `sme.from_torch`: groups, schedules, decay and clip as they are.
    batch_size, steps
        of the run.
    compared
        over so many steps, of the noiseless run, its drifts and 8 noisy runs, the loss is followed.
    examples
        of more data than this a sample is looked at, and every number has its interval.
    baseline
        so many of the run's steps are followed to see how far the batch may grow; None: all of a small run, else its first ones.
    certificate
        whether to predict, as `sme.certify` does, the weak error in the loss over these steps too, of each equation: by the
        closure, or from 16 paths, of which no more are run than take two minutes of one core.
    results
        folder; tables, words and picture go to `diagnose/<name>` in it. None: in memory.

    Raises
    ------
    SMEError
        for a module, data, loss, optimizer, scheduler or clip that do not fit, with what to change.
    """
    batch, steps = whole("batch_size", batch_size, 1), whole("steps", steps, 2)
    followed, most = min(steps, whole("compared", compared, 1)), whole("examples", examples, 2)
    asked = None if baseline is None else whole("baseline", baseline, 1)
    root = effort.place(results, "diagnose")
    clipped = clipping(SGD(), clip, BALLISTIC)
    inputs, targets = pair("data", data)
    count = len(inputs)
    if batch > count:
        raise SMEError(f"batch_size = {batch} is more than the {count} examples of data: give at most {count}")
    if count > most:
        kept = torch.randperm(count, generator=torch.Generator().manual_seed(0))[:most].sort().values
        inputs, targets = inputs[kept], targets[kept]
    net = Network(module, (inputs, targets), loss, min(batch, len(inputs)), "without_replacement", name=type(module).__name__)
    if batch == count:  # one batch only: no noise
        net = Network(module, (inputs, targets), loss, noise=DiagonalNoise(torch.zeros(net.dim)), name=net.name)
    parameters = [p for p in module.parameters() if p.requires_grad]
    given = Physical.of(optimizer, parameters)
    theta = net.start["theta"]
    net.check(theta)
    long = growing.length(steps, batch, net.dim) if asked is None else min(steps, asked)
    with torch.no_grad():
        g, sigma = net.gradient(theta[None])[0], net.noise.variance(theta[None])[0]
        square = g * g + sigma
        noise = measures.noise(net, theta, batch, count, given.group)
        shape, projection = measures.shape(net, theta, batch)
        scale = given.step(square)
        curvature = measures.curvatures(net, theta, torch.ones_like(scale), ITERATIONS)[1]
        least, q = measures.curvatures(net, theta, scale, ITERATIONS)
        acts = _acts(net, theta, clipped, batch < count)
        tau = _step_size(optimizer)
        make = partial(_rule, optimizer, given, parameters, scheduler, tau, steps)
        rule = make(BALLISTIC)
        start = _beginning(optimizer, given, parameters, tau, g, BALLISTIC, rule)
        cut = clipped if isinstance(clipped, Clipping) else None
        seen = dynamics.follow(net, rule, tau, start, followed, cut if acts else None)

        def leg(regime: Regime, kappa: int) -> Leg:
            alone = make(regime)
            alone.check(kappa * tau)
            begun = _beginning(optimizer, given, parameters, tau, g, regime, alone)
            return Leg(Chain(net, alone, regime, kappa * tau), begun.fields, begun.time, cut, kappa)

        places = {"square_root": BATCH_EQUIVALENT, "linear": BALLISTIC} if given.adaptive else {"linear": BALLISTIC}
        grown = growing.collapse(net, leg(BALLISTIC, 1), {name: partial(leg, place) for name, place in places.items()},
                                 batch, long)
    ratio = float(noise["noise_scale"].iloc[0])
    tables = {
        "noise": noise, "shape": shape, "correlation": _correlation(count, batch),
        "regime": regimes(given, ratio, steps),
        "stability": pd.DataFrame([{"curvature": curvature, "step × curvature": q, "least": least, "limit": given.limit,
                                    "share": max(q, 0.0) / given.limit,
                                    "order 2 fails from": given.fails, "clip acts on": acts,
                                    "basis": f"Lanczos, {ITERATIONS} products: a lower bound, frozen averages"}]),
        "scaling": batches.growth(given, ratio, q, count / batch, grown), "collapse": grown,
        "dynamics": pd.DataFrame({"step": seen.steps, "noiseless": seen.discrete, "noisy": seen.noisy.mean(1), **{
            f"drift of order {order}": values for order, values in seen.ode.items()}})}
    if certificate:
        fields = Chain(net, rule, BALLISTIC, tau).mean_step(start.fields, start.time) if start.late else start.fields
        tables["certificate"] = certified(net, rule, tau, fields, followed, bool(acts))
    text, numbers = paragraph(given, tables, seen, batch, followed, steps, clip)
    told = [net, rule, start.fields, tau, batch, count, steps, followed, clip, certificate, long]
    own = digest({"of": fingerprint(told)}, used(net, net.noise, *parts_of(net, rule, BALLISTIC)))
    name = f"{type(optimizer).__name__.lower()}-{net.name.lower()}-{own}"
    return Diagnosis(name, text, {"numbers": numbers, **tables}, seen, projection.numpy(), root and root / name).saved()


def _acts(net: Network, theta: Tensor, clipped: Optimizer, noisy: bool) -> float:
    """On which share of the steps a clip acts at the start; that of single entries is taken to act."""
    if not isinstance(clipped, Clipping):
        return 0.0
    if clipped.kind != NORM:
        return 1.0
    limit = clipped.limit
    return dynamics.clips(net, theta, limit) if noisy else float(net.gradient(theta[None]).norm() > limit)


def _step_size(optimizer: torch.optim.Optimizer) -> float:
    """`τ`: the learning rate, or what an undamped momentum forgets in a step."""
    group = optimizer.param_groups[0]
    undamped = group.get("momentum") and group.get("dampening", 0.0) != group["momentum"]
    return float(1 - group["momentum"] if undamped else group.get("initial_lr", group["lr"]))


def _rule(optimizer: torch.optim.Optimizer, given: Physical, parameters: Sequence[Tensor], scheduler: Any, tau: float,
          steps: int, regime: Regime) -> Optimizer:
    """The rule of the package; an adaptive one starts no earlier than after the first step, as its equation has to."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the rate that a scheduler drives is read without it, and said in the text
        return from_torch(optimizer, regime=regime, tau=tau, t0=max(1, given.steps) * tau if given.adaptive else None,
                          scheduler=scheduler, parameters=parameters, steps=steps)


def _beginning(optimizer: torch.optim.Optimizer, given: Physical, parameters: Sequence[Tensor], tau: float, gradient: Tensor,
               regime: Regime, rule: Optimizer) -> dynamics.Beginning:
    """Where torch stands, in the variables of a regime."""
    fields = resumed(optimizer, rule, parameters, Place(regime, tau, None), gradient)
    return dynamics.Beginning(fields, given.steps * tau, given.adaptive and not given.steps)


def _correlation(count: int, batch: int) -> pd.DataFrame:
    """Of two steps of one epoch, and how much of the noise an epoch leaves."""
    epoch = count // batch
    lean = -1 / (epoch - 1) if epoch > 1 else math.nan
    return pd.DataFrame([{"steps of an epoch": epoch, "correlation of two of its steps": lean, "left after a whole epoch": 0.0,
                          "basis": "exact for reshuffled epochs, whose batches add up to all data"}])
