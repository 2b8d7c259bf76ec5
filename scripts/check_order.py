"""The order of every equation, proved by the one-step moment test: no Monte Carlo.

    python scripts/check_order.py
    python scripts/check_order.py rmsprop adam --results results
    python scripts/check_order.py --models --results results      # of every model
"""

import argparse
import sys
from pathlib import Path

from sme import SMEError, effort
from sme.catalogue import catalogue, modelled
from sme.orders import show, show_models, write, write_models

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("optimizers", nargs="*", help="names such as rmsprop; all if left out, of the models those that they share")
    parser.add_argument("--models", action="store_true", help="the equations of every model: sme, malladi, compagnoni, ode")
    parser.add_argument("--results", type=Path, help="a folder for orders.csv, orders.md and orders.png, or models.csv and models.md")
    parser.add_argument("--processes", default="auto", help="default: one a core")
    arguments = parser.parse_args()
    prove, tell, keep = (modelled, show_models, write_models) if arguments.models else (catalogue, show, write)
    try:
        if arguments.results is not None:
            effort.folder(arguments.results)
        table = prove(arguments.optimizers, effort.processes(arguments.processes, "cpu"))
        if arguments.results is not None:
            keep(table, arguments.results)
    except SMEError as fault:
        print(f"error: {fault}", file=sys.stderr)
        sys.exit(2)
    print(tell(table))
