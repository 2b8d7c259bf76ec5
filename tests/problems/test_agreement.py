"""One problem, one gradient: the mean of the per-example gradients is that of the loss, or nothing runs."""

import pytest
import torch
from torch.nn.functional import softplus

import sme
from sme.equations.chain import Chain
from sme.optimizers.regimes import BALLISTIC, BATCH_EQUIVALENT

GENERATOR = torch.Generator().manual_seed(11)
X = torch.randn(7, 3, generator=GENERATOR, dtype=torch.float64)
Y = torch.where(X[:, 1] > 0.2, 1.0, -1.0).to(torch.float64)
DECAY = 0.3
ZERO = torch.zeros(3, dtype=torch.float64)


def loss(theta):
    return softplus(-Y * (X @ theta)).mean() + 0.5 * DECAY * (theta**2).sum()


def without(theta, x, y):
    return softplus(-y * (x @ theta))


def with_penalty(theta, x, y):
    return without(theta, x, y) + 0.5 * DECAY * (theta**2).sum()


def problem(each, **law):
    return sme.Problem(loss, 3, sme.MinibatchNoise(each, (X, Y), **{"batch_size": 2, **law}))


def drawn(each):
    return sme.Problem(loss, 3, sme.ImportanceNoise(torch.arange(1.0, 8.0), each, (X, Y), batch_size=2))


ENTRIES = {
    "weak_error": lambda p: sme.weak_error(p, sme.SGD(), tau=[1 / 4], start={"theta": ZERO}, order=1, paths=64, horizon=0.5),
    "trajectories": lambda p: sme.trajectories(p, sme.SGD(), tau=1 / 4, start={"theta": ZERO}, order=1, paths=4, horizon=0.5),
    "collapse": lambda p: sme.collapse(p, [sme.Hyperparameters("sgd", 0.125, batch_size=2, steps=4)], ZERO, kappa=[1], runs=4,
                                       points=2),
    "svag_study": lambda p: sme.svag_study(p, sme.Hyperparameters("sgd", 0.125), ZERO, ell=[1], steps=2, paths=64,
                                           observables=["loss"], backend="torchsde"),
    "regime_report": lambda p: sme.regime_report(p, sme.Hyperparameters("sgd", 0.125), ZERO, steps=4, compared=2),
    "importance": lambda p: sme.importance(p, ZERO),
    "check_order": lambda p: sme.check_order(p, sme.SGD()),
    "derive": lambda p: sme.derive(p, sme.SGD()),
    "plan": lambda p: sme.plan(p, sme.SGD(), tau=[1 / 4], start={"theta": ZERO}, order=1),
}


@pytest.mark.parametrize("make", [problem, drawn])
@pytest.mark.parametrize("entry", ENTRIES)
def test_a_penalty_that_the_examples_lack_is_found_in_every_entry_even_from_zero(entry, make):
    with pytest.raises(sme.SMEError, match="is not the gradient of the loss") as caught:
        ENTRIES[entry](make(without))
    assert "penalty" in str(caught.value)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("entry", ["collapse", "regime_report", "importance", "derive"])
def test_with_the_penalty_in_each_example_it_runs(entry):
    assert ENTRIES[entry](problem(with_penalty)) is not None


def test_a_penalty_on_one_of_many_parameters_and_a_small_one_are_found():
    x = torch.randn(5, 40, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    each = lambda theta, x: torch.tanh(theta @ x) ** 2  # noqa: E731
    for penalty in (lambda theta: 0.01 * theta[17] ** 2, lambda theta: 1e-5 * (theta**2).sum()):
        whole = lambda theta, penalty=penalty: (torch.tanh(x @ theta) ** 2).mean() + penalty(theta)  # noqa: E731
        with pytest.raises(sme.SMEError, match="is not the gradient"):
            sme.Problem(whole, 40, sme.MinibatchNoise(each, (x,))).agree()
    sme.Problem(lambda theta: (torch.tanh(x @ theta) ** 2).mean(), 40, sme.MinibatchNoise(each, (x,))).agree()


def test_where_a_loss_is_not_defined_nothing_is_said():
    """Cholesky's factors exist near the start alone."""
    x = torch.tensor([1.0, 3.0], dtype=torch.float64)
    eye = torch.eye(2, dtype=torch.float64)

    def each(theta, x):
        return torch.linalg.cholesky(eye + (theta - 2).sum() * x * (1 - 8 * eye)).square().trace() + (theta**2).sum()

    made = sme.Problem(lambda theta: (each(theta, x[0]) + each(theta, x[1])) / 2, 2, sme.MinibatchNoise(each, (x,)))
    made.check(torch.full((2,), 2.0, dtype=torch.float64))
    with pytest.raises(Exception, match="cholesky"):
        made.gradient(torch.full((1, 2), 3.0, dtype=torch.float64))


def test_it_is_looked_at_once(monkeypatch):
    made, seen = problem(with_penalty), []
    made.agree()
    monkeypatch.setattr(made, "gradient", lambda theta: seen.append(theta))
    made.agree()
    assert not seen


@pytest.mark.parametrize("regime", [BALLISTIC, BATCH_EQUIVALENT])
@pytest.mark.parametrize("law", [{}, {"sampling": "without_replacement"}, {"scale": 0.4}, "importance", "svag"])
@pytest.mark.parametrize("optimizer", [sme.SGD(), sme.RMSProp()])
def test_a_step_with_its_noise_and_a_step_alone_are_one(optimizer, law, regime):
    """Of one rule even where loss and examples differ, which no entry lets through."""
    given = drawn(without) if law == "importance" else problem(without, **({} if law == "svag" else law))
    if law == "svag":
        given = sme.Problem(loss, 3, sme.SVAGNoise(given.noise, 2))
    chain = Chain(given, optimizer, regime, 1 / 8)
    theta = torch.randn(6, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    state = {"theta": theta, "v": torch.full_like(theta, 0.3)}
    state = {name: state[name] for name in optimizer.fields}
    z = torch.randint(7, (6, 2, 2) if law == "svag" else (6, 2), generator=torch.Generator().manual_seed(2))
    stepped, alone = chain.step(state, z, 3)[0], chain.run(state, z, 3)
    for name in optimizer.fields:
        torch.testing.assert_close(stepped[name], alone[name], rtol=1e-12, atol=1e-14)
    if law == {} and regime == BALLISTIC and optimizer.name == "sgd":  # the examples' own steps, without the penalty
        rows = torch.func.vmap(torch.func.grad(without_mean))(theta, z)
        torch.testing.assert_close(alone["theta"], theta - rows / 8, rtol=1e-12, atol=1e-14)


def without_mean(theta, rows):
    return softplus(-Y[rows] * (X[rows] @ theta)).mean()


def test_torchs_weight_decay_is_said_to_belong_into_each_example():
    with pytest.raises(sme.SMEError, match="into the loss of each example"):
        sme.Hyperparameters("sgd", 0.1, weight_decay=0.01)
