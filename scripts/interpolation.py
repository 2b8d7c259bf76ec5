"""AdaBayes between SGD and Adam: learning rates of its fixed point and of its filter, in seconds.

    python scripts/interpolation.py
"""

import argparse
from pathlib import Path

from sme.cli import command
from sme.common.inputs import number, several
from sme.convergence.spec import effort
from sme.studies.interpolation import report, run


def main() -> None:
    """Compute, save, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tau", default="1/4,1/16,1/64", help="step sizes, default %(default)s")
    parser.add_argument("--paths", type=int, default=run.PATHS, help="of Gaussian gradients, default %(default)s")
    parser.add_argument("--results", type=Path, default=Path("results"), help="where interpolation.csv, .md and .png go")
    arguments = parser.parse_args()
    effort.folder(arguments.results)
    table = run.measure([number("tau", tau) for tau in several(arguments.tau)], arguments.paths)
    report.write(table, arguments.results)
    print(report.text(table))


if __name__ == "__main__":
    command.cli(main)
