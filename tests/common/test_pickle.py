"""Problems and studies of built-in parts go to another process and back."""

import pickle

import pytest
import torch

import sme
from sme.equations.models import MODELS
from sme.optimizers.regimes import REGIMES

MADE = {
    "quadratic": lambda: sme.Quadratic(dim=3, seed=2), "student": lambda: sme.Quadratic(law="student", nu=7.0),
    "polynomial": lambda: sme.Polynomial([0.0, 0.3, 0.4]), "wells": sme.Wells,
    "gaussian wells": lambda: sme.Wells(noise="gaussian"),
    "logistic": lambda: sme.Logistic(examples=12), "network": lambda: sme.Digits(examples=12, hidden=2),
}


@pytest.mark.parametrize("name", MADE)
def test_a_problem_is_the_same_after_it(name):
    problem = MADE[name]()
    again = pickle.loads(pickle.dumps(problem))
    theta = torch.linspace(-0.4, 0.7, 2 * problem.dim, dtype=torch.float64).reshape(2, -1)
    assert again.describe() == problem.describe()
    for method in ("loss", "gradient"):
        assert torch.equal(getattr(again, method)(theta), getattr(problem, method)(theta))
    assert torch.equal(again.noise.variance(theta), problem.noise.variance(theta))


@pytest.mark.parametrize("model", MODELS)
def test_every_model_can_be_sent(model):
    again = pickle.loads(pickle.dumps(MODELS[model]))
    for optimizer in (sme.SGD(), sme.RMSProp()):
        for regime in REGIMES.values():
            assert again.kind(optimizer, regime) is MODELS[model].kind(optimizer, regime)


def test_a_study_goes_on_after_it():
    study = sme.weak_error(sme.Polynomial(), sme.SGD(), tau=[1 / 2], order=1, start={"theta": torch.tensor([0.8])}, paths=32_768,
                           observables=["loss", "mean theta", "theta[0]", "|theta|^2 capped at 3"])
    again = pickle.loads(pickle.dumps(study))
    assert again.name == study.name
    again.extend(tau=[1 / 4])
    assert set(study.errors["error"]) < set(again.errors["error"])
