"""What code may look at while it runs, which a study's name cannot tell."""

import builtins
import importlib
import inspect
import io
import os
import pathlib
import sys
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
import torch

ENVIRONMENT = "the environment (os.environ)"
MODULE = "a module by a name made as it runs"
FRAME = "the code that runs around it"
HIDDEN = {"__globals__": "all names of a module", "__builtins__": "all names of a module", "__doc__": "a docstring",
          "__annotations__": "annotations"}
"""attributes that are left out of a description, or that lead out of what is described"""
READERS = (builtins.open, io.FileIO, os.open, np.load, np.loadtxt, np.genfromtxt, np.fromfile, np.memmap, torch.load, pd.read_csv,
           pd.read_pickle, pd.read_table, pd.read_parquet, pd.read_json, pathlib.Path.open, pathlib.Path.read_text,
           pathlib.Path.read_bytes)
"""of files"""
_NAMED = ((os.environ, ENVIRONMENT), (os.getenv, ENVIRONMENT), (importlib.import_module, MODULE), (__import__, MODULE),
          (sys.modules, MODULE), (inspect.getmodule, MODULE), (inspect.currentframe, FRAME), (inspect.stack, FRAME),
          (sys._getframe, FRAME))


def named(value: Any) -> str | None:
    """What a value gives access to, if that is outside of all that is described."""
    return next((what for each, what in _NAMED if value is each), None)


def hidden(attributes: Iterable[str]) -> str | None:
    """The same of attributes that are read."""
    return next((HIDDEN[each] for each in attributes if each in HIDDEN), None)


def reads_a_file(value: Any) -> bool:
    """Whether a function reads a file, whose contents are in no name."""
    return any(value is each for each in READERS)
