"""Expectations of a run from its moments: `E φ(X_n)` for polynomials `φ`, carried from step to step."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import pad

from sme.convergence.estimator.quadrature.frames import Frame, Points
from sme.convergence.estimator.quadrature.steps import Step
from sme.simulate.setup import Setup

Moments = Float[Tensor, " functions"]
"""`E φ(X)` of a frame's polynomials"""
Matrix = Float[Tensor, "functions functions"]
WORTH = 8
"""a matrix of `M` functions is squared where more than `M/WORTH` steps are left"""


def observed(setup: Setup, step: Step, frames: Sequence[Frame]) -> Float[Tensor, "marks observables"]:
    """The observables' expectations at the marks, of a run of this step.

    With the backward operator `(K u)(x) = E u(image of x)` on polynomials, `E φ(X_{n+1}) = E (K φ)(X_n)`: a row of moments goes
    from step to step by a matrix, and at a mark it meets the coefficients of the observables.
    """
    nodes, times = torch.cat([frame.nodes for frame in frames]), [setup.chain.time(k) for k in range(frames[-1].end)]
    start = setup.whole(1)
    size = start.shape[1]
    same = step.still(frames[0].nodes, times)
    matrices = operators(step, frames, nodes, times[0]) if same else []
    moments, found, before = frames[0].functions(pad(start, (0, nodes.shape[1] - size)))[0], [], frames[0]  # no past
    for i, frame in enumerate(frames):
        if frame is not before:
            moments = moments @ (before.project @ frame.functions(before.nodes))
        stops = [mark for mark in setup.marks if frame.begin < mark <= frame.end]
        done, powers = frame.begin, [matrices[i]] if same else []
        for stop in sorted({*stops, frame.end}):
            if same:
                moments = _advance(moments, powers, (stop - done) * step.count)
            else:
                moments = _through(moments, step, frame, times[done:stop])
            if stop in stops:
                found.append(moments @ (frame.project @ setup.observe(setup.fields(frame.nodes[:, :size]))))
            done = stop
        before = frame
    return torch.stack(found)


def operators(step: Step, frames: Sequence[Frame], nodes: Points, t: float) -> list[Matrix]:
    """`K` at one time in each frame: column by column the coefficients of `E φ(image)`."""
    totals, sizes = [torch.zeros(())] * len(frames), [len(frame.nodes) for frame in frames]
    for images, weights in step.outcomes(nodes, t):
        parts = zip(images.split(sizes, 1), weights.expand(images.shape[:2]).split(sizes, 1), strict=True)
        for i, (ends, shares) in enumerate(parts):
            values = frames[i].functions(ends.flatten(0, 1)).reshape(*ends.shape[:2], -1)
            totals[i] = totals[i] + torch.einsum("qp,qpf->pf", shares, values)
    return [frame.project @ total for frame, total in zip(frames, totals, strict=True)]


def _advance(moments: Moments, powers: list[Matrix], steps: int) -> Moments:
    """`m Kⁿ`; `powers` are `K`, `K²`, `K⁴`, …, as far as they are worth it."""
    while steps:
        level = 0
        while steps >> level > max(1, len(moments) // WORTH):
            level += 1
            if len(powers) == level:
                powers.append(powers[-1] @ powers[-1])
        moments, steps = moments @ powers[level], steps - 2**level
    return moments


def _through(moments: Moments, step: Step, frame: Frame, times: Sequence[float]) -> Moments:
    """Through steps that differ from time to time."""
    for t in times:
        for j in range(step.count):
            moments = moments @ operators(step, [frame], frame.nodes, t + j * step.dt)[0]
    return moments
