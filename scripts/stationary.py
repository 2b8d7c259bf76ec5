"""Stationary variances of every rule, predicted and simulated, and the phases of signSGD; some two minutes on two cores.

    python scripts/stationary.py
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from sme.cli import command
from sme.common.inputs import whole
from sme.convergence.spec import effort
from sme.studies.stationary import run


def main(given: Sequence[str] | None = None) -> None:
    """Measure every case, write the table and the pictures, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--paths", type=int, default=run.PATHS, help="runs of each case, default %(default)s")
    parser.add_argument("--results", type=Path, default=Path("results"), help="where stationary.csv, .md and .png go")
    parser.add_argument("--processes", default="auto", help="default: one a core")
    arguments = parser.parse_args(given)
    paths = whole("paths", arguments.paths, 2, 2**24)
    effort.folder(arguments.results)
    table = run.measure(paths, effort.processes(arguments.processes, "cpu"))
    run.write(table, arguments.results, paths)
    print(run.text(table))


if __name__ == "__main__":
    command.cli(main)
