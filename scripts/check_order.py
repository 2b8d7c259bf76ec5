"""The order of every equation by the one-step moment test: no Monte Carlo.

    python scripts/check_order.py
    python scripts/check_order.py rmsprop adam --results results
    python scripts/check_order.py --models --results results      # of every model
    python scripts/check_order.py --laws --results results     # what no equation matches, law of the noise by law
"""

import argparse
from pathlib import Path
from types import SimpleNamespace

from sme.cli import command
from sme.convergence.spec import effort
from sme.studies.orders import by_law, report
from sme.studies.orders.run import catalogue, modelled

OWN = SimpleNamespace(make=catalogue, show=report.show, write=report.write)
MODELS = SimpleNamespace(make=modelled, show=report.show_models, write=report.write_models)
LAWS = SimpleNamespace(make=by_law.tables, show=by_law.show, write=by_law.write)


def main() -> None:
    """Compute, save, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("optimizers", nargs="*", help="names such as rmsprop, or the dotted path of a class of your own, mine.MyOptimizer; all if left out, of the models those that they share")
    others = parser.add_mutually_exclusive_group()
    others.add_argument("--models", action="store_const", dest="task", const=MODELS, default=OWN,
                        help="the equations of every model: sme, malladi, compagnoni, ode")
    others.add_argument("--laws", action="store_const", dest="task", const=LAWS,
                        help="laws of the noise and heavy tails instead, for one parameter; with names of sgd, momentum, rmsprop, "
                        "adam, signsgd alone")
    parser.add_argument("--results", type=Path, help="a folder for orders.*, models.* or residues.*")
    parser.add_argument("--processes", default="auto", help="default: one a core")
    arguments = parser.parse_args()
    if arguments.results is not None:
        effort.folder(arguments.results)
    table = arguments.task.make(arguments.optimizers, effort.processes(arguments.processes, "cpu"))
    if arguments.results is not None:
        arguments.task.write(table, arguments.results)
    print(arguments.task.show(table))


if __name__ == "__main__":
    command.cli(main)
