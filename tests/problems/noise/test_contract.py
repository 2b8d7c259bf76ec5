"""Every law keeps the contract; and what can only be said of all of them together."""

import pytest
import torch

from sme.common.identity.hashing import fingerprint
from sme.problems.noise.base import NAMED
from sme.problems.noise.named import named
from tests.problems.noise import contract
from tests.problems.noise.contract import exact, law
from tests.support import models

__all__ = ["exact", "law"]


class TestLaw(contract.Contract):
    """The checks, over all laws."""


def test_every_exported_law_is_checked():
    lacking = contract.kinds() - {type(make()) for make in contract.LAWS.values()}
    assert not lacking, "a law with a name is checked by itself; give another a row of LAWS in tests/problems/noise/contract.py"


def test_descriptions_tell_laws_and_settings_apart():
    made = [make() for make in contract.LAWS.values()]
    changed = {name: {each.setting: 0.9 * each.default} for name, each in NAMED.items() if each.setting}
    others = [named(name, models.FACTOR, 0.3, **setting)[0] for name, setting in changed.items()]
    others += [named(name, 2 * models.FACTOR, 0.6)[0] for name in NAMED]
    told = [str(fingerprint(each)) for each in (*made, *others)]
    assert len(set(told)) == len(told)


@pytest.mark.parametrize("name", NAMED)
def test_a_law_by_name_is_told_by_its_name_and_setting(name):
    setting, default = NAMED[name].setting, NAMED[name].default
    told = named(name, torch.eye(2, dtype=torch.float64), 0.3)[1]
    assert told == ({} if name == "gaussian" else {"law": name, **({setting: default} if setting else {})})
