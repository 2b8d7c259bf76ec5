"""Every optimizer keeps the contract; and what can only be said of each class."""

import json

import pytest

from tests.optimizers import contract
from tests.optimizers.contract import optimizer

__all__ = ["optimizer"]


class TestOptimizer(contract.Contract):
    """The checks, over all optimizers."""


@pytest.mark.parametrize("kind", contract.kinds())
def test_a_description_tells_every_setting_apart(kind):
    made = [kind(), *(kind(**given) for given in contract.settings(kind))]
    told = [json.dumps(each.describe()) for each in made]
    assert len(set(told)) == len(told)
    assert all(each.describe()["name"] == each.name for each in made)
