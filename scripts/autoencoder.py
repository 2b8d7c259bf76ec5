"""Adam, RMSProp and Nesterov's momentum on an autoencoder of digits, each at its best learning rate, beside their equations.

    python scripts/autoencoder.py
"""

import argparse
from pathlib import Path

from sme.cli import command
from sme.convergence.spec import effort
from sme.studies.autoencoder import report, run


def main() -> None:
    """Compute, save, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=run.STEPS, help="of each run, default %(default)s")
    parser.add_argument("--seeds", type=int, default=run.SEEDS, help="so many starts, default %(default)s")
    parser.add_argument("--examples", type=int, default=run.EXAMPLES, help="of the digits, default %(default)s")
    parser.add_argument("--hidden", type=int, default=run.HIDDEN, help="width of the narrow layer, default %(default)s")
    parser.add_argument("--results", type=Path, default=Path("results"), help="where autoencoder.csv, .md and .png go")
    parser.add_argument("--processes", default="auto", help="default: one a core")
    arguments = parser.parse_args()
    effort.folder(arguments.results)
    made = run.race({"examples": arguments.examples, "hidden": arguments.hidden}, arguments.steps, arguments.seeds,
                     processes=effort.processes(arguments.processes, "cpu"))
    report.write(made, arguments.results)
    print(report.text(made))


if __name__ == "__main__":
    command.cli(main)
