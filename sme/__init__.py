"""Stochastic modified equations of optimizers, and how far they are from what they model.

A name is imported when it is first asked for: `import sme` takes no more than the names' table.
"""

import importlib
import sys
import threading
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from sme.common import moved
from sme.common.process import interrupt as interrupt  # before all that takes long

if TYPE_CHECKING:
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
    from sme.equations.rest.law import Stationary, stationary
    from sme.optimizers.adabayes import AdaBayes
    from sme.optimizers.adabayes_filter import AdaBayesFilter
    from sme.optimizers.adagrad import AdaGrad
    from sme.optimizers.adam import Adam
    from sme.optimizers.adamw import AdamW
    from sme.optimizers.base import Optimizer
    from sme.optimizers.hyperparameters import Hyperparameters
    from sme.optimizers.imported.black_box import black_box
    from sme.optimizers.imported.from_torch import from_torch
    from sme.optimizers.library.adadelta import Adadelta
    from sme.optimizers.library.asgd import ASGD
    from sme.optimizers.library.muon import Muon
    from sme.optimizers.library.nadam import NAdam
    from sme.optimizers.library.radam import RAdam
    from sme.optimizers.momentum import Momentum
    from sme.optimizers.named.adabelief import AdaBelief
    from sme.optimizers.named.ademamix import AdEMAMix
    from sme.optimizers.named.lamb import Lamb
    from sme.optimizers.named.lion import Lion
    from sme.optimizers.named.qhm import QHM
    from sme.optimizers.named.schedule_free import ScheduleFreeAdamW, ScheduleFreeSGD
    from sme.optimizers.nesterov import Nesterov
    from sme.optimizers.parts.averaged import Averaged
    from sme.optimizers.parts.clipping import Clipping
    from sme.optimizers.parts.groups import Groups
    from sme.optimizers.parts.scheduled import Scheduled
    from sme.optimizers.rmsprop import RMSProp
    from sme.optimizers.rmspropw import RMSPropW
    from sme.optimizers.scaling_rules import scale, svag
    from sme.optimizers.sgd import SGD
    from sme.optimizers.signsgd import SignSGD
    from sme.optimizers.signum import Signum
    from sme.problems.base import Problem
    from sme.problems.logistic import Logistic
    from sme.problems.networks.network import Network
    from sme.problems.networks.presets.autoencoder import Autoencoder
    from sme.problems.networks.presets.digits import Digits
    from sme.problems.networks.presets.mnist import Mnist
    from sme.problems.networks.presets.tabular import BreastCancer, Diabetes
    from sme.problems.networks.presets.text import Text
    from sme.problems.noise.affine import AffineNoise
    from sme.problems.noise.diagonal import DiagonalNoise
    from sme.problems.noise.gaussian import GaussianNoise
    from sme.problems.noise.independent.distribution import DistributionNoise
    from sme.problems.noise.independent.student import StudentNoise
    from sme.problems.noise.independent.two_point import TwoPointNoise
    from sme.problems.noise.minibatch.law import MinibatchNoise
    from sme.problems.noise.minibatch.rules import Product, layer_rule
    from sme.problems.noise.wrapped.clipped import Clipped, Normalised, Signed
    from sme.problems.noise.wrapped.importance import ImportanceNoise
    from sme.problems.noise.wrapped.private import Private
    from sme.problems.noise.wrapped.svag import SVAGNoise
    from sme.problems.polynomial import Polynomial
    from sme.problems.quadratic import Quadratic
    from sme.problems.wells import Wells
    from sme.simulate.integro.ide import IDE
    from sme.studies.certificate.report import Certificate
    from sme.studies.certificate.run import certify, select
    from sme.studies.claims.report import Claims
    from sme.studies.claims.run import claims
    from sme.studies.diagnosis.report import Diagnosis
    from sme.studies.diagnosis.run import diagnose
    from sme.studies.diagnosis.watch import Watch, watch
    from sme.studies.drivers.report import Drivers
    from sme.studies.drivers.run import drivers
    from sme.studies.importance.probabilities import Importance, importance
    from sme.studies.kinks.report import Kinks
    from sme.studies.kinks.run import kinks
    from sme.studies.phases.patterns import ab
    from sme.studies.phases.run import Phases, phases
    from sme.studies.regime.run import RegimeReport, regime_report
    from sme.studies.scaling.report import Collapse
    from sme.studies.scaling.run import collapse
    from sme.studies.svag.run import SVAGStudy, svag_study
    from sme.studies.trajectories.report import Trajectories
    from sme.studies.trajectories.run import trajectories

HOMES = {
    "common.errors": "SMEError",
    "convergence.api": "load weak_error",
    "convergence.comparison.comparison": "Comparison",
    "convergence.cost.plan": "Plan plan",
    "convergence.study": "Interrupted Study",
    "equations.base": "Equation",
    "equations.formula.formula": "Formula formula",
    "equations.order.check": "check_order",
    "equations.order.order_check": "OrderCheck",
    "equations.proposed.equation": "Proposed equation",
    "equations.registry": "derive",
    "equations.rest.law": "Stationary stationary",
    "optimizers.adabayes": "AdaBayes",
    "optimizers.adabayes_filter": "AdaBayesFilter",
    "optimizers.adagrad": "AdaGrad",
    "optimizers.adam": "Adam",
    "optimizers.adamw": "AdamW",
    "optimizers.base": "Optimizer",
    "optimizers.hyperparameters": "Hyperparameters",
    "optimizers.imported.black_box": "black_box",
    "optimizers.imported.from_torch": "from_torch",
    "optimizers.library.adadelta": "Adadelta",
    "optimizers.library.asgd": "ASGD",
    "optimizers.library.muon": "Muon",
    "optimizers.library.nadam": "NAdam",
    "optimizers.library.radam": "RAdam",
    "optimizers.momentum": "Momentum",
    "optimizers.named.adabelief": "AdaBelief",
    "optimizers.named.ademamix": "AdEMAMix",
    "optimizers.named.lamb": "Lamb",
    "optimizers.named.lion": "Lion",
    "optimizers.named.qhm": "QHM",
    "optimizers.named.schedule_free": "ScheduleFreeAdamW ScheduleFreeSGD",
    "optimizers.nesterov": "Nesterov",
    "optimizers.parts.averaged": "Averaged",
    "optimizers.parts.clipping": "Clipping",
    "optimizers.parts.groups": "Groups",
    "optimizers.parts.scheduled": "Scheduled",
    "optimizers.rmsprop": "RMSProp",
    "optimizers.rmspropw": "RMSPropW",
    "optimizers.scaling_rules": "scale svag",
    "optimizers.sgd": "SGD",
    "optimizers.signsgd": "SignSGD",
    "optimizers.signum": "Signum",
    "problems.base": "Problem",
    "problems.logistic": "Logistic",
    "problems.networks.presets.autoencoder": "Autoencoder",
    "problems.networks.presets.digits": "Digits",
    "problems.networks.presets.mnist": "Mnist",
    "problems.networks.network": "Network",
    "problems.networks.presets.tabular": "BreastCancer Diabetes",
    "problems.networks.presets.text": "Text",
    "problems.noise.affine": "AffineNoise",
    "problems.noise.diagonal": "DiagonalNoise",
    "problems.noise.gaussian": "GaussianNoise",
    "problems.noise.independent.distribution": "DistributionNoise",
    "problems.noise.independent.student": "StudentNoise",
    "problems.noise.independent.two_point": "TwoPointNoise",
    "problems.noise.minibatch.law": "MinibatchNoise",
    "problems.noise.minibatch.rules": "Product layer_rule",
    "problems.noise.wrapped.clipped": "Clipped Normalised Signed",
    "problems.noise.wrapped.importance": "ImportanceNoise",
    "problems.noise.wrapped.private": "Private",
    "problems.noise.wrapped.svag": "SVAGNoise",
    "problems.polynomial": "Polynomial",
    "problems.quadratic": "Quadratic",
    "problems.wells": "Wells",
    "simulate.integro.ide": "IDE",
    "studies.certificate.report": "Certificate",
    "studies.certificate.run": "certify select",
    "studies.claims.report": "Claims",
    "studies.claims.run": "claims",
    "studies.diagnosis.report": "Diagnosis",
    "studies.diagnosis.run": "diagnose",
    "studies.diagnosis.watch": "Watch watch",
    "studies.drivers.report": "Drivers",
    "studies.drivers.run": "drivers",
    "studies.importance.probabilities": "Importance importance",
    "studies.kinks.report": "Kinks",
    "studies.kinks.run": "kinks",
    "studies.phases.patterns": "ab",
    "studies.phases.run": "Phases phases",
    "studies.regime.run": "RegimeReport regime_report",
    "studies.scaling.report": "Collapse",
    "studies.scaling.run": "collapse",
    "studies.svag.run": "SVAGStudy svag_study",
    "studies.trajectories.report": "Trajectories",
    "studies.trajectories.run": "trajectories",
}
"""for each module below `sme` the public names that stand in it"""
PACKAGES = ("cli", "common", "convergence", "equations", "optimizers", "problems", "simulate", "studies")
"""those below; `sme.equations.registry` works without an import of its own"""

moved.install()

__all__ = [
    "ASGD",
    "IDE",
    "QHM",
    "SGD",
    "AdEMAMix",
    "AdaBayes",
    "AdaBayesFilter",
    "AdaBelief",
    "AdaGrad",
    "Adadelta",
    "Adam",
    "AdamW",
    "AffineNoise",
    "Autoencoder",
    "Averaged",
    "BreastCancer",
    "Certificate",
    "Claims",
    "Clipped",
    "Clipping",
    "Collapse",
    "Comparison",
    "Diabetes",
    "Diagnosis",
    "DiagonalNoise",
    "Digits",
    "DistributionNoise",
    "Drivers",
    "Equation",
    "Formula",
    "GaussianNoise",
    "Groups",
    "Hyperparameters",
    "Importance",
    "ImportanceNoise",
    "Interrupted",
    "Kinks",
    "Lamb",
    "Lion",
    "Logistic",
    "MinibatchNoise",
    "Mnist",
    "Momentum",
    "Muon",
    "NAdam",
    "Nesterov",
    "Network",
    "Normalised",
    "Optimizer",
    "OrderCheck",
    "Phases",
    "Plan",
    "Polynomial",
    "Private",
    "Problem",
    "Product",
    "Proposed",
    "Quadratic",
    "RAdam",
    "RMSProp",
    "RMSPropW",
    "RegimeReport",
    "SMEError",
    "SVAGNoise",
    "SVAGStudy",
    "ScheduleFreeAdamW",
    "ScheduleFreeSGD",
    "Scheduled",
    "SignSGD",
    "Signed",
    "Signum",
    "Stationary",
    "StudentNoise",
    "Study",
    "Text",
    "Trajectories",
    "TwoPointNoise",
    "Watch",
    "Wells",
    "ab",
    "black_box",
    "certify",
    "check_order",
    "claims",
    "collapse",
    "derive",
    "diagnose",
    "drivers",
    "equation",
    "formula",
    "from_torch",
    "importance",
    "kinks",
    "layer_rule",
    "load",
    "phases",
    "plan",
    "regime_report",
    "scale",
    "select",
    "stationary",
    "svag",
    "svag_study",
    "trajectories",
    "watch",
    "weak_error",
]

_HOME = {name: f"sme.{module}" for module, names in HOMES.items() for name in names.split()}
_one = threading.RLock()
"""one thread imports at a time: torch's own modules import one another in circles"""


def _found(name: str) -> Any:
    """A public name, from its module; the first time under torch's own settings, whatever the caller's are."""
    with _one, ExitStack() as plain:
        if (torch := sys.modules.get("torch")) is not None and hasattr(torch, "inference_mode"):
            plain.enter_context(torch.inference_mode(False))
            plain.enter_context(torch.device("cpu"))
        return globals().setdefault(name, getattr(importlib.import_module(_HOME[name]), name))


if not TYPE_CHECKING:  # to a type checker a name that is not there is a mistake

    def __getattr__(name: str) -> Any:
        if name in _HOME:
            return _found(name)
        if name in PACKAGES:
            for each in __all__:
                _found(each)
            return importlib.import_module(f"sme.{name}")
        raise AttributeError(f"module 'sme' has no attribute {name!r}", name=name, obj=sys.modules[__name__])

    def __dir__() -> list[str]:
        return sorted({*__all__, *PACKAGES, *(name for name in globals() if name.startswith("__"))})
