"""Derivatives that are not computed twice, and functions of many points at times of their own."""

import torch
from torch.func import jvp, vmap

import sme
from sme.equations.order.one_step import _timed
from sme.equations.order.remembered import remembered


class Counted(sme.Problem):
    """A problem that counts how often its derivatives are computed."""

    calls = 0

    def gradient(self, theta):
        self.calls += 1
        return super().gradient(theta)


def made(noise=None):
    return Counted(lambda theta: (0.4 * theta**4 + theta.prod()).sum(), 2, noise or sme.GaussianNoise(0.3 * torch.eye(2)))


def points(seed, rows=3):
    return torch.randn(rows, 2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_equal_arguments_are_computed_once_and_others_anew():
    problem = made()
    quick, theta, before = remembered(problem), points(0), problem.calls
    first = quick.gradient(theta)
    assert torch.equal(first, problem.gradient(theta))
    first.zero_()  # what is handed out may be written over
    assert torch.equal(quick.gradient(theta.clone()), problem.gradient(theta))
    assert problem.calls == before + 2 + 1
    for other in (points(1), theta[:2], theta.unsqueeze(1)[:, 0] + 1e-16, theta.T.contiguous().T):
        assert torch.equal(quick.gradient(other), problem.gradient(other))
    assert torch.equal(quick.hessian(theta, points(2)), problem.hessian(theta, points(2)))
    assert torch.equal(quick.third(theta, points(2), points(3)), problem.third(theta, points(2), points(3)))


def test_transforms_see_the_function_itself():
    problem = made()
    quick, theta, u = remembered(problem), points(4), points(5)
    for _ in range(2):
        assert torch.equal(jvp(quick.gradient, (theta,), (u,))[1], jvp(problem.gradient, (theta,), (u,))[1])
        single = vmap(lambda each: quick.gradient(each[None])[0])(theta)
        assert torch.allclose(single, problem.gradient(theta), rtol=1e-14)


def test_noise_of_the_gradients_size_takes_the_quick_one():
    problem = made(sme.AffineNoise(0.2, 0.1))
    quick, theta = remembered(problem), points(6)
    quick.noise.variance(theta)
    before = problem.calls
    assert torch.equal(quick.noise.variance(theta), problem.noise.variance(theta))
    assert problem.calls == before + 1


def test_the_judge_computes_few_gradients():
    problem = Counted(lambda theta: (0.5 * theta**2 + 0.1 * theta**4).sum(), 1, sme.GaussianNoise(0.4 * torch.eye(1)))
    before = problem.calls
    assert sme.check_order(problem, sme.Momentum(c=0.6)).proved == 2
    assert problem.calls - before < 120  # 310 where nothing is remembered


def test_many_times_at_once_are_those_one_by_one():
    times, x = torch.linspace(0.2, 1.7, 5, dtype=torch.float64), points(7, 5)
    calls = []

    def smooth(t, z):
        calls.append(1)
        return torch.exp(-torch.as_tensor(t, dtype=z.dtype)) * z

    def numbers(t, z):
        return float(t) ** 2 * z

    def sum_of_all(t, z):  # mixes what stands side by side
        return torch.as_tensor(t, dtype=z.dtype).sum() * z

    for function in (smooth, numbers, sum_of_all):
        expected = torch.cat([function(float(t), row[None]) for t, row in zip(times, x, strict=True)])
        calls.clear()
        assert torch.allclose(_timed(function, times, x), expected, rtol=1e-14)
        assert len(calls) == (2 if function is smooth else 0)
