"""A few cases of many in the default run."""

from collections.abc import Iterable
from typing import Any

import pytest
from _pytest.mark.structures import ParameterSet


def few(cases: Iterable[Any], *kept: Any) -> list[ParameterSet]:
    """The cases of a parametrised test, all slow but `kept`: places in the row, or the cases themselves where they are names."""
    given = list(cases)
    missing = [each for each in kept if each not in (given if isinstance(each, str) else range(len(given)))]
    assert not missing, f"no such cases: {missing}"
    return [_slow(case) if not {i, case if isinstance(case, str) else i} & set(kept) else _plain(case)
            for i, case in enumerate(given)]


def _plain(case: Any) -> ParameterSet:
    if isinstance(case, ParameterSet):
        return case
    return pytest.param(*case) if isinstance(case, tuple) else pytest.param(case)


def _slow(case: Any) -> ParameterSet:
    plain = _plain(case)
    return pytest.param(*plain.values, marks=[*plain.marks, pytest.mark.slow], id=plain.id)
