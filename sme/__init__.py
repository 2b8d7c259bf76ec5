"""Stochastic modified equations of optimizers, and how far they are from what they model."""

from sme.errors import SMEError
from sme.laws.gaussian import GaussianNoise
from sme.laws.minibatch import MinibatchNoise
from sme.optimizers.adam import Adam
from sme.optimizers.base import Optimizer
from sme.optimizers.rmsprop import RMSProp
from sme.optimizers.sgd import SGD
from sme.problems.base import Problem
from sme.problems.logistic import Logistic
from sme.problems.polynomial import Polynomial
from sme.problems.quadratic import Quadratic
from sme.runner import weak_error
from sme.study import Study

__all__ = [
    "SGD",
    "Adam",
    "GaussianNoise",
    "Logistic",
    "MinibatchNoise",
    "Optimizer",
    "Polynomial",
    "Problem",
    "Quadratic",
    "RMSProp",
    "SMEError",
    "Study",
    "weak_error",
]
