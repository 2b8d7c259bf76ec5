"""The order of every equation, proved by the one-step moment test: no Monte Carlo.

    python scripts/check_order.py
    python scripts/check_order.py rmsprop adam --results results
    python scripts/check_order.py --laws --results results     # what no equation matches, law of the noise by law
"""

import argparse
import sys
from pathlib import Path

from sme import SMEError, effort, orders, residues
from sme.catalogue import catalogue

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("optimizers", nargs="*", help="names such as rmsprop; all if left out")
    parser.add_argument("--laws", action="store_true", help="laws of the noise and heavy tails instead, for one parameter; with "
                        "names of sgd, momentum, rmsprop, adam, signsgd alone")
    parser.add_argument("--results", type=Path, help="a folder for orders.csv, orders.md and orders.png, or residues.*")
    parser.add_argument("--processes", default="auto", help="default: one a core")
    arguments = parser.parse_args()
    try:
        if arguments.results is not None:
            effort.folder(arguments.results)
        make, kind = (residues.tables, residues) if arguments.laws else (catalogue, orders)
        table = make(arguments.optimizers, effort.processes(arguments.processes, "cpu"))
        if arguments.results is not None:
            kind.write(table, arguments.results)
    except SMEError as fault:
        print(f"error: {fault}", file=sys.stderr)
        sys.exit(2)
    print(kind.show(table))
