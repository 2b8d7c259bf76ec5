"""The order of every equation, proved by the one-step moment test: no Monte Carlo.

    python scripts/check_order.py
    python scripts/check_order.py rmsprop adam --results results
"""

import argparse
import sys
from pathlib import Path

from sme import SMEError, effort
from sme.catalogue import catalogue
from sme.orders import show, write

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("optimizers", nargs="*", help="names such as rmsprop; all if left out")
    parser.add_argument("--results", type=Path, help="a folder for orders.csv, orders.md and orders.png")
    parser.add_argument("--processes", default="auto", help="default: one a core")
    arguments = parser.parse_args()
    try:
        if arguments.results is not None:
            effort.folder(arguments.results)
        table = catalogue(arguments.optimizers, effort.processes(arguments.processes, "cpu"))
        if arguments.results is not None:
            write(table, arguments.results)
    except SMEError as fault:
        print(f"error: {fault}", file=sys.stderr)
        sys.exit(2)
    print(show(table))
