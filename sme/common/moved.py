"""Where modules stood before they were sorted into packages: the old names work for one version more, and studies keep theirs."""

import importlib
import sys
import types
import warnings
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from typing import Any

PACKAGE = "sme"
PACKAGES = {
    "laws": "problems.noise",
    "memory": "simulate.integro",
    "equations.expansion": "equations.derived",
    "simulate.compiled": "simulate.codegen",
    "smooth": "problems.smooth",
}
MODULES = {
    "cli": "atlas_config command config memory_config physical_config survey_config",
    "common": "errors inputs simulate.library:library simulate.pointers:pointers version",
    "common.derivatives": "differences guard inferred recurrent torch_forward tracing written",
    "common.identity": "identity:hashing layers members numerics outside owned reach recipe syntax teller trail values",
    "common.output": "brief dossier:report latex notebook provenance style text",
    "common.process": "interrupt processes progress streams turns",
    "common.random": "simulate.counter:counter simulate.increments:increments",
    "common.storage": "files seal sums told",
    "convergence": "collect findings measure:api runner study",
    "convergence.comparison": "comparison comparison_picture:picture duel",
    "convergence.cost": "pilot plan weight",
    "convergence.estimator": "block crossfit estimates linear moments paired trials",
    "convergence.fit": "dropped_terms fieller fits predicted slopes tables tails",
    "convergence.output": "picture report",
    "convergence.spec": "effort job outline specification tried",
    "convergence.store": "asked kept points",
    "equations": "simulate.chain:chain",
    "equations.rest": "stationary:law equations.stationary:law",
    "equations.closed": "equations.adam:adam equations.rmsprop:rmsprop equations.sgd:sgd equations.signs:signs",
    "equations.derived": (
        "equations.expansion.ballistic:ballistic equations.expansion.batch_equivalent:batch_equivalent "
        "equations.expansion.curvature:second_order equations.expansion.expectation:expectation "
        "equations.expansion.lift:along_curve equations.expansion.probes:probes equations.expansion.refusal:refusal "
        "equations.expansion.series:series equations.expansion.soundness:soundness equations.expansion.states:states "
        "equations.expansion.step:step"),
    "equations.formula": "equations.description:description",
    "equations.literature": (
        "equations.averaged:averaged equations.backward:backward equations.compagnoni:compagnoni "
        "equations.malladi:malladi equations.ode:ode equations.published:variants"),
    "equations.order": (
        "check moment_test:one_step obstruction order_check remembered residuals tested visited"),
    "equations.order.moments": "agreement step_moments",
    "optimizers": "hyperparameters regimes scaling:scaling_rules",
    "problems": "untouched",
    "problems.networks": (
        "problems.culprit:culprit problems.data:data problems.modules:modules problems.network:network "
        "problems.targets:targets"),
    "problems.networks.presets": (
        "problems.autoencoder:autoencoder problems.digits:digits problems.preset:preset problems.tabular:tabular"),
    "problems.noise": (
        "laws.affine:affine laws.base:base laws.components:components laws.diagonal:diagonal laws.gaussian:gaussian "
        "laws.named:named quadrature"),
    "problems.noise.independent": (
        "laws.distribution:distribution laws.quantiles:quantiles laws.student:student laws.tail:tail "
        "laws.two_point:two_point laws.unit:unit"),
    "problems.noise.minibatch": (
        "flat laws.examples:per_example laws.layered:layers laws.linear_examples:linear laws.minibatch:law "
        "laws.sampling:sampling"),
    "problems.noise.wrapped": "laws.importance:importance laws.svag:svag",
    "problems.smooth": (
        "smooth.contacts:contacts smooth.graph:graph smooth.losses:losses smooth.obstacles:obstacles smooth.parts:parts "
        "smooth.places:places smooth.sides:sides smooth.switches:switches"),
    "simulate": "backend ensemble halving mean_run:noiseless observables setup simulate.runs:discrete stability",
    "simulate.codegen": (
        "compiled:ensemble program simulate.compiled.arena:buffers simulate.compiled.loops:loop_nests "
        "simulate.compiled.lowering:straight_line simulate.compiled.operations:operations "
        "simulate.compiled.rules:interpreter simulate.compiled.scalars:scalars simulate.compiled.source:source "
        "simulate.compiled.statements:statements"),
    "simulate.control_variates": "controls curvatures",
    "simulate.integrators": "simulate.schemes:schemes simulate.torchsde_adapter:torchsde",
    "simulate.integro": (
        "memory.element:collocation memory.equation:ide memory.iterated:iterated memory.kernel:kernels "
        "memory.losses:losses memory.ordinary:ordinary memory.rule:rule memory.volterra:volterra"),
    "studies.atlas": "atlas:run atlas_picture:picture cell",
    "studies.autoencoder": "race:run race_picture:picture race_table:report runs_file",
    "studies.ide": "memory.lagrangian:lagrangian memory.runs:run memory.runs_picture:picture",
    "studies.importance": "importance:probabilities importance_gain:run",
    "studies.interpolation": "interpolation:run interpolation_picture:picture interpolation_table:report",
    "studies.models": "cases price survey:run survey_picture:picture",
    "studies.orders": "catalogue:run orders:report residues:by_law",
    "studies.panels": "panels:run panels_picture:picture selection",
    "studies.phases": "edge full_batch patterns phases:run phases_picture:picture",
    "studies.published": "published:run published_picture:picture published_table:report",
    "studies.regime": "limits regime_picture:picture regime_report:run",
    "studies.scaling": "collapse:run collapse_picture:picture",
    "studies.stationary": (
        "sign_phases sign_phases_picture:sign_picture stationary_formulas:formulas stationary_picture:picture "
        "stationary_table:run"),
    "studies.svag": "svag_picture:picture svag_study:run",
    "studies.trajectories": "closer sample tracking:run trajectory:report trajectory_picture:picture",
}
"""for each package what stands in it, by its old name (`old:new` where the last part is another one)"""


def _table() -> dict[str, str]:
    found = {f"{PACKAGE}.{old}": f"{PACKAGE}.{new}" for old, new in PACKAGES.items()}
    for package, words in MODULES.items():
        for word in words.split():
            old, _, new = word.partition(":")
            found[f"{PACKAGE}.{old}"] = f"{PACKAGE}.{package}.{new or old}"
    return found


NEW = _table()
"""old name of a module → its name"""
OLD = {new: old for old, new in NEW.items()}
RENAMED = {
    "Asked": "Requests", "Contender": "OptimizerCase", "Duel": "EquationPair", "Effort": "Execution",
    "Ladder": "ExtrapolatedPath", "Outline": "StudyMetadata", "Predicted": "ObstructionConstants",
    "Race": "AutoencoderComparison",
}
"""classes that had other names in those modules"""


class Moved(MetaPathFinder, Loader):
    """Imports of old names: a module that hands on what the one at the new place has, and a warning that names that."""

    def find_spec(self, fullname: str, path: Sequence[str] | None = None,
                  target: types.ModuleType | None = None) -> ModuleSpec | None:
        """Of old names alone; not of those that are a public function of the package by now."""
        if fullname not in NEW or fullname.partition(".")[2] in getattr(sys.modules.get(PACKAGE), "__all__", ()):
            return None
        return ModuleSpec(fullname, self, is_package=True)

    def exec_module(self, module: types.ModuleType) -> None:
        """Hand on what is asked for."""
        name = module.__name__
        new = importlib.import_module(NEW[name])
        warnings.warn(f"{name} is {NEW[name]} now, and its old name goes with the next version: import from there, or by the "
                      f"public names of {PACKAGE}", FutureWarning, stacklevel=2)

        def handed_on(attribute: str) -> Any:
            return getattr(new, RENAMED.get(attribute, attribute))

        module.__getattr__ = handed_on  # type: ignore[method-assign]


def install() -> None:
    """Have old names found, after all others."""
    if not any(isinstance(each, Moved) for each in sys.meta_path):
        sys.meta_path.append(Moved())
