"""AdaBayes between SGD and Adam: learning rates of its fixed point and of its filter, in seconds.

    python scripts/interpolation.py
"""

import argparse
from pathlib import Path

from sme import command, effort, interpolation, interpolation_table
from sme.inputs import number, several


def main() -> None:
    """Compute, save, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tau", default="1/4,1/16,1/64", help="step sizes, default %(default)s")
    parser.add_argument("--paths", type=int, default=interpolation.PATHS, help="of Gaussian gradients, default %(default)s")
    parser.add_argument("--results", type=Path, default=Path("results"), help="where interpolation.csv, .md and .png go")
    arguments = parser.parse_args()
    effort.folder(arguments.results)
    table = interpolation.measure([number("tau", tau) for tau in several(arguments.tau)], arguments.paths)
    interpolation_table.write(table, arguments.results)
    print(interpolation_table.text(table))


if __name__ == "__main__":
    command.cli(main)
