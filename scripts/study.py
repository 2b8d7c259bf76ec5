"""A study that is there: show it, let it grow, compare two of its equations on common noise.

    python scripts/study.py show results/adam-ballistic-quadratic-independent-44ed0b05
    python scripts/study.py extend results/adam-ballistic-quadratic-independent-44ed0b05 --tau 1/128 --paths 131072
    python scripts/study.py compare results/adam-ballistic-quadratic-independent-44ed0b05
"""

import argparse
import sys
from pathlib import Path

import sme
from sme.cli import command
from sme.convergence import collect


def numbers(text: str) -> list[str]:
    """Values between commas."""
    return [part for part in text.strip("[] ").split(",") if part.strip()]


def options() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    tasks = parser.add_subparsers(dest="task", required=True)
    show = tasks.add_parser("show", help="print its tables")
    show.add_argument("study", type=Path, help="the study's folder")
    show.add_argument("--style", default="simple", help="of tabulate, such as simple or github; or latex")
    extend = tasks.add_parser("extend", help="compute more; what is left out is as it was")
    compare = tasks.add_parser("compare", help="two equations on common noise")
    for each in (extend, compare):
        each.add_argument("study", type=Path, help="the study's folder")
        each.add_argument("--tau", type=numbers, help="step sizes, such as 1/64,1/128")
        each.add_argument("--paths", help="at each step size")
        each.add_argument("--seed")
        each.add_argument("--processes", default="auto")
    extend.add_argument("--order", type=numbers, help="1, 2 or 1,2")
    extend.add_argument("--tolerance")
    extend.add_argument("--budget-s")
    compare.add_argument("other", type=Path, nargs="?", help="the other study's folder; default the same")
    compare.add_argument("--orders", nargs=2, type=int, help="of the first study's equation and of the other's")
    return parser


def main() -> None:
    """Do the task, print what came out."""
    given = options().parse_args()
    study = sme.load(given.study)
    effort = {name: value for name, value in vars(given).items()
              if name in ("tau", "paths", "seed", "processes", "order", "tolerance", "budget_s") and value is not None}
    if given.task == "show":
        print(study.text(given.style))
    elif given.task == "extend":
        print(study.extend(**effort))
        collect.join(given.study.resolve().parent)
    else:
        other = sme.load(given.other) if given.other else None
        print(study.compare(other, orders=given.orders, **effort))


if __name__ == "__main__":
    sys.path.insert(0, str(Path.cwd()))  # modules of the user's own lie where the command is given
    command.cli(main)
