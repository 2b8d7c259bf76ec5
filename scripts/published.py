"""What the differences between the published second-order equations and ours cost; some five minutes on two cores.

    python scripts/published.py
"""

import argparse
from pathlib import Path

from sme.cli import command
from sme.common.inputs import number, several
from sme.convergence.spec import effort
from sme.studies.published import report, run


def main() -> None:
    """Compute, save, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tau", default="1/16,1/32", help="step sizes, default %(default)s")
    parser.add_argument("--paths", type=int, default=run.PATHS, help="at each τ, default %(default)s")
    parser.add_argument("--results", type=Path, default=Path("results"), help="where published.csv, .md and .png go")
    parser.add_argument("--processes", default="auto", help="default: one a core")
    arguments = parser.parse_args()
    effort.folder(arguments.results)
    ladder = [number("tau", tau) for tau in several(arguments.tau)]
    table = run.measure(ladder, arguments.paths, effort.processes(arguments.processes, "cpu"))
    report.write(table, arguments.results)
    print(report.text(table))


if __name__ == "__main__":
    command.cli(main)
