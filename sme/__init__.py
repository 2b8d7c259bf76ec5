"""Stochastic modified equations of optimizers, and how far they are from what they model."""

from sme.common.process import interrupt as interrupt  # before all that takes long

# isort: split
from sme.common import moved
from sme.common.derivatives import torch_forward as torch_forward
from sme.common.errors import SMEError
from sme.convergence.api import load, weak_error
from sme.convergence.comparison.comparison import Comparison
from sme.convergence.cost.plan import Plan, plan
from sme.convergence.study import Interrupted, Study
from sme.equations.base import Equation
from sme.equations.formula.formula import Formula, formula
from sme.equations.order.check import check_order
from sme.equations.order.order_check import OrderCheck
from sme.equations.proposed.equation import Proposed, equation
from sme.equations.registry import derive
from sme.equations.stationary import Stationary, stationary
from sme.optimizers.adabayes import AdaBayes
from sme.optimizers.adabayes_filter import AdaBayesFilter
from sme.optimizers.adagrad import AdaGrad
from sme.optimizers.adam import Adam
from sme.optimizers.adamw import AdamW
from sme.optimizers.base import Optimizer
from sme.optimizers.hyperparameters import Hyperparameters
from sme.optimizers.momentum import Momentum
from sme.optimizers.nesterov import Nesterov
from sme.optimizers.rmsprop import RMSProp
from sme.optimizers.rmspropw import RMSPropW
from sme.optimizers.scaling_rules import scale, svag
from sme.optimizers.sgd import SGD
from sme.optimizers.signsgd import SignSGD
from sme.optimizers.signum import Signum
from sme.problems.base import Problem
from sme.problems.logistic import Logistic
from sme.problems.networks.autoencoder import Autoencoder
from sme.problems.networks.digits import Digits
from sme.problems.networks.network import Network
from sme.problems.networks.tabular import BreastCancer, Diabetes
from sme.problems.noise.affine import AffineNoise
from sme.problems.noise.diagonal import DiagonalNoise
from sme.problems.noise.gaussian import GaussianNoise
from sme.problems.noise.independent.distribution import DistributionNoise
from sme.problems.noise.independent.student import StudentNoise
from sme.problems.noise.independent.two_point import TwoPointNoise
from sme.problems.noise.minibatch.law import MinibatchNoise
from sme.problems.noise.wrapped.importance import ImportanceNoise
from sme.problems.noise.wrapped.svag import SVAGNoise
from sme.problems.polynomial import Polynomial
from sme.problems.quadratic import Quadratic
from sme.problems.wells import Wells
from sme.simulate.integro.ide import IDE
from sme.studies.importance.probabilities import Importance, importance
from sme.studies.phases.patterns import ab
from sme.studies.phases.run import Phases, phases
from sme.studies.regime.run import RegimeReport, regime_report
from sme.studies.scaling.run import Collapse, collapse
from sme.studies.svag.run import SVAGStudy, svag_study
from sme.studies.trajectories.report import Trajectories
from sme.studies.trajectories.run import trajectories

moved.install()

__all__ = [
    "IDE",
    "SGD",
    "AdaBayes",
    "AdaBayesFilter",
    "AdaGrad",
    "Adam",
    "AdamW",
    "AffineNoise",
    "Autoencoder",
    "BreastCancer",
    "Collapse",
    "Comparison",
    "Diabetes",
    "DiagonalNoise",
    "Digits",
    "DistributionNoise",
    "Equation",
    "Formula",
    "GaussianNoise",
    "Hyperparameters",
    "Importance",
    "ImportanceNoise",
    "Interrupted",
    "Logistic",
    "MinibatchNoise",
    "Momentum",
    "Nesterov",
    "Network",
    "Optimizer",
    "OrderCheck",
    "Phases",
    "Plan",
    "Polynomial",
    "Problem",
    "Proposed",
    "Quadratic",
    "RMSProp",
    "RMSPropW",
    "RegimeReport",
    "SMEError",
    "SVAGNoise",
    "SVAGStudy",
    "SignSGD",
    "Signum",
    "Stationary",
    "StudentNoise",
    "Study",
    "Trajectories",
    "TwoPointNoise",
    "Wells",
    "ab",
    "check_order",
    "collapse",
    "derive",
    "equation",
    "formula",
    "importance",
    "load",
    "phases",
    "plan",
    "regime_report",
    "scale",
    "stationary",
    "svag",
    "svag_study",
    "trajectories",
    "weak_error",
]
