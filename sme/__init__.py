"""Stochastic modified equations of optimizers, and how far they are from what they model."""

from sme import interrupt as interrupt  # before all that takes long
from sme import torch_forward as torch_forward
from sme.check import check_order
from sme.collapse import Collapse, collapse
from sme.comparison import Comparison
from sme.equations.base import Equation
from sme.equations.registry import derive
from sme.errors import SMEError
from sme.hyperparameters import Hyperparameters
from sme.importance import Importance, importance
from sme.laws.affine import AffineNoise
from sme.laws.diagonal import DiagonalNoise
from sme.laws.distribution import DistributionNoise
from sme.laws.gaussian import GaussianNoise
from sme.laws.importance import ImportanceNoise
from sme.laws.minibatch import MinibatchNoise
from sme.laws.student import StudentNoise
from sme.laws.svag import SVAGNoise
from sme.laws.two_point import TwoPointNoise
from sme.measure import load, weak_error
from sme.memory.equation import IDE
from sme.optimizers.adabayes import AdaBayes
from sme.optimizers.adabayes_filter import AdaBayesFilter
from sme.optimizers.adagrad import AdaGrad
from sme.optimizers.adam import Adam
from sme.optimizers.adamw import AdamW
from sme.optimizers.base import Optimizer
from sme.optimizers.momentum import Momentum
from sme.optimizers.nesterov import Nesterov
from sme.optimizers.rmsprop import RMSProp
from sme.optimizers.rmspropw import RMSPropW
from sme.optimizers.sgd import SGD
from sme.optimizers.signsgd import SignSGD
from sme.optimizers.signum import Signum
from sme.order_check import OrderCheck
from sme.patterns import ab
from sme.phases import Phases, phases
from sme.plan import Plan, plan
from sme.problems.autoencoder import Autoencoder
from sme.problems.base import Problem
from sme.problems.digits import Digits
from sme.problems.logistic import Logistic
from sme.problems.network import Network
from sme.problems.polynomial import Polynomial
from sme.problems.quadratic import Quadratic
from sme.problems.tabular import BreastCancer, Diabetes
from sme.problems.wells import Wells
from sme.regime_report import RegimeReport, regime_report
from sme.scaling import scale, svag
from sme.stationary import Stationary, stationary
from sme.study import Interrupted, Study
from sme.svag_study import SVAGStudy, svag_study
from sme.tracking import trajectories
from sme.trajectory import Trajectories

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
