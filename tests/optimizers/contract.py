"""What every optimizer must keep: checked for each that is exported, with its defaults and with what it offers beside them."""

import copy
import dataclasses
import json
import math
import pickle

import pytest
import torch

import sme
from sme.common.identity import recipe
from sme.common.identity.hashing import fingerprint
from sme.optimizers.base import DENOMINATORS, initial, sound, updated
from sme.optimizers.parts.wrapped import Wrapped
from sme.optimizers.preconditioner import EPS_MODES
from sme.optimizers.regimes import BALLISTIC, REGIMES

OFFERED = {"denominator": DENOMINATORS, "eps_mode": EPS_MODES, "regime": tuple(REGIMES)}
"""settings with few values; every other one is a number or a switch"""
MIXING = (sme.Optimizer, sme.Muon, sme.Lamb, sme.Groups)
FURTHER = {"t0": {"bias_correction": True}, "bias_correction": {"t0": 2.0}, "clock": {"bias_correction": True, "t0": 2.0}}
"""what a setting needs beside it"""
CHANGED = {"t0": 0.5, "clock": (0, 1), "memory": 0.5, "beta": 0.8}
THETA = torch.tensor([0.7, -0.4, 1.1], dtype=torch.float64)
SCALED = torch.tensor([0.9, -1.3, 0.2], dtype=torch.float64)
"""a noisy gradient"""


def kinds():
    """The exported optimizers that move each number by itself, without what goes round another rule."""
    return [each for each in (getattr(sme, name) for name in sme.__all__)
            if isinstance(each, type) and issubclass(each, sme.Optimizer) and each not in MIXING
            and not issubclass(each, Wrapped)]


def settings(kind):
    """Each setting of a class with another value than its default, and what that needs."""
    for field in dataclasses.fields(kind):
        default = getattr(kind(), field.name)
        if field.name in OFFERED:
            values = [each for each in OFFERED[field.name] if each != default]
        elif isinstance(default, bool):
            values = [not default]
        else:
            values = [CHANGED[field.name] if field.name in CHANGED else default + 0.125]
        for value in values:
            further = FURTHER.get(field.name, {}) if hasattr(kind(), "bias_correction") else {}
            yield {**further, field.name: value}


MADE = {kind.__name__: kind() for kind in kinds()} | {
    f"{kind.__name__} {name}={value}": kind(**given) for kind in kinds() for given in settings(kind)
    for name, value in [list(given.items())[-1]] if name in (*OFFERED, "bias_correction", "memory", "clock")}


@pytest.fixture(params=MADE, scope="module")
def optimizer(request):
    return MADE[request.param]


def state(optimizer):
    """One that is no start: every field alive."""
    return {name: THETA if name == "theta" else 0.3 + 0.1 * (k + THETA.abs()) for k, name in enumerate(optimizer.fields)}


def stepped(optimizer, tau, scaled=SCALED, regime=BALLISTIC):
    return updated(optimizer, state(optimizer), regime.seen(scaled, tau, optimizer.signed), tau, optimizer.t0 + 2.0)


class Contract:
    """Checks of one update rule."""

    def test_its_fields_and_defaults_are_sound(self, optimizer):
        assert sound(optimizer) is optimizer
        assert optimizer.fields[0] == "theta"
        assert set(optimizer.defaults) == set(optimizer.fields) - {"theta"}
        assert set(optimizer.nonnegative) <= set(optimizer.fields)
        start = initial(optimizer, {"theta": THETA}, 3)
        assert {name: float(field[0]) for name, field in start.items() if name != "theta"} == dict(optimizer.defaults)

    def test_it_stands_still_at_tau_zero_unless_its_decay_is_fixed(self, optimizer):
        if optimizer.memory < 1:
            return
        for regime in REGIMES.values():
            for name, field in stepped(optimizer, 0.0, regime=regime).items():
                torch.testing.assert_close(field, state(optimizer)[name], rtol=0, atol=1e-15)

    def test_its_step_over_tau_has_a_limit(self, optimizer):
        if optimizer.memory < 1:
            return
        rates = [{name: (field - state(optimizer)[name]) / tau for name, field in stepped(optimizer, tau).items()}
                 for tau in (1e-5, 2e-5)]
        for name, rate in rates[0].items():
            torch.testing.assert_close(rate, rates[1][name], rtol=1e-3, atol=1e-3)
        assert all(float(rate.abs().max()) > 1e-3 for rate in rates[0].values()), "a field that nothing moves"

    def test_it_gives_all_fields_and_writes_over_nothing(self, optimizer):
        given, gradient = state(optimizer), BALLISTIC.seen(SCALED, 1 / 16, optimizer.signed)
        before = {name: field.clone() for name, field in given.items()}
        after = optimizer.update(given, gradient, 1 / 16, optimizer.t0 + 2.0)
        assert tuple(after) == tuple(optimizer.fields)
        for name, field in given.items():
            torch.testing.assert_close(field, before[name], rtol=0, atol=0)
        torch.testing.assert_close(gradient.square, SCALED * SCALED, rtol=0, atol=0)

    def test_paths_and_coordinates_do_not_see_each_other(self, optimizer):
        several = torch.stack((SCALED, -0.5 * SCALED, SCALED.flip(0)))
        wide = {name: field.expand(3, 3) for name, field in state(optimizer).items()}
        together = updated(optimizer, wide, BALLISTIC.seen(several, 1 / 16, optimizer.signed), 1 / 16, optimizer.t0 + 2.0)
        for k, each in enumerate(several):
            for name, field in stepped(optimizer, 1 / 16, each).items():
                torch.testing.assert_close(together[name][k], field, rtol=1e-14, atol=1e-15)

    def test_fields_that_are_never_negative_stay_so(self, optimizer):
        for tau in (1 / 4, 1 / 64):
            now = initial(optimizer, {"theta": THETA, **{name: torch.zeros(3) for name in optimizer.nonnegative}}, 3)
            for k in range(8):
                now = updated(optimizer, now, BALLISTIC.seen((-1) ** k * SCALED, tau, optimizer.signed), tau,
                              optimizer.t0 + k * tau)
                assert all(bool((now[name] >= 0).all()) for name in optimizer.nonnegative)
            assert all(bool(torch.isfinite(field).all()) for field in now.values())

    def test_copies_are_equal_and_its_recipe_makes_it_again(self, optimizer):
        for other in (copy.deepcopy(optimizer), pickle.loads(pickle.dumps(optimizer)),
                      recipe.make(json.loads(json.dumps(recipe.of(optimizer))), sme.Optimizer)):
            assert other == optimizer
            assert fingerprint(other) == fingerprint(optimizer)

    def test_physical_hyperparameters_are_numbers(self, optimizer):
        for regime in REGIMES.values():
            physical = optimizer.physical(regime, 1 / 16)
            assert physical
            assert all(math.isfinite(value) for value in physical.values())

    def test_a_decay_that_is_none_is_refused(self, optimizer):
        optimizer.check(1 / 64)
        if optimizer.rates() and optimizer.memory == 1:
            with pytest.raises(sme.SMEError, match=r"not in \(0, 1\): use τ <"):
                optimizer.check(2 / min(optimizer.rates().values()))
