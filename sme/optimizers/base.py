"""What an optimizer is: named fields and one update rule."""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from sme.common.errors import SMEError, choose, reason
from sme.common.inputs import dense, number, short, size
from sme.optimizers.preconditioner import EPS_MODES
from sme.optimizers.regimes import Gradient, Regime

State = dict[str, Float[Tensor, "*paths d"]]

LONGEST_NAME = 100
DENOMINATORS = ("previous", "updated")
UNTOLD = (("eps_mode", "outside"), ("memory", 1.0))
"""settings that a description leaves out, so that studies from before they were there keep their names"""


class Optimizer(ABC):
    """An update rule in scaled variables, written once.

    The discrete run steps `update`, the control variates differentiate it, equations are derived from
    it, and the closed forms are tested against it. A subclass gives `fields` and `update`; it may give
    `defaults` (start values of fields that need not be named in `start`), `nonnegative` (fields
    that start, and stay, ≥ 0), `signed` (whether `update` reads `gradient.sign`), `memories` (names of its memory rates) and
    `physical`.
    """

    fields: ClassVar[tuple[str, ...]] = ("theta",)
    defaults: ClassVar[Mapping[str, float]] = {}
    nonnegative: ClassVar[tuple[str, ...]] = ()
    signed: ClassVar[bool] = False
    memories: ClassVar[tuple[str, ...]] = ()
    mixes: ClassVar[bool] = False
    """whether the step of one number depends on others"""
    opaque: ClassVar[bool] = False
    """whether its steps are a library's own, of all paths at once, and are neither differentiated nor traced"""
    v_floor: float = 0.0
    t0: float = 0.0
    memory: float = 1.0
    """`q` of `1 − β = c τ^q`"""

    @abstractmethod
    def update(self, state: State, gradient: Gradient, tau: float, t: float) -> State:
        """One step `x' = update(x, ĝ, τ, t)` of one path.

        Smooth in `√τ` at 0 (no division by `τ`) but for signs, no in-place operation, no branch
        on data.
        """

    def rates(self) -> Mapping[str, float]:
        """The memory rates `c`, each with `1 − β = c τ^q`, by name: those of `memories`."""
        return {name: getattr(self, name) for name in self.memories}

    def forgetting(self, c: float, tau: float) -> float:
        """`1 − β = c τ^q`, `q = memory`, for the rate `c`."""
        return tau * c if self.memory == 1 else c * tau**self.memory

    def pull(self, c: float, tau: float) -> float:
        """`(1 − β)/τ`: a momentum is `m + pull (gradient.step − τ m)`."""
        return c if self.memory == 1 else c * tau ** (self.memory - 1)

    def physical(self, regime: Regime, tau: float) -> dict[str, float]:
        """The hyperparameters with which `torch.optim` takes the very same steps."""
        return {}

    @property
    def name(self) -> str:
        """What tables and folders call it."""
        mode = getattr(self, "eps_mode", "outside")
        return type(self).__name__.lower() + ("" if mode == "outside" else f"_{mode}")

    def suits(self, regime: Regime) -> None:
        """Raise `SMEError` if the rule was made for the other regime; most are the same in both."""

    def check(self, tau: float) -> None:
        """Raise `SMEError` if a decay `1 − c τ^q` is not positive."""
        power = "" if self.memory == 1 else f"^{self.memory:g}"
        for name, c in self.rates().items():
            share = self.forgetting(c, tau)
            if share >= 1:
                raise SMEError(
                    f"{name} τ{power} = {c:g} · {tau:g}{power} = {share:g}, so β = 1 − {name} τ{power} is not in (0, 1): "
                    f"use τ < {c ** (-1 / self.memory):g} or a smaller {name}"
                )

    def describe(self) -> dict[str, object]:
        """What identifies this optimizer, in words: its name and fields, but for those that `UNTOLD` leaves out."""
        given = {name: value for name, value in vars(self).items() if (name, value) not in UNTOLD}
        return {"name": self.name, **given}


def sound(given: Any) -> Optimizer:
    """An optimizer whose class says what each must.

    Raises
    ------
    SMEError
        for anything else, and for fields, defaults, numbers or a name that are none.
    """
    if not isinstance(given, Optimizer):
        raise SMEError(f"optimizer must be an sme.Optimizer such as sme.Adam(), got {short(given)}")
    kind, fields = type(given).__name__, given.fields
    if not isinstance(fields, tuple | list) or len({each for each in fields if isinstance(each, str)}) != len(fields):
        raise SMEError(f"{kind}.fields must be a tuple of different names such as ('theta', 'm'), got {short(fields)}")
    if not isinstance(given.defaults, Mapping):
        raise SMEError(f"{kind}.defaults must map names of fields to numbers, got {short(given.defaults)}: give such as "
                       "{'m': 0.0}")
    for name, value in given.defaults.items():
        if not isinstance(value, bool):
            number(f"{kind}.defaults[{name!r}]", value)
    if not math.isfinite(number(f"{kind}.t0", given.t0)):
        raise SMEError(f"{kind}.t0 must be finite, got {short(given.t0)}")
    size(f"{kind}.memory", given.memory), size(f"{kind}.v_floor", given.v_floor)
    rates: Any = given.rates()
    if not isinstance(rates, Mapping):
        raise SMEError(f"{kind}.rates() must map names to numbers, got {short(rates)}: give such as {{'c': 0.5}}")
    for name, value in rates.items():
        number(f"{kind}.rates()[{name!r}]", value)
    try:
        called: Any = given.name
    except Exception as fault:
        raise SMEError(f"{kind}.name fails: {reason(fault)}. It is the text that names its folders") from fault
    if not isinstance(called, str) or not called or not called.isprintable() or "/" in called or len(called) > LONGEST_NAME:
        raise SMEError(f"{kind}.name names folders, got {short(called)}: give a text of 1 to {LONGEST_NAME} characters that can "
                       "be printed, without /")
    return given


def updated(optimizer: Optimizer, state: State, gradient: Gradient, tau: float, t: float) -> State:
    """One step `update` from copies: a rule that writes over what it is given changes nothing of the run."""
    return optimizer.update({name: _copy(field) for name, field in state.items()}, Gradient(*map(_copy, gradient)), tau, t)


def _copy(part: Any) -> Any:
    """Of a tensor, or of the first of a pair; no sign, or a series, is not written over."""
    if isinstance(part, tuple):
        return tuple(_copy(each) for each in part)
    return part.clone() if isinstance(part, Tensor) else part


def learning_rate(regime: Regime, tau: float) -> float:
    """`τ` ballistic, `√τ` batch-equivalent: the learning rate of RMSProp and Adam."""
    return tau ** (regime.step_power / 2)


def adaptive_scale(regime: Regime, tau: float) -> float:
    """What `ε` is divided by, and `v` by its square, to be physical: 1 ballistic, `√τ` batch-equivalent."""
    return tau ** (regime.mean_power / 2)


def physical_eps(eps: float, eps_mode: str, regime: Regime, tau: float) -> float:
    """`ε` over `adaptive_scale`, or over its square where `ε` is in units of `v`."""
    scale = adaptive_scale(regime, tau)
    return eps / scale if eps_mode == "outside" else eps / scale**2


def settle(optimizer: Optimizer, rates: tuple[str, ...] | None = None, positive: tuple[str, ...] = (),
           nonnegative: tuple[str, ...] = ("eps", "v_floor")) -> None:
    """Store the numbers of these names as floats, checked, and check the choices an optimizer offers; `rates` are its `memories`.

    Raises
    ------
    SMEError
        unless rates and `positive` are finite and > 0, `nonnegative` finite and ≥ 0, the choices known, and rates < 1
        where they are `1 − β` itself.
    """
    rates = optimizer.memories if rates is None else rates
    for name in (*nonnegative, *positive, *rates):
        value, least = number(name, getattr(optimizer, name)), "≥ 0" if name in nonnegative else "> 0"
        if not (0 <= value < math.inf and (value > 0 or name in nonnegative)):
            meaning = f" (1 − β = {name} τ)" if name in rates else ""
            raise SMEError(f"{name} must be finite and {least}, got {value:g}{meaning}")
        object.__setattr__(optimizer, name, value)
        if name in rates and optimizer.memory == 0 and value >= 1:
            raise SMEError(f"with memory = 0 the decay is β = 1 − {name} at every τ, so {name} must be < 1, got {value:g}")
    for name, allowed in (("denominator", DENOMINATORS), ("eps_mode", EPS_MODES)):
        if hasattr(optimizer, name):
            choose(name, getattr(optimizer, name), allowed)


def initial(optimizer: Optimizer, start: Mapping[str, Tensor], dim: int) -> State:
    """The start as one float64 tensor `(d,)` per field, defaults filled in.

    Raises
    ------
    SMEError
        for a missing or unknown field, a wrong shape, a value that is not finite, or `v < 0`.
    """
    if "theta" not in optimizer.fields:
        raise SMEError(f"{optimizer.name} has the fields {', '.join(map(str, optimizer.fields))}, and none of them is theta: "
                       "name the parameters theta, fields = ('theta', …)")
    if not isinstance(start, Mapping):
        raise SMEError(f"start must map field names to tensors, got {short(start)}: give {{'theta': tensor, …}}")
    for name in start:
        choose("field in start", name, optimizer.fields)
    state = {}
    for name in optimizer.fields:
        if name in start:
            try:
                given = dense(f"start['{name}']", torch.as_tensor(start[name]))
                if given.is_complex():
                    raise TypeError
                value = given.detach().to("cpu", torch.float64, copy=True)  # the caller may change theirs
            except SMEError:
                raise
            except (TypeError, ValueError, RuntimeError):
                raise SMEError(f"start['{name}'] must be a real tensor of shape ({dim},), got {short(start[name])}") from None
        elif name in optimizer.defaults:
            value = torch.full((dim,), float(optimizer.defaults[name]), dtype=torch.float64)
        else:
            raise SMEError(
                f"start lacks the field '{name}': {optimizer.name} needs "
                f"{', '.join(optimizer.fields)}; give start={{'{name}': tensor of shape ({dim},)}}"
            )
        if tuple(value.shape) != (dim,):
            raise SMEError(
                f"start['{name}'] has shape {tuple(value.shape)}, but the problem has dim = {dim}: "
                f"give a tensor of shape ({dim},)"
            )
        if not bool(torch.isfinite(value).all()):
            raise SMEError(f"start['{name}'] is not finite, {_entry(value, ~torch.isfinite(value))}: give a tensor of finite "
                           "numbers")
        if name in optimizer.nonnegative and bool((value < 0).any()):
            raise SMEError(
                f"start['{name}'] has a negative entry, {_entry(value, value < 0)}: "
                "a second moment starts at v ≥ 0, and at its default if it is left out"
            )
        state[name] = value
    return state


def _entry(value: Tensor, bad: Tensor) -> str:
    """The first bad entry of a field."""
    first = int(bad.nonzero()[0])
    return f"entry {first} is {float(value[first])}"
