"""One torch thread a test process, two processes share two cores; and what most tests do with less of."""

import pytest
import torch

from sme import picture, predicted

torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _few_blocks(request, monkeypatch):
    """Constants of obstructions from few blocks, but in the slow tests."""
    if "slow" not in request.keywords:
        monkeypatch.setattr(predicted, "BLOCKS", 2)


@pytest.fixture
def undrawn(monkeypatch):
    """Empty pictures of studies: to draw them takes most of a tiny run's time."""

    def touch(provenance, errors, slopes, path):
        path.touch()
        return path

    monkeypatch.setattr(picture, "draw", touch)
