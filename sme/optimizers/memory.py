"""The memory exponent of a rule, and the one that an equation is for."""

from sme.common.errors import SMEError
from sme.optimizers.base import Optimizer


def check_memory(optimizer: Optimizer, exponent: float = 1.0) -> None:
    """Raise `SMEError` unless `optimizer` has the memory exponent that an equation is for."""
    if optimizer.memory == exponent:
        return
    given = f"{optimizer.name} has memory = {optimizer.memory:g}, 1 − β = c τ^{optimizer.memory:g}"
    if exponent == 0:
        raise SMEError(f"this model is for fixed decays, memory = 0, and {given}: give memory=0 with c = 1 − β")
    raise SMEError(f"this equation is for memory = 1, 1 − β = c τ, and {given}: "
                   + ("fixed decays are modelled by 'averaged', and without noise to order 2 by 'backward'"
                      if optimizer.memory == 0 else "no equation in powers of τ is known for it"))
