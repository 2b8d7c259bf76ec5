"""What no move of code may change: names, residuals of the one-step test, and the tables of two tiny jobs, to the last digits.

Written by `python -m tests.convergence.test_guards`, once for each change of the numbers that has its reason in sme's NUMERICS.
"""

import json
from pathlib import Path

import pytest
import torch

import sme
from sme.common.identity.hashing import fingerprint
from sme.convergence.spec.specification import Specification

KEPT = Path(__file__).parent / "guards.json"
SAME = {"rel": 1e-9, "abs": 1e-13}  # processors sum in other orders


def module():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.Tanh(), torch.nn.Linear(3, 2))


def data():
    generator = torch.Generator().manual_seed(1)
    return torch.rand(6, 2, generator=generator, dtype=torch.float64), torch.arange(6) % 2


def halved(theta, x):
    return 0.5 * (theta - x).square().sum()


def spread(x):
    return torch.special.ndtr(2 * x)


def problem(noise, dim=2):
    return sme.Problem(lambda theta: 0.5 * theta.square().sum() + 0.25, dim, noise)


def problems():
    """One of each kind whose description names something of the package."""
    per_example = sme.MinibatchNoise(halved, (torch.tensor([-1.0, -1.0, 1.0, 1.0], dtype=torch.float64) * 0.5**0.5,), 2)
    return {
        "quadratic": sme.Quadratic(),
        "polynomial": sme.Polynomial(),
        "wells": sme.Wells(),
        "logistic": sme.Logistic(batch_size=4),
        "student": sme.Quadratic(law="student"),
        "skewed": sme.Quadratic(law="skewed"),
        "affine": sme.Quadratic(law="affine"),
        "two values": sme.Polynomial(law="rademacher"),
        "diabetes": sme.Diabetes(),
        "digits": sme.Digits(),
        "network": sme.Network(module(), data(), "cross_entropy", batch_size=2),
        "diagonal": problem(sme.DiagonalNoise(0.3, 2)),
        "by its quantiles": problem(sme.DistributionNoise(spread, 2)),
        "by example": problem(per_example, 1),
        "SVAG": problem(sme.SVAGNoise(per_example, 2), 1),
    }


def names():
    """The names of studies of SGD on these problems, and the description of every optimizer."""
    def called(each):
        start = {"theta": torch.ones(each.dim, dtype=torch.float64)}
        return Specification.of(each, sme.SGD(), "ballistic", None, 1.0, start, None, None).name

    rules = [sme.Adam(), sme.AdamW(), sme.AdaBayes(), sme.AdaBayesFilter(), sme.AdaGrad(), sme.Momentum(), sme.Nesterov(),
             sme.RMSProp(), sme.RMSPropW(), sme.SGD(), sme.SignSGD(), sme.Signum()]
    return {**{what: called(each) for what, each in problems().items()},
            **{type(rule).__name__: fingerprint(rule) for rule in rules}}


def orders():
    """Rates and moments of two optimizers."""
    found = {}
    for which, regime in (("Adam", "ballistic"), ("RMSProp", "batch_equivalent")):
        check = sme.check_order(sme.Quadratic(), getattr(sme, which)(), regime=regime)
        found[which] = [check.proved, check.rate, *check.residuals["residual"].tolist()]
    return found


def jobs():
    """Errors and slopes of two tiny jobs."""
    quick = {"tau": ["1/2", "1/4", "1/8"], "horizon": 0.5, "shards": [0]}
    at = torch.tensor([0.7, -0.4], dtype=torch.float64)
    found = {}
    for name, problem, rule, regime in (("Adam", sme.Quadratic(), sme.Adam(), "ballistic"),
                                        ("RMSProp", sme.Polynomial(), sme.RMSProp(), "batch_equivalent")):
        study = sme.weak_error(problem, rule, regime=regime, start={"theta": at[: problem.dim]}, **quick)
        numbers = study.errors.select_dtypes("number"), study.slopes.select_dtypes("number")
        found[name] = {"study": study.name, "errors": numbers[0].to_numpy().ravel().tolist(),
                       "slopes": numbers[1].to_numpy().ravel().tolist()}
    return found


@pytest.fixture(scope="module")
def kept():
    """What stands in the file."""
    return json.loads(KEPT.read_text(encoding="utf-8"))


def test_names_stay(kept):
    assert names() == kept["names"]


def test_the_one_step_test_says_the_same(kept):
    for which, found in orders().items():
        assert found == pytest.approx(kept["orders"][which], **SAME, nan_ok=True)


def test_two_tiny_jobs_have_their_digits(kept):
    for which, found in jobs().items():
        assert found["study"] == kept["jobs"][which]["study"]
        for table in ("errors", "slopes"):
            assert found[table] == pytest.approx(kept["jobs"][which][table], **SAME, nan_ok=True)


if __name__ == "__main__":
    KEPT.write_text(json.dumps({"names": names(), "orders": orders(), "jobs": jobs()}, indent=1) + "\n", encoding="utf-8")
