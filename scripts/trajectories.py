"""Means of an optimizer and of its modified equations over time, with bands, and histograms at checkpoints.

    python scripts/trajectories.py optimizer=adam tau=1/8
    python scripts/trajectories.py experiment=hard band=quantiles
"""

from sme.cli.main import main

if __name__ == "__main__":
    main("trajectories")
