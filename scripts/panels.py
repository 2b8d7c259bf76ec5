"""Results that are there side by side, chosen by their settings: one table and one picture, in results/panels/.

    python scripts/panels.py task=errors name=quadratic_d2 problem.problem=quadratic problem.dim=2 horizon=10
    python scripts/panels.py task=histograms name=wells_left problem.problem=wells regime=ballistic start.theta=-1.2
"""

from sme.cli.main import main

if __name__ == "__main__":
    main("panels")
