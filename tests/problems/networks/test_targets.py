"""What people bring to a network: targets as torch's losses take them, data sets, layers in eval(), data that are not finite."""

import math

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, IterableDataset, Subset, TensorDataset

import sme
from sme.problems.networks.network import Network
from sme.problems.noise.minibatch.linear import LinearExamples
from tests.support.few import few

GENERATOR = torch.Generator().manual_seed(8)
X = torch.randn(9, 4, generator=GENERATOR, dtype=torch.float64)
Y = torch.randint(3, (9,), generator=GENERATOR)
TOKENS = torch.randint(5, (6, 4), generator=GENERATOR)
NEXT = torch.randint(5, (6, 4), generator=GENERATOR)


def module(out=3):
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, out))


def reader():
    torch.manual_seed(1)
    return nn.Sequential(nn.Embedding(5, 3), nn.Tanh(), nn.Linear(3, 5))


class Transposed(nn.Module):
    """The classes on axis 1, as torch has them."""

    def __init__(self):
        super().__init__()
        self.reader = reader()

    def forward(self, x):
        return self.reader(x).mT


def gradient(problem, torchs):
    """`∇f` of torch's own loss of the module's outputs."""
    theta = problem.start["theta"].clone().requires_grad_()
    loss = torchs(problem.model(theta, problem.inputs))
    assert problem.loss(theta.detach()[None]).item() == pytest.approx(loss.item(), rel=1e-12)
    return torch.autograd.grad(loss, theta)[0]


@pytest.mark.parametrize("kind", few([torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.bool], 0, 5))
def test_classes_of_any_whole_type_are_classes(kind):
    y = (Y % 2).to(kind)
    problem = Network(module(2), (X, y), batch_size=3)
    whole = gradient(problem, lambda outputs: nn.functional.cross_entropy(outputs, y.long()))
    torch.testing.assert_close(problem.gradient(problem.start["theta"][None])[0], whole, rtol=1e-10, atol=1e-14)
    assert problem.describe() == Network(module(2), (X, y.long()), batch_size=3).describe()


@pytest.mark.parametrize("kind", [torch.int32, torch.bool])
def test_whole_targets_of_mse_are_numbers(kind):
    y = (X[:, :3] > 0).to(kind)
    problem = Network(module(), (X, y), "mse")
    whole = gradient(problem, lambda outputs: nn.functional.mse_loss(outputs, y.double()))
    torch.testing.assert_close(problem.gradient(problem.start["theta"][None])[0], whole, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("examples", [9, 3])  # with 3 there are as many classes as examples
def test_probabilities_are_targets_and_accuracy_is_that_of_the_most_probable(examples):
    soft = torch.softmax(3 * torch.randn(examples, 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64), 1)
    problem = Network(module(), (X[:examples], soft), test=(X[:examples], soft.argmax(1)))
    gradient(problem, lambda outputs: nn.functional.cross_entropy(outputs, soft))
    theta = problem.start["theta"] + torch.randn(20, problem.dim, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = problem.functions()
    torch.testing.assert_close(found["accuracy"](theta), found["test accuracy"](theta))
    outputs = torch.stack([problem.model(point, problem.inputs) for point in theta])
    torch.testing.assert_close(found["accuracy"](theta), (outputs.argmax(2) == soft.argmax(1)).double().mean(1))
    assert found["accuracy"](theta).unique().numel() > 2


@pytest.mark.parametrize("build", [reader, Transposed])
def test_tokens_are_the_parts_of_an_example(build):
    problem = Network(build(), (TOKENS, NEXT), batch_size=2)
    flat = lambda outputs: outputs.flatten(0, 1) if build is reader else outputs.mT.flatten(0, 1)  # noqa: E731
    whole = gradient(problem, lambda outputs: nn.functional.cross_entropy(flat(outputs), NEXT.flatten()))
    theta = problem.start["theta"][None]
    torch.testing.assert_close(problem.gradient(theta)[0], whole, rtol=1e-10, atol=1e-14)
    right = flat(problem.model(theta[0], TOKENS)).argmax(1) == NEXT.flatten()
    assert problem.functions()["accuracy"](theta).item() == pytest.approx(right.double().mean().item())


def test_torchs_own_loss_has_its_classes_on_axis_1_where_there_are_as_many_tokens():
    count = int(NEXT.max()) + 1
    tokens, labels = TOKENS[:, :count].repeat(1, count)[:, :count], NEXT[:, :count].repeat(1, count)[:, :count]
    problem = Network(Transposed(), (tokens, labels), nn.CrossEntropyLoss(), batch_size=2)
    theta = problem.start["theta"][None]
    outputs = problem.model(theta[0], tokens)
    assert outputs.shape == (len(tokens), count, count)
    wanted = (outputs.argmax(1) == labels).double().mean().item()
    assert problem.functions()["accuracy"](theta).item() == pytest.approx(wanted)
    assert wanted != pytest.approx((outputs.argmax(2) == labels).double().mean().item())
    with pytest.raises(sme.SMEError, match=r"give loss=nn.CrossEntropyLoss\(\) for axis 1"):
        Network(Transposed(), (tokens, labels))


def test_labels_that_torch_leaves_out_are_left_out_if_each_example_has_as_many():
    labels = NEXT.clone()
    labels[:, 1:3] = -100
    problem = Network(reader(), (TOKENS, labels), batch_size=2)
    gradient(problem, lambda outputs: nn.functional.cross_entropy(outputs.flatten(0, 1), labels.flatten()))
    outputs = problem.model(problem.start["theta"], TOKENS).argmax(2)
    wanted = (outputs == labels)[:, [0, 3]].double().mean().item()
    assert problem.functions()["accuracy"](problem.start["theta"][None]).item() == pytest.approx(wanted)
    labels[2, 0] = -100
    with pytest.raises(sme.SMEError, match="example 2 has the label -100"):
        Network(reader(), (TOKENS, labels))


@pytest.mark.parametrize(("loss", "y"), [
    pytest.param(nn.CrossEntropyLoss(), Y, marks=pytest.mark.slow), (nn.CrossEntropyLoss(label_smoothing=0.2), Y.int()),
    (nn.MSELoss(), X[:, :3]), (nn.SmoothL1Loss(beta=0.5), X[:, :3]), (nn.BCEWithLogitsLoss(), (X[:, :3] > 0).double())])
def test_torchs_means_are_taken_as_they_are(loss, y):
    problem = Network(module(), (X, y), loss, batch_size=2)
    whole = gradient(problem, lambda outputs: loss(outputs, y.long() if y is not Y and not y.is_floating_point() else y))
    torch.testing.assert_close(problem.gradient(problem.start["theta"][None])[0], whole, rtol=1e-10, atol=1e-14)
    assert ("accuracy" in problem.functions()) == isinstance(loss, nn.CrossEntropyLoss)
    if isinstance(loss, nn.CrossEntropyLoss):
        other = nn.CrossEntropyLoss(label_smoothing=0.1)
        assert Network(module(), (X, y), other).describe() != Network(module(), (X, y), loss).describe()


class Pairs(Dataset):
    def __init__(self):
        self.reads = 0

    def __len__(self):
        return len(X)

    def __getitem__(self, i):
        self.reads += 1
        return X[i].float(), int(Y[i])


class Stream(IterableDataset):
    def __iter__(self):
        return iter(zip(X, Y, strict=True))


@pytest.mark.slow
def test_a_data_set_is_read_once_and_in_its_order():
    plain, pairs = Network(module(), (X.float(), Y)), Pairs()
    loaders = DataLoader(Pairs(), batch_size=4, shuffle=True), DataLoader(Pairs(), batch_size=None)
    for given in (TensorDataset(X.float(), Y), pairs, *loaders):
        assert Network(module(), given, test=(X, Y)).describe() == plain.describe()
    assert pairs.reads == len(X)
    assert torch.equal(Network(module(), Stream()).inputs, X)
    assert torch.equal(Network(module(), Subset(Pairs(), [4, 2])).targets, Y[[4, 2]])


class Words(Dataset):
    def __len__(self):
        return 2

    def __getitem__(self, i):
        return torch.ones(i + 1), 0


def test_layers_in_eval_that_are_deterministic_are_taken():
    torch.manual_seed(3)
    norm = nn.BatchNorm1d(3)
    norm(torch.randn(50, 3) * 2 + 1)  # running statistics that are not those of the data
    inner = nn.Sequential(nn.Linear(4, 3), norm, nn.Dropout(0.4), nn.Tanh(), nn.Linear(3, 3))
    with pytest.raises(sme.SMEError, match="call eval"):
        Network(inner, (X, Y))
    problem = Network(inner.eval(), (X, Y), batch_size=3)
    assert problem.dim == 4 * 3 + 3 + 6 + 3 * 3 + 3
    whole = gradient(problem, lambda outputs: nn.functional.cross_entropy(outputs, Y))
    torch.testing.assert_close(problem.gradient(problem.start["theta"][None])[0], whole, rtol=1e-10, atol=1e-14)
    with torch.no_grad():
        torch.testing.assert_close(problem.model(problem.start["theta"], X), inner.to(torch.float64)(X))
    with pytest.raises(sme.SMEError, match="running statistics"):
        Network(nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3, track_running_stats=False)).eval(), (X, Y))
    with pytest.raises(sme.SMEError, match=r"1 is a Dropout"):
        Network(nn.Sequential(nn.Linear(4, 3), nn.Dropout(0.4)), (X, Y))


def spoiled(part, i, value=math.nan):
    part = part.clone().to(torch.float64)
    part.flatten(1)[i, -1] = value
    return part


def each(theta, x, y):
    return (theta @ x - y) ** 2


def linear(x):
    law = sme.MinibatchNoise(examples=LinearExamples(x, X[:, 0], lambda p, y: p - y, lambda r, y: torch.ones_like(r)))
    return sme.Problem(lambda theta: (X @ theta - X[:, 0]).square().mean() / 2, 4, law)


def whole(x, y):
    return lambda theta: (x @ theta - y).square().mean()


@pytest.mark.parametrize(("build", "words"), [
    (lambda: Network(module(), (spoiled(X, 5), Y)), "^data: example 5 of the inputs is not finite$"),
    (lambda: Network(module(), (spoiled(X, 2, math.inf), X[:, :3]), "mse"), "^data: example 2 of the inputs is not finite$"),
    (lambda: Network(module(), (X, spoiled(X[:, :3], 8)), "mse"), "^data: example 8 of the targets is not finite$"),
    (lambda: Network(module(), (X, Y), test=(spoiled(X, 1), Y)), "^test: example 1 of the inputs is not finite$"),
    (lambda: sme.Problem(whole(X, X[:, 0]), 4, sme.MinibatchNoise(each, (spoiled(X, 3), X[:, 0]))),
     "^data: example 3 of tensor 0 is not finite$"),
    (lambda: linear(spoiled(X, 6)), "^data: example 6 of the features is not finite$"),
    (lambda: linear(X[:, :3]), r"d = 4, got \(9, 3\)"),
    (lambda: Network(module(), (X, Y.double())), r"give integers \(y.long\(\)\)"),
    (lambda: Network(module(), (X, Y - 1)), "data: the target of example . is -1"),
    (lambda: Network(module(), (X, torch.where(Y == 0, -100, Y))), "has the label -100"),
    (lambda: Network(module(), (X, Y[:, None])), r"got outputs \(9, 3\) and targets \(9, 1\)"),
    (lambda: Network(reader(), (TOKENS, NEXT[:, :3])), "classes as targets go with"),
    (lambda: Network(reader(), (torch.randint(5, (3, 5)), torch.randint(5, (3, 5)))), "axis 1, as in torch, or the last"),
    (lambda: Network(module(), (X, Y), nn.CrossEntropyLoss(weight=torch.tensor([1.0, 2.0, 5.0], dtype=torch.float64))),
     "divides by weights"),
    (lambda: Network(module(), (X, Y), nn.CrossEntropyLoss(ignore_index=int(Y[0]))), "leaves labels out"),
    (lambda: Network(module(), (X, Y), nn.CrossEntropyLoss(reduction="sum")), "reduction='none'"),
    (lambda: Network(module(), Words()), "Words cannot be read into two tensors"),
    (lambda: Network(module(), TensorDataset(X)), "two tensors"),
])
def test_targets_and_data_that_do_not_fit_are_refused_in_one_line(build, words):
    with pytest.raises(sme.SMEError, match=words) as caught:
        build()
    assert "\n" not in str(caught.value)


def test_a_missing_value_that_the_loss_leaves_out_is_no_fault():
    y = spoiled(X[:, :3], 4)

    def masked(outputs, targets):
        known = torch.isfinite(targets)
        return torch.where(known, outputs - torch.where(known, targets, 0.0), 0.0).square().mean(1)

    assert Network(module(), (X, y), masked).dim == 27


@pytest.mark.parametrize("build", [
    lambda: sme.trajectories(Network(module(300), (X, X.repeat(1, 75)), "mse"), sme.SGD(), tau=1 / 4, paths=2,
                             start={"theta": spoiled(torch.zeros(1, 1215), 0)[0]}),
    lambda: sme.Problem(lambda theta: theta.sum() * math.inf, 3000, sme.DiagonalNoise(0.1, 3000)).check(torch.ones(3000)),
    lambda: sme.trajectories(sme.Quadratic(), sme.SGD(), tau=1 / 4, start=torch.ones(3000)),
    lambda: sme.DiagonalNoise(-torch.ones(3000)),
    lambda: sme.GaussianNoise([["a"] * 3000]),
])
def test_no_message_prints_all_numbers(build):
    with pytest.raises(sme.SMEError) as caught:
        build()
    assert len(str(caught.value)) < 300
    assert "\n" not in str(caught.value)
