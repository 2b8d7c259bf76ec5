"""Rebuild every table from the points on disk.

    python scripts/collect.py results/
"""

import argparse
from pathlib import Path

from sme.cli import command
from sme.convergence import collect


def main() -> None:
    """Collect, save, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, help="the folder that holds the studies")
    table = collect.rebuild(parser.parse_args().results)
    print(table.to_string(index=False))


if __name__ == "__main__":
    command.cli(main)
