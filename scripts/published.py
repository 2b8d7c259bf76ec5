"""What the differences between the published second-order equations and ours cost; some five minutes on two cores.

    python scripts/published.py
"""

import argparse
from pathlib import Path

from sme import command, effort, published, published_table
from sme.inputs import number, several


def main() -> None:
    """Compute, save, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tau", default="1/16,1/32", help="step sizes, default %(default)s")
    parser.add_argument("--paths", type=int, default=published.PATHS, help="at each τ, default %(default)s")
    parser.add_argument("--results", type=Path, default=Path("results"), help="where published.csv, .md and .png go")
    parser.add_argument("--processes", default="auto", help="default: one a core")
    arguments = parser.parse_args()
    effort.folder(arguments.results)
    ladder = [number("tau", tau) for tau in several(arguments.tau)]
    table = published.measure(ladder, arguments.paths, effort.processes(arguments.processes, "cpu"))
    published_table.write(table, arguments.results)
    print(published_table.text(table))


if __name__ == "__main__":
    command.cli(main)
