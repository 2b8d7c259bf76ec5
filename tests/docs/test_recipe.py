"""The training recipe of the documentation: its rule against a loop of torch, and one tiny call."""

import importlib.util
import sys

import pytest
import torch

import sme
from sme.optimizers.base import updated
from sme.optimizers.regimes import BALLISTIC
from tests.docs.fill_torch import PAGE

FILE = PAGE.with_name("recipe.py")


@pytest.fixture(scope="module")
def recipe():
    made = importlib.util.spec_from_file_location("recipe", FILE)
    module = importlib.util.module_from_spec(made)
    sys.modules["recipe"] = module
    made.loader.exec_module(module)
    yield module
    del sys.modules["recipe"]


def test_its_steps_are_those_of_a_loop_of_torch(recipe, recwarn):
    network, optimizer, scheduler = recipe.trained(2)
    network.double()
    rule, state, generator = recipe.rule(2), None, torch.Generator().manual_seed(0)
    parameters = list(network.parameters())
    average = torch.optim.swa_utils.AveragedModel(network, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.9))
    average.update_parameters(network)  # begins at the start
    for k in range(30):
        seen = torch.randn(sum(p.numel() for p in parameters), generator=generator, dtype=torch.float64) / (5 + 9 * (k % 2))
        for p, part in zip(parameters, seen.split([p.numel() for p in parameters]), strict=True):
            p.grad = part.reshape(p.shape).clone()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step(), scheduler.step(), average.update_parameters(network)
        theta, mean = (torch.cat([p.detach().flatten() for p in each.parameters()]) for each in (network, average))
        if state is None:
            held = [torch.cat([optimizer.state[p][name].flatten() for p in parameters]) for name in ("exp_avg", "exp_avg_sq")]
            state = {"theta": theta, "m": held[0], "v": held[1], "average": mean}
            continue
        state = updated(rule, state, BALLISTIC.seen(seen, recipe.LR), recipe.LR, k * recipe.LR)
        torch.testing.assert_close(state["theta"], theta, rtol=0, atol=1e-10)
        torch.testing.assert_close(state["average"], mean, rtol=0, atol=1e-7)


def test_one_call_follows_run_and_equations(recipe):
    found = recipe.follow(hidden=2, examples=40, batch_size=4, steps=1, paths=4)
    assert set(found.table["curve"]) == {"discrete", "order 1", "order 2"}
    assert isinstance(recipe.rule(2), sme.Averaged)
    assert bool(torch.isfinite(torch.tensor(found.table["mean"].to_numpy())).all())
