"""Independent discrete runs without any equation."""

from collections.abc import Callable, Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from sme.common.process.progress import progress
from sme.common.random.increments import Increments
from sme.equations.chain import Chain
from sme.optimizers.base import State


def runs(chain: Chain, start: Mapping[str, Float[Tensor, " d"]], marks: Sequence[int],
         observe: Callable[[State], Float[Tensor, "paths observables"]], count: int, seed: int,
         label: str = "") -> Float[Tensor, "marks paths observables"]:
    """The observables of `count` independent runs (rounded up to an even number) after so many steps, `marks` ascending."""
    pairs = (count + 1) // 2
    device = next(iter(start.values())).device
    increments = Increments((seed, marks[-1], 0, 0), pairs, 1, chain.tau, device)
    state = {name: field.expand(2 * pairs, -1).contiguous() for name, field in start.items()}
    found, law = [], chain.problem.noise
    with torch.no_grad():
        for k in progress(range(marks[-1] + 1), desc=label):
            if k in marks:
                found.append(observe(state))
            if k < marks[-1]:
                state = chain.run(state, law.draw(None, chain.tau, increments.draws(k), 2 * pairs), k)
    return torch.stack(found)


def averages(chain: Chain, start: Mapping[str, Float[Tensor, "*paths d"]], burn: int, steps: int,
             observe: Callable[[State], Float[Tensor, "paths observables"]], count: int,
             seed: int) -> Float[Tensor, "paths observables"]:
    """Of `count` independent runs (an even number), each run's own average over `steps` steps after `burn`.

    The averages of different runs are independent, so their spread is the error, however long a run remembers.
    """
    pairs = count // 2
    device = next(iter(start.values())).device
    increments = Increments((seed, burn + steps, 0, 0), pairs, 1, chain.tau, device)
    state = {name: field.expand(2 * pairs, -1).contiguous() for name, field in start.items()}
    law, total = chain.problem.noise, torch.zeros(())
    with torch.no_grad():
        for k in range(burn + steps):
            state = chain.run(state, law.draw(None, chain.tau, increments.draws(k), 2 * pairs), k)
            if k >= burn:
                total = total + observe(state)
    return total / steps
