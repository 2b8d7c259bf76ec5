"""The page of torch.optim's classes: its table is what its command prints, and its lines run."""

import re

import torch

from tests.docs import fill_torch
from tests.docs.other_optimizers import LIBRARIES

TEXT = fill_torch.PAGE.read_text(encoding="utf-8")


def test_the_table_is_current():
    assert fill_torch.filled(TEXT) == TEXT


def test_it_has_every_class():
    (table,) = fill_torch.TABLE.findall(TEXT)
    assert set(re.findall(r"^\| (\w+)", table, re.M)) - {"class"} == set(fill_torch.classes())
    assert table.count("refused: ") == 6


def test_ten_optimizers_of_each_other_library():
    rows = fill_torch.kept(TEXT)
    assert set(rows) == {(library, name) for library, each in LIBRARIES.items() for name in each}
    assert [sum(library == each for library, _ in rows) for each in LIBRARIES] == [10, 10]
    assert sum("refused: " in row for row in rows.values()) == 4


def test_its_lines_run():
    names = {"__name__": "page"}
    for block in re.findall(r"```python\n(.*?)```", TEXT, re.S):
        exec(compile(block, "torch.md", "exec"), names)
    assert names["halves"].fields == ("theta", "m", "v", "average")
    assert float(names["warm"](torch.tensor(0.25, dtype=torch.float64))) == 1.0
