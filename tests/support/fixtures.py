"""One torch thread a test process, two processes share two cores; and what most tests do with less of."""

from pathlib import Path
from typing import Any

import pytest
import torch
from hydra._internal.hydra import Hydra
from matplotlib.figure import Figure

from sme.common.process import progress
from sme.common.storage.records import Records
from sme.convergence.fit import predicted
from sme.convergence.output import picture
from tests.support.tiny import tiny

torch.set_num_threads(1)
SAVE, DRAW = Figure.savefig, picture.draw


def _sketch(figure: Figure, place: Any, **options: Any) -> None:
    """Nothing."""


def _empty(provenance: Any, errors: Any, slopes: Any, path: Path) -> Path:
    """The two pictures in a study's folder without their axes; one that is asked for by another name is laid out."""
    if path.name != "errors.png":
        return DRAW(provenance, errors, slopes, path)
    path.touch()
    path.with_suffix(".pdf").touch()
    return path


@pytest.fixture(autouse=True, scope="session")
def _sketched():
    """Empty files for pictures: to draw them takes most of a tiny run's time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Figure, "savefig", _sketch)
        patch.setattr(picture, "draw", _empty)
        yield


@pytest.fixture(autouse=True, scope="session")
def _quiet():
    """No lines of progress in the output of tests, which goes to no terminal."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(progress, "FIRST", 1e6)
        yield


@pytest.fixture(autouse=True, scope="session")
def _composed_once():
    """Hydra composes the settings of a command twice, the first time to see whether they ask for its sweeper."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Hydra, "get_mode", lambda *_, **__: None)
        yield


@pytest.fixture(autouse=True, scope="session")
def _unkept():
    """Nothing is kept for later runs: tests replace functions of the package, which no record knows."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Records, "kept", False)
        yield


@pytest.fixture
def drawn(monkeypatch):
    """Pictures as they are."""
    monkeypatch.setattr(Figure, "savefig", SAVE)
    monkeypatch.setattr(picture, "draw", DRAW)


@pytest.fixture(autouse=True)
def _few_blocks(request, monkeypatch):
    """Constants of obstructions from few blocks, but in the slow tests."""
    if "slow" not in request.keywords:
        monkeypatch.setattr(predicted, "BLOCKS", 2)


@pytest.fixture
def tiny_runs(monkeypatch):
    """Shards of few pairs and substeps, without control variates."""
    tiny(monkeypatch)


@pytest.fixture
def undrawn(monkeypatch):
    """Not even the axes of a study's picture."""

    def touch(provenance, errors, slopes, path):
        path.touch()
        return path

    monkeypatch.setattr(picture, "draw", touch)
