"""Why an update rule cannot be expanded, in words: one cause, one message."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from sme.common.errors import SMEError
from sme.optimizers.base import Optimizer
from sme.optimizers.regimes import ONE_GRADIENT, Gradient, RawGradientError

TINY = 1e-13
"""a step size at which every rule that may be expanded stands nearly still"""
MOVED = 1e-6
"""change of a field in such a step, relative to its size, that is none of a smooth rule's"""
BEND = 1e-2
"""share of a step by which it differs from an affine one, seen without derivatives"""
RAW = frozenset({"abs", "clamp", "clip", "matmul", "max", "maximum", "min", "minimum", "norm", "rsqrt", "sign", "sqrt",
                 "vector_norm", "where"})
"""operations by which rules take the raw gradient apart"""
Move = Callable[[Tensor, Tensor, Tensor], Tensor]
"""a step of size `TINY` from a state, with a gradient and its square"""


class Watch(TorchFunctionMode):
    """The names of the torch functions that run, and whether one of them gave a tensor of less than double precision."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []
        self.narrow = ""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out, name = func(*args, **(kwargs or {})), func.__name__.strip("_")
        self.names.append(name)
        if isinstance(out, Tensor) and out.ndim and out.dtype in (torch.float32, torch.float16, torch.bfloat16):
            self.narrow = self.narrow or f"{str(out.dtype).removeprefix('torch.')} (in `{name}`)"
        return out

    @property
    def raw(self) -> str:
        """Those that take a gradient apart."""
        return ", ".join(dict.fromkeys(name for name in self.names if name in RAW))


def plain(optimizer: Optimizer, state: dict[str, Tensor], a: Tensor, q: Tensor, t: float) -> Watch:
    """Take one step as the discrete run does, and see that it returns a state.

    Raises
    ------
    SMEError
        if it stops, or returns something else than its fields as float64 tensors.
    """
    name, fields = optimizer.name, optimizer.fields
    try:
        with Watch() as watch:
            new: Any = optimizer.update(dict(state), Gradient(TINY * a, q), TINY, t)
    except RawGradientError:
        raise raw(optimizer, watch) from None
    except SMEError:
        raise
    except KeyError as fault:
        raise SMEError(f"the update rule of {name} reads state[{fault}], and its fields are {', '.join(fields)}: name it in "
                       "`fields`, with a start value in `defaults`") from fault
    except Exception as fault:
        more = f". {ONE_GRADIENT}" if isinstance(fault, NameError) else ""
        raise SMEError(f"the update rule of {name} stops: {type(fault).__name__}: {fault}{more}") from fault
    if not isinstance(new, dict):
        raise SMEError(f"the update rule of {name} returned a {type(new).__name__}, not a dictionary: return "
                       f"{{{', '.join(f'{field!r}: …' for field in fields)}}}")
    if missing := [field for field in fields if field not in new]:
        raise SMEError(f"the update rule of {name} does not return {_listed(missing)}, which `fields` names: return every field, "
                       "also one that stays as it is")
    if extra := [field for field in new if field not in fields]:
        raise SMEError(f"the update rule of {name} returns {_listed(extra)}, which `fields` does not name: leave out what is no "
                       "field, or name it there")
    for field in fields:
        value, right = new[field], state[field]
        if not isinstance(value, Tensor) or value.shape != right.shape or value.dtype != right.dtype:
            got = f"a {value.dtype} tensor of shape {tuple(value.shape)}" if isinstance(value, Tensor) else repr(value)
            raise SMEError(f"the update rule of {name} returns {got} for {field}: it must be a float64 tensor of the same "
                           f"shape as state['{field}'], here {tuple(right.shape)}")
    return watch


def precision(optimizer: Optimizer, watch: Watch) -> None:
    """Raise `SMEError` if the rule computes in less than double precision."""
    if watch.narrow:
        raise SMEError(f"the update rule of {optimizer.name} computes in {watch.narrow}, whose rounding hides its terms in τ: "
                       "leave out the cast, and make tensors of its own with dtype=torch.float64")


def moving(optimizer: Optimizer, move: Move, x: Tensor, a: Tensor, q: Tensor) -> str:
    """What in the rule moves however small `τ` is, in words; empty if nothing does."""
    names, dim = optimizer.fields, x.shape[1] // len(optimizer.fields)
    ends = [move(x, *inputs) for inputs in ((a, q), (2 * a, q), (a, q + 1))]
    step, doubled, squared = ([(end - x)[:, i * dim:(i + 1) * dim] for i in range(len(names))] for end in ends)
    found = []
    for i, name in enumerate(names):
        here = x[:, i * dim:(i + 1) * dim]
        if not bool((step[i].abs() > MOVED * (1 + here.abs())).any()):
            continue
        bump = torch.zeros_like(x)
        bump[:, i * dim:(i + 1) * dim] = 0.01 * (1 + here.abs())
        kept = 1 + ((move(x + bump, a, q) - x - bump)[:, i * dim:(i + 1) * dim] - step[i]) / bump[:, i * dim:(i + 1) * dim]
        sees = _differ(step[i], doubled[i]), _differ(step[i], squared[i])
        found.append(_kind(name, step[i], kept, sees))
    return min(found)[1] if found else ""


def _kind(name: str, step: Tensor, kept: Tensor, sees: tuple[bool, bool]) -> tuple[int, str]:
    """How a field that keeps a share `kept` of itself moves as `τ → 0`: the rank of the cause, and its name."""
    share, still = float(kept.mean()), step.abs() < MOVED
    if bool((kept.abs() < MOVED).all()):
        return 0, (f"{name} keeps nothing of itself, as a previous gradient does (Adan, Rprop). What changes within every step "
                   "is no variable of an equation in τ, and the previous gradient is not offered")
    if bool(((step >= -MOVED).all() or (step <= MOVED).all()) and still.any() and not still.all()):
        end = "maximum" if bool((step >= -MOVED).all()) else "minimum"
        if any(sees):
            return 1, f"{name} is a running {end} of the gradients themselves (Adamax), which has no limit as τ → 0"
        return 1, (f"{name} is a running {end} (AMSGrad). It follows the extremes of a noisy path, not its mean, and no "
                   "expansion in τ has it: order 1 at most")
    if bool(((kept - share).abs() < MOVED).all()) and 0 < share < 1 - MOVED:
        return 2, (f"{name} keeps the share {share:.6g} of itself in every step, whatever τ is, which is a fixed β. Write "
                   f"1 − β = c τ, as in {name} + tau * c * (gradient.square − {name}); among the built-in optimizers, RMSProp "
                   "and Adam with memory=0 have fixed decays (model='averaged')")
    if any(sees):
        seen = "gradient" if sees[0] else "gradient.square"
        return 3, (f"{name} moves by a fixed number times the {seen}, whatever τ is: a learning rate that is no τ, such as "
                   "0.1 * gradient.step / tau. gradient.step is the learning rate times the gradient already: write "
                   "theta − gradient.step")
    return 4, f"every change of {name} must carry a factor gradient.step or tau"


def _differ(a: Tensor, b: Tensor) -> bool:
    return bool(((a - b).abs() > MOVED * (1 + a.abs())).any())


def bent(increment: Callable[[Tensor, Tensor], Tensor], a: Tensor, a2: Tensor, q: Tensor, q2: Tensor) -> bool:
    """Whether an increment is far from affine in gradient and square, by differences alone."""
    middle, one, two = (increment(*at) for at in (((a + a2) / 2, (q + q2) / 2), (a, q), (a2, q2)))
    gap, size = (2 * middle - one - two).abs(), one.abs().amax() + two.abs().amax()
    return bool((gap > BEND * size).any())


def raw(optimizer: Optimizer, watch: Watch) -> RawGradientError:
    """That the gradient of one step enters by itself."""
    through = f" (through {watch.raw})" if watch.raw else ""
    return RawGradientError(
        f"the increment of {optimizer.name} is not affine in gradient.step and gradient.square at first order in τ: a "
        f"function of one step's own gradient enters{through}, as in a clip, a sign, LARS, Yogi or Shampoo. Such a rule is not "
        "expanded in averages. In the ballistic regime sme.weak_error and sme.check_order take its shifted equation; in the "
        "batch-equivalent one it has none of order 2 (T₃ and T₄ of one step stand in the way), and one of order 1 where its mean "
        "step has a limit")


def _listed(names: list[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)
