"""An order check with what is not smooth taken into account."""

from dataclasses import replace

import torch

from sme.order_check import OrderCheck
from sme.smooth.obstacles import Obstacle, Path
from sme.visited import Visited


def paths_of(run: Visited) -> list[Path] | None:
    """The paths of a named run, as far as all of them are finite."""
    if not run.given:
        return None
    finite = int(torch.isfinite(run.paths).all(-1).all(0).long().cumprod(0).sum())
    return [(run.times[:finite], path[:finite]) for path in run.paths]


def capped(check: OrderCheck, found: list[Obstacle]) -> OrderCheck:
    """The check, with no higher order than the worst obstacle leaves."""
    if not found or check.proved == 0:
        return check
    worst = found[0]
    certain, possible = min(check.proved, worst.order), min(check.proved, *[each.most for each in found])
    if certain == possible == check.proved and not (check.proved == worst.order < 2):
        return check
    text = str(worst) + ("" if worst.order == worst.most or worst.kind == "undecided" else
                         f": order {worst.most:g} where the run crosses it, {worst.order:g} where it rests there")
    told = check.obstacle if check.proved < worst.order and check.obstacle else ""
    return replace(check, proved=certain, obstacle=f"{told}; {text}" if told else text,
                   decided=check.decided and certain == possible)
