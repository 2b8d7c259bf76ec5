"""Results that are there side by side, chosen by their settings: one table and one picture, in results/panels/.

    python scripts/panels.py errors quadratic_d2 problem.problem=quadratic problem.dim=2 horizon=10
    python scripts/panels.py histograms wells_left problem.problem=wells regime=ballistic start.theta=-1.2
"""

import argparse
from pathlib import Path

from sme.cli import command
from sme.common.inputs import several
from sme.studies.panels import run


def main() -> None:
    """Collect, save, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    tasks = parser.add_subparsers(dest="task", required=True)
    errors = tasks.add_parser("errors", help="weak errors of studies: a column for each setting, a curve for each equation")
    histograms = tasks.add_parser("histograms", help="of trajectories: a row for each setting, a column for each checkpoint")
    for task in (errors, histograms):
        task.add_argument("name", help="what the table and the picture are called")
        task.add_argument("conditions", nargs="*", help="name=value or name=one,other, such as horizon=10; none: all there are")
        task.add_argument("--results", type=Path, default=Path("results"), help="where panels/ is written; default %(default)s")
        task.add_argument("--studies", type=Path, dest="source", help="the folder that holds them; default: that of --results")
    errors.add_argument("--observables", type=several, default=(), help="such as '|theta|^2,mean v'; default all")
    histograms.add_argument("--over", type=several, default=(), help="settings whose runs share a row, such as tau")
    parsed, further = parser.parse_known_args()
    given, words = vars(parsed), [word for word in further if word.startswith("-")]
    if words:
        parser.error(f"unrecognized arguments: {' '.join(words)}")
    given["conditions"] += further  # those behind an option
    print(getattr(run, given.pop("task"))(**given))


if __name__ == "__main__":
    command.cli(main)
