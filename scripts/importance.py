"""Examples drawn by the size of their gradients: how much smaller the noise is, the loss, and the loss that the equations predict.

    python scripts/importance.py
    python scripts/importance.py --optimizer rmsprop --tau 1/8 --batch 2 --results results
"""

import argparse
from pathlib import Path

import torch

import sme
from sme.cli import command
from sme.common.inputs import number
from sme.studies.importance import run

OPTIMIZERS = {"sgd": sme.SGD(), "rmsprop": sme.RMSProp(), "adam": sme.Adam()}


def main() -> None:
    """Compute, save, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--optimizer", choices=OPTIMIZERS, default="sgd")
    parser.add_argument("--examples", type=int, default=40, help="of the breast-cancer data")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--tau", default="1/4")
    parser.add_argument("--horizon", type=float, default=2.0)
    parser.add_argument("--start", type=float, default=0.5, help="every coordinate of θ")
    parser.add_argument("--paths", type=int, default=16384)
    parser.add_argument("--results", type=Path, help="a folder for importance.csv and importance.md")
    parser.add_argument("--processes", default="auto", help="default: one a core")
    given = parser.parse_args()
    problem = sme.Logistic(batch_size=given.batch, examples=given.examples)
    start = {"theta": torch.full((problem.dim,), given.start, dtype=torch.float64)}
    print(run.show(*run.gain(
        problem, OPTIMIZERS[given.optimizer], tau=number("tau", given.tau), horizon=given.horizon, start=start, paths=given.paths,
        results=given.results, processes=given.processes)))


if __name__ == "__main__":
    command.cli(main)
