"""Which state of the code made a study's numbers, part by part.

A part is raised, with a reason, in the commit that changes what it computes. A study is named by the numbers of the parts that
it uses, so that a change of one part leaves the names of all studies without it.
"""

from collections.abc import Iterable

BASE = 2
"""the number at which the parts were told apart"""
NUMERICS: dict[str, dict[int, str]] = {
    "core": {  # equations in closed form, schemes, random streams, estimates
        1: "the first: streams of numpy's generator (torch's on a GPU), one extrapolation from two levels",
        2: "counter-based streams, second-order control variates, two extrapolations from three levels",
    },
    "checkpoints": {  # errors at more times than one
        2: "as the whole was",
        3: "weights of the second-order control variates, of which those of the step behind a checkpoint were written over",
    },
    "minibatch": {  # draws and moments of real minibatches
        2: "as the whole was",
        3: "control variates of the equation's own; a second motion that is linear in its noise, or stays through a long substep",
        4: "control variates of each level of the equation",
        5: "most paths on the coarsest level alone",
    },
    "network": {2: "as the whole was"},  # losses of modules and their derivatives
    "written": {2: "as the whole was", 3: "layers whose forward derivatives torch has wrong (layer norm) are written out"},
    "distribution": {2: "as the whole was", 3: "moments, skewness and draws in units of the law's own quantiles"},
    "signs": {2: "as the whole was", 3: "covariance of signs at noise that is correlated by more than 0.925"},
    "derived": {2: "as the whole was"},  # equations that are expanded from the update rule
    "quadrature": {  # errors without random paths
        2: "the first: moments of polynomials on frames that follow the run",
        3: "bounds were too small where rungs were alike by chance; own coordinates where a motion leads a second moment below 0",
    },
    "transformed": {2: "the first"},  # laws of a clipped or otherwise transformed gradient
    "poisson": {2: "the first"},  # draws of examples one by one
    "epochs": {2: "steps were taken as independent", 3: "equations of reshuffled epochs of their own"},
    "shifted": {2: "the first"},  # equations of rules that take the raw gradient apart
    "sampled": {2: "sums over the noise of one step", 3: "states of many numbers are sampled"},  # the same, by fresh gradients
}
"""of each part its numbers, and why each was raised"""
SHARPER = frozenset({("checkpoints", 3), ("minibatch", 3), ("minibatch", 4), ("minibatch", 5)})
"""those that changed numbers within their errors alone: what is from before them is right, and is read"""


def current(part: str) -> int:
    """A part's number."""
    return max(NUMERICS[part])


def used(problem: object, law: object, *others: str) -> tuple[str, ...]:
    """The parts that a problem and a law come from (each says so by `numerics`), and others, in the table's order."""
    parts = {"core", *(part for each in (problem, law) for part in each.numerics), *others}  # type: ignore[attr-defined]
    return tuple(part for part in NUMERICS if part in parts)


def written(parts: Iterable[str]) -> int | dict[str, int]:
    """As names and files hold it: `2`, and beside it only the parts that stand above: `{"all": 2, "minibatch": 3}`."""
    above = {part: current(part) for part in parts if current(part) > BASE}
    return {"all": BASE, **above} if above else BASE


def right(numbers: int | dict[str, int], parts: Iterable[str]) -> bool:
    """Whether what these parts made, at the numbers that a file holds, can be read: they are `current`, or less sharp alone."""
    before = numbers if isinstance(numbers, dict) else {"all": numbers}
    return all((part, raised) in SHARPER for part in parts
               for raised in range(before.get(part, before["all"]) + 1, current(part) + 1))


def said(numerics: int | dict[str, int]) -> str:
    """`2`, or `2 (minibatch 3)`."""
    if not isinstance(numerics, dict):
        return str(numerics)
    above = ", ".join(f"{part} {number}" for part, number in numerics.items() if part != "all")
    return f"{numerics['all']} ({above})"
